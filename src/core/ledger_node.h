// The ledger's own records: a node, its cards, its pods. Internal to the ledger; compact, because
// there are 40,000 cards and 100,000 pods.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "core/card.h"
#include "core/demand.h"
#include "core/host_amounts.h"
#include "core/string_pool.h"

namespace egpu::core {

using NodeId = std::uint32_t;   // dense; valid until the node is removed
using PodSlot = std::uint32_t;  // dense; valid until the pod is removed

struct CardRecord {
    StringId uuid = 0;
    StringId model = 0;
    int index = 0;
    int numa = -1;
    std::int64_t memory_mib = 0;
    bool healthy = true;

    bool operator==(const CardRecord&) const = default;
};

// One card of a placement, as the annotation said it.
struct PlacedCard {
    std::uint16_t container = 0;  // position in PodRecord::demands
    int index = 0;
    StringId uuid = 0;

    bool operator==(const PlacedCard&) const = default;
};

struct PodRecord {
    std::string uid;
    std::string key;  // "namespace/name"
    NodeId node = 0;
    bool has_placement = false;
    bool reserved = false;  // a bind in flight
    TimePoint expires{};    // of a reservation
    std::vector<Demand> demands;
    std::vector<PlacedCard> placed;  // by container
};

// --- what follows from the records: recomputed on each change of the node ---

struct CardUsage {
    int percent = 0;
    bool whole = false;
    std::int64_t memory_mib = 0;
};

struct PodUse {
    PodSlot pod = 0;
    std::uint16_t card = 0;
    std::uint8_t percent = 0;
    bool whole = false;
    std::int64_t memory_mib = 0;
};

struct ContainerHold {
    PodSlot pod = 0;
    std::uint16_t container = 0;
    std::uint16_t card = 0;
};

struct UnplacedUse {
    PodSlot pod = 0;
    int missing_percent = 0;  // found no room anywhere
};

struct NodeUsage {
    std::vector<CardUsage> cards;
    std::vector<PodUse> pods;
    std::vector<ContainerHold> holds;
    std::vector<UnplacedUse> unplaced;
};

struct NodeRecord {
    std::string name;
    std::uint64_t key = 0;  // stable_key(name)
    bool used = false;      // this slot holds a node
    bool known = false;     // the node itself has been seen, not only pods on it
    bool synthetic = false;
    int replicas = 1;  // Card::replicas of its cards
    std::int64_t percent_units = 0;
    std::int64_t whole_units = 0;
    HostAmounts host{kHostUnlimited, kHostUnlimited};  // allocatable
    std::vector<CardRecord> cards;
    std::vector<Link> links;    // link_matrix() of the cards
    std::vector<PodSlot> pods;  // sorted by UID
    NodeUsage usage;
};

// A node's name in one cache line, for thousands are looked up at once. "" when it is longer, which
// hardly any is: the record has it.
class alignas(64) NodeName {
  public:
    void assign(std::string_view name) {
        size_ = name.size() <= text_.size() ? static_cast<std::uint8_t>(name.size()) : 0;
        std::copy_n(name.begin(), size_, text_.begin());
    }
    std::string_view view() const { return {text_.data(), size_}; }
    // Is it this name? Never for one that is too long.
    bool is(std::string_view name) const {
        if (name.size() != size_ || name.empty()) return false;
        const auto differ = [&](std::size_t at, auto word) {
            auto other = word;
            std::memcpy(&word, text_.data() + at, sizeof word);
            std::memcpy(&other, name.data() + at, sizeof other);
            return word ^ other;
        };
        if (size_ < 8) return std::memcmp(text_.data(), name.data(), size_) == 0;
        std::uint64_t differs = differ(size_ - 8U, std::uint64_t{});
        for (std::size_t at = 0; at + 8 < size_; at += 8) differs |= differ(at, std::uint64_t{});
        return differs == 0;
    }

  private:
    std::uint8_t size_ = 0;
    std::array<char, 63> text_{};
};
static_assert(sizeof(NodeName) == 64);

// Enough of a node to answer for one container without looking at its cards. One cache line.
struct alignas(64) NodeSummary {
    static constexpr int kMaxCards = 16;

    std::array<std::uint8_t, kMaxCards> free{};  // percent; 0 for unhealthy cards
    std::array<std::uint64_t, 2> levels{};       // bit p: some healthy card has p percent free
    // Cards are alike and their memory follows their percents: free percents tell everything.
    bool quick = false;
    std::uint8_t max_free = 0;
    std::uint16_t cards = 0;
    std::uint16_t healthy = 0;
    std::uint16_t empty = 0;  // healthy and held by nobody
    std::int32_t used = 0;    // percent, summed over all cards
    StringId model = 0;
    std::int64_t memory_mib = 0;  // of each card
    std::uint64_t key = 0;

    // The least free percent that is at least `percent`; there must be one.
    int least_free(int percent) const {
        if (percent < 64) {
            const std::uint64_t low = levels[0] >> percent;
            if (low != 0) return percent + std::countr_zero(low);
            percent = 64;
        }
        return percent + std::countr_zero(levels[1] >> (percent - 64));
    }
};
static_assert(sizeof(NodeSummary) == 64);

}  // namespace egpu::core
