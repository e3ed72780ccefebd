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
// Some stream of this process captures.
bool anything_captures();
// After a successful synchronise.
void compute_poll();

// The controller of the only card there is, while the guard is active and no stream captures;
// nullptr: controller_here() knows more.
extern std::atomic<CardController*> only_controller;
// What a thread carries; its id is 0 until thread_state() was called in it.
extern constinit thread_local ThreadState own_state;

// The controller of the calling thread's card; nullptr when nothing is to be charged there.
CardController* controller_here();
std::uint32_t new_thread_id();
inline ThreadState& thread_state() {
    if (own_state.id == 0) [[unlikely]]
        own_state.id = new_thread_id();
    return own_state;
}

// The group of threads that this one is in, for what is kept apart by threads.
inline unsigned own_shard() {
    return thread_state().id % kShards;
}

// What a launch needs that its thread's credit does not pay for, before it; and what is left to do
// after it when the thread says so (close_after) or it failed.
[[gnu::cold]] void pace_slowly(
    const void* function,
    unsigned gx,
    unsigned gy,
    unsigned gz,
    unsigned bx,
    unsigned by,
    unsigned bz,
    void* stream
);
[[gnu::cold]] void launch_made(bool launched);
// The same for one that credit paid for; returns `result`.
[[gnu::cold]] cuda::CUresult launch_failed(cuda::CUresult result);

inline void* stream_or_default(cuda::CUstream stream, Null null) {
    if (stream != nullptr) return stream;
    return reinterpret_cast<void*>(
        null == Null::legacy ? cuda::CU_STREAM_LEGACY : cuda::CU_STREAM_PER_THREAD
    );
}

// True when the thread's credit pays for the launch: then all that is left to do is
// launch_failed(), if it fails. No Launch leaves this by reference, so that hooks keep it in
// registers.
[[gnu::always_inline]] inline bool paid(const Launch& launch) {
    CardController* const controller = only_controller.load(std::memory_order_acquire);
    return controller != nullptr && controller->pay_from_credit(own_state, launch);
}

// Makes a launch that is not paid within the container's share.
template <class Call>
[[gnu::always_inline]] inline cuda::CUresult paced_slowly(const Launch& launch, Call call) {
    const auto& [gx, gy, gz] = launch.grid;
    const auto& [bx, by, bz] = launch.block;
    pace_slowly(launch.function, gx, gy, gz, bx, by, bz, launch.stream);
    const cuda::CUresult result = call();
    if (result != cuda::CUDA_SUCCESS || own_state.close_after)
        launch_made(result == cuda::CUDA_SUCCESS);
    return result;
}

// Makes the launch within the container's share.
template <class Call>
[[gnu::always_inline]] inline cuda::CUresult paced(const Launch& launch, Call call) {
    if (!paid(launch)) return paced_slowly(launch, call);
    const cuda::CUresult result = call();
    return result == cuda::CUDA_SUCCESS ? result : launch_failed(result);
}

}  // namespace egpu::guard
