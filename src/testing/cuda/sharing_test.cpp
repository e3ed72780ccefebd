// Several processes on one card: memory, death, fork, time, memory handed over, and what NVML says.
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include <sys/socket.h>

#include "guard/nvml_abi.h"
#include "testing/cuda/process_for_test.h"

namespace egpu::testing {
namespace {

using namespace egpu::cuda;
using namespace egpu::nvml;

class SimSharing : public SimDriver {};

void sleep_ms(int ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

// NVML in the test's own process would keep this node for all tests: in a child.
struct Nvml {
    Nvml() : ml(EDGE_GPU_SIM_LIBRARY) {
        if (ml("nvmlInit_v2") != 0 || ml("nvmlDeviceGetHandleByIndex_v2", 0U, &card) != 0)
            std::abort();
    }
    unsigned long long used() {
        nvmlMemory_t memory{};
        return ml("nvmlDeviceGetMemoryInfo", card, &memory) == 0 ? memory.used : ~0ULL;
    }
    std::vector<nvmlProcessInfo_v2_t> processes() {
        std::vector<nvmlProcessInfo_v2_t> list(64);
        unsigned count = 64;
        if (ml("nvmlDeviceGetComputeRunningProcesses_v3", card, &count, list.data()) != 0)
            count = 0;
        list.resize(count);
        return list;
    }
    Library ml;
    void* card = nullptr;
};

TEST_F(SimSharing, memory_of_a_killed_process_comes_back) {
    Baton holds;
    Baton never;
    Child holder([&](Report&) {
        const Library cu = cuda_with_context();
        CUdeviceptr address = 0;
        cu("cuMemAlloc_v2", &address, 10000 * kMib);
        holds.pass();
        never.take();
    });
    holds.take();
    const pid_t pid = holder.pid();
    Baton seen;
    Baton killed;
    Child other([&](Report& report) {
        const Library cu = cuda_with_context();
        const std::size_t rest = kTotal - kIdle - 2 * kContext - 10000 * kMib;
        IS(free_memory(cu), rest);
        CUdeviceptr address = 0;
        IS(cu("cuMemAlloc_v2", &address, 10000 * kMib), 2);
        Nvml nvml;
        IS(nvml.used(), kTotal - rest);
        const auto processes = nvml.processes();
        IS(processes.size(), 2U);
        for (const auto& process : processes) {
            const bool first = process.pid == static_cast<unsigned>(pid);
            IS(process.pid, static_cast<unsigned>(first ? pid : ::getpid()));
            IS(process.usedGpuMemory, kContext + (first ? 10000 * kMib : 0));
        }
        seen.pass();
        killed.take();
        IS(cu("cuMemAlloc_v2", &address, 10000 * kMib),
           0);  // at once: a refusal looks for the dead
        IS(nvml.processes().size(), 1U);
        IS(nvml.used(), kIdle + kContext + 10000 * kMib);
    });
    seen.take();
    holder.kill();
    killed.pass();
    EXPECT_EQ(other.finish(), "");
    Child last([](Report& report) {
        Nvml nvml;
        IS(nvml.used(), kIdle);
        IS(nvml.processes().size(), 0U);
    });
    EXPECT_EQ(last.finish(), "");
}

TEST_F(SimSharing, never_more_than_the_card_has) {
    set("context_mib 10");
    Baton ready;
    Baton go;  // a context, too, is refused while the others hold all there is
    std::vector<std::unique_ptr<Child>> children;
    for (int i = 0; i < 8; ++i) {
        children.push_back(std::make_unique<Child>([&, i](Report& report) {
            const Library cu = cuda_with_context();
            ready.pass();
            go.take();
            std::vector<CUdeviceptr> held;
            std::uint64_t random = 88172645463325252ULL + static_cast<std::uint64_t>(i);
            int refused = 0;
            for (int n = 0; n < 400; ++n) {
                random ^= random << 13U;
                random ^= random >> 7U;
                random ^= random << 17U;
                CUdeviceptr address = 0;
                const int result = cu("cuMemAlloc_v2", &address, (1 + random % 512) * kMib);
                if (result == 0) held.push_back(address);
                if (result == 2) ++refused;
                if ((result != 0 || random % 3 == 0) && !held.empty()) {
                    IS(cu("cuMemFree_v2", held.back()), 0);
                    held.pop_back();
                }
                std::size_t free = 0;
                std::size_t total = 0;
                IS(cu("cuMemGetInfo_v2", &free, &total), 0);
                WITHIN(free, std::size_t{0}, total);
                if (i == 7 && n == 300) ::raise(SIGKILL);
            }
            IS(refused > 0, true);
        }));
    }
    for (int i = 0; i < 8; ++i) ready.take();
    for (int i = 0; i < 8; ++i) go.pass();
    for (int i = 0; i < 7; ++i) EXPECT_EQ(children[static_cast<std::size_t>(i)]->finish(), "");
    EXPECT_NE(children[7]->finish(), "");
    Child last([](Report& report) {
        IS(free_memory(cuda_with_context()), kTotal - kIdle - 10 * kMib);
    });
    EXPECT_EQ(last.finish(), "");
}

void in_forked_child(Report& report, const Library& cu, CUdeviceptr parents) {
    IS(cu("cuInit", 0U), 3);
    IS(cu("cuMemFree_v2", parents), 3);
    CUdeviceptr own = 0;
    IS(cu("cuMemAlloc_v2", &own, kMib), 3);
}

TEST_F(SimSharing, a_forked_child_of_a_user_cannot_use_the_card) {
    Child child([](Report& report) {
        const Library cu = cuda_with_context();
        CUdeviceptr address = 0;
        IS(cu("cuMemAlloc_v2", &address, 64 * kMib), 0);
        const std::size_t before = free_memory(cu);
        Child forked([&](Report& inner) { in_forked_child(inner, cu, address); });
        IS(forked.finish(), "");
        IS(free_memory(cu), before);  // and its end is not its parent's
        IS(cu("cuMemFree_v2", address), 0);
    });
    EXPECT_EQ(child.finish(), "");
}

// GPU time that one process gets in `ms` of wall time with kernels of 1 ms.
double share(Report& report, int ms, const Baton* start, const Baton* ready) {
    const Library cu = cuda_with_context();
    void* work = kernel(cu, "work_1ms");
    if (ready != nullptr) ready->pass();
    if (start != nullptr) start->take();
    const auto begin = std::chrono::steady_clock::now();
    int done = 0;
    while (std::chrono::steady_clock::now() - begin < std::chrono::milliseconds(ms)) {
        for (int i = 0; i < 5; ++i) IS(launch(cu, work), 0);
        IS(cu("cuCtxSynchronize"), 0);
        done += 5;
    }
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    return done / took.count();
}

TEST_F(SimSharing, time_is_shared_evenly) {
    Child alone([](Report& report) { WITHIN(share(report, 300, nullptr, nullptr), 0.3, 1.01); });
    EXPECT_EQ(alone.finish(), "");
    Baton start;
    Baton ready;
    std::vector<std::unique_ptr<Child>> children;
    for (int i = 0; i < 2; ++i) {
        children.push_back(std::make_unique<Child>([&](Report& report) {
            WITHIN(share(report, 1000, &start, &ready), 0.15, 0.7);
        }));
    }
    ready.take();
    ready.take();
    start.pass();
    start.pass();
    for (auto& child : children) EXPECT_EQ(child->finish(), "");
}

TEST_F(SimSharing, a_killed_process_gives_its_time_back) {
    Baton computes;
    Child endless([&](Report&) {
        const Library cu = cuda_with_context();
        void* work = kernel(cu, "work_1000ms");
        for (int i = 0; i < 100; ++i) launch(cu, work);
        computes.pass();
        sleep_ms(60'000);
    });
    computes.take();
    endless.kill();
    Child next([](Report& report) { WITHIN(share(report, 300, nullptr, nullptr), 0.3, 1.01); });
    EXPECT_EQ(next.finish(), "");
}

TEST_F(SimSharing, nvml_samples_who_computed) {
    Baton launched;
    Child busy([&](Report&) {
        const Library cu = cuda_with_context();
        launch(cu, kernel(cu, "work_60000ms"));  // and the host does nothing
        launched.pass();
        sleep_ms(60'000);
    });
    launched.take();
    const auto pid = static_cast<unsigned>(busy.pid());
    Baton seen;
    Baton killed;
    Child looks([&](Report& report) {
        Nvml nvml;
        sleep_ms(600);
        nvmlUtilization_t rates{};
        IS(nvml.ml("nvmlDeviceGetUtilizationRates", nvml.card, &rates), 0);
        WITHIN(rates.gpu, 95U, 100U);
        std::vector<nvmlProcessUtilizationSample_t> samples(64);
        unsigned count = 64;
        IS(nvml.ml("nvmlDeviceGetProcessUtilization", nvml.card, samples.data(), &count, 0ULL), 0);
        WITHIN(count, 2U, 64U);
        IS(samples[1].pid, pid);
        WITHIN(samples[1].smUtil, 95U, 100U);
        const unsigned long long last = samples[count - 1].timeStamp;
        sleep_ms(400);
        unsigned more = 0;
        const auto none = static_cast<nvmlProcessUtilizationSample_t*>(nullptr);
        IS(nvml.ml("nvmlDeviceGetProcessUtilization", nvml.card, none, &more, last), 7);
        WITHIN(more, 2U, 64U);
        seen.pass();
        killed.take();
        sleep_ms(400);
        nvml.ml("nvmlDeviceGetUtilizationRates", nvml.card, &rates);  // the last period with work
        sleep_ms(200);
        IS(nvml.ml("nvmlDeviceGetUtilizationRates", nvml.card, &rates), 0);
        IS(rates.gpu, 0U);
        IS(nvml.ml("nvmlDeviceGetProcessUtilization", nvml.card, none, &more, 0ULL), 6);
    });
    seen.take();
    busy.kill();
    killed.pass();
    EXPECT_EQ(looks.finish(), "");
}

TEST_F(SimSharing, memory_is_handed_over_by_ipc_handles) {
    Baton filled;
    Baton changed;
    int ends[2] = {-1, -1};
    ASSERT_EQ(::pipe(ends), 0);
    Child owner([&](Report& report) {
        const Library cu = cuda_with_context();
        CUdeviceptr address = 0;
        CUipcMemHandle handle{};
        IS(cu("cuMemAlloc_v2", &address, std::size_t{5000}), 0);
        IS(cu("cuMemAlloc_v2", &address, std::size_t{5000}), 0);
        IS(cu("cuMemsetD8_v2", address, static_cast<unsigned char>('a'), std::size_t{5000}), 0);
        IS(cu("cuIpcGetMemHandle", &handle, address), 0);
        CUdeviceptr own = 0;
        IS(cu("cuIpcOpenMemHandle_v2", &own, handle, 1U), 201);
        IS(::write(ends[1], &handle, sizeof handle), static_cast<ssize_t>(sizeof handle));
        changed.take();
        char got = 0;
        IS(cu("cuMemcpyDtoH_v2", static_cast<void*>(&got), address + 4999, std::size_t{1}), 0);
        IS(got, 'b');
    });
    CUipcMemHandle handle{};
    ASSERT_EQ(::read(ends[0], &handle, sizeof handle), static_cast<ssize_t>(sizeof handle));
    ::close(ends[0]);
    ::close(ends[1]);
    Child guest([&](Report& report) {
        const Library cu = cuda_with_context();
        const std::size_t before = free_memory(cu);
        CUdeviceptr address = 0;
        IS(cu("cuIpcOpenMemHandle_v2", &address, handle, 1U), 0);
        IS(free_memory(cu), before);  // the owner's
        char got = 0;
        IS(cu("cuMemcpyDtoH_v2", static_cast<void*>(&got), address + 4999, std::size_t{1}), 0);
        IS(got, 'a');
        IS(cu("cuMemsetD8_v2", address + 4999, static_cast<unsigned char>('b'), std::size_t{1}), 0);
        IS(cu("cuMemFree_v2", address), 1);
        IS(cu("cuIpcCloseMemHandle", address), 0);
        IS(cu("cuIpcCloseMemHandle", address), 1);
        changed.pass();
    });
    EXPECT_EQ(guest.finish(), "");
    EXPECT_EQ(owner.finish(), "");
}

void send_fd(int socket, int fd) {
    char byte = 'x';
    iovec part{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
    ::sendmsg(socket, &message, 0);
}

int receive_fd(int socket) {
    char byte = 0;
    iovec part{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    int fd = -1;
    if (::recvmsg(socket, &message, 0) == 1)
        std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

TEST_F(SimSharing, virtual_memory_is_handed_over_by_file_descriptors) {
    int ends[2] = {-1, -1};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    const auto map = [](const Library& cu, CUmemGenericAllocationHandle handle, CUdeviceptr& address
                     ) {
        const CUmemAccessDesc access{{CU_MEM_LOCATION_TYPE_DEVICE, 0}, 3};
        return cu("cuMemAddressReserve", &address, 2 * kMib, std::size_t{0}, CUdeviceptr{0}, 0ULL) +
               cu("cuMemMap", address, 2 * kMib, std::size_t{0}, handle, 0ULL) +
               cu("cuMemSetAccess", address, 2 * kMib, &access, std::size_t{1});
    };
    Baton changed;
    Child owner([&](Report& report) {
        const Library cu = cuda_with_context();
        CUmemAllocationProp prop{};
        prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
        prop.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
        prop.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
        CUmemGenericAllocationHandle handle = 0;
        CUdeviceptr address = 0;
        int fd = -1;
        IS(cu("cuMemCreate", &handle, 2 * kMib, &prop, 0ULL), 0);
        IS(map(cu, handle, address), 0);
        IS(cu("cuMemExportToShareableHandle", static_cast<void*>(&fd), handle, 1, 0ULL), 0);
        send_fd(ends[0], fd);
        changed.take();
        char got = 0;
        IS(cu("cuMemcpyDtoH_v2", static_cast<void*>(&got), address + kMib, std::size_t{1}), 0);
        IS(got, 'v');
    });
    Child guest([&](Report& report) {
        const Library cu = cuda_with_context();
        const int fd = receive_fd(ends[1]);
        const std::size_t before = free_memory(cu);
        CUmemGenericAllocationHandle handle = 0;
        CUdeviceptr address = 0;
        IS(cu("cuMemImportFromShareableHandle",
              &handle,
              reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)),
              1),
           0);
        IS(map(cu, handle, address), 0);
        IS(free_memory(cu), before);
        IS(cu("cuMemsetD8_v2", address + kMib, static_cast<unsigned char>('v'), std::size_t{1}), 0);
        changed.pass();
    });
    EXPECT_EQ(guest.finish(), "");
    EXPECT_EQ(owner.finish(), "");
    ::close(ends[0]);
    ::close(ends[1]);
}

}  // namespace
}  // namespace egpu::testing
