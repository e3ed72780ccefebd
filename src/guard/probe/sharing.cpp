// Several processes and one quota.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/wait.h>

#include "guard/probe/families.h"

namespace probe {
namespace {

// Holds so many MiB until it is killed.
void scenario_hold(std::size_t mib) {
    start();
    CUdeviceptr at = 0;
    EXPECT_RESULT(cuMemAlloc(&at, mib * kMiB), 0);
    std::printf("held\n");
    std::fflush(stdout);
    for (;;) pause();
}

// Without the guard: watches what the card has in use until its input ends, then prints the most it
// saw, in bytes beyond what was in use at first.
void scenario_watch() {
    start();
    std::atomic<bool> stop{false};
    std::thread input([&] {
        char byte = 0;
        while (read(0, &byte, 1) > 0) {
        }
        stop = true;
    });
    const std::size_t before = free_now();
    std::printf("watching\n");
    std::fflush(stdout);
    std::size_t lowest = before;
    while (!stop) lowest = std::min(lowest, free_now());
    input.join();
    std::printf("%zu\n", before - lowest);
}

// Memory of another process: neither its import nor its release changes the importer's account.
void scenario_ipc() {
    start();
    int ends[2];
    int back[2];
    EXPECT(pipe(ends) == 0 && pipe(back) == 0);
    CUdeviceptr at = 0;
    EXPECT_RESULT(cuMemAlloc(&at, 300 * kMiB), 0);
    CUipcMemHandle handle{};
    EXPECT_RESULT((Function<CUipcMemHandle*, CUdeviceptr>{"cuIpcGetMemHandle"}(&handle, at)), 0);
    // A fresh process (fork of one that uses CUDA is not one): this program again.
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[0], 0);
        dup2(back[1], 1);
        execl("/proc/self/exe", "guard_probe", library_path, "ipc_open", nullptr);
        _exit(9);
    }
    EXPECT(write(ends[1], &handle, sizeof handle) == sizeof handle);
    int status = 0;
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT(status == 0);
    EXPECT(free_now() == 724 * kMiB);
    EXPECT_RESULT(cuMemFree(at), 0);
    EXPECT(free_now() == 1024 * kMiB);
}

void scenario_ipc_open() {
    start();
    CUipcMemHandle handle{};
    EXPECT(read(0, &handle, sizeof handle) == sizeof handle);
    EXPECT(free_now() == 724 * kMiB);
    CUdeviceptr at = 0;
    EXPECT_RESULT(
        (Function<CUdeviceptr*, CUipcMemHandle, unsigned>{"cuIpcOpenMemHandle_v2"}(&at, handle, 1)),
        0
    );
    EXPECT(free_now() == 724 * kMiB);
    // What is the exporter's cannot be given back here.
    cuMemFree(at);
    EXPECT_RESULT(Function<CUdeviceptr>{"cuIpcCloseMemHandle"}(at), 0);
    EXPECT(free_now() == 724 * kMiB);
}

// Four threads that allocate and free at random, for so many milliseconds, then free everything.
// Whole blocks of the driver (2 MiB) only, so that what the card has in use is what was asked for.
void scenario_race(long milliseconds) {
    const CUcontext context = start();
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            EXPECT_RESULT(cuCtxSetCurrent(context), 0);
            std::mt19937_64 random(
                static_cast<std::uint64_t>(getpid()) * 4 + static_cast<std::uint64_t>(t)
            );
            std::vector<std::pair<std::size_t, std::uint64_t>> held;
            while (!stop) {
                const std::size_t which = random() % families().size();
                if (random() % 3 != 0 || held.empty()) {
                    std::uint64_t at = 0;
                    const int result =
                        families()[which].allocate((random() % 12 + 1) * 2 * kMiB, at);
                    EXPECT(result == 0 || result == CUDA_ERROR_OUT_OF_MEMORY);
                    if (result == 0) held.emplace_back(which, at);
                }
                if (held.size() > 6 || (random() % 2 == 0 && !held.empty())) {
                    std::swap(held[random() % held.size()], held.back());
                    families()[held.back().first].release(held.back().second);
                    held.pop_back();
                }
            }
            for (const auto& [family, at] : held) families()[family].release(at);
        });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    stop = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_RESULT(cuCtxSynchronize(), 0);
}

}  // namespace

void add_sharing(Scenarios& to, const std::string& argument) {
    to["hold"] = [&argument] { scenario_hold(std::stoul(argument)); };
    to["watch"] = scenario_watch;
    to["ipc"] = scenario_ipc;
    to["ipc_open"] = scenario_ipc_open;
    to["race"] = [&argument] { scenario_race(std::stol(argument)); };
}

}  // namespace probe
