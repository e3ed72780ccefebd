#include "guard/block_map.h"

#include "guard/block_table.h"

namespace egpu::guard {
namespace {

constexpr unsigned kFirstBits = 6;  // 64 buckets, 9 KiB

bool always(Block& block, void* context) {
    static_cast<void>(block);
    static_cast<void>(context);
    return true;
}

bool never(Block& block, void* context) {
    return !always(block, context);
}

}  // namespace

// One that is locked.
struct BlockMap::Bucket {
    Table* table;  // nullptr: there is none
    Line* first;
};

BlockMap::Bucket BlockMap::hold(std::uint64_t key) {
    Table* table = table_.load(std::memory_order_acquire);
    while (table != nullptr) {
        Line& first = table->bucket(key);
        if (first.take()) [[likely]]
            return Bucket{table, &first};
        table = table->larger.load(std::memory_order_acquire);
    }
    return Bucket{};
}

// Under growing_. Buckets move one by one; whoever finds one moved goes on in the larger table. The
// old table stays mapped for those who still look there: all of them together are as large as the
// last.
bool BlockMap::grow() {
    Table* const old = table_.load(std::memory_order_relaxed);
    const unsigned bits = old == nullptr ? kFirstBits : old->bits + 1;
    if (bits > 30) return false;
    // A bucket's blocks never need more spare lines in two buckets than they had in one.
    const std::uint32_t spares =
        (std::uint32_t{1} << (bits - 3)) + (old == nullptr ? 0 : old->spares);
    void* memory = mmap(
        nullptr,
        Table::bytes(bits, spares),
        PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS,
        -1,
        0
    );
    if (memory == MAP_FAILED) return false;
    auto* table = static_cast<Table*>(memory);  // all zero is an empty one
    table->bits = bits;
    table->spares = table->fresh = spares;
    if (old != nullptr) {
        old->larger.store(table, std::memory_order_release);
        for (std::uint32_t i = 0; i < old->buckets(); ++i) {
            Line& first = old->line(std::size_t{2} * i);
            first.take();
            for (Line* line = &first; line != nullptr; line = old->after(*line)) {
                for (unsigned at = 0; at < kInLine; ++at) {
                    if (!line->holds(at)) continue;
                    Block block;
                    line->get(at, block);
                    Line& to = table->bucket(block.key);
                    Spot room{};
                    Line* last = nullptr;
                    table->seek(to, block.key, room, last);
                    if (room.line == nullptr) {
                        room.line = table->link_neighbour(to, *last);
                        if (room.line == nullptr) room.line = table->link_spare(*last);
                    }
                    if (room.line != nullptr) room.line->put(room.at, block);
                }
            }
            first.lock.store(kMoved, std::memory_order_release);
        }
    }
    table_.store(table, std::memory_order_release);
    return true;
}

// Makes room in the key's bucket, which was full a moment ago.
bool BlockMap::extend(std::uint64_t key) {
    const Held growing(growing_);
    const Bucket bucket = hold(key);
    if (bucket.table == nullptr) return grow();
    Spot room{};
    Line* last = nullptr;
    const bool there = bucket.table->seek(*bucket.first, key, room, last).line != nullptr;
    const bool done = there || room.line != nullptr ||
                      bucket.table->link_neighbour(*bucket.first, *last) != nullptr ||
                      bucket.table->link_spare(*last) != nullptr;
    bucket.first->leave();
    return done || grow();
}

[[gnu::always_inline]] inline BlockMap::Line& BlockMap::new_line(
    unsigned group, std::uint64_t key
) {
    return new_[group % kShards][mix(key) >> 59U];
}

bool BlockMap::insert_old(const Block& block, Block& replaced) {
    for (;;) {
        const Bucket bucket = hold(block.key);
        if (bucket.table != nullptr) [[likely]] {
            Spot room{};
            Line* last = nullptr;
            const Spot there = bucket.table->seek(*bucket.first, block.key, room, last);
            if (there.line != nullptr) {
                there.line->get(there.at, replaced);
                room = there;
            } else if (room.line == nullptr) {
                room.line = bucket.table->link_neighbour(*bucket.first, *last);
            }
            if (room.line != nullptr) [[likely]]
                room.line->put(room.at, block);
            bucket.first->leave();
            if (room.line != nullptr) [[likely]]
                return true;
        }
        if (!extend(block.key)) return false;
    }
}

// Without a lock, for a key that nobody is putting in or taking out. True also when it would take
// the lock to know.
bool BlockMap::old_may_have(std::uint64_t key) {
    Table* const table = table_.load(std::memory_order_acquire);
    if (table == nullptr) return false;
    const Line& first = table->bucket(key);
    if (first.may_have(key) || first.lock.load(std::memory_order_acquire) == kMoved) return true;
    const std::uint32_t next = first.next.load(std::memory_order_acquire);
    if (next == 0) return false;
    const Line& neighbour = *(&first + 1);
    return next != table->number(neighbour) + 1 || neighbour.may_have(key) ||
           neighbour.next.load(std::memory_order_acquire) != 0;
}

// The older block of a full line moves into the table. It is in both places for a moment, so that
// no search misses it.
bool BlockMap::move_on(Line& line, Block& replaced) {
    Block older;
    Block there;
    there.kind = BlockKind::none;
    line.get(0, older);
    if (!insert_old(older, there)) return false;
    if (there.kind != BlockKind::none) {
        // Two under one key: a free was not seen, and it is not known of which. The larger charge
        // stays.
        if (there.size > older.size && insert_old(there, older)) there = older;
        replaced = there;
    }
    line.get(1, older);
    line.put(0, older);
    return true;
}

bool BlockMap::insert_new(const Block& block, Block& replaced) {
    if (old_may_have(block.key)) [[unlikely]] {
        if (!update_old(block.key, always, nullptr, replaced)) replaced.kind = BlockKind::none;
    }
    Line& line = new_line(block.shard, block.key);
    line.take();
    const int same = line.seek(block.key);
    unsigned at = line.holds(0) ? 1 : 0;
    bool room = true;
    if (same >= 0) [[unlikely]] {
        at = static_cast<unsigned>(same);
        line.get(at, replaced);
    } else if (line.holds(at)) {
        room = move_on(line, replaced);
    }
    if (room) line.put(at, block);
    line.leave();
    return room;
}

bool BlockMap::insert(const Block& block, Block& replaced) {
    replaced.kind = BlockKind::none;
    if (block.shard < kShards) return insert_new(block, replaced);
    Block before;
    before.kind = BlockKind::none;
    for (unsigned group = 0; group < kShards; ++group)
        update_new(new_line(group, block.key), block.key, always, nullptr, before);
    if (!insert_old(block, replaced)) return false;
    if (replaced.kind == BlockKind::none) replaced = before;
    return true;
}

bool BlockMap::take(std::uint64_t key, Block& out) {
    return update(key, always, nullptr, out);
}

bool BlockMap::take_new(std::uint64_t key, Block& out, unsigned group) {
    Line& line = new_line(group, key);
    if (!line.may_have(key)) return false;
    line.take();
    const int at = line.seek(key);
    if (at >= 0) [[likely]] {
        line.get(static_cast<unsigned>(at), out);
        line.clear(static_cast<unsigned>(at));
    }
    line.leave();
    return at >= 0;
}

bool BlockMap::find(std::uint64_t key, Block& out) {
    return update(key, never, nullptr, out);
}

bool BlockMap::update_new(
    Line& line, std::uint64_t key, bool (*change)(Block&, void*), void* context, Block& out
) {
    if (!line.may_have(key)) return false;
    line.take();
    const int at = line.seek(key);
    if (at >= 0) {
        line.get(static_cast<unsigned>(at), out);
        if (change(out, context)) {
            line.clear(static_cast<unsigned>(at));
        } else {
            line.put(static_cast<unsigned>(at), out);
        }
    }
    line.leave();
    return at >= 0;
}

bool BlockMap::update_old(
    std::uint64_t key, bool (*change)(Block&, void*), void* context, Block& out
) {
    const Bucket bucket = hold(key);
    if (bucket.table == nullptr) return false;
    Spot room{};
    Line* last = nullptr;
    const Spot there = bucket.table->seek(*bucket.first, key, room, last);
    if (there.line != nullptr) {
        there.line->get(there.at, out);
        if (change(out, context)) {
            bucket.table->erase(there);
        } else {
            there.line->put(there.at, out);
        }
    }
    bucket.first->leave();
    return there.line != nullptr;
}

bool BlockMap::update(std::uint64_t key, bool (*change)(Block&, void*), void* context, Block& out) {
    if (update_old(key, change, context, out)) return true;
    for (unsigned group = 0; group < kShards; ++group) {
        if (update_new(new_line(group, key), key, change, context, out)) return true;
    }
    // It may have moved on while this thread looked for it there. (One that moved from the second
    // place of its line to the first while take_new() read the two keys was found above.)
    return update_old(key, change, context, out);
}

// A bucket or a line of new blocks, without its lock while gone() runs: what others put in
// meanwhile is found, what they put in where it was looked for is their own newer business.
template <class After, class Erase>
bool BlockMap::take_one(
    Line& first,
    After after,
    Erase erase,
    bool (*match)(const Block&, void*),
    void* context,
    Block& out
) {
    Line* before = nullptr;
    for (Line* line = &first; line != nullptr; line = after(*line)) {
        for (unsigned at = 0; at < kInLine; ++at) {
            if (!line->holds(at)) continue;
            line->get(at, out);
            if (!match(out, context)) continue;
            erase(Spot{line, at, before});
            return true;
        }
        before = line;
    }
    return false;
}

void BlockMap::take_if(
    bool (*match)(const Block&, void*), void (*gone)(const Block&, void*), void* context
) {
    Block found;
    // New blocks first: they move on into the table, never back.
    for (auto& group : new_) {
        for (Line& line : group) {
            const auto none = [](Line&) -> Line* { return nullptr; };
            const auto erase = [](const Spot& spot) { spot.line->clear(spot.at); };
            for (bool more = true; more;) {
                line.take();
                more = take_one(line, none, erase, match, context, found);
                line.leave();
                if (more) gone(found, context);
            }
        }
    }
    Table* table = table_.load(std::memory_order_acquire);
    for (std::uint32_t i = 0; table != nullptr && i < table->buckets();) {
        Line& first = table->line(std::size_t{2} * i);
        if (!first.take()) {
            // The larger table is whole only when all buckets have moved.
            growing_.lock();
            growing_.unlock();
            table = table_.load(std::memory_order_acquire);
            i = 0;
            continue;
        }
        const bool more = take_one(
            first,
            [table](Line& line) { return table->after(line); },
            [table](const Spot& spot) { table->erase(spot); },
            match,
            context,
            found
        );
        first.leave();
        more ? gone(found, context) : static_cast<void>(++i);
    }
}

std::size_t BlockMap::size() {
    std::size_t sum = 0;
    const auto add = [&sum](const Line& line) {
        sum += std::size_t{line.holds(0)} + std::size_t{line.holds(1)};
    };
    for (auto& group : new_) {
        for (Line& line : group) {
            line.take();
            add(line);
            line.leave();
        }
    }
    const Held still(growing_);
    Table* const table = table_.load(std::memory_order_acquire);
    for (std::uint32_t i = 0; table != nullptr && i < table->buckets(); ++i) {
        Line& first = table->line(std::size_t{2} * i);
        first.take();
        for (const Line* line = &first; line != nullptr; line = table->after(*line)) add(*line);
        first.leave();
    }
    return sum;
}

void BlockMap::forget() {
    // What other threads were at in the moment of the fork may be half done: it is left, not
    // unmapped.
    for (auto& group : new_) {
        for (Line& line : group) {
            line.clear(0);
            line.clear(1);
            line.leave();
        }
    }
    table_.store(nullptr, std::memory_order_relaxed);
    growing_.reset();
}

}  // namespace egpu::guard
