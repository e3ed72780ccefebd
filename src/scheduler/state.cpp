#include "scheduler/state.h"

#include <algorithm>
#include <set>

#include "base/metrics.h"
#include "core/policy.h"

namespace egpu::scheduler {
namespace {

constexpr Duration kGraveTime = Seconds(120);  // longer than any answer can be on its way
constexpr Duration kDoubtAfter = Seconds(2);   // a bind in doubt is looked up after this long
constexpr Duration kLookAgain = Seconds(5);

constexpr std::string_view kNoCards = "node has no GPU";

metrics::Histogram lock_time(const char* call) {
    return metrics::histogram(
        "edge_gpu_scheduler_lock_seconds",
        "Time for which a call held the ledger's lock.",
        {1e-6, 1e-5, 1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 1e-1},
        {{"call", call}}
    );
}

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

core::PodIdentity identity(const PodFacts& pod) {
    return {pod.uid, pod.ns, pod.name};
}

}  // namespace

class State::Hold {
  public:
    Hold(std::mutex& mutex, metrics::Histogram& time) : lock_(mutex), time_(time) {}
    ~Hold() { time_.observe(std::chrono::duration<double>(MonoClock::now() - since_).count()); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

  private:
    std::lock_guard<std::mutex> lock_;
    metrics::Histogram& time_;
    TimePoint since_ = MonoClock::now();
};

State::State(StateOptions options)
    : options_(options),
      ledger_(options.ledger),
      live_(options.live),
      hand_over_(options.hand_over) {
    if (options_.policy.empty()) options_.policy = options_.ledger.policy;
}

// --- the cluster's truth ---

void State::upsert_node(std::string_view name, const core::NodeInventory& inventory) {
    static auto time = lock_time("node");
    const Hold hold(mutex_, time);
    ledger_.upsert_node(name, inventory);
}

void State::remove_node(std::string_view name) {
    const std::lock_guard lock(mutex_);
    ledger_.remove_node(name);
}

bool State::buried(std::string_view uid) const {
    return buried_.contains(core::stable_key(uid));
}

void State::bury(std::string_view uid, TimePoint now) {
    const std::uint64_t key = core::stable_key(uid);
    if (buried_.insert(key).second) graves_.push_back({now + kGraveTime, key});
}

void State::forget(std::string_view uid, TimePoint now) {
    const std::string key(uid);
    if (const auto held = ledger_.pod(uid); held && !held->reserved) {
        hand_over_.left(held->node, held->uses_percent, held->uses_whole, now);
    }
    ledger_.remove_pod(uid);
    pending_.erase(key);
    unconfirmed_.erase(key);
    if (!priorities_.empty()) priorities_.erase(core::stable_key(uid));
}

void State::upsert_pod(PodFacts pod, TimePoint now, Source source) {
    const bool counts = pod.asks_for_gpu() || !pod.node.empty();  // its CPU and memory do
    if (pod.uid.empty() || (!pod.terminal && !counts)) return;
    static auto time = lock_time("pod");
    const Hold hold(mutex_, time);
    if (buried(pod.uid)) return;
    if (pod.terminal) {
        forget(pod.uid, now);
        bury(pod.uid, now);
        return;
    }
    if (pod.node.empty()) {
        const auto known = ledger_.pod(pod.uid);
        if (known && !known->reserved) return;
        std::string uid = pod.uid;
        note_arrival(pod);
        pending_.insert_or_assign(std::move(uid), std::move(pod));
        return;
    }
    note_arrival(pod);
    pending_.erase(pod.uid);
    if (source == Source::kWatch) {
        unconfirmed_.erase(pod.uid);
    } else if (pod.asks_for_gpu()) {
        const auto held = ledger_.pod(pod.uid);
        if (!held || held->reserved || unconfirmed_.contains(pod.uid)) {
            unconfirmed_[pod.uid] = {
                {pod.uid, pod.ns, pod.name, pod.node, 0}, now + options_.confirm_after};
        }
    }
    if (pod.priority != 0) priorities_[core::stable_key(pod.uid)] = pod.priority;
    ledger_.upsert_pod(
        {identity(pod), std::move(pod.node), std::move(pod.request), std::move(pod.placement)}
    );
}

void State::remove_pod(std::string_view uid, TimePoint now) {
    if (uid.empty()) return;
    static auto time = lock_time("pod");
    const Hold hold(mutex_, time);
    forget(uid, now);
    bury(uid, now);
}

// --- questions ---

FilterOutcome State::filter(const k8s::ExtenderArgs& args, const PodFacts& pod) const {
    FilterOutcome outcome;
    const auto count = static_cast<std::uint32_t>(args.nodes.size());
    outcome.fitting.reserve(count);
    outcome.failed.reserve(count);
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
    const auto nodes = find_nodes(args.nodes);
    outcome.names_version = ledger_.names_version();
    outcome.ids.reserve(count);
    for (std::uint32_t i = 0; i < count; ++i) {
        if (!nodes[i]) {
            if (!no_cards) no_cards = reason(outcome, std::string(kNoCards), true);
            outcome.failed.push_back({i, *no_cards});
            continue;
        }
        const core::Verdict verdict = ledger_.fits(*nodes[i], query);
        if (verdict.fits) {
            outcome.fitting.push_back(i);
            outcome.ids.push_back(nodes[i]);
        } else {
            if (verdict.reason.data() != last_reason) {
                last_reason = verdict.reason.data();
                last_why =
                    reason(outcome, without_percent_signs(verdict.reason), verdict.permanent);
            }
            outcome.failed.push_back({i, last_why});
        }
    }
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
    const bool valid = known != nullptr && known->version == ledger_.names_version() &&
                       known->ids.size() == args.nodes.size();
    const auto found = valid ? std::vector<std::optional<core::NodeId>>() : find_nodes(args.nodes);
    const auto& nodes = valid ? known->ids : found;
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

// All names first, then all questions: the processor waits for many look-ups at once. Lists come in
// much the same order each time, with names left out: mostly the guess is right.
std::vector<std::optional<core::NodeId>> State::find_nodes(const k8s::NameList& names) const {
    std::vector<std::optional<core::NodeId>> nodes(names.size());
    core::NodeId before = 0;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        if (before >= followers_.size()) followers_.resize(before + 1);
        const core::NodeId guess = followers_[before];
        nodes[i] = ledger_.find_node(names[i], guess);
        if (!nodes[i]) continue;
        if (*nodes[i] != guess) followers_[before] = *nodes[i];
        before = *nodes[i];
    }
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

const core::Scorer* State::scorer_of(const PodFacts& pod) const {
    return core::LiveFleets::scorer_of(
        pod.request.policy.empty() ? options_.policy : pod.request.policy
    );
}

// Each pod counts once: when it is first seen waiting, or, after a restart, running.
void State::note_arrival(const PodFacts& pod) {
    if (pod.request.empty() || pending_.contains(pod.uid) || ledger_.pod(pod.uid)) return;
    live_.arrived(pod.request, scorer_of(pod));
    policy_work_ = true;
    policy_work_there_.notify_one();
}

// --- bind ---

std::optional<PodFacts> State::pending(std::string_view uid) const {
    const std::lock_guard lock(mutex_);
    const auto found = pending_.find(std::string(uid));
    if (found == pending_.end()) return std::nullopt;
    return found->second;
}

Reservation State::reserve(const PodFacts& pod, std::string_view node, TimePoint now) {
    static auto time = lock_time("reserve");
    const Hold hold(mutex_, time);
    Reservation out;
    if (buried(pod.uid)) {
        out.reason = "pod " + pod.key() + " is finished or deleted";
        return out;
    }
    if (const auto held = ledger_.pod(pod.uid)) {
        if (!held->reserved) {
            out.kind = Reservation::Kind::kAlreadyBound;
            out.node = held->node;
            out.guessed = held->guessed;
            out.placement = held->placement;
            return out;
        }
        // A bind to another node whose outcome stayed unknown: binds of one pod come one after the
        // other, so that one is over, and kube-scheduler has chosen anew.
        if (held->node != node) {
            ledger_.release_reservation(pod.uid);
            unconfirmed_.erase(pod.uid);
        }
    }
    std::optional<int> card;  // that the policy has scored
    const auto id = ledger_.find_node(node);
    if (const core::Scorer* scorer = scorer_of(pod); scorer != nullptr && id) {
        core::Query query = ledger_.query(pod.request, pod.uid);
        card = live_.card_for(ledger_, *scorer, query, *id);
    }
    auto placement =
        ledger_.reserve(identity(pod), node, pod.request, now, options_.reservation_ttl, card);
    if (!placement) {
        out.reason = "node " + std::string(node) + ": " + placement.error().message;
        return out;
    }
    unconfirmed_.erase(pod.uid
    );  // an earlier bind's doubt: from here on it is this one's to settle
    out.kind = Reservation::Kind::kReserved;
    out.placement = std::move(*placement);
    out.not_before = hand_over_.ready(node, pod.request, now);
    return out;
}

void State::commit(
    const PodFacts& pod, std::string_view node, const core::Placement& placement, TimePoint now
) {
    static auto time = lock_time("commit");
    const Hold hold(mutex_, time);
    if (buried(pod.uid)) return;
    pending_.erase(pod.uid);
    const auto held = ledger_.pod(pod.uid);
    if (held && !held->reserved) return;  // a watch was quicker
    if (!held) note_arrival(pod);
    if (pod.priority != 0) priorities_[core::stable_key(pod.uid)] = pod.priority;
    ledger_.upsert_pod({identity(pod), std::string(node), pod.request, placement});
    unconfirmed_[pod.uid] = {
        {pod.uid, pod.ns, pod.name, std::string(node), 0}, now + options_.confirm_after};
}

void State::rollback(std::string_view uid) {
    static auto time = lock_time("rollback");
    const Hold hold(mutex_, time);
    ledger_.release_reservation(uid);
    unconfirmed_.erase(std::string(uid));
}

void State::doubt(const PodFacts& pod, std::string_view node, TimePoint now) {
    const std::lock_guard lock(mutex_);
    const auto held = ledger_.pod(pod.uid);
    if (!held || !held->reserved) return;
    unconfirmed_[pod.uid] = {
        {pod.uid, pod.ns, pod.name, std::string(node), ++doubts_}, now + kDoubtAfter};
}

void State::refute(const UnconfirmedPod& pod) {
    const std::lock_guard lock(mutex_);
    const auto found = unconfirmed_.find(pod.uid);
    if (found == unconfirmed_.end() || found->second.pod.doubt != pod.doubt) return;
    ledger_.release_reservation(pod.uid);
    unconfirmed_.erase(found);
}

// --- the policies' own work ---

void State::await_policy_work(Duration limit) {
    std::unique_lock lock(mutex_);
    policy_work_there_.wait_for(lock, limit, [this] { return policy_work_; });
    policy_work_ = false;
}

void State::wake_policy_work() {
    const std::lock_guard lock(mutex_);
    policy_work_ = true;
    policy_work_there_.notify_all();
}

std::optional<core::LiveRefresh> State::begin_refresh() {
    static auto time = lock_time("refresh");
    const Hold hold(mutex_, time);
    return live_.begin_refresh(ledger_);
}

void State::end_refresh(core::LiveRefresh&& refresh) {
    static auto time = lock_time("refresh");
    const Hold hold(mutex_, time);
    live_.end_refresh(std::move(refresh));
}

bool State::warm_up(std::size_t nodes) {
    static auto time = lock_time("warm-up");
    const Hold hold(mutex_, time);
    return live_.warm_up(ledger_, nodes);
}

core::LiveTotals State::policy_totals() const {
    const std::lock_guard lock(mutex_);
    return live_.totals();
}

// --- housekeeping ---

std::vector<UnconfirmedPod> State::tick(TimePoint now) {
    static auto time = lock_time("tick");
    const Hold hold(mutex_, time);
    ledger_.expire(now);
    while (!graves_.empty() && graves_.front().until <= now) {
        buried_.erase(graves_.front().key);
        graves_.pop_front();
    }
    std::vector<UnconfirmedPod> due;
    for (auto& [uid, entry] : unconfirmed_) {
        if (entry.due <= now) due.push_back(entry.pod);
    }
    return due;
}

void State::postpone(const UnconfirmedPod& pod, TimePoint now) {
    const std::lock_guard lock(mutex_);
    const auto found = unconfirmed_.find(pod.uid);
    if (found == unconfirmed_.end()) return;
    const auto held = ledger_.pod(pod.uid);
    if (!held) {  // the reservation in doubt has expired
        unconfirmed_.erase(found);
        return;
    }
    found->second.due = now + kLookAgain;
}

}  // namespace egpu::scheduler
