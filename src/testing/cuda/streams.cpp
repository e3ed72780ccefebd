#include "testing/cuda/capture.h"
#include "testing/cuda/graph_exec.h"

namespace egpu::testing::cuda {
namespace {

CUresult create(CUstream* out, unsigned flags, int priority) {
    REQUIRE(out != nullptr && (flags & ~CU_STREAM_NON_BLOCKING) == 0);
    CONTEXT(context);
    const std::lock_guard lock(engine().mutex);
    *out = reinterpret_cast<CUstream>(engine().add_stream(context, flags, priority));
    return CUDA_SUCCESS;
}

CUresult destroy(CUstream handle) {
    REQUIRE(reinterpret_cast<std::uintptr_t>(handle) > CU_STREAM_PER_THREAD);
    STREAM(stream, handle, Default::kLegacy);
    const std::lock_guard lock(engine().mutex);
    if (stream->capture != nullptr) stream->capture->invalid = true;
    if (stream->capture != nullptr) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    engine().close_stream(stream);
    return CUDA_SUCCESS;
}

CUresult query(CUstream handle, Default flavour) {
    STREAM(stream, handle, flavour);
    if (const CUresult result = refuse_in_capture(); result != CUDA_SUCCESS) return result;
    const std::lock_guard lock(engine().mutex);
    return engine().idle(stream) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult synchronise(CUstream handle, Default flavour) {
    STREAM(stream, handle, flavour);
    if (const CUresult result = refuse_in_capture(); result != CUDA_SUCCESS) return result;
    Device& device = *stream->context->device;
    if (stream->legacy) {
        // Ordered with the blocking streams: what is on them now, too.
        Context* context = stream->context;
        std::vector<Stream*> others;
        {
            const std::lock_guard lock(engine().mutex);
            for (Stream* other : context->streams) {
                if (other->blocking && !other->waiting.empty()) others.push_back(other);
            }
        }
        for (Stream* other : others) engine().wait_for(other);
    }
    engine().wait_for(stream);
    settle_pools(device);
    return CUDA_SUCCESS;
}

CUresult wait_event(CUstream handle, CUevent event_handle, unsigned flags, Default flavour) {
    REQUIRE(flags <= 1);
    STREAM(stream, handle, flavour);
    std::unique_lock lock(engine().mutex);
    Event* event = event_of(event_handle);
    if (event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (event->capture_id != 0) return capture_wait(stream, event);
    if (stream->capture != nullptr) {
        stream->capture->invalid = true;
        return kStreamCaptureIsolation;
    }
    if (const CUresult result = check_implicit(stream); result != CUDA_SUCCESS) return result;
    enqueue_wait(lock, stream, event);
    return CUDA_SUCCESS;
}

CUresult add_callback(
    CUstream handle,
    void (*callback)(CUstream, CUresult, void*),
    void* data,
    unsigned flags,
    Default flavour
) {
    REQUIRE(callback != nullptr && flags == 0);
    STREAM(stream, handle, flavour);
    {
        const std::lock_guard lock(engine().mutex);
        if (stream->capture != nullptr) {
            stream->capture->invalid = true;
            return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
    }
    Task task;
    task.type = CU_GRAPH_NODE_TYPE_HOST;
    task.work = [callback, handle, data] { callback(handle, CUDA_SUCCESS, data); };
    return run_task(stream, std::move(task));
}

}  // namespace
}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

CU(cuStreamCreate)(CUstream* out, unsigned flags) {
    ENTER();
    return create(out, flags, 0);
}
CU(cuStreamCreateWithPriority)(CUstream* out, unsigned flags, int priority) {
    ENTER();
    return create(out, flags, priority);
}
CU(cuStreamDestroy)(CUstream stream) {
    ENTER();
    return destroy(stream);
}
CU(cuStreamDestroy_v2)(CUstream stream) {
    ENTER();
    return destroy(stream);
}

// Both flavours of a call on a stream.
#define BOTH(name, parameters, ...)                      \
    CU(name) parameters {                                \
        ENTER();                                         \
        constexpr Default flavour = Default::kLegacy;    \
        __VA_ARGS__                                      \
    }                                                    \
    CU(name##_ptsz) parameters {                         \
        ENTER();                                         \
        constexpr Default flavour = Default::kPerThread; \
        __VA_ARGS__                                      \
    }

BOTH(cuStreamQuery, (CUstream handle), return query(handle, flavour);)
BOTH(cuStreamSynchronize, (CUstream handle), return synchronise(handle, flavour);)
BOTH(cuStreamWaitEvent,
     (CUstream handle, CUevent event, unsigned flags),
     return wait_event(handle, event, flags, flavour);)
BOTH(cuStreamAddCallback,
     (CUstream handle, void (*callback)(CUstream, CUresult, void*), void* data, unsigned flags),
     return add_callback(handle, callback, data, flags, flavour);)
BOTH(cuStreamGetFlags, (CUstream handle, unsigned* flags), REQUIRE(flags != nullptr);
     STREAM(stream, handle, flavour);
     *flags = stream->flags;
     return CUDA_SUCCESS;)
BOTH(cuStreamGetPriority, (CUstream handle, int* priority), REQUIRE(priority != nullptr);
     STREAM(stream, handle, flavour);
     *priority = stream->priority;
     return CUDA_SUCCESS;)
BOTH(cuStreamGetId, (CUstream handle, unsigned long long* id), REQUIRE(id != nullptr);
     STREAM(stream, handle, flavour);
     *id = stream->id;
     return CUDA_SUCCESS;)
BOTH(cuStreamGetCtx, (CUstream handle, CUcontext* out), REQUIRE(out != nullptr);
     STREAM(stream, handle, flavour);
     *out = reinterpret_cast<CUcontext>(stream->context);
     return CUDA_SUCCESS;)
BOTH(cuStreamGetDevice, (CUstream handle, CUdevice* out), REQUIRE(out != nullptr);
     STREAM(stream, handle, flavour);
     *out = stream->context->device->ordinal;
     return CUDA_SUCCESS;)
BOTH(cuStreamAttachMemAsync,
     (CUstream handle, CUdeviceptr address, std::size_t, unsigned flags),
     REQUIRE(flags == 1 || flags == 2 || flags == 4);
     STREAM(stream, handle, flavour);
     REQUIRE(accessible(address, 1));
     return CUDA_SUCCESS;)
