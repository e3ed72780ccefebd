// What the guard costs, with and without it in one run, on a driver that costs nothing. Prints one
// table in Markdown, beside what others measured HAMi-core to add on such a driver.
//
//     guard_bench            runs everything
//     guard_bench --starts   processes that start together only
//     guard_bench --inside   is what it starts with and without the guard preloaded
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guard/cuda_abi.h"
#include "guard/pages.h"

namespace {

using namespace egpu::cuda;
using namespace egpu::guard;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

double nanoseconds_since(Clock::time_point begin) {
    return std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
}

template <class F>
F function(void* library, const char* name) {
    return reinterpret_cast<F>(dlsym(library, name));
}

double cpu_ns() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

// Median of 15 runs of `calls` rounds, in ns of a thread's CPU time per round: what others do on
// the machine meanwhile does not count, waiting for a cache line does.
template <class Round>
double measure(unsigned threads, int calls, Round round) {
    std::vector<double> runs;
    for (int run = 0; run < 15; ++run) {
        std::vector<std::thread> workers;
        std::vector<double> spent(threads);
        std::atomic<unsigned> there{0};
        for (unsigned t = 0; t < threads; ++t) {
            workers.emplace_back([&, t] {
                ++there;
                while (there.load() < threads) {
                }
                const double begin = cpu_ns();
                for (int i = 0; i < calls; ++i) round();
                spent[t] = (cpu_ns() - begin) / calls;
            });
        }
        for (std::thread& worker : workers) worker.join();
        for (const double each : spent) runs.push_back(each);
    }
    return median(runs);
}

int inside() {
    void* library = dlopen(EDGE_GPU_BENCH_LIBCUDA, RTLD_NOW);
    if (library == nullptr) return 1;
    const auto init = function<CUresult (*)(unsigned)>(library, "cuInit");
    const auto allocate =
        function<CUresult (*)(CUdeviceptr*, std::size_t)>(library, "cuMemAlloc_v2");
    const auto release = function<CUresult (*)(CUdeviceptr)>(library, "cuMemFree_v2");
    const auto info =
        function<CUresult (*)(std::size_t*, std::size_t*)>(library, "cuMemGetInfo_v2");
    const auto launch = function<
        CUresult (*)(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void**, void**)>(
        library, "cuLaunchKernel"
    );
    auto* in_turn = function<std::atomic<int>*>(library, "egpu_addresses_in_turn");
    const auto begin = Clock::now();
    if (init(0) != CUDA_SUCCESS) return 1;
    std::printf("init_us %.1f\n", nanoseconds_since(begin) / 1000);
    std::vector<CUdeviceptr> live;
    for (const std::size_t count : {0, 1'000, 10'000}) {
        while (live.size() < count) {
            CUdeviceptr at = 0;
            if (allocate(&at, 4096) != CUDA_SUCCESS) return 1;
            live.push_back(at);
        }
        const auto pair = [&] {
            CUdeviceptr at = 0;
            allocate(&at, 4096);
            release(at);
        };
        std::printf("pair_%zu_1 %.1f\n", count, measure(1, 20'000, pair));
        std::printf("pair_%zu_2 %.1f\n", count, measure(2, 20'000, pair));
        in_turn->store(1);
        std::printf("pair_%zu_turns %.1f\n", count, measure(2, 20'000, pair));
        in_turn->store(0);
    }
    std::printf("mem_get_info %.1f\n", measure(1, 20'000, [&] {
                    std::size_t free = 0;
                    std::size_t total = 0;
                    info(&free, &total);
                }));
    auto* kernel = reinterpret_cast<CUfunction>(0x5000);
    for (const unsigned threads : {1U, 2U}) {
        std::printf("launch_%u %.1f\n", threads, measure(threads, 100'000, [&] {
                        launch(kernel, 64, 1, 1, 256, 1, 1, 0, nullptr, nullptr, nullptr);
                    }));
    }
    return 0;
}

std::vector<std::string> environment(bool guarded) {
    std::vector<std::string> list;
    for (char** variable = environ; *variable != nullptr; ++variable) {
        if (std::strncmp(*variable, "LD_PRELOAD=", 11) != 0) list.emplace_back(*variable);
    }
    if (guarded) list.emplace_back("LD_PRELOAD=" EDGE_GPU_BENCH_GUARD);
    return list;
}

pid_t start(const char* program, std::vector<std::string> arguments, bool guarded, int output) {
    std::vector<std::string> variables = environment(guarded);
    std::vector<char*> raw_arguments;
    std::vector<char*> raw_variables;
    for (std::string& text : arguments) raw_arguments.push_back(text.data());
    for (std::string& text : variables) raw_variables.push_back(text.data());
    raw_arguments.push_back(nullptr);
    raw_variables.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (output >= 0) posix_spawn_file_actions_adddup2(&actions, output, 1);
    pid_t pid = -1;
    const int error =
        posix_spawn(&pid, program, &actions, nullptr, raw_arguments.data(), raw_variables.data());
    posix_spawn_file_actions_destroy(&actions);
    return error == 0 ? pid : -1;
}

std::map<std::string, double> run_inside(const std::string& self, bool guarded) {
    int ends[2];
    std::map<std::string, double> values;
    if (pipe2(ends, O_CLOEXEC) != 0) return values;
    const pid_t pid = start(self.c_str(), {self, "--inside"}, guarded, ends[1]);
    close(ends[1]);
    FILE* text = fdopen(ends[0], "r");
    char name[64];
    double value = 0;
    while (std::fscanf(text, "%63s %lf", name, &value) == 2) values[name] = value;
    std::fclose(text);
    waitpid(pid, nullptr, 0);
    return values;
}

double exec_us(bool guarded) {
    std::vector<double> runs;
    for (int run = 0; run < 200; ++run) {
        const auto begin = Clock::now();
        waitpid(start("/bin/true", {"true"}, guarded, -1), nullptr, 0);
        runs.push_back(nanoseconds_since(begin) / 1000);
    }
    return median(runs);
}

struct Storm {
    double p50_us = 0;
    double p99_us = 0;
    double cpu_us = 0;          // median of the thread's CPU time
    double context_cpu_us = 0;  // the same, of the first context
};

// `count` processes that start together: the time that each one's cuInit took, and its first
// context after that.
Storm init_storm(const std::string& self, int count, bool guarded) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return {};
    std::vector<pid_t> processes;
    for (int i = 0; i < count; ++i)
        processes.push_back(start(self.c_str(), {self, "--init"}, guarded, ends[1]));
    close(ends[1]);
    FILE* text = fdopen(ends[0], "r");
    std::vector<double> walls;
    std::vector<double> cpus;
    std::vector<double> contexts;
    double wall = 0;
    double cpu = 0;
    double context = 0;
    while (std::fscanf(text, "%lf %lf %lf", &wall, &cpu, &context) == 3) {
        walls.push_back(wall);
        cpus.push_back(cpu);
        contexts.push_back(context);
    }
    std::fclose(text);
    for (const pid_t pid : processes) waitpid(pid, nullptr, 0);
    if (walls.empty()) return {};
    std::sort(walls.begin(), walls.end());
    return {
        walls[walls.size() / 2],
        walls[std::min(walls.size() - 1, walls.size() * 99 / 100)],
        median(cpus),
        median(contexts)};
}

int only_init() {
    void* library = dlopen(EDGE_GPU_BENCH_LIBCUDA, RTLD_NOW);
    const auto init = function<CUresult (*)(unsigned)>(library, "cuInit");
    const auto retain =
        function<CUresult (*)(CUcontext*, CUdevice)>(library, "cuDevicePrimaryCtxRetain");
    const auto begin = Clock::now();
    const double cpu = cpu_ns();
    init(0);
    const double wall = nanoseconds_since(begin);
    const double spent = cpu_ns() - cpu;
    // When all of them have started: what a context costs is another question.
    usleep(100'000);
    const double ready = cpu_ns();
    CUcontext context = nullptr;
    retain(&context, 0);
    const double made = cpu_ns();
    char line[64];
    const int length = std::snprintf(
        line, sizeof line, "%.1f %.1f %.1f\n", wall / 1000, spent / 1000, (made - ready) / 1000
    );
    // One write: the processes share the pipe. Then stay a while, as a program would: the slot is
    // held.
    if (write(1, line, static_cast<std::size_t>(length)) != length) return 1;
    usleep(200'000);
    _exit(0);
}

void write_pages() {
    fs::create_directories("guard-pages");
    LimitsPage page{};
    page.magic = kLimitsMagic;
    page.abi_major = kAbiMajor;
    page.struct_size = sizeof page;
    for (LimitsBody& body : page.body) {
        body.device_count = 1;
        for (std::uint8_t& byte : body.devices[0].uuid) byte = 1;
        body.devices[0].mem_hard = std::uint64_t{40} << 30U;
        body.devices[0].mode = static_cast<std::uint32_t>(ComputeMode::kHard);
        body.devices[0].share_ppm = 500'000;
    }
    std::ofstream limits("guard-pages/limits", std::ios::binary);
    limits.write(reinterpret_cast<const char*>(&page), sizeof page);
    limits.close();
    std::ofstream("guard-pages/ledger").close();
    fs::resize_file("guard-pages/limits", kLimitsFileSize);
    fs::resize_file("guard-pages/ledger", sizeof(Ledger));
}

struct Row {
    const char* key;
    const char* name;
    const char* hami;
};
// HAMi-core 8f3a89c, built without optimisation as it is shipped, with a compute limit.
constexpr Row kRows[] = {
    {"launch_1", "kernel launch, 1 thread, ns", "41"},
    {"launch_2", "kernel launch, 2 threads, ns", "79"},
    {"pair_0_1", "alloc and free, nothing live, 1 thread, ns", "1,030 to 1,150"},
    {"pair_0_2", "alloc and free, nothing live, 2 threads, ns", "1,900"},
    {"pair_0_turns", "alloc and free, nothing live, 2 threads, addresses in turn, ns", ""},
    {"pair_1000_1", "alloc and free, 1,000 live, 1 thread, ns", "3,400"},
    {"pair_1000_2", "alloc and free, 1,000 live, 2 threads, ns", ""},
    {"pair_1000_turns", "alloc and free, 1,000 live, 2 threads, addresses in turn, ns", ""},
    {"pair_10000_1", "alloc and free, 10,000 live, 1 thread, ns", "29,800"},
    {"pair_10000_2", "alloc and free, 10,000 live, 2 threads, ns", ""},
    {"pair_10000_turns", "alloc and free, 10,000 live, 2 threads, addresses in turn, ns", ""},
    {"mem_get_info", "cuMemGetInfo, ns", "1,200 to 1,460"},
};

void print(const std::string& name, double without, double with, const char* hami) {
    std::printf(
        "| %s | %.1f | %.1f | %.1f | %s |\n", name.c_str(), without, with, with - without, hami
    );
}

// False when a call could not be measured.
bool print_calls(const std::string& self) {
    // Five runs of each kind in turns; the table has the medians.
    std::map<std::string, std::vector<double>> seen[2];
    for (int round = 0; round < 5; ++round) {
        for (const bool guarded : {false, true}) {
            for (const auto& [name, value] : run_inside(self, guarded))
                seen[guarded ? 1 : 0][name].push_back(value);
        }
    }
    for (const Row& row : kRows) {
        const auto& without = seen[0][row.key];
        const auto& with = seen[1][row.key];
        if (without.empty() || with.empty()) {
            std::fprintf(stderr, "guard_bench: no measurement of %s\n", row.name);
            return false;
        }
        print(row.name, median(without), median(with), row.hami);
    }
    return true;
}

void print_starts(const std::string& self) {
    // Processes that start together are preempted at random: the medians of several such starts.
    for (const int processes : {1, 16, 128}) {
        std::vector<double> values[2][4];
        for (int round = 0; round < 15; ++round) {
            for (const bool guarded : {false, true}) {
                const Storm storm = init_storm(self, processes, guarded);
                values[guarded ? 1 : 0][0].push_back(storm.p50_us);
                values[guarded ? 1 : 0][1].push_back(storm.p99_us);
                values[guarded ? 1 : 0][2].push_back(storm.cpu_us);
                values[guarded ? 1 : 0][3].push_back(storm.context_cpu_us);
            }
        }
        const std::string text = "cuInit of " + std::to_string(processes) + " at once";
        const char* hami = processes == 1 ? "500, and 300,000 to find its host PID" : "";
        print(text + ", p50, us", median(values[0][0]), median(values[1][0]), hami);
        print(
            text + ", p99, us",
            median(values[0][1]),
            median(values[1][1]),
            processes == 128 ? "78,000,000 (612 N - 449 ms)" : ""
        );
        print(text + ", CPU time, us", median(values[0][2]), median(values[1][2]), "");
        print(
            "first context of " + std::to_string(processes) + " at once, CPU time, us",
            median(values[0][3]),
            median(values[1][3]),
            ""
        );
    }
}

}  // namespace

int main(int count, char** arguments) {
    if (count > 1 && std::string(arguments[1]) == "--inside") return inside();
    if (count > 1 && std::string(arguments[1]) == "--init") return only_init();
    const std::string self = fs::read_symlink("/proc/self/exe");
    const fs::path folder = fs::temp_directory_path() / ("guard_bench." + std::to_string(getpid()));
    fs::create_directories(folder);
    fs::current_path(folder);
    write_pages();
    setvbuf(stdout, nullptr, _IOLBF, 0);
    std::printf("| | without | with | added | HAMi-core adds |\n| --- | --- | --- | --- | --- |\n");
    const bool starts_only = count > 1 && std::string(arguments[1]) == "--starts";
    if (!starts_only && !print_calls(self)) return 1;
    print_starts(self);
    if (!starts_only) print("exec of /bin/true, us", exec_us(false), exec_us(true), "172");
    fs::current_path("/");
    fs::remove_all(folder);
    return 0;
}
