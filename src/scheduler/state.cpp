#include "scheduler/state.h"

#include "scheduler/state_lock.h"

namespace egpu::scheduler {
namespace {

constexpr Duration kGraveTime = Seconds(120);  // longer than any answer can be on its way
constexpr Duration kDoubtAfter = Seconds(2);   // a bind in doubt is looked up after this long
constexpr Duration kLookAgain = Seconds(5);

core::PodIdentity identity(const PodFacts& pod) {
    return {pod.uid, pod.ns, pod.name};
}

}  // namespace

State::State(const StateOptions& options)
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
    const bool binds_cards = !pod.node.empty() && pod.asks_for_gpu();
    if (source == Source::kRead && !pod.terminal && !binds_cards) return;
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
    // The binding of a pod in doubt may be there: as long as it cannot be looked up it counts.
    for (const auto& [uid, entry] : unconfirmed_) {
        ledger_.extend(uid, now, options_.reservation_ttl);
    }
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
