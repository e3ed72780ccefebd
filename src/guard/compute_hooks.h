// From the launch hooks to the compute controllers (compute/controller.h), one per card.
#pragma once

#include <cstdint>

#include "guard/compute/controller.h"
#include "guard/cuda_abi.h"
#include "guard/place.h"

namespace egpu::guard {

// Once, when the guard becomes active; and in the child of a fork.
void set_up_compute();
void forget_compute();

void compute_context_gone(cuda::CUcontext context);
void compute_graph_gone(cuda::CUgraphExec exec);
void compute_capture(bool begins);
// After a successful synchronise.
void compute_poll();

// The controller of the calling thread's card; nullptr when nothing is to be charged there.
CardController* controller_here();
ThreadState& thread_state();

inline void* stream_or_default(cuda::CUstream stream, Null null) {
    if (stream != nullptr) return stream;
    return reinterpret_cast<void*>(
        null == Null::legacy ? cuda::CU_STREAM_LEGACY : cuda::CU_STREAM_PER_THREAD
    );
}

// Makes the launch within the container's share.
template <class Call>
inline cuda::CUresult paced(const Launch& launch, Call call) {
    CardController* controller = controller_here();
    if (controller == nullptr) return call();
    ThreadState& thread = thread_state();
    const bool after = controller->before_launch(thread, launch);
    const cuda::CUresult result = call();
    if (after || result != cuda::CUDA_SUCCESS) {
        controller->after_launch(thread, launch, result == cuda::CUDA_SUCCESS);
    }
    return result;
}

}  // namespace egpu::guard
