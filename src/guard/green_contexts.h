// Green contexts give a part of the SMs. Their CUcontext is another handle than the primary
// context's, but what is allocated there belongs to the primary context and outlives them.
#pragma once

#include <atomic>

#include "guard/cuda_abi.h"

namespace egpu::guard {

// How many there are.
extern std::atomic<int> green_contexts;

// The context that memory made in `current` belongs to.
cuda::CUcontext primary_behind(cuda::CUcontext current);
inline cuda::CUcontext owning_context(cuda::CUcontext current) {
    if (green_contexts.load(std::memory_order_relaxed) == 0) [[likely]]
        return current;
    return primary_behind(current);
}

void forget_green_contexts();

// contexts.cpp: the handle of a card's primary context where it is known, else it is asked for.
cuda::CUcontext primary_context(cuda::CUdevice device);
// What belonged to a card's primary context is given back if nobody holds it any more.
void settle_primary(cuda::CUdevice device);
// In the child of a fork.
void forget_contexts();

}  // namespace egpu::guard
