// A CUDA program for tests: uses the driver as programs do (dlopen, dlsym, cuGetProcAddress) and
// checks what it is told. Knows nothing of the guard, which is preloaded by the test.
//
//     guard_probe LIBCUDA SCENARIO [ARGUMENT]
//
// Exits 0, or 1 with a line that says which expectation failed. A scenario's quota is what its test
// wrote.
#include "guard/probe/probe.h"

#include <dlfcn.h>

namespace probe {

const char* library_path = nullptr;
void* library = nullptr;

void* find(const char* name) {
    void* symbol = dlsym(library, name);
    if (symbol == nullptr) {
        std::printf("%s has no %s\n", library_path, name);
        std::fflush(stdout);
        _exit(1);
    }
    return symbol;
}

CUcontext start() {
    EXPECT_RESULT(cuInit(0), CUDA_SUCCESS);
    CUcontext context = nullptr;
    EXPECT_RESULT(cuDevicePrimaryCtxRetain(&context, 0), CUDA_SUCCESS);
    EXPECT_RESULT(cuCtxSetCurrent(context), CUDA_SUCCESS);
    return context;
}

std::size_t free_now() {
    std::size_t free = 0;
    std::size_t total = 0;
    EXPECT_RESULT(cuMemGetInfo(&free, &total), CUDA_SUCCESS);
    return free;
}

std::size_t total_now() {
    std::size_t free = 0;
    std::size_t total = 0;
    EXPECT_RESULT(cuMemGetInfo(&free, &total), CUDA_SUCCESS);
    return total;
}

CUfunction kernel_of_100us() {
    CUmodule module = nullptr;
    CUfunction kernel = nullptr;
    EXPECT_RESULT((Function<CUmodule*, const void*>{"cuModuleLoadData"}(&module, "image")), 0);
    EXPECT_RESULT(
        (Function<CUfunction*, CUmodule, const char*>{
            "cuModuleGetFunction"}(&kernel, module, "work_100us")),
        0
    );
    return kernel;
}

CUmemAllocationProp on_card() {
    CUmemAllocationProp prop{};
    prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    prop.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
    return prop;
}

}  // namespace probe

int main(int count, char** arguments) {
    using namespace probe;
    if (count < 3) return 2;
    library_path = arguments[1];
    library = dlopen(library_path, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        std::printf("%s\n", dlerror());
        return 1;
    }
    const std::string argument = count > 3 ? arguments[3] : "0";
    Scenarios scenarios;
    add_memory(scenarios);
    add_contexts(scenarios);
    add_roads(scenarios);
    add_reports(scenarios, argument);
    add_sharing(scenarios, argument);
    add_captures(scenarios);
    add_odd(scenarios, argument);
    add_launches(scenarios, argument);
    const auto found = scenarios.find(arguments[2]);
    if (found == scenarios.end()) return 2;
    found->second();
    std::fflush(stdout);
    // Without destructors: threads of the driver may still run.
    _exit(0);
}
