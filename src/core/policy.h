// Placement policies: which card a container gets and how good a node is. One table; a policy is a
// row of pure functions, so that the extender, the simulator and the agent choose alike.
//
// Scores are whole numbers 0..10 (the extender's contract). Ties between cards go to the lowest
// index; ties between nodes are kube-scheduler's to break.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace egpu::core {

inline constexpr int kMaxScore = 10;

// What a decision may depend on beside the cards. Keys are stable_key() of the pod's UID and the
// node's name; only `random` uses them, so that a run can be replayed.
struct PolicyContext {
    std::uint64_t seed = 0;
    std::uint64_t pod_key = 0;
    std::uint64_t node_key = 0;
    int prefer = -1;  // NVML index of a card that was chosen already; not for policies to look at
};

// 64 well-mixed bits of `text`, the same in every process and build.
std::uint64_t stable_key(std::string_view text);

// One card that can take the container. `free_after` counts what the pod's other containers took.
struct CardOption {
    int index = 0;
    int free_before = 0;  // percent
    int free_after = 0;
    bool empty = false;  // held by nobody, this pod's own earlier containers included
    std::int64_t memory_mib = 0;
};

// A node before and after the pod.
struct NodeChange {
    int cards = 0;        // all cards of the node, healthy or not
    int used_before = 0;  // percent, summed over the cards
    int used_after = 0;
    int empty_before = 0;  // healthy cards held by nobody
    int empty_after = 0;
    int share_cards = 0;  // cards on which the pod gets a share (not whole)
    int opened = 0;       // those of them that were empty before
    int share_used = 0;   // percent used afterwards, summed over share_cards
};

// What decides about one share on a node of like cards, so that thousands of nodes can be scored
// without calling card_rank: kRanked for a policy that needs the call.
enum class CardOrder {
    kLeastFree,   // of the cards that can take it, the one with the least free
    kMostFree,    // with the most free
    kIrrelevant,  // node_score does not look at the change at all
    kRanked
};

struct Policy {
    std::string_view name;
    std::string_view description;
    CardOrder order = CardOrder::kRanked;
    // 0..kMaxScore, more is better. Never fails: an empty node scores 0.
    int (*node_score)(const NodeChange& change, const PolicyContext& context);
    // Less is better; equal ranks go to the lowest index.
    std::int64_t (*card_rank)(const CardOption& option, const PolicyContext& context);
    // Whole cards are those that are close to each other (core/topology.h); card_rank then orders
    // sets that are equally close.
    bool follows_links = true;
};

std::span<const Policy> policies();
const Policy* find_policy(std::string_view name);  // nullptr when there is none of that name
const Policy& default_policy();                    // binpack
std::string policy_names();                        // "binpack, spread, random"

}  // namespace egpu::core
