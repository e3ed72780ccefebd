// What this process has allocated: key (address, handle) -> block, in constant time whatever the
// number of live blocks. 64 shards with a lock each, open addressing, memory from mmap only: it
// works inside any allocator and before any constructor. Constant-initialised.
#pragma once

#include <cstddef>
#include <cstdint>

#include "guard/lock.h"

namespace egpu::guard {

enum class BlockKind : std::uint8_t {
    none = 0,
    plain,     // linear, pitched or managed memory: charged, freed by cuMemFree
    pooled,    // from a stream-ordered pool: the pool is charged; owner = pool
    array,     // array or mipmapped array
    physical,  // cuMemCreate: charged until handles and mappings are gone
    mapping,   // cuMemMap: key = address, owner = the physical handle
    tile,      // a part of a sparse array backed by a physical handle; owner = that handle
    external,  // imported from another API; key = the driver's object
    exec,      // an executable graph: size = bytes its allocation nodes may take
};

inline constexpr std::uint8_t kNoShard = 0xff;

struct Block {
    std::uint64_t key = 0;
    std::uint64_t size = 0;
    std::uint64_t owner = 0;  // a context, pool or handle, by kind
    std::uint32_t handles = 0;
    std::uint32_t mappings = 0;
    std::int16_t device = -1;  // index in the limits page; -1: not charged
    BlockKind kind = BlockKind::none;
    std::uint8_t shard = kNoShard;  // of the process's stock that it is charged to, if any
};
static_assert(sizeof(Block) == 40);

class BlockMap {
  public:
    // Stores `block`; one that is there already under the same key is returned in `replaced` (the
    // driver gave an address out again: the old block is gone). False when there is no memory for
    // it; nothing is stored then.
    bool insert(const Block& block, Block& replaced);
    // Takes the block out. False when the key is not known.
    bool take(std::uint64_t key, Block& out);
    bool find(std::uint64_t key, Block& out);
    // Calls change(block, context) under the shard's lock; the block is taken out when it returns
    // true, and copied to `out` either way (as it is after the change). False when the key is not
    // known.
    bool update(std::uint64_t key, bool (*change)(Block&, void*), void* context, Block& out);
    // Takes out every block for which match() is true and hands it to gone(), outside of the locks.
    void take_if(
        bool (*match)(const Block&, void*), void (*gone)(const Block&, void*), void* context
    );
    std::size_t size();
    // In the child of a fork: everything is forgotten, whoever held the locks.
    void forget();

  private:
    static constexpr unsigned kShards = 64;
    struct alignas(64) Shard {  // threads work on different ones

        Lock lock;
        std::uint32_t count = 0;
        std::uint32_t capacity = 0;  // a power of two, or 0
        Block* table = nullptr;
    };
    static bool grow(Shard& shard);
    static Block* seek(Shard& shard, std::uint64_t key);
    static void erase(Shard& shard, Block* at);
    Shard& shard_of(std::uint64_t key);

    Shard shards_[kShards];
};

}  // namespace egpu::guard
