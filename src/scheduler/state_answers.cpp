// State's answers to filter, priorities and preempt. They change nothing but what is remembered of
// earlier answers.
#include <algorithm>
#include <set>

#include "core/policy.h"
#include "scheduler/state_lock.h"

namespace egpu::scheduler {
namespace {

constexpr std::string_view kNoCards = "node has no GPU";

// kube-scheduler 1.21 uses the text as a format string.
std::string without_percent_signs(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '%') {
            out += " percent";
        } else {
            out += c;
        }
    }
    return out;
}

// Its position among the outcome's reasons, of which there are few.
std::uint32_t reason(FilterOutcome& outcome, std::string message, bool unresolvable) {
    std::vector<k8s::FilterReason>& reasons = outcome.reasons;
    const auto known = std::find_if(reasons.begin(), reasons.end(), [&](const auto& other) {
        return other.message == message && other.unresolvable == unresolvable;
    });
    const auto position = static_cast<std::uint32_t>(known - reasons.begin());
    if (known == reasons.end()) reasons.push_back({std::move(message), unresolvable});
    return position;
}

void fail_all(FilterOutcome& outcome, std::uint32_t count, std::string message) {
    const std::uint32_t why = reason(outcome, std::move(message), true);
    for (std::uint32_t i = 0; i < count; ++i) outcome.failed.push_back({i, why});
}

}  // namespace

FilterOutcome State::filter(
    const k8s::ExtenderArgs& args, const PodFacts& pod, const KnownNodes* known
) const {
    FilterOutcome outcome;
    const auto count = static_cast<std::uint32_t>(args.nodes.size());
    if (!pod.asks_for_gpu()) {
        for (std::uint32_t i = 0; i < count; ++i) outcome.fitting.push_back(i);
        return outcome;
    }
    if (!pod.request_error.empty()) {
        fail_all(outcome, count, without_percent_signs(pod.request_error));
        return outcome;
    }
    static auto time = lock_time("filter");
    const Hold hold(mutex_, time);
    const auto held = ledger_.pod(pod.uid);
    if (held && !held->reserved) {
        const auto why = reason(outcome, "the pod is bound to node " + held->node, true);
        for (std::uint32_t i = 0; i < count; ++i) {
            if (args.nodes[i] == held->node) {
                outcome.fitting.push_back(i);
            } else {
                outcome.failed.push_back({i, why});
            }
        }
        return outcome;
    }
    core::Query query = ledger_.query(pod.request, pod.uid);
    const char* last_reason = nullptr;  // texts live in the query
    std::uint32_t last_why = 0;
    std::optional<std::uint32_t> no_cards;
    outcome.ids = find_nodes(args, known);
    outcome.names_version = ledger_.names_version();
    const auto& nodes = outcome.ids;
    outcome.fitting.resize(count);
    outcome.failed.resize(count);
    std::size_t fitting = 0;
    std::size_t failed = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        if (!nodes[i]) {
            if (!no_cards) no_cards = reason(outcome, std::string(kNoCards), true);
            outcome.failed[failed++] = {i, *no_cards};
            continue;
        }
        const core::Verdict verdict = ledger_.fits(*nodes[i], query);
        if (verdict.fits) {
            outcome.fitting[fitting++] = i;
        } else {
            if (verdict.reason.data() != last_reason) {
                last_reason = verdict.reason.data();
                last_why =
                    reason(outcome, without_percent_signs(verdict.reason), verdict.permanent);
            }
            outcome.failed[failed++] = {i, last_why};
        }
    }
    outcome.fitting.resize(fitting);
    outcome.failed.resize(failed);
    return outcome;
}

std::vector<int> State::scores(
    const k8s::ExtenderArgs& args, const PodFacts& pod, const KnownNodes* known
) const {
    std::vector<int> scores(args.nodes.size(), 0);
    if (pod.request.empty() || !pod.request_error.empty()) return scores;
    static auto time = lock_time("priorities");
    const Hold hold(mutex_, time);
    core::Query query = ledger_.query(pod.request, pod.uid);
    const auto nodes = find_nodes(args, known);
    if (const core::Scorer* scorer = scorer_of(pod)) {
        const auto cold = live_.totals().cold_questions;
        live_.scores(ledger_, *scorer, query, nodes, scores);
        if (live_.totals().cold_questions != cold) {
            policy_work_ = true;
            policy_work_there_.notify_one();
        }
        return scores;
    }
    for (std::size_t i = 0; i < scores.size(); ++i) {
        if (!nodes[i]) continue;
        scores[i] = std::clamp(ledger_.score(*nodes[i], query), 0, core::kMaxScore);
    }
    return scores;
}

// All names first, then all questions: the processor waits for many look-ups at once. What was
// looked up for an earlier list is copied. Other lists come in much the same order each time, with
// names left out: mostly the guess is right.
std::vector<std::optional<core::NodeId>> State::find_nodes(
    const k8s::ExtenderArgs& args, const KnownNodes* known
) const {
    std::vector<std::optional<core::NodeId>> nodes(args.nodes.size());
    core::NodeId before = 0;
    std::size_t i = 0;
    const auto look_up_to = [&](std::size_t end) {
        for (; i < end; ++i) {
            if (before >= followers_.size()) followers_.resize(before + 1);
            const core::NodeId guess = followers_[before];
            nodes[i] = ledger_.find_node(args.nodes[i], guess);
            if (!nodes[i]) continue;
            if (*nodes[i] != guess) followers_[before] = *nodes[i];
            before = *nodes[i];
        }
    };
    if (known != nullptr && known->version == ledger_.names_version()) {
        for (const k8s::KnownRun& run : args.known_runs) {
            look_up_to(run.first);
            std::copy_n(known->ids.begin() + run.known, run.count, nodes.begin() + run.first);
            i = run.first + run.count;
        }
    }
    look_up_to(nodes.size());
    return nodes;
}

bool State::fits_without(
    const PodFacts& pod, std::string_view node, std::span<const std::string_view> victims
) const {
    if (!pod.request_error.empty()) return false;
    if (pod.request.empty()) return true;
    static auto time = lock_time("preempt");
    const Hold hold(mutex_, time);
    core::Query query = ledger_.query(pod.request, pod.uid);
    return ledger_.fits_without(node, query, victims).fits;
}

std::vector<State::Resident> State::residents(std::string_view node) const {
    const std::lock_guard lock(mutex_);
    std::set<std::string> uids;
    if (const auto info = ledger_.node(node)) {
        for (const core::CardInfo& card : info->cards) {
            for (const core::HolderInfo& holder : card.holders) {
                if (!holder.reserved) uids.insert(holder.uid);
            }
        }
    }
    std::vector<Resident> out;
    for (const std::string& uid : uids) {
        if (unconfirmed_.contains(uid)) continue;
        const auto priority = priorities_.find(core::stable_key(uid));
        out.push_back({uid, priority == priorities_.end() ? 0 : priority->second});
    }
    return out;
}

}  // namespace egpu::scheduler
