#include "testing/cuda/arena.h"

#include <bit>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace egpu::testing::cuda {
namespace {

constexpr std::uint64_t kUnit = 512;
constexpr std::uint64_t kSmall = 1ULL << 20;

// Steps of 512 bytes up to 4 KiB, then four to a power of two.
std::size_t size_class(std::uint64_t size) {
    const std::uint64_t rounded = round_up(size, kUnit);
    if (rounded <= 4096) return rounded;
    return round_up(rounded, std::bit_ceil(rounded) / 8);
}

}  // namespace

bool Arena::open(std::uint64_t bytes) {
    if (opened()) return true;
    size_ = round_up(bytes, kBlock);
    fd_ = ::memfd_create("simulated-card", MFD_CLOEXEC);
    if (fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(size_)) != 0) return false;
    // Aligned to a block: a piece of a larger reservation.
    void* room = ::mmap(
        nullptr, size_ + kBlock, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0
    );
    if (room == MAP_FAILED) return false;
    const auto start = round_up(reinterpret_cast<std::uint64_t>(room), kBlock);
    void* mapped = ::mmap(
        reinterpret_cast<void*>(start),
        size_,
        PROT_READ | PROT_WRITE,
        MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
        fd_,
        0
    );
    if (mapped == MAP_FAILED) return false;
    ::madvise(mapped, size_, MADV_DONTDUMP);
    base_ = start;
    free_[0] = size_;
    free_size_.insert({size_, 0});
    return true;
}

std::uint64_t Arena::take_blocks(std::uint64_t size) {
    const auto fit = free_size_.lower_bound({size, 0});
    if (fit == free_size_.end()) return ~0ULL;
    const auto [room, offset] = *fit;
    free_size_.erase(fit);
    free_.erase(offset);
    if (room > size) {
        free_[offset + size] = room - size;
        free_size_.insert({room - size, offset + size});
    }
    return offset;
}

void Arena::give_blocks(std::uint64_t offset, std::uint64_t size) {
    ::fallocate(
        fd_,
        FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
        static_cast<off_t>(offset),
        static_cast<off_t>(size)
    );
    auto next = free_.lower_bound(offset);
    if (next != free_.end() && offset + size == next->first) {
        size += next->second;
        free_size_.erase({next->second, next->first});
        next = free_.erase(next);
    }
    if (next != free_.begin()) {
        const auto before = std::prev(next);
        if (before->first + before->second == offset) {
            free_size_.erase({before->second, before->first});
            offset = before->first;
            size += before->second;
        }
    }
    free_[offset] = size;
    free_size_.insert({size, offset});
}

std::uint64_t Arena::charge_of(std::uint64_t size) const {
    if (size > kSmall) return round_up(size, kBlock);
    const auto room = room_.find(size_class(size));
    return room == room_.end() || room->second.empty() ? kBlock : 0;
}

std::uint64_t Arena::allocate(std::uint64_t size) {
    if (size > kSmall) {
        const std::uint64_t offset = take_blocks(round_up(size, kBlock));
        return offset == ~0ULL ? 0 : base_ + offset;
    }
    const std::size_t kind = size_class(size);
    auto& room = room_[kind];
    if (room.empty()) {
        const std::uint64_t offset = take_blocks(kBlock);
        if (offset == ~0ULL) return 0;
        slabs_.emplace(offset, Slab{kind, {}, 0, 0});
        room.insert(offset);
    }
    const std::uint64_t offset = *room.begin();
    Slab& slab = slabs_.at(offset);
    std::uint64_t piece = 0;
    if (slab.free.empty()) {
        piece = slab.untouched++ * kind;
    } else {
        piece = slab.free.back() * kUnit;
        slab.free.pop_back();
    }
    if (++slab.used == kBlock / kind) room.erase(offset);
    return base_ + offset + piece;
}

std::uint64_t Arena::release(std::uint64_t address, std::uint64_t size) {
    const std::uint64_t offset = address - base_;
    if (size > kSmall) {
        give_blocks(offset, round_up(size, kBlock));
        return round_up(size, kBlock);
    }
    const std::uint64_t start = offset / kBlock * kBlock;
    Slab& slab = slabs_.at(start);
    slab.free.push_back(static_cast<std::uint32_t>((offset - start) / kUnit));
    room_[slab.size_class].insert(start);
    if (--slab.used != 0) return 0;
    room_[slab.size_class].erase(start);
    slabs_.erase(start);
    give_blocks(start, kBlock);
    return kBlock;
}

}  // namespace egpu::testing::cuda
