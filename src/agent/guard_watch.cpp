#include "agent/guard_watch.h"

#include <algorithm>
#include <ctime>
#include <set>
#include <utility>

#include "base/log.h"
#include "base/metrics.h"
#include "isolation/end_process.h"

namespace egpu::agent {
namespace {

constexpr const char* kFirstPidNamespace = "pid:[4026531836]";  // the kernel's PROC_PID_INIT_INO
constexpr Duration kLookUp = Millis(500);  // for finding out whose processes are, a look
// NVML's samples lag: up to then a container without one did nothing.
constexpr std::uint64_t kSampleLagUs = 500'000;

std::uint64_t clock_ns(clockid_t clock) {
    struct timespec now {};
    ::clock_gettime(clock, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(now.tv_nsec);
}

// The position of `uuid` among the allocation's cards; -1: none of them.
int position_of(const Record& record, const std::string& uuid) {
    for (std::size_t i = 0; i < record.cards.size(); ++i) {
        if (record.cards[i].uuid == uuid) return static_cast<int>(i);
    }
    return -1;
}

bool claims(const isolation::SlotClaim& claim, const isolation::OwnedProcess& process) {
    // What the kernel or the process does not tell is not compared; a claim without a PID is of
    // nobody.
    if (claim.pid == 0) return false;
    if (process.inner_pid != 0 && claim.pid != process.inner_pid) return false;
    if (process.pid_namespace != 0 && claim.pid_namespace != 0 &&
        claim.pid_namespace != process.pid_namespace) {
        return false;
    }
    return claim.start_time == 0 || claim.start_time == process.start_time;
}

const isolation::SlotClaim* slot_of(
    const isolation::LedgerCopy& ledger, const isolation::OwnedProcess& process
) {
    for (const isolation::SlotClaim& claim : ledger.claims) {
        if (claims(claim, process)) return &claim;
    }
    return nullptr;
}

std::uint64_t claimed(const isolation::LedgerCopy& ledger, std::size_t card) {
    return std::max(ledger.cards[card].used_bytes, ledger.cards[card].slots_bytes);
}

constexpr const char* kBypass = "edge_gpu_guard_bypass_total";
constexpr const char* kEnded = "edge_gpu_guard_processes_ended_total";

metrics::Labels labels_of(const Holder& holder) {
    return {
        {"namespace", holder.pod_namespace},
        {"pod", holder.pod_name},
        {"container", holder.container}};
}

metrics::Labels labels_of(const Holder& holder, isolation::BypassKind kind) {
    metrics::Labels labels = labels_of(holder);
    labels.emplace("kind", isolation::bypass_name(kind));
    return labels;
}

void forget_metrics(const Holder& holder) {
    using isolation::BypassKind;
    for (const BypassKind kind :
         {BypassKind::kNoSlot,
          BypassKind::kBeyondClaim,
          BypassKind::kOverQuota,
          BypassKind::kImpossible}) {
        metrics::remove_counter(kBypass, labels_of(holder, kind));
    }
    metrics::remove_counter(kEnded, labels_of(holder));
}

}  // namespace

GuardWatch::GuardWatch(GuardWatchOptions options, const isolation::GuardFiles& files, Tell tell)
    : options_(std::move(options)),
      files_(files),
      tell_(std::move(tell)),
      owners_(options_.proc),
      usage_(
          options_.nvml,
          {[this] { before(); },
           [this](const std::vector<gpu::CardLook>& looks, bool memory) { seen(looks, memory); }}
      ) {}

GuardWatch::~GuardWatch() {
    stop();
}

void GuardWatch::start() {
    std::error_code ignored;
    const auto own = std::filesystem::read_symlink(options_.proc / "self/ns/pid", ignored);
    if (own != kFirstPidNamespace) {
        log::warn(
            "this is not the first PID namespace of the machine: unless it is a node of nodes, no "
            "process on a card can be told whose it is; give the agent's pod hostPID: true",
            {{"namespace", own.string()}}
        );
    }
    usage_.start();
}

void GuardWatch::stop() {
    usage_.stop();
}

std::vector<WatchedAllocation> GuardWatch::allocations() const {
    const std::lock_guard lock(mutex_);
    return allocations_;
}

void GuardWatch::watch(std::vector<WatchedAllocation> allocations) {
    {
        const std::lock_guard lock(mutex_);
        allocations_ = std::move(allocations);
        std::erase_if(measures_, [&](const auto& entry) {
            return std::none_of(
                allocations_.begin(),
                allocations_.end(),
                [&](const WatchedAllocation& a) { return a.record.token == entry.first; }
            );
        });
    }
    tell_rhythm();
}

void GuardWatch::set_computing(bool computing) {
    {
        const std::lock_guard lock(mutex_);
        if (std::exchange(computing_, computing) == computing) return;
    }
    tell_rhythm();
}

void GuardWatch::tell_rhythm() {
    gpu::UsageWanted wanted;
    {
        const std::lock_guard lock(mutex_);
        std::set<std::string> cards;
        bool used = active_;
        for (const WatchedAllocation& allocation : allocations_) {
            used = used || allocation.used;
            for (const core::CardShare& card : allocation.record.cards) cards.insert(card.uuid);
        }
        wanted.cards.assign(cards.begin(), cards.end());
        wanted.memory_every = used ? options_.memory_every : options_.idle_every;
        if (computing_) wanted.samples_every = options_.samples_every;
    }
    usage_.want(std::move(wanted));
}

ContainerMeasure GuardWatch::of(const std::string& token) const {
    const std::lock_guard lock(mutex_);
    const auto found = measures_.find(token);
    if (found == measures_.end()) return {};
    ContainerMeasure measure = found->second;
    for (CardMeasure& card : measure.cards) {
        // A driver that tells nothing any more: what it told may be of processes long gone.
        if (card.at != TimePoint{} && MonoClock::now() - card.at >= options_.stale_after) {
            card = {std::nullopt, 0, std::nullopt, card.at};
        }
    }
    return measure;
}

void GuardWatch::before() {
    before_.clear();
    for (const WatchedAllocation& allocation : allocations()) {
        const std::string& token = allocation.record.token;
        if (auto copy = isolation::read_ledger(files_.ledger(token))) {
            before_.emplace(token, std::move(*copy));
        }
    }
}

void GuardWatch::seen(const std::vector<gpu::CardLook>& looks, bool memory) {
    const std::vector<WatchedAllocation> all = allocations();
    std::vector<isolation::ProcessOwners::Allocation> owned;
    std::set<std::string_view> tokens;
    for (const WatchedAllocation& allocation : all) {
        const Record& record = allocation.record;
        tokens.insert(record.token);
        owned.push_back({record.token, record.holder.pod_uid, files_.limits(record.token)});
        const auto made = states_.try_emplace(
            record.token, State{{}, isolation::BypassJudge(options_.rules), {}}
        );
        made.first->second.cards.resize(record.cards.size());
        Holder& holder = made.first->second.holder;
        if (labels_of(holder) != labels_of(record.holder)) forget_metrics(holder);
        holder = record.holder;
    }
    std::erase_if(states_, [&](const auto& entry) {
        if (tokens.contains(entry.first)) return false;
        forget_metrics(entry.second.holder);
        return true;
    });
    owners_.set_allocations(std::move(owned));
    if (memory) {
        take_memory(all, looks);
        owners_.sweep();
    }
    take_time(all, looks);
    publish();
    tell_rhythm();
}

void GuardWatch::take_memory(
    const std::vector<WatchedAllocation>& allocations, const std::vector<gpu::CardLook>& looks
) {
    const TimePoint now = MonoClock::now();
    const TimePoint deadline = now + kLookUp;
    // token -> card -> its processes there
    std::map<
        std::string,
        std::map<
            std::string,
            std::vector<std::pair<isolation::OwnedProcess, std::optional<std::uint64_t>>>>>
        found;
    for (const gpu::CardLook& look : looks) {
        for (const gpu::ProcessMemory& process : look.processes) {
            auto owner = owners_.owner(process.pid, deadline);
            if (!owner) continue;
            found[owner->token][look.uuid].emplace_back(std::move(*owner), process.bytes);
        }
    }
    for (const WatchedAllocation& allocation : allocations) {
        const Record& record = allocation.record;
        State& state = states_.at(record.token);
        const auto after = isolation::read_ledger(files_.ledger(record.token));
        const auto earlier = before_.find(record.token);
        const isolation::LedgerCopy none;
        const isolation::LedgerCopy& first = earlier == before_.end() ? none : earlier->second;
        const isolation::LedgerCopy& second = after ? *after : none;
        // Not there, or not readable for a reason that is not the container's (what a container
        // writes is kInvalid): nothing is known of what its processes claim.
        const bool lost = !after && after.error().code != ErrorCode::kInvalid;
        isolation::SeenContainer container;
        container.spilled = first.spilled || second.spilled;
        state.processes = 0;
        for (std::size_t i = 0; i < record.cards.size(); ++i) {
            const std::string& uuid = record.cards[i].uuid;
            CardState& card = state.cards[i];
            const auto look = std::find_if(looks.begin(), looks.end(), [&](const auto& l) {
                return l.uuid == uuid;
            });
            isolation::SeenCard seen_card;
            seen_card.index = record.cards[i].index;
            seen_card.quota = guard::kUnlimited;
            if (look == looks.end() || !look->listed) {
                container.cards.push_back(std::move(seen_card));
                continue;
            }
            card.listed = now;
            seen_card.quota = i < allocation.quota.cards.size()
                                  ? allocation.quota.cards[i].memory_bytes
                                  : guard::kUnlimited;
            seen_card.total = look->total_bytes;
            seen_card.claimed = std::max(claimed(first, i), claimed(second, i));
            card.granted = std::max(seen_card.quota, std::min(card.granted, seen_card.claimed));
            seen_card.quota = card.granted;
            seen_card.bytes = 0;
            for (auto& [process, bytes] : found[record.token][uuid]) {
                ++state.processes;
                const auto* slot = slot_of(second, process);
                const auto* slot_before = slot_of(first, process);
                isolation::SeenProcess one;
                one.pid = process.pid;
                one.start_time = process.start_time;
                one.command = process.command;
                one.certain = process.certain;
                one.has_slot = slot != nullptr || slot_before != nullptr;
                one.bytes = bytes;
                for (const auto* claim : {slot, slot_before}) {
                    if (claim != nullptr) one.claimed = std::max(one.claimed, claim->used_bytes[i]);
                }
                state.seen_guarded = state.seen_guarded || one.has_slot;
                // Whose processes these are is not sure: nothing is charged for them.
                if (!bytes) {
                    seen_card.bytes.reset();
                } else if (seen_card.bytes && process.certain) {
                    *seen_card.bytes += *bytes;
                }
                seen_card.processes.push_back(std::move(one));
            }
            card.bytes = seen_card.bytes;
            if (lost || seen_card.processes.empty()) {
                card.overhead.clear();
            } else {
                card.overhead.add(seen_card.bytes, seen_card.claimed);
            }
            container.cards.push_back(std::move(seen_card));
        }
        state.findings = 0;
        if (!lost) judge(allocation, state, container);
    }
}

void GuardWatch::judge(
    const WatchedAllocation& allocation, State& state, const isolation::SeenContainer& container
) {
    // A container that was there before the guard was switched on cannot get past it.
    if (!allocation.record.guarded && !state.seen_guarded) return;
    std::set<unsigned> ended;
    for (isolation::BypassFinding& finding : state.judge.judge(container, MonoClock::now())) {
        ++state.findings;
        if (finding.end_pid != 0 && !ended.insert(finding.end_pid).second) finding.end_pid = 0;
        act(allocation, finding);
    }
}

void GuardWatch::act(const WatchedAllocation& allocation, const isolation::BypassFinding& finding) {
    const Record& record = allocation.record;
    const std::string pod = record.holder.pod_namespace + "/" + record.holder.pod_name;
    const auto kind = isolation::bypass_name(finding.kind);
    if (finding.fresh) {
        metrics::counter(
            kBypass,
            "Findings that a container gets past the guard.",
            labels_of(record.holder, finding.kind)
        )
            .add();
        log::warn(
            "a container gets past the guard",
            {{"pod", pod},
             {"container", record.holder.container},
             {"kind", kind},
             {"what", finding.text}}
        );
        tell_(
            record.holder,
            "GPUGuardBypassed",
            "container " + record.holder.container + ": " + finding.text
        );
    }
    if (!options_.end_bypassing || finding.end_pid == 0) return;
    bool gone = false;
    const Status ended = isolation::end_process(finding.end_pid, [&] {
        const auto now = owners_.owner_now(finding.end_pid, MonoClock::now() + kLookUp);
        gone = !now;
        return now && now->certain && now->token == record.token &&
               now->start_time == finding.end_start_time;
    });
    if (!ended) {
        // Gone is what was wanted; a kernel that cannot do it is said once.
        if (gone || ended.error().code == ErrorCode::kNotFound) return;
        if (std::exchange(cannot_end_said_, true)) return;
        log::warn(
            "a process that gets past the guard is not ended", {{"why", ended.error().message}}
        );
        return;
    }
    cannot_end_said_ = false;
    metrics::counter(
        kEnded, "Processes ended because they got past the guard.", labels_of(record.holder)
    )
        .add();
    log::warn(
        "a process that gets past the guard was ended",
        {{"pod", pod},
         {"container", record.holder.container},
         {"pid", finding.end_pid},
         {"what", finding.text}}
    );
    tell_(
        record.holder,
        "GPUProcessKilled",
        "container " + record.holder.container + ": process " + std::to_string(finding.end_pid) +
            " was killed: " + finding.text
    );
}

void GuardWatch::take_time(
    const std::vector<WatchedAllocation>& allocations, const std::vector<gpu::CardLook>& looks
) {
    const TimePoint deadline = MonoClock::now() + kLookUp;
    const std::uint64_t real_us = clock_ns(CLOCK_REALTIME) / 1000;
    const std::uint64_t mono_ns = clock_ns(CLOCK_MONOTONIC);
    for (const gpu::CardLook& look : looks) {
        if (!look.samples) continue;
        std::vector<isolation::TimeSample> samples;
        std::uint64_t newest = real_us - kSampleLagUs;
        for (const gpu::ProcessSample& sample : *look.samples) {
            samples.push_back({sample.pid, sample.time_us, sample.sm_percent});
            newest = std::max(newest, sample.time_us);
        }
        // token -> busy time and its end
        std::map<std::string, std::pair<double, std::uint64_t>> busy;
        for (const auto& one : times_[look.uuid].add(samples, look.samples_after_us)) {
            const auto owner = owners_.owner(one.pid, deadline);
            if (!owner || !owner->certain) continue;
            auto& [ns, until] = busy[owner->token];
            ns += one.busy_ns;
            until = std::max(until, one.until_us);
        }
        for (const WatchedAllocation& allocation : allocations) {
            const int position = position_of(allocation.record, look.uuid);
            if (position < 0) continue;
            CardState& card =
                states_.at(allocation.record.token).cards[static_cast<std::size_t>(position)];
            const auto own = busy.find(allocation.record.token);
            card.timed = true;
            card.busy_ns += own == busy.end() ? 0 : own->second.first;
            const std::uint64_t until = own == busy.end() ? newest : own->second.second;
            if (until <= card.until_us) continue;
            card.until_us = until;
            const std::uint64_t ago_ns = real_us > until ? (real_us - until) * 1000 : 0;
            card.until_ns = std::max(card.until_ns + 1, mono_ns - std::min(mono_ns, ago_ns));
        }
    }
}

void GuardWatch::publish() {
    std::map<std::string, ContainerMeasure> measures;
    bool active = false;
    for (const auto& [token, state] : states_) {
        ContainerMeasure& measure = measures[token];
        measure.findings = state.findings;
        active = active || state.processes > 0 || state.judge.suspicious();
        for (const CardState& card : state.cards) {
            CardMeasure one;
            one.at = card.listed;
            one.bytes = card.bytes;
            one.overhead = card.overhead.bytes();
            if (card.timed) one.busy = {card.busy_ns, card.until_ns};
            measure.cards.push_back(one);
        }
    }
    const std::lock_guard lock(mutex_);
    measures_ = std::move(measures);
    active_ = active;
}

}  // namespace egpu::agent
