// The charge of one pool of the driver, or of a card's graph memory: what it has reserved from the
// card. pools.cpp has the calls that change it.
#pragma once

#include <atomic>
#include <cstdint>

#include "guard/cuda_abi.h"
#include "guard/guard.h"
#include "guard/lock.h"
#include "guard/place.h"

namespace egpu::guard {

// What drivers take at once when a pool has to grow; raised per pool when one is seen to take more.
inline constexpr std::uint64_t kGrain = std::uint64_t{32} << 20U;
inline constexpr int kNotCharged = -2;  // the index of a pool of host memory

struct Reserved {
    Lock lock;  // held around every call that can change what is reserved
    std::atomic<cuda::CUmemoryPool> pool{nullptr};
    cuda::CUdevice device = 0;
    int index = kNotListed;
    bool graph = false;
    bool destroyed = false;              // by the program; lives until its last block is freed
    std::atomic<bool> stale{false};      // freed into since the charge was last put right
    std::atomic<std::uint32_t> live{0};  // blocks
    std::atomic<std::uint32_t> trims{0};
    std::uint64_t charged = 0;  // multiple of 512
    std::uint64_t grain = kGrain;
};

// The pool of a handle, which is made known if it is not yet: the default or current one of a card.
// nullptr: there are too many.
Reserved* pool_of(cuda::CUmemoryPool handle);
Reserved* find_pool(cuda::CUmemoryPool handle);
Reserved* add_pool(cuda::CUmemoryPool handle, cuda::CUdevice device, int index);
// `device` is an ordinal below kMaxOrdinals.
Reserved& graph_memory_of(cuda::CUdevice device);
// By number, as blocks name their pool.
std::uint64_t number_of(const Reserved& pool);
Reserved& pool_with(std::uint64_t number);

// Makes the charge what the driver has reserved. Under the lock.
void put_right(Reserved& pool);
void mark_stale(Reserved& pool);
void trim(Reserved& pool);
// Not while the stream captures: it cannot be waited for.
void synchronise(cuda::CUstream stream, Null null);

// Reserves for growth by `bytes`; under the pool's lock. What cannot be had at once is looked for
// in the pool itself: memory that was freed on the stream, but that the card is not through with,
// comes back by waiting for it.
bool make_room(Reserved& pool, std::uint64_t bytes, cuda::CUstream stream, Null null);
// After the driver's call: the charge becomes what is reserved now. False when that breaks the
// quota.
bool settle(Reserved& pool, std::uint64_t provisional);
std::uint64_t growth_for(const Reserved& pool, std::uint64_t bytes);
// A destroyed pool is forgotten with its last block.
void drop_if_empty(Reserved& pool);

}  // namespace egpu::guard
