// Pools: what they reserve, hand out, keep and give back.
#include "testing/cuda/pools.h"

#include <algorithm>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "testing/cuda/engine.h"

namespace egpu::testing::cuda {
namespace {

constexpr std::uint64_t kPiece = 512;

void give_piece(Pool& pool, std::uint64_t address, std::uint64_t size) {
    auto owner = std::prev(pool.chunks.upper_bound(address));
    Pool::Chunk& chunk = owner->second;
    chunk.used -= size;
    pool.used -= size;
    auto next = chunk.free.lower_bound(address);
    if (next != chunk.free.end() && address + size == next->first) {
        size += next->second;
        next = chunk.free.erase(next);
    }
    if (next != chunk.free.begin()) {
        const auto before = std::prev(next);
        if (before->first + before->second == address) {
            before->second += size;
            return;
        }
    }
    chunk.free[address] = size;
}

std::uint64_t take_piece(Pool& pool, std::uint64_t size) {
    for (auto& [start, chunk] : pool.chunks) {
        for (auto it = chunk.free.begin(); it != chunk.free.end(); ++it) {
            if (it->second < size) continue;
            const auto [address, room] = *it;
            chunk.free.erase(it);
            if (room > size) chunk.free[address + size] = room - size;
            chunk.used += size;
            return address;
        }
    }
    return 0;
}

CUresult grow(Pool& pool, std::uint64_t size) {
    const std::uint64_t grain =
        std::max<std::uint64_t>(driver().settings.pool_grain_mib << 20U, kBlock);
    const std::uint64_t exact = round_up(size, kBlock);
    for (const std::uint64_t wanted : {round_up(size, grain), exact}) {
        if (pool.props.maxSize != 0 &&
            pool.reserved + wanted > round_up(pool.props.maxSize, kBlock)) {
            continue;
        }
        std::uint64_t address = 0;
        if (allocate_device_locked(*pool.device, wanted, address) != CUDA_SUCCESS) continue;
        Pool::Chunk& chunk = pool.chunks[address];
        chunk.size = wanted;
        chunk.free[address] = wanted;
        pool.reserved += wanted;
        pool.reserved_high = std::max(pool.reserved_high, pool.reserved);
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_OUT_OF_MEMORY;
}

}  // namespace

void settle_pending(Pool& pool) {
    for (auto it = pool.pending.begin(); it != pool.pending.end();) {
        const bool done = it->stream->id != it->stream_id || it->stream->done >= it->position;
        if (done) give_piece(pool, it->address, it->size);
        it = done ? pool.pending.erase(it) : std::next(it);
    }
}

void trim(Pool& pool, std::uint64_t keep) {
    for (auto it = pool.chunks.begin(); it != pool.chunks.end() && pool.reserved > keep;) {
        if (it->second.used > 0) {
            ++it;
            continue;
        }
        pool.reserved -= it->second.size;
        release_device_locked(*pool.device, it->first, it->second.size);
        it = pool.chunks.erase(it);
    }
}

void drop_if_unused(Pool* pool) {
    if (!pool->destroyed || pool->used > 0 || !pool->pending.empty()) return;
    trim(*pool, 0);
    driver().pools.erase(pool);
    if (pool->import_fd >= 0) ::close(pool->import_fd);
    Stable<Pool>::drop(pool);
}

Pool* make_pool(Device& device, const CUmemPoolProps& props, bool own) {
    Pool* pool = Stable<Pool>::make();
    pool->device = &device;
    pool->props = props;
    pool->owned_by_device = own;
    pool->live = Pool::kLive;
    driver().pools.insert(pool);
    return pool;
}

Pool* pool_from(CUmemoryPool handle) {
    auto* pool = reinterpret_cast<Pool*>(handle);
    return pool != nullptr && pool->live == Pool::kLive && !pool->destroyed ? pool : nullptr;
}

CUmemoryPool handle_of(Pool* pool) {
    return reinterpret_cast<CUmemoryPool>(pool);
}

Pool* current_pool(Device& device) {
    return device.current_pool != nullptr ? device.current_pool : default_pool(device);
}

Pool* default_pool(Device& device) {
    if (device.default_pool == nullptr) {
        CUmemPoolProps props{};
        props.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
        props.location = {CU_MEM_LOCATION_TYPE_DEVICE, device.ordinal};
        device.default_pool = make_pool(device, props, true);
    }
    return device.default_pool;
}

void settle_pools(Device& device) {
    const std::lock_guard order(engine().mutex);
    const std::lock_guard lock(driver().mutex);
    const std::set<Pool*> pools = driver().pools;
    for (Pool* pool : pools) {
        if (pool->device != &device) continue;
        settle_pending(*pool);
        trim(*pool, pool->threshold);
        drop_if_unused(pool);
    }
}

CUresult allocate_from_pool(
    Pool& pool, std::uint64_t size, Stream* stream, std::uint64_t& address
) {
    if (size > pool.device->bytes) return CUDA_ERROR_OUT_OF_MEMORY;
    const std::uint64_t whole = round_up(size, kPiece);
    Driver& d = driver();
    const std::lock_guard order(engine().mutex);
    if (!pool.pending.empty()) engine().pump();
    const std::lock_guard lock(d.mutex);
    address = 0;
    // What was freed on this very stream may be used again on it at once.
    for (auto it = pool.pending.begin(); it != pool.pending.end(); ++it) {
        if (it->stream != stream || it->stream_id != stream->id || it->size != whole) continue;
        address = it->address;
        pool.used -= whole;
        pool.pending.erase(it);
        break;
    }
    if (address == 0) {
        settle_pending(pool);
        address = take_piece(pool, whole);
    }
    if (address == 0) {
        if (grow(pool, whole) != CUDA_SUCCESS) {
            trim(pool, 0);
            if (const CUresult result = grow(pool, whole); result != CUDA_SUCCESS) return result;
        }
        address = take_piece(pool, whole);
    }
    pool.used += whole;
    pool.used_high = std::max(pool.used_high, pool.used);
    Allocation allocation;
    allocation.size = size;
    allocation.kind = Kind::kPool;
    allocation.device = pool.device;
    allocation.context = stream->context;
    allocation.pool = &pool;
    allocation.id = d.next_id++;
    d.allocations[address] = allocation;
    return CUDA_SUCCESS;
}

CUresult free_pool_memory(std::uint64_t address, Stream* stream) {
    Driver& d = driver();
    const std::lock_guard order(engine().mutex);
    const bool later = stream != nullptr && !engine().idle(stream);
    const std::lock_guard lock(d.mutex);
    const auto found = d.allocations.find(address);
    if (found == d.allocations.end() || found->second.kind != Kind::kPool) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    Pool& pool = *found->second.pool;
    const std::uint64_t whole = round_up(found->second.size, kPiece);
    const int import_fd = found->second.import_fd;
    d.allocations.erase(found);
    if (import_fd >= 0) {
        const std::uint64_t page = address / 4096 * 4096;
        ::munmap(reinterpret_cast<void*>(page), whole + (address - page));
        pool.used -= whole;
        ::close(import_fd);
    } else if (later) {
        pool.pending.push_back({address, whole, stream, stream->id, stream->enqueued});
    } else {
        give_piece(pool, address, whole);
    }
    drop_if_unused(&pool);
    return CUDA_SUCCESS;
}

}  // namespace egpu::testing::cuda
