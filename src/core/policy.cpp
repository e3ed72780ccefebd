#include "core/policy.h"

#include <algorithm>
#include <array>

#include "base/random.h"

namespace egpu::core {
namespace {

// part/whole of `top`, rounded down; 0 when there is no whole. 32 bits are enough for 1,024 cards.
int fraction_of(int part, int whole, int top) {
    return whole <= 0 ? 0 : std::clamp(top * part / whole, 0, top);
}

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    std::uint64_t state = a ^ (b * 0x9E3779B97F4A7C15ULL);
    return splitmix64(state);
}

// Shares: a node where the share fills cards that are in use already (5..10, the fuller the better)
// comes before one where it opens an empty card (0..4, the fuller node first). Whole cards: the
// fuller node first.
int binpack_score(const NodeChange& change, const PolicyContext&) {
    const int total = change.cards * 100;
    if (change.share_cards == 0) return fraction_of(change.used_after, total, kMaxScore);
    if (change.opened > 0) return fraction_of(change.used_after, total, 4);
    return 5 + fraction_of(change.share_used, change.share_cards * 100, 5);
}

// The card that is left with the least.
std::int64_t binpack_rank(const CardOption& option, const PolicyContext&) {
    return (static_cast<std::int64_t>(option.free_after) << 40) + option.memory_mib;
}

// Half for the emptiness of the cards the share lands on, half for that of the node.
int spread_score(const NodeChange& change, const PolicyContext&) {
    const int total = change.cards * 100;
    const int node = fraction_of(total - change.used_after, total, 1000);
    if (change.share_cards == 0) return node * kMaxScore / 1000;
    const int all = change.share_cards * 100;
    const int card = fraction_of(all - change.share_used, all, 1000);
    return (node + card) * kMaxScore / 2000;
}

std::int64_t spread_rank(const CardOption& option, const PolicyContext&) {
    return -option.free_after;
}

int random_score(const NodeChange&, const PolicyContext& context) {
    const std::uint64_t bits = mix(mix(context.seed, context.pod_key), context.node_key);
    return static_cast<int>(bits % (kMaxScore + 1));
}

std::int64_t random_rank(const CardOption& option, const PolicyContext& context) {
    const std::uint64_t pod = mix(mix(context.seed, context.pod_key), context.node_key);
    return static_cast<std::int64_t>(mix(pod, static_cast<std::uint64_t>(option.index) + 1) >> 1);
}

constexpr std::array kPolicies{
    Policy{
        "binpack",
        "fill cards that are in use before opening empty ones",
        CardOrder::kLeastFree,
        binpack_score,
        binpack_rank},
    Policy{
        "spread",
        "prefer the emptiest card of the emptiest node",
        CardOrder::kMostFree,
        spread_score,
        spread_rank},
    Policy{
        "random",
        "any card, by a hash of seed, pod and node",
        CardOrder::kIrrelevant,
        random_score,
        random_rank,
        false},
};

}  // namespace

std::uint64_t stable_key(std::string_view text) {
    std::uint64_t h = 0xCBF29CE484222325ULL;  // FNV-1a, then mixed
    for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
    return splitmix64(h);
}

std::span<const Policy> policies() {
    return kPolicies;
}

const Policy* find_policy(std::string_view name) {
    const auto it = std::find_if(kPolicies.begin(), kPolicies.end(), [&](const Policy& policy) {
        return policy.name == name;
    });
    return it == kPolicies.end() ? nullptr : &*it;
}

const Policy& default_policy() {
    return kPolicies.front();
}

std::string policy_names() {
    std::string names;
    for (const Policy& policy : kPolicies) {
        if (!names.empty()) names += ", ";
        names += policy.name;
    }
    return names;
}

}  // namespace egpu::core
