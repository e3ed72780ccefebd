// What this process has allocated: key (address, handle) -> block, in constant time whatever the
// number of live blocks.
//
// Blocks that threads allocate and free all the time begin in lines of the cache that only a group
// of threads writes (`shard`), so that two threads pass none to each other; what stays longer moves
// on into the table, whose lines are only read by then. A bucket of the table is a line with its
// own lock and two blocks, goes on in the line beside it, and after four blocks in any spare line.
// Memory from mmap only: it works inside any allocator and before any constructor.
// Constant-initialised.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "guard/lock.h"
#include "guard/pages.h"

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
    std::uint64_t owner = 0;     // a context, pool or handle, by kind; none of physical memory
    std::uint32_t handles = 0;   // of physical memory only
    std::uint32_t mappings = 0;  // likewise
    std::int16_t device = -1;    // index in the limits page; -1: not charged
    BlockKind kind = BlockKind::none;
    std::uint8_t shard = kNoShard;  // of the process's stock that it is charged to, if any
};
static_assert(sizeof(Block) == 40);

class BlockMap {
  public:
    // Stores `block`, with a shard as a new one of that group of threads; one that is there already
    // under the same key is returned in `replaced` (the driver gave an address out again: the old
    // block is gone. One that is new in another group may be found later, or never). False when
    // there is no memory for it; nothing is stored then.
    bool insert(const Block& block, Block& replaced);
    // Takes the block out. False when the key is not known.
    bool take(std::uint64_t key, Block& out);
    // Takes the block out if it is a new one of that group of threads.
    bool take_new(std::uint64_t key, Block& out, unsigned group);
    bool find(std::uint64_t key, Block& out);
    // Calls change(block, context) under the lock of the block's line; the block is taken out when
    // it returns true, and copied to `out` either way (as it is after the change). False when the
    // key is not known.
    bool update(std::uint64_t key, bool (*change)(Block&, void*), void* context, Block& out);
    // Takes out every block for which match() is true and hands it to gone(), outside of the locks.
    void take_if(
        bool (*match)(const Block&, void*), void (*gone)(const Block&, void*), void* context
    );
    std::size_t size();
    // In the child of a fork: everything is forgotten, whoever held the locks.
    void forget();

  private:
    static constexpr unsigned kInLine = 2;
    static constexpr unsigned kNewLines = 32;

    struct alignas(64) Line {
        std::atomic<std::uint32_t> lock;  // of the bucket, in its first line
        // Where the bucket (or the list of spare lines) goes on, + 1; 0: nowhere.
        std::atomic<std::uint32_t> next;
        struct {
            std::int16_t device;
            BlockKind kind;
            std::uint8_t shard;
        } note[kInLine];
        std::atomic<std::uint64_t> key[kInLine];  // 0 also where there is none
        std::uint64_t size[kInLine];
        std::uint64_t word[kInLine];  // the owner; of physical memory handles and mappings

        bool holds(unsigned at) const { return note[at].kind != BlockKind::none; }
        bool empty() const { return !holds(0) && !holds(1); }
        int seek(std::uint64_t wanted) const;
        bool may_have(std::uint64_t wanted) const;  // without the lock
        void put(unsigned at, const Block& block);
        void get(unsigned at, Block& block) const;
        void clear(unsigned at);
        bool take();  // the lock; false when the bucket has moved
        bool wait(std::uint32_t seen);
        void leave();
    };
    static_assert(sizeof(Line) == 64);
    struct Table;
    struct Bucket;
    struct Spot;

    Line& new_line(unsigned group, std::uint64_t key);
    bool insert_new(const Block& block, Block& replaced);
    bool insert_old(const Block& block, Block& replaced);
    bool move_on(Line& line, Block& replaced);
    bool update_new(
        Line& line, std::uint64_t key, bool (*change)(Block&, void*), void* context, Block& out
    );
    bool update_old(std::uint64_t key, bool (*change)(Block&, void*), void* context, Block& out);
    template <class After, class Erase>
    static bool take_one(
        Line& first,
        After after,
        Erase erase,
        bool (*match)(const Block&, void*),
        void* context,
        Block& out
    );
    bool old_may_have(std::uint64_t key);
    Bucket hold(std::uint64_t key);
    bool extend(std::uint64_t key);
    bool grow();

    Line new_[kShards][kNewLines] = {};
    std::atomic<Table*> table_{nullptr};
    Lock growing_;
};

}  // namespace egpu::guard
