#include "testing/cuda/capture.h"
#include "testing/cuda/graph_exec.h"

namespace egpu::testing::cuda {

Event* event_of(CUevent handle) {
    auto* event = reinterpret_cast<Event*>(handle);
    return event != nullptr && event->live == Event::kLive && !event->closing ? event : nullptr;
}

void enqueue_record(std::unique_lock<std::mutex>& lock, Stream* stream, Event* event) {
    Operation operation;
    operation.kind = Operation::Kind::kRecord;
    operation.event = event;
    operation.id = event->id;
    operation.position = ++event->recorded;
    engine().enqueue(lock, stream, std::move(operation));
}

void enqueue_wait(std::unique_lock<std::mutex>& lock, Stream* stream, Event* event) {
    if (event->done >= event->recorded) return;
    Operation operation;
    operation.kind = Operation::Kind::kWaitEvent;
    operation.event = event;
    operation.id = event->id;
    operation.position = event->recorded;
    engine().enqueue(lock, stream, std::move(operation));
}

namespace {

CUresult record(CUevent handle, CUstream stream_handle, unsigned flags, Default flavour) {
    REQUIRE(flags <= 1);
    STREAM(stream, stream_handle, flavour);
    spend(driver().settings.event_ns);
    std::unique_lock lock(engine().mutex);
    Event* event = event_of(handle);
    if (event == nullptr || event->context != stream->context) return CUDA_ERROR_INVALID_HANDLE;
    if (const CUresult result = check_implicit(stream); result != CUDA_SUCCESS) return result;
    if (stream->capture != nullptr) {
        if (stream->capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        if (flags == 1) {  // external: a node
            Task task;
            task.type = kEventRecordNode;
            task.event = event;
            return capture_task(stream, std::move(task));
        }
        capture_record(stream, event);
        return CUDA_SUCCESS;
    }
    event->capture_id = 0;
    event->captured.clear();
    enqueue_record(lock, stream, event);
    return CUDA_SUCCESS;
}

CUresult query(CUevent handle) {
    if (const CUresult result = refuse_in_capture(); result != CUDA_SUCCESS) return result;
    spend(driver().settings.event_ns);
    const std::lock_guard lock(engine().mutex);
    Event* event = event_of(handle);
    if (event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (event->capture_id != 0) return kCapturedEvent;
    if (event->done < event->recorded) engine().pump();
    return event->done >= event->recorded ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult elapsed(float* ms, CUevent start_handle, CUevent end_handle) {
    REQUIRE(ms != nullptr);
    const std::lock_guard lock(engine().mutex);
    const Event* start = event_of(start_handle);
    const Event* end = event_of(end_handle);
    if (start == nullptr || end == nullptr || start->recorded == 0 || end->recorded == 0 ||
        ((start->flags | end->flags) & CU_EVENT_DISABLE_TIMING) != 0) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    engine().pump();
    if (start->done < start->recorded || end->done < end->recorded) return CUDA_ERROR_NOT_READY;
    const auto ns = static_cast<double>(end->done_at) - static_cast<double>(start->done_at);
    *ms = static_cast<float>(ns / 1e6);
    return CUDA_SUCCESS;
}

CUresult destroy(CUevent handle) {
    const std::lock_guard lock(engine().mutex);
    Event* event = event_of(handle);
    if (event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (event->done < event->recorded) engine().pump();
    engine().close_event(event);
    return CUDA_SUCCESS;
}

}  // namespace
}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

CU(cuEventCreate)(CUevent* out, unsigned flags) {
    ENTER();
    REQUIRE(out != nullptr && (flags & ~7U) == 0);
    CONTEXT(context);
    const std::lock_guard lock(engine().mutex);
    Event* event = Stable<Event>::make();
    event->flags = flags;
    event->context = context;
    event->device = context->device;
    event->id = driver().next_id++;
    event->live = Event::kLive;
    *out = reinterpret_cast<CUevent>(event);
    return CUDA_SUCCESS;
}
CU(cuEventDestroy)(CUevent event) {
    ENTER();
    return destroy(event);
}
CU(cuEventDestroy_v2)(CUevent event) {
    ENTER();
    return destroy(event);
}
CU(cuEventRecord)(CUevent event, CUstream stream) {
    ENTER();
    return record(event, stream, 0, Default::kLegacy);
}
CU(cuEventRecord_ptsz)(CUevent event, CUstream stream) {
    ENTER();
    return record(event, stream, 0, Default::kPerThread);
}
CU(cuEventRecordWithFlags)(CUevent event, CUstream stream, unsigned flags) {
    ENTER();
    return record(event, stream, flags, Default::kLegacy);
}
CU(cuEventRecordWithFlags_ptsz)(CUevent event, CUstream stream, unsigned flags) {
    ENTER();
    return record(event, stream, flags, Default::kPerThread);
}
CU(cuEventQuery)(CUevent event) {
    ENTER();
    return query(event);
}
CU(cuEventSynchronize)(CUevent handle) {
    ENTER();
    if (const CUresult result = refuse_in_capture(); result != CUDA_SUCCESS) return result;
    Event* event = event_of(handle);
    if (event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (event->capture_id != 0) return kCapturedEvent;
    Device& device = *event->device;
    engine().wait_for(event);
    settle_pools(device);
    return CUDA_SUCCESS;
}
CU(cuEventElapsedTime)(float* ms, CUevent start, CUevent end) {
    ENTER();
    return elapsed(ms, start, end);
}
CU(cuEventElapsedTime_v2)(float* ms, CUevent start, CUevent end) {
    ENTER();
    return elapsed(ms, start, end);
}
