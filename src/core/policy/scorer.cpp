#include "core/policy/scorer.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/random.h"

namespace egpu::core {
namespace {

// The largest node of the trace that the published scores are normalised by.
constexpr double kMaxCpuMilli = 128000;
constexpr double kMaxGpuPercent = 800;

// What the 0..10 policies look at, read off the two rooms.
NodeChange change_of(const Step& step) {
    NodeChange change;
    change.cards = step.before.cards;
    change.used_before = change.cards * 100 - step.before.free_total();
    change.used_after = change.cards * 100 - step.after.free_total();
    change.empty_before = step.before.empty_cards();
    change.empty_after = step.after.empty_cards();
    for (int card = 0; card < change.cards; ++card) {
        const int before = step.before.free[card];
        const int after = step.after.free[card];
        if (after == before || (before == 100 && after == 0)) continue;
        ++change.share_cards;
        change.opened += before == 100 ? 1 : 0;
        change.share_used += 100 - after;
    }
    return change;
}

double binpack(const Step& step) {
    static const Policy& live = *find_policy("binpack");
    return live.node_score(change_of(step), step.context);
}

double spread(const Step& step) {
    static const Policy& live = *find_policy("spread");
    return live.node_score(change_of(step), step.context);
}

double any(const Step& step) {
    std::uint64_t state = step.context.seed ^ (step.context.pod_key * 0x9E3779B97F4A7C15ULL);
    state = splitmix64(state) ^ (step.context.node_key * 0xD1B54A32D192ED03ULL);
    return static_cast<double>(splitmix64(state) >> 11);
}

double cpu_or_nothing(std::int32_t milli) {
    return milli == kUnlimited ? 0 : milli / kMaxCpuMilli;
}

// The less that is left, weighted alike between CPU and GPU, the better.
double best_fit(const Step& step) {
    const double left =
        0.5 * cpu_or_nothing(step.after.cpu_milli) + 0.5 * step.after.free_total() / kMaxGpuPercent;
    return std::trunc((1 - left) * 100);
}

// Free times requested, summed over CPU and GPU: the less aligned with what is left, the better.
double dot_product(const Step& step) {
    const double cpu = cpu_or_nothing(step.before.cpu_milli) * step.pod.cpu_milli / kMaxCpuMilli;
    const double gpu = step.before.free_total() / kMaxGpuPercent * step.pod.cards *
                       step.pod.percent / kMaxGpuPercent;
    return std::trunc(100 * (1 - (cpu + gpu) / 2));
}

// Cards in use first (the less free the better), then idle cards of a node in use, then idle nodes.
double gpu_packing(const Step& step) {
    if (step.pod.cards == 0) return 0;
    const int idle = step.before.empty_cards();
    if (idle == step.before.cards) return std::max(33 - idle, idle);
    int idle_taken = 0;
    int free_on_taken = 0;
    for (int card = 0; card < step.before.cards; ++card) {
        if (step.before.free[card] == step.after.free[card]) continue;
        idle_taken += step.before.free[card] == 100 ? 1 : 0;
        free_on_taken += step.before.free[card];
    }
    if (idle_taken > 0) return std::max(50 - idle_taken, 33);
    return std::max(100 - free_on_taken / 10, 50);
}

// Like with like: a node with pods of this kind only, with this kind among others, with none, with
// others only; within these the fuller node.
double gpu_clustering(const Step& step) {
    if (step.pod.cards == 0) return 0;
    const unsigned mine = 1U << static_cast<unsigned>(kind_of(step.pod));
    // Kinds of GPU pods only: a pod without a card leaves no mark.
    const unsigned here = step.before.kinds & ~(1U << static_cast<unsigned>(ShapeKind::kCpuOnly));
    const int tier = here == mine ? 3 : (here & mine) != 0 ? 2 : here == 0 ? 1 : 0;
    const int used = static_cast<int>(kMaxGpuPercent) - step.before.free_total();
    return 25 * tier + std::trunc(25 * used / kMaxGpuPercent);
}

constexpr std::array kScorers{
    Scorer{
        "binpack",
        "fill cards that are in use before opening empty ones",
        "nano-gpu-scheduler's binpack, completed",
        CardRule::kLeastFree,
        Potential::kNone,
        binpack},
    Scorer{
        "spread",
        "prefer the emptiest card of the emptiest node",
        "nano-gpu-scheduler's spread, completed",
        CardRule::kMostFree,
        Potential::kNone,
        spread},
    Scorer{
        "random",
        "any node and card, by a hash of seed, pod and node",
        "the usual baseline",
        CardRule::kRandom,
        Potential::kNone,
        any,
        true},
    Scorer{
        "best-fit",
        "the node with the least CPU and GPU left",
        "as in the evaluation of FGD (USENIX ATC 2023)",
        CardRule::kLeastFree,
        Potential::kNone,
        best_fit},
    Scorer{
        "dot-product",
        "the node whose free CPU and GPU are least aligned with the pod",
        "Tetris (SIGCOMM 2014) with the sign of the evaluation of FGD",
        CardRule::kLeastFree,
        Potential::kNone,
        dot_product},
    Scorer{
        "gpu-packing",
        "cards in use, then idle cards of used nodes, then idle nodes",
        "MLaaS in the wild (NSDI 2022)",
        CardRule::kLeastFree,
        Potential::kNone,
        gpu_packing},
    Scorer{
        "gpu-clustering",
        "nodes that run pods of the same kind",
        "Gandiva (OSDI 2018)",
        CardRule::kLeastFree,
        Potential::kNone,
        gpu_clustering,
        false,
        true},
    Scorer{
        "fgd",
        "least growth of fragmentation for the typical pods",
        "Fragmentation Gradient Descent (USENIX ATC 2023)",
        CardRule::kByScore,
        Potential::kFragmentation},
    Scorer{
        "fill-gradient",
        "least loss of what the node could still take from the pods to come",
        "docs/placement.md",
        CardRule::kByScore,
        Potential::kExpectedFill},
};

}  // namespace

std::span<const Scorer> scorers() {
    return kScorers;
}

const Scorer* find_scorer(std::string_view name) {
    if (name == "auto") name = "fill-gradient";
    const auto it = std::find_if(kScorers.begin(), kScorers.end(), [&](const Scorer& scorer) {
        return scorer.name == name;
    });
    return it == kScorers.end() ? nullptr : &*it;
}

std::string scorer_names() {
    std::string names;
    for (const Scorer& scorer : kScorers) names += std::string(scorer.name) + ", ";
    return names + "auto";
}

}  // namespace egpu::core
