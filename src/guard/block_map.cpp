#include "guard/block_map.h"

#include <sys/mman.h>

namespace egpu::guard {
namespace {

constexpr std::uint32_t kFirstCapacity = 64;

std::uint64_t mix(std::uint64_t key) {
    key ^= key >> 32U;
    key *= 0x9e3779b97f4a7c15ULL;
    return key ^ (key >> 29U);
}

Block* map_table(std::uint32_t capacity) {
    void* memory = mmap(
        nullptr,
        capacity * sizeof(Block),
        PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS,
        -1,
        0
    );
    return memory == MAP_FAILED ? nullptr : static_cast<Block*>(memory);
}

}  // namespace

BlockMap::Shard& BlockMap::shard_of(std::uint64_t key) {
    return shards_[mix(key) >> 58U];
}

Block* BlockMap::seek(Shard& shard, std::uint64_t key) {
    if (shard.capacity == 0) return nullptr;
    const std::uint64_t mask = shard.capacity - 1;
    for (std::uint64_t i = mix(key) & mask; shard.table[i].kind != BlockKind::none;
         i = (i + 1) & mask) {
        if (shard.table[i].key == key) return &shard.table[i];
    }
    return nullptr;
}

bool BlockMap::grow(Shard& shard) {
    const std::uint32_t capacity = shard.capacity == 0 ? kFirstCapacity : shard.capacity * 2;
    if (capacity == 0) return false;
    Block* table = map_table(capacity);
    if (table == nullptr) return false;
    const std::uint64_t mask = capacity - 1;
    for (std::uint32_t i = 0; i < shard.capacity; ++i) {
        if (shard.table[i].kind == BlockKind::none) continue;
        std::uint64_t to = mix(shard.table[i].key) & mask;
        while (table[to].kind != BlockKind::none) to = (to + 1) & mask;
        table[to] = shard.table[i];
    }
    if (shard.table != nullptr) munmap(shard.table, shard.capacity * sizeof(Block));
    shard.table = table;
    shard.capacity = capacity;
    return true;
}

// Closes the gap, so that no search ends early and no markers pile up.
void BlockMap::erase(Shard& shard, Block* at) {
    const std::uint64_t mask = shard.capacity - 1;
    auto gap = static_cast<std::uint64_t>(at - shard.table);
    std::uint64_t next = gap;
    for (;;) {
        next = (next + 1) & mask;
        if (shard.table[next].kind == BlockKind::none) break;
        const std::uint64_t home = mix(shard.table[next].key) & mask;
        if (((next - home) & mask) >= ((next - gap) & mask)) {
            shard.table[gap] = shard.table[next];
            gap = next;
        }
    }
    shard.table[gap] = Block{};
    --shard.count;
}

bool BlockMap::insert(const Block& block, Block& replaced) {
    replaced = Block{};
    Shard& shard = shard_of(block.key);
    const Held held(shard.lock);
    if (Block* there = seek(shard, block.key); there != nullptr) {
        replaced = *there;
        *there = block;
        return true;
    }
    if ((shard.count + 1) * std::uint64_t{4} > shard.capacity * std::uint64_t{3} && !grow(shard)) {
        return false;
    }
    const std::uint64_t mask = shard.capacity - 1;
    std::uint64_t at = mix(block.key) & mask;
    while (shard.table[at].kind != BlockKind::none) at = (at + 1) & mask;
    shard.table[at] = block;
    ++shard.count;
    return true;
}

bool BlockMap::take(std::uint64_t key, Block& out) {
    Shard& shard = shard_of(key);
    const Held held(shard.lock);
    Block* there = seek(shard, key);
    if (there == nullptr) return false;
    out = *there;
    erase(shard, there);
    return true;
}

bool BlockMap::find(std::uint64_t key, Block& out) {
    Shard& shard = shard_of(key);
    const Held held(shard.lock);
    const Block* there = seek(shard, key);
    if (there == nullptr) return false;
    out = *there;
    return true;
}

bool BlockMap::update(std::uint64_t key, bool (*change)(Block&, void*), void* context, Block& out) {
    Shard& shard = shard_of(key);
    const Held held(shard.lock);
    Block* there = seek(shard, key);
    if (there == nullptr) return false;
    const bool gone = change(*there, context);
    out = *there;
    if (gone) erase(shard, there);
    return true;
}

void BlockMap::take_if(
    bool (*match)(const Block&, void*), void (*gone)(const Block&, void*), void* context
) {
    constexpr unsigned kBatch = 32;
    for (Shard& shard : shards_) {
        std::uint32_t from = 0;
        // The lock is not held while gone() runs, so the table may change between two batches: what
        // another thread moved past `from` is its own newer business.
        for (;;) {
            Block found[kBatch];
            unsigned count = 0;
            {
                const Held held(shard.lock);
                while (from < shard.capacity && count < kBatch) {
                    if (shard.table[from].kind != BlockKind::none &&
                        match(shard.table[from], context)) {
                        found[count++] = shard.table[from];
                        erase(
                            shard, &shard.table[from]
                        );  // may move another block here: look again
                    } else {
                        ++from;
                    }
                }
            }
            if (count == 0) break;
            for (unsigned i = 0; i < count; ++i) gone(found[i], context);
        }
    }
}

std::size_t BlockMap::size() {
    std::size_t sum = 0;
    for (Shard& shard : shards_) {
        const Held held(shard.lock);
        sum += shard.count;
    }
    return sum;
}

void BlockMap::forget() {
    for (Shard& shard : shards_) {
        shard.lock.reset();
        // A table that another thread was growing at the moment of the fork may be half made: it is
        // left, not unmapped.
        shard.count = 0;
        shard.capacity = 0;
        shard.table = nullptr;
    }
}

}  // namespace egpu::guard
