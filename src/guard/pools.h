// Memory whose charge is what a pool has reserved from the card, not what is allocated from it:
// stream-ordered pools and the memory of graphs. Frees return to the pool; the quota gets it back
// when the pool gives it up.
#pragma once

#include <cstdint>

#include "guard/block_map.h"
#include "guard/cuda_abi.h"

namespace egpu::guard {

// Trims every pool of that card which no other thread is working on, and puts the charges right.
void release_idle_pools(int index);

// After a synchronisation: pools that were freed into may have shrunk. Cheap when none was.
void refresh_stale_pools();

// A block of a pool was freed; `done`: the card is through with it.
void pool_block_freed(const Block& block, bool done);

// The address was allocated from memory that hooks know; the entry is taken out (memory_plain.cpp).
bool take_device_block(cuda::CUdeviceptr address, Block& block);

// In the child of a fork.
void forget_pools();

// Charges around a call that may make the graph memory of `device` grow by up to `bytes`. `call` is
// not made, and CUDA_ERROR_OUT_OF_MEMORY returned, when that would break the quota.
using GraphCall = cuda::CUresult (*)(void*);
cuda::CUresult with_graph_memory(
    cuda::CUdevice device,
    std::uint64_t bytes,
    cuda::CUstream stream,
    unsigned null,
    GraphCall call,
    void* context
);
// Counts trims of graph memory: an executable graph launched under this number still holds its
// memory.
std::uint32_t graph_trims(cuda::CUdevice device);

}  // namespace egpu::guard
