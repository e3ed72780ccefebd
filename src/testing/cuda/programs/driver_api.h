// The driver API of a program that is linked with no CUDA: the real libcuda.so.1, or the simulated
// one, whichever the loader finds. Every failed call ends the program with its name and error.
#pragma once

#include <cstdio>
#include <cstdlib>

#include <dlfcn.h>

#include "guard/cuda_abi.h"

namespace egpu::testing::programs {

class DriverApi {
  public:
    DriverApi() : library_(dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL)) {
        if (library_ == nullptr) end("dlopen", dlerror());
    }

    // The answer of a call. The parameters' types are those of the arguments given.
    template <class... Args>
    egpu::cuda::CUresult ask(const char* name, Args... arguments) const {
        void* function = dlsym(library_, name);
        if (function == nullptr) end(name, "not in this driver");
        return reinterpret_cast<egpu::cuda::CUresult (*)(Args...)>(function)(arguments...);
    }

    // The same, and success is required.
    template <class... Args>
    void call(const char* name, Args... arguments) const {
        const egpu::cuda::CUresult result = ask(name, arguments...);
        if (result == egpu::cuda::CUDA_SUCCESS) return;
        const char* text = nullptr;
        ask("cuGetErrorString", result, &text);
        std::fprintf(stderr, "%s: error %d, %s\n", name, result, text == nullptr ? "?" : text);
        std::exit(1);
    }

    // A context of the card; returns how the driver calls the card.
    void open_card(int card) const {
        egpu::cuda::CUcontext context = nullptr;
        egpu::cuda::CUdevice device = 0;
        call("cuInit", 0U);
        call("cuDeviceGet", &device, card);
        call("cuCtxCreate_v2", &context, 0U, device);
    }

  private:
    [[noreturn]] static void end(const char* name, const char* why) {
        std::fprintf(stderr, "%s: %s\n", name, why == nullptr ? "failed" : why);
        std::exit(1);
    }

    void* library_;
};

}  // namespace egpu::testing::programs
