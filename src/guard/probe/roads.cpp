// The ways to the driver, and programs that have no business there.
#include <string>

#include <dirent.h>
#include <dlfcn.h>
#include <signal.h>
#include <sys/stat.h>

#include "guard/probe/probe.h"

namespace probe {
namespace {

using Alloc = int (*)(CUdeviceptr*, std::size_t);

bool is_limited(void* function) {
    CUdeviceptr at = 0;
    const int result = reinterpret_cast<Alloc>(function)(&at, 1100 * kMiB);
    if (result == 0) cuMemFree(at);
    return result == CUDA_ERROR_OUT_OF_MEMORY;
}

// Every road to cuMemAlloc that goes through the loader or the driver leads to the same limit.
void scenario_roads() {
    start();
    EXPECT(is_limited(dlsym(library, "cuMemAlloc_v2")));
    void* global = dlopen(library_path, RTLD_NOW | RTLD_GLOBAL);
    EXPECT(global != nullptr);
    EXPECT(is_limited(dlsym(global, "cuMemAlloc_v2")));
    EXPECT(is_limited(dlsym(RTLD_DEFAULT, "cuMemAlloc_v2")));
    EXPECT(is_limited(dlsym(RTLD_NEXT, "cuMemAlloc_v2")));
    EXPECT(is_limited(dlsym(dlopen(nullptr, RTLD_NOW), "cuMemAlloc_v2")));
    // dlsym itself, asked for in every way.
    using DlSym = void* (*)(void*, const char*);
    void* libc = dlopen("libc.so.6", RTLD_NOW);
    for (void* handle : {RTLD_DEFAULT, RTLD_NEXT, libc}) {
        const auto own = reinterpret_cast<DlSym>(dlsym(handle, "dlsym"));
        EXPECT(own != nullptr && is_limited(own(library, "cuMemAlloc_v2")));
    }
#if defined(__x86_64__)
    const auto versioned = reinterpret_cast<DlSym>(dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5"));
    EXPECT(versioned != nullptr && is_limited(versioned(library, "cuMemAlloc_v2")));
#endif
    using Get = int (*)(const char*, void**, int, cuuint64_t);
    using Get2 = int (*)(const char*, void**, int, cuuint64_t, int*);
    const auto get = reinterpret_cast<Get>(dlsym(library, "cuGetProcAddress"));
    const auto get2 = reinterpret_cast<Get2>(dlsym(library, "cuGetProcAddress_v2"));
    EXPECT(get != nullptr && get2 != nullptr);
    for (const int version : {3020, 11030, 11080, 12000, 12080, 13000}) {
        for (const cuuint64_t flags : {0, 1, 2}) {
            void* function = nullptr;
            int status = -1;
            EXPECT_RESULT(get2("cuMemAlloc", &function, version, flags, &status), 0);
            EXPECT(status == CU_GET_PROC_ADDRESS_SUCCESS);
            EXPECT(is_limited(function));
            EXPECT_RESULT(get("cuMemAlloc", &function, version, flags), 0);
            EXPECT(is_limited(function));
        }
    }
    // And cuGetProcAddress, got from itself.
    void* itself = nullptr;
    EXPECT_RESULT(get("cuGetProcAddress", &itself, 12000, 0), 0);
    void* function = nullptr;
    int status = -1;
    EXPECT_RESULT(reinterpret_cast<Get2>(itself)("cuMemAlloc", &function, 12000, 0, &status), 0);
    EXPECT(is_limited(function));
    // What the driver says about names it does not know comes through as it is.
    void* none = &none;
    EXPECT(
        get2("cuNoSuchFunction", &none, 12000, 0, &status) == CUDA_ERROR_NOT_FOUND ||
        status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND
    );
    // Per-thread default streams: another function than the legacy one, both limited.
    void* legacy = nullptr;
    void* per_thread = nullptr;
    EXPECT_RESULT(get2("cuMemAllocAsync", &legacy, 12000, 1, &status), 0);
    EXPECT_RESULT(get2("cuMemAllocAsync", &per_thread, 12000, 2, &status), 0);
    EXPECT(legacy != per_thread);
    EXPECT(per_thread == dlsym(library, "cuMemAllocAsync_ptsz"));
    using AllocAsync = int (*)(CUdeviceptr*, std::size_t, CUstream);
    CUdeviceptr at = 0;
    EXPECT_RESULT(
        reinterpret_cast<AllocAsync>(per_thread)(&at, 1100 * kMiB, nullptr),
        CUDA_ERROR_OUT_OF_MEMORY
    );
    EXPECT_RESULT(
        reinterpret_cast<AllocAsync>(legacy)(&at, 1100 * kMiB, nullptr), CUDA_ERROR_OUT_OF_MEMORY
    );
    EXPECT(dlsym(library, "cuLaunchKernel") != dlsym(library, "cuLaunchKernel_ptsz"));
}

int count_entries(const char* path) {
    DIR* folder = opendir(path);
    int count = 0;
    while (readdir(folder) != nullptr) ++count;
    closedir(folder);
    return count;
}

// A program that never uses CUDA is left alone, whatever it looks up.
void scenario_bystander() {
    const mode_t mask = umask(027);
    umask(mask);
    const int fds = count_entries("/proc/self/fd");
    const int tasks = count_entries("/proc/self/task");
    EXPECT(dlsym(RTLD_DEFAULT, "curl_easy_init") == nullptr);
    EXPECT(dlerror() != nullptr);
    EXPECT(dlsym(RTLD_DEFAULT, "cuInit") == nullptr);
    EXPECT(std::string(dlerror()).find("cuInit") != std::string::npos);
    EXPECT(dlsym(RTLD_NEXT, "cuMemAlloc_v2") == nullptr);
    EXPECT(dlsym(dlopen(nullptr, RTLD_NOW), "cuInit") == nullptr);
    EXPECT(dlsym(RTLD_DEFAULT, "malloc") != nullptr);
    EXPECT(dlsym(RTLD_NEXT, "malloc") != nullptr);
    EXPECT(dlsym(RTLD_NEXT, "malloc") != nullptr);  // and a second time
    EXPECT(dlsym(library, "cuMemAlloc_v2") != nullptr);
    EXPECT(umask(mask) == mask);
    EXPECT(count_entries("/proc/self/fd") == fds);
    EXPECT(count_entries("/proc/self/task") == tasks);
    for (int number = 1; number < 32; ++number) {
        struct sigaction action {};
        sigaction(number, nullptr, &action);
        EXPECT(action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN);
    }
}

// After cuInit as well: no signal is handled, the mask is the program's.
void scenario_after_init() {
    start();
    for (int number = 1; number < 32; ++number) {
        struct sigaction action {};
        sigaction(number, nullptr, &action);
        EXPECT(action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN);
    }
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, nullptr, &blocked);
    EXPECT(sigismember(&blocked, SIGUSR2) == 0);
}

// A program that only looks at the cards gets no thread and no place in the accounts; with its
// first context it has both. The test reads the ledger when it is told to.
void scenario_looks() {
    EXPECT_RESULT(cuInit(0), CUDA_SUCCESS);
    std::size_t bytes = 0;
    EXPECT_RESULT(cuDeviceTotalMem(&bytes, 0), CUDA_SUCCESS);
    EXPECT(bytes == 1024 * kMiB);
    const void* table = nullptr;
    CUuuid id{};
    Function<const void**, const CUuuid*>{"cuGetExportTable"}(&table, &id);
    const int tasks = count_entries("/proc/self/task");
    const auto tell = [] {
        std::printf("look\n");
        std::fflush(stdout);
        char line[8];
        EXPECT(std::fgets(line, sizeof line, stdin) != nullptr);
    };
    tell();
    start();
    EXPECT(count_entries("/proc/self/task") > tasks);
    tell();
}

void scenario_refused() {
    EXPECT_RESULT(cuInit(0), CUDA_ERROR_SYSTEM_NOT_READY);
    // Whoever goes on regardless gets nowhere.
    CUcontext context = nullptr;
    EXPECT_RESULT(cuDevicePrimaryCtxRetain(&context, 0), CUDA_ERROR_SYSTEM_NOT_READY);
    CUdeviceptr at = 0;
    EXPECT_RESULT(cuMemAlloc(&at, kMiB), CUDA_ERROR_SYSTEM_NOT_READY);
}

// No limits: the card is as large as it is.
void scenario_open() {
    start();
    EXPECT(total_now() > 4096 * kMiB);
    CUdeviceptr at = 0;
    EXPECT_RESULT(cuMemAlloc(&at, 4096 * kMiB), 0);
    EXPECT_RESULT(cuMemFree(at), 0);
}

}  // namespace

void add_roads(Scenarios& to) {
    to["roads"] = scenario_roads;
    to["bystander"] = scenario_bystander;
    to["after_init"] = scenario_after_init;
    to["looks"] = scenario_looks;
    to["refused"] = scenario_refused;
    to["open"] = scenario_open;
}

}  // namespace probe
