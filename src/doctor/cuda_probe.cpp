#include "doctor/cuda_probe.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

#include <dlfcn.h>

#include "base/json.h"

namespace egpu::doctor {
namespace {

constexpr std::size_t kAllocated = 1U << 20;

// CUresult, CUdevice and CUdeviceptr as the driver API declares them; contexts are opaque.
using Code = int;
using Device = int;
using Pointer = std::uint64_t;
using Context = void*;

template <class F>
F symbol(void* library, const char* name) {
    return reinterpret_cast<F>(::dlsym(library, name));
}

Code try_memory(void* library, Device device) {
    const auto create = symbol<Code (*)(Context*, unsigned, Device)>(library, "cuCtxCreate_v2");
    const auto destroy = symbol<Code (*)(Context)>(library, "cuCtxDestroy_v2");
    const auto alloc = symbol<Code (*)(Pointer*, std::size_t)>(library, "cuMemAlloc_v2");
    const auto release = symbol<Code (*)(Pointer)>(library, "cuMemFree_v2");
    if (create == nullptr || destroy == nullptr || alloc == nullptr || release == nullptr)
        return -1;
    Context context = nullptr;
    if (const Code code = create(&context, 0, device); code != 0) return code;
    Pointer pointer = 0;
    const Code code = alloc(&pointer, kAllocated);
    if (code == 0) release(pointer);
    destroy(context);
    return code;
}

json::value ask(void* library, Device index) {
    json::object out;
    const auto get = symbol<Code (*)(Device*, int)>(library, "cuDeviceGet");
    const auto get_name = symbol<Code (*)(char*, int, Device)>(library, "cuDeviceGetName");
    const auto get_memory = symbol<Code (*)(std::size_t*, Device)>(library, "cuDeviceTotalMem_v2");
    Device device = index;
    char name[256] = {};
    std::size_t bytes = 0;
    if (get != nullptr) out["code"] = get(&device, index);
    if (get_name != nullptr) get_name(name, sizeof name - 1, device);
    if (get_memory != nullptr) get_memory(&bytes, device);
    out["name"] = name;
    out["memoryMiB"] = bytes >> 20;
    out["alloc"] = try_memory(library, device);
    return out;
}

}  // namespace

int run_cuda_probe(int /*argc*/, char** /*argv*/) {
    json::object out;
    Code init = -1;
    void* library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        const char* why = ::dlerror();
        out["error"] = why == nullptr ? "libcuda.so.1 cannot be loaded" : why;
    } else {
        const auto cu_init = symbol<Code (*)(unsigned)>(library, "cuInit");
        const auto version = symbol<Code (*)(int*)>(library, "cuDriverGetVersion");
        const auto count = symbol<Code (*)(int*)>(library, "cuDeviceGetCount");
        int cuda = 0;
        int devices = 0;
        if (cu_init != nullptr) init = cu_init(0);
        out["cuInit"] = init;
        if (version != nullptr) version(&cuda);
        out["cudaVersion"] = cuda;
        if (init == 0 && count != nullptr) count(&devices);
        json::array list;
        for (Device i = 0; i < devices; ++i) list.push_back(ask(library, i));
        out["devices"] = std::move(list);
    }
    std::printf("%s\n", json::to_text(out).c_str());
    return init == 0 ? 0 : 1;
}

}  // namespace egpu::doctor
