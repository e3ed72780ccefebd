// What the calls on pools need of them. Under Driver::mutex.
#pragma once

#include "testing/cuda/driver.h"

namespace egpu::testing::cuda {

Pool* make_pool(Device& device, const CUmemPoolProps& props, bool own);
Pool* pool_from(CUmemoryPool handle);  // null: not a live one
CUmemoryPool handle_of(Pool* pool);
Pool* current_pool(Device& device);  // what cuMemAllocAsync takes from
// Takes back what was freed on streams that are there by now.
void settle_pending(Pool& pool);
// Gives unused memory to the card, as long as more than `keep` bytes are reserved.
void trim(Pool& pool, std::uint64_t keep);
// A destroyed pool goes with its last allocation.
void drop_if_unused(Pool* pool);

}  // namespace egpu::testing::cuda
