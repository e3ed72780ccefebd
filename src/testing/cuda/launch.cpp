// Kernels and host functions put on streams.
#include "testing/cuda/capture.h"
#include "testing/cuda/graph.h"

namespace egpu::testing::cuda {

CUresult kernel_task(Context* context, const void* handle, const Launch& launch, Task& out) {
    const Function* function = function_of(handle);
    if (function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    out.type = CU_GRAPH_NODE_TYPE_KERNEL;
    auto& params = out.kernel_params;
    params.func = reinterpret_cast<CUfunction>(const_cast<Function*>(function));
    params.gridDimX = launch.grid[0];
    params.gridDimY = launch.grid[1];
    params.gridDimZ = launch.grid[2];
    params.blockDimX = launch.block[0];
    params.blockDimY = launch.block[1];
    params.blockDimZ = launch.block[2];
    params.sharedMemBytes = launch.shared;
    return model_kernel(*context->device, *function, launch, out.kernel);
}

Operation operation_of(Task task) {
    Operation operation;
    operation.kind = task.type == CU_GRAPH_NODE_TYPE_KERNEL ? Operation::Kind::kKernel
                     : task.type == CU_GRAPH_NODE_TYPE_HOST ? Operation::Kind::kHost
                     : task.kernel.cost_ns > 0              ? Operation::Kind::kCopy
                                                            : Operation::Kind::kWork;
    operation.kernel = task.kernel;
    operation.engine = task.engine;
    operation.work = std::move(task.work);
    return operation;
}

CUresult run_task(Stream* stream, Task task, bool wait) {
    {
        std::unique_lock lock(engine().mutex);
        if (const CUresult result = check_implicit(stream); result != CUDA_SUCCESS) return result;
        if (stream->capture != nullptr) {
            if (!wait) return capture_task(stream, std::move(task));
            stream->capture->invalid = true;
            return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
        engine().enqueue(lock, stream, operation_of(std::move(task)));
        if (stream->waiting.empty()) return CUDA_SUCCESS;
    }
    if (wait) engine().wait_for(stream);
    return CUDA_SUCCESS;
}

namespace {

CUresult launch_kernel(
    const void* function, const Launch& launch, CUstream handle, Default flavour
) {
    STREAM(stream, handle, flavour);
    spend(driver().settings.launch_ns);
    if (!any_capture()) {  // the short way: no task
        const Function* found = function_of(function);
        if (found == nullptr) return CUDA_ERROR_INVALID_HANDLE;
        Operation operation;
        operation.kind = Operation::Kind::kKernel;
        const CUresult result =
            model_kernel(*stream->context->device, *found, launch, operation.kernel);
        if (result != CUDA_SUCCESS) return result;
        std::unique_lock lock(engine().mutex);
        engine().enqueue(lock, stream, std::move(operation));
        return CUDA_SUCCESS;
    }
    Task task;
    if (const CUresult result = kernel_task(stream->context, function, launch, task);
        result != CUDA_SUCCESS) {
        return result;
    }
    return run_task(stream, std::move(task));
}

constexpr int kAttributeCooperative = 2;

CUresult launch_config(
    const CUlaunchConfig* config,
    CUfunction function,
    void** parameters,
    void** extra,
    Default flavour
) {
    REQUIRE(config != nullptr && (config->numAttrs == 0 || config->attrs != nullptr));
    Launch launch{
        {config->gridDimX, config->gridDimY, config->gridDimZ},
        {config->blockDimX, config->blockDimY, config->blockDimZ},
        config->sharedMemBytes,
        parameters,
        extra};
    for (unsigned i = 0; i < config->numAttrs; ++i) {
        if (config->attrs[i].id == kAttributeCooperative) launch.cooperative = true;
    }
    return launch_kernel(function, launch, config->hStream, flavour);
}

CUresult host_function(CUstream handle, void (*function)(void*), void* data, Default flavour) {
    REQUIRE(function != nullptr);
    STREAM(stream, handle, flavour);
    Task task;
    task.type = CU_GRAPH_NODE_TYPE_HOST;
    task.host_function = function;
    task.host_data = data;
    task.work = [function, data] { function(data); };
    return run_task(stream, std::move(task));
}

CUresult launch_old(CUfunction handle, unsigned width, unsigned height, CUstream stream) {
    const Function* function = function_of(handle);
    if (function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    const Launch launch{
        {width, height, 1},
        {function->block[0], function->block[1], function->block[2]},
        0,
        nullptr,
        nullptr};
    return launch_kernel(handle, launch, stream, Default::kLegacy);
}

}  // namespace
}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

#define SHAPE                                                                             \
    CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, \
        unsigned bz, unsigned shared, CUstream stream, void **parameters

CU(cuLaunchKernel)(SHAPE, void** extra) {
    ENTER();
    return launch_kernel(
        function, {{gx, gy, gz}, {bx, by, bz}, shared, parameters, extra}, stream, Default::kLegacy
    );
}
CU(cuLaunchKernel_ptsz)(SHAPE, void** extra) {
    ENTER();
    return launch_kernel(
        function,
        {{gx, gy, gz}, {bx, by, bz}, shared, parameters, extra},
        stream,
        Default::kPerThread
    );
}
CU(cuLaunchKernelEx)
(const CUlaunchConfig* config, CUfunction function, void** parameters, void** extra) {
    ENTER();
    return launch_config(config, function, parameters, extra, Default::kLegacy);
}
CU(cuLaunchKernelEx_ptsz)
(const CUlaunchConfig* config, CUfunction function, void** parameters, void** extra) {
    ENTER();
    return launch_config(config, function, parameters, extra, Default::kPerThread);
}
CU(cuLaunchCooperativeKernel)(SHAPE) {
    ENTER();
    return launch_kernel(
        function,
        {{gx, gy, gz}, {bx, by, bz}, shared, parameters, nullptr, true},
        stream,
        Default::kLegacy
    );
}
CU(cuLaunchCooperativeKernel_ptsz)(SHAPE) {
    ENTER();
    return launch_kernel(
        function,
        {{gx, gy, gz}, {bx, by, bz}, shared, parameters, nullptr, true},
        stream,
        Default::kPerThread
    );
}
CU(cuLaunchCooperativeKernelMultiDevice)(CUDA_LAUNCH_PARAMS* list, unsigned count, unsigned flags) {
    ENTER();
    REQUIRE(list != nullptr && count > 0 && (flags & ~3U) == 0);
    std::set<Device*> devices;
    for (unsigned i = 0; i < count; ++i) {
        // Streams must be made by the caller, one on each device.
        REQUIRE(reinterpret_cast<std::uintptr_t>(list[i].hStream) > CU_STREAM_PER_THREAD);
        STREAM(stream, list[i].hStream, Default::kLegacy);
        REQUIRE(devices.insert(stream->context->device).second);
    }
    for (unsigned i = 0; i < count; ++i) {
        const CUDA_LAUNCH_PARAMS& p = list[i];
        const CUresult result = launch_kernel(
            p.function,
            {{p.gridDimX, p.gridDimY, p.gridDimZ},
             {p.blockDimX, p.blockDimY, p.blockDimZ},
             p.sharedMemBytes,
             p.kernelParams,
             nullptr,
             true},
            p.hStream,
            Default::kLegacy
        );
        if (result != CUDA_SUCCESS) return result;
    }
    return CUDA_SUCCESS;
}
CU(cuLaunchHostFunc)(CUstream stream, void (*function)(void*), void* data) {
    ENTER();
    return host_function(stream, function, data, Default::kLegacy);
}
CU(cuLaunchHostFunc_ptsz)(CUstream stream, void (*function)(void*), void* data) {
    ENTER();
    return host_function(stream, function, data, Default::kPerThread);
}

// Before CUDA 4.0: the shape and the parameters are the function's.
CU(cuFuncSetBlockShape)(CUfunction handle, int x, int y, int z) {
    ENTER();
    Function* function = function_of(handle);
    if (function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    REQUIRE(x > 0 && y > 0 && z > 0 && x <= 1024 && y <= 1024 && z <= 64);
    function->block[0] = static_cast<unsigned>(x);
    function->block[1] = static_cast<unsigned>(y);
    function->block[2] = static_cast<unsigned>(z);
    return CUDA_SUCCESS;
}
CU(cuFuncSetSharedSize)(CUfunction handle, unsigned) {
    ENTER();
    return function_of(handle) != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
CU(cuParamSetSize)(CUfunction handle, unsigned) {
    ENTER();
    return function_of(handle) != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
CU(cuParamSeti)(CUfunction handle, int offset, unsigned value) {
    ENTER();
    Function* function = function_of(handle);
    if (function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    REQUIRE(offset >= 0);
    if (offset == 0) function->parameter = value;
    return CUDA_SUCCESS;
}
CU(cuParamSetv)(CUfunction handle, int offset, void* value, unsigned size) {
    ENTER();
    Function* function = function_of(handle);
    if (function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    REQUIRE(offset >= 0 && value != nullptr);
    if (offset == 0 && size >= sizeof function->parameter) {
        __builtin_memcpy(&function->parameter, value, sizeof function->parameter);
    }
    return CUDA_SUCCESS;
}
CU(cuLaunch)(CUfunction function) {
    ENTER();
    return launch_old(function, 1, 1, nullptr);
}
CU(cuLaunchGrid)(CUfunction function, int width, int height) {
    ENTER();
    REQUIRE(width > 0 && height > 0);
    return launch_old(
        function, static_cast<unsigned>(width), static_cast<unsigned>(height), nullptr
    );
}
CU(cuLaunchGridAsync)(CUfunction function, int width, int height, CUstream stream) {
    ENTER();
    REQUIRE(width > 0 && height > 0);
    return launch_old(
        function, static_cast<unsigned>(width), static_cast<unsigned>(height), stream
    );
}
