// The address space and the bytes of one unit's memory: a sparse memfd, mapped once, so that memory
// costs nothing until it is written, and handing out a piece costs no system call. Blocks are 2
// MiB; small pieces share blocks of one size class, as in the real driver.
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace egpu::testing::cuda {

inline constexpr std::uint64_t kBlock = 2ULL << 20;

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t to) {
    return (value + to - 1) / to * to;
}

class Arena {
  public:
    // Room for `bytes` of addresses; false when the address space or a memfd is refused.
    bool open(std::uint64_t bytes);
    bool opened() const { return base_ != 0; }

    // What allocating `size` now takes from the card: 0 when a block with room is there.
    std::uint64_t charge_of(std::uint64_t size) const;
    // Zeroed or not, as memory of a real card; 512-byte aligned. 0: no addresses left.
    std::uint64_t allocate(std::uint64_t size);
    // Returns what goes back to the card.
    std::uint64_t release(std::uint64_t address, std::uint64_t size);

    int fd() const { return fd_; }
    std::uint64_t offset(std::uint64_t address) const { return address - base_; }

  private:
    struct Slab {
        std::size_t size_class;
        std::vector<std::uint32_t> free;  // pieces given back, in units of 512 bytes
        std::uint64_t untouched = 0;      // pieces from here on were never handed out
        unsigned used = 0;
    };
    std::uint64_t take_blocks(std::uint64_t size);
    void give_blocks(std::uint64_t offset, std::uint64_t size);

    int fd_ = -1;
    std::uint64_t base_ = 0;
    std::uint64_t size_ = 0;
    std::map<std::uint64_t, std::uint64_t> free_;                  // offset -> size
    std::set<std::pair<std::uint64_t, std::uint64_t>> free_size_;  // size, offset
    std::map<std::uint64_t, Slab> slabs_;                          // by offset
    std::map<std::size_t, std::set<std::uint64_t>> room_;          // size class -> slabs with room
};

}  // namespace egpu::testing::cuda
