#include "agent/guard_keeper.h"

#include <algorithm>
#include <ctime>
#include <set>
#include <utility>

#include "base/log.h"
#include "core/card.h"
#include "isolation/compute_control.h"

namespace egpu::agent {
namespace {

std::uint64_t monotonic_ns() {
    // The guard compares with its own CLOCK_MONOTONIC.
    struct timespec now {};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(now.tv_nsec);
}

std::int64_t memory_of(const core::CardShare& share, const core::Card& card) {
    if (share.memory_mib > 0) return share.memory_mib;
    return card.memory_mib * share.percent / core::kCardUnits;
}

// Are these two of one pod that never run at the same time? The kubelet gave the units of an init
// container to a later one.
bool in_turn(const Record& a, const Record& b) {
    const auto may_have_ended = [](const Record& r) {
        return !r.holder.kind || *r.holder.kind == core::ContainerKind::kInit;
    };
    return a.group == b.group && a.resource == b.resource &&
           (may_have_ended(a) || may_have_ended(b)) &&
           std::find_first_of(a.ids.begin(), a.ids.end(), b.ids.begin(), b.ids.end()) !=
               a.ids.end();
}

const core::ContainerRequest* request_of(const NodePod& pod, const Record& record) {
    for (const core::ContainerRequest& container : pod.request.containers) {
        if (container.name == record.holder.container) return &container;
    }
    return nullptr;
}

}  // namespace

std::vector<core::CardShare> caps_now(
    const Record& record,
    const NodePod& pod,
    const std::vector<Record>& all,
    const std::vector<core::Card>& cards,
    std::string& problem
) {
    std::vector<core::CardShare> shares = record.cards;
    const core::ContainerRequest* wanted = request_of(pod, record);
    if (wanted == nullptr) return shares;
    for (core::CardShare& share : shares) {
        if (share.memory_mib == wanted->memory_mib) continue;
        const auto card = std::find_if(cards.begin(), cards.end(), [&](const core::Card& c) {
            return c.uuid == share.uuid;
        });
        core::CardShare next = share;
        next.memory_mib = wanted->memory_mib;
        if (card == cards.end() || card->memory_mib == 0) {
            share = next;
            continue;
        }
        std::int64_t others = 0;
        for (const Record& other : all) {
            if (other.token == record.token || in_turn(record, other)) continue;
            for (const core::CardShare& held : other.cards) {
                if (held.uuid == share.uuid) others += memory_of(held, *card);
            }
        }
        const std::int64_t now = memory_of(share, *card);
        const std::int64_t then = memory_of(next, *card);
        if (then > now && others + then > card->memory_mib) {
            problem =
                std::to_string(then) + " MiB asked for, card " + std::to_string(share.index) +
                " has " + std::to_string(std::max<std::int64_t>(0, card->memory_mib - others)) +
                " MiB beside its other containers: the cap stays " + std::to_string(now) + " MiB";
            continue;
        }
        share = next;
    }
    return shares;
}

GuardKeeper::GuardKeeper(
    GuardOptions options, Allocator& allocator, PodsView& pods, GuardWatch::Tell tell
)
    : options_(std::move(options)),
      allocator_(allocator),
      pods_(pods),
      files_(options_.folder, options_.library) {
    if (options_.watch) {
        watch_ = std::make_unique<GuardWatch>(*options_.watch, files_, std::move(tell));
    }
}

GuardKeeper::~GuardKeeper() {
    stop();
}

Status GuardKeeper::install() {
    return files_.install();
}

bool GuardKeeper::limits(const Record& record) {
    return record.resource == Resource::kPercent && !record.whole();
}

bool GuardKeeper::add_mounts(const Record& record, inject::ContainerEdits& edits) const {
    if (!limits(record)) return false;
    files_.add_mounts(record.token, edits);
    return true;
}

Result<GuardKeeper::Limited*> GuardKeeper::open(const Record& record) {
    const auto known = limited_.find(record.token);
    if (known != limited_.end()) return &known->second;
    // Of a container that runs only what it has mounted counts: a ledger that is gone is not
    // replaced under it.
    const std::filesystem::path path = files_.limits(record.token);
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) {
        if (const Status made = files_.prepare(record.token); !made) return made.error();
    }
    auto file = isolation::LimitsFile::open(path);
    if (!file) return std::move(file).error();
    isolation::Quota quota;
    if (const auto body = file->body()) {
        if (auto before = isolation::quota_from(*body)) quota = std::move(*before);
    }
    const auto made = limited_.emplace(record.token, Limited{std::move(*file), std::move(quota)});
    return &made.first->second;
}

Status GuardKeeper::reopen(const Record& record, Limited& limited) {
    const std::filesystem::path path = files_.limits(record.token);
    if (limited.file.is_at(path)) return ok_status();
    EG_TRY(limited.file, isolation::LimitsFile::open(path));
    return ok_status();
}

Status GuardKeeper::settle(const Record& record, const std::vector<Record>& all, Limited& limited) {
    const std::vector<core::Card> cards = allocator_.cards();
    std::vector<core::CardShare> shares = record.cards;
    core::ComputeMode mode = core::ComputeMode::kHard;
    core::GpuPriority priority = core::GpuPriority::kNormal;
    std::string problem;
    const NodePodPtr pod =
        record.holder.pod_uid.empty() ? nullptr : pods_.by_uid(record.holder.pod_uid);
    if (pod && pod->problem.empty()) {
        shares = caps_now(record, *pod, all, cards, problem);
        mode = pod->request.compute.value_or(core::ComputeMode::kHard);
        priority = pod->request.priority;
    } else if (!limited.quota.cards.empty()) {
        priority = limited.quota.priority;
        mode = isolation::core_mode(limited.quota.cards.front().mode);
    }
    note_problem(record, limited.problem, problem);
    EG_TRY(isolation::Quota quota, isolation::quota_of(shares, cards, mode, priority));
    if (quota != limited.quota || !limited.file.body()) {
        limited.quota = std::move(quota);
        limited.file.publish(isolation::body_of(limited.quota, limited.file.body()));
    }
    limited.file.heartbeat(monotonic_ns());
    if (shares == record.cards) return ok_status();
    log::info(
        "memory cap changed",
        {{"pod", record.holder.pod_namespace + "/" + record.holder.pod_name},
         {"container", record.holder.container},
         {"MiB", shares.front().memory_mib}}
    );
    allocator_.edit([&](NodeLedger& ledger) { return ledger.correct_cards(record.token, shares); });
    return ok_status();
}

void GuardKeeper::note_problem(
    const Record& record, std::string& last, const std::string& problem
) {
    if (last == problem) return;
    last = problem;
    if (problem.empty()) return;
    log::warn(
        "a quota is not as it should be",
        {{"pod", record.holder.pod_namespace + "/" + record.holder.pod_name},
         {"container", record.holder.container},
         {"why", problem}}
    );
}

Status GuardKeeper::ensure(const Record& record) {
    if (!limits(record)) return ok_status();
    EG_TRY_VOID(files_.install());
    const std::vector<Record> all = allocator_.records();
    const std::lock_guard lock(pages_mutex_);
    EG_TRY_VOID(files_.prepare(record.token));  // the folder may have been removed under us
    auto opened = open(record);
    if (!opened) return std::move(opened).error();
    EG_TRY_VOID(reopen(record, **opened));
    return settle(record, all, **opened);
}

std::size_t GuardKeeper::round(TimePoint now) {
    const std::vector<Record> all = allocator_.records();
    const std::lock_guard lock(pages_mutex_);
    std::vector<std::pair<const Record*, Limited*>> settled;
    for (const Record& record : all) {
        if (!limits(record)) continue;
        auto opened = open(record);
        const Status done = opened ? settle(record, all, **opened) : opened.error();
        if (!done) {
            // What cannot even be opened keeps the container from starting: ensure() says why.
            if (opened) note_problem(record, (*opened)->failure, done.error().message);
            continue;
        }
        Limited& limited = **opened;
        auto copy = isolation::read_ledger(files_.ledger(record.token));
        note_problem(record, limited.failure, copy ? "" : copy.error().message);
        limited.readable = copy.ok();
        if (copy) {
            limited.seen = std::move(*copy);
        } else if (copy.error().code == ErrorCode::kInvalid) {
            static_cast<void>(isolation::make_ledger(files_.ledger(record.token)));
        }
        settled.emplace_back(&record, &limited);
    }
    exchange_measures(settled, now);
    for (const auto& [record, limited] : settled) {
        limited->metrics.update(
            *record,
            limited->quota,
            limited->seen,
            limited->readable,
            limited->file.body(),
            watch_ ? watch_->of(record->token) : ContainerMeasure{},
            now
        );
    }
    forget_gone(all, now);
    return limited_.size();
}

void GuardKeeper::exchange_measures(
    const std::vector<std::pair<const Record*, Limited*>>& settled, TimePoint now
) {
    if (!watch_) return;
    std::vector<WatchedAllocation> watched;
    for (const auto& [record, limited] : settled) {
        watched.push_back({*record, limited->quota, limited->seen.processes > 0});
        const ContainerMeasure measure = watch_->of(record->token);
        auto body = limited->file.body();
        if (!body) continue;
        if (limited->since == TimePoint{}) limited->since = now;
        const bool too_old = now - limited->since >= options_.watch->stale_after;
        for (std::size_t i = 0; i < std::min(body->device_count, guard::kMaxDevices); ++i) {
            const CardMeasure card = i < measure.cards.size() ? measure.cards[i] : CardMeasure{};
            std::uint64_t& charged = body->devices[i].overhead_bytes;
            if (card.overhead) charged = *card.overhead;
            // Measured by an earlier run of the agent, and by nobody since.
            if (card.at == TimePoint{} && too_old) charged = 0;
        }
        limited->file.publish(*body);
    }
    watch_->watch(std::move(watched));
    const bool hangs = watch_->busy_for() >= options_.hangs_after;
    if (std::exchange(hangs_, hangs) == hangs) return;
    if (hangs) {
        log::warn("the driver does not answer: what containers use of the cards is not measured");
    } else {
        log::info("the driver answers again");
    }
}

bool GuardKeeper::control() {
    const std::uint64_t now = monotonic_ns();
    const std::lock_guard lock(pages_mutex_);
    struct Place {
        Limited* limited;
        std::size_t card;
    };
    std::map<isolation::CardId, std::pair<std::vector<guard::ContainerSample>, std::vector<Place>>>
        cards;
    bool busy = false;
    for (auto& [token, limited] : limited_) {
        if (isolation::ledger_moved(files_.ledger(token), limited.mark)) {
            busy = true;
            if (auto copy = isolation::read_ledger(files_.ledger(token))) {
                limited.seen = std::move(*copy);
            }
        }
        const ContainerMeasure measure = watch_ ? watch_->of(token) : ContainerMeasure{};
        for (std::size_t i = 0; i < limited.quota.cards.size(); ++i) {
            auto& [samples, places] = cards[limited.quota.cards[i].uuid];
            std::optional<guard::Measured> measured;
            if (i < measure.cards.size()) measured = measure.cards[i].busy;
            samples.push_back(isolation::sample_of(token, limited.quota, limited.seen, i, measured)
            );
            places.push_back({&limited, i});
        }
    }
    std::erase_if(controls_, [&](const auto& entry) { return !cards.contains(entry.first); });
    if (watch_) watch_->set_computing(busy);
    if (!busy) return false;
    for (auto& [uuid, both] : cards) {
        const auto& [samples, places] = both;
        const auto answers = controls_[uuid].tick(now, samples);
        for (std::size_t i = 0; i < answers.size(); ++i) {
            Limited& limited = *places[i].limited;
            auto body = limited.file.body();
            if (!body) continue;
            isolation::apply_control(answers[i], body->devices[places[i].card]);
            limited.file.publish(*body);
        }
    }
    return true;
}

void GuardKeeper::forget_gone(const std::vector<Record>& records, TimePoint now) {
    std::set<std::string_view> held;
    for (const Record& record : records) held.insert(record.token);
    for (auto it = limited_.begin(); it != limited_.end();) {
        if (held.contains(it->first)) {
            ++it;
            continue;
        }
        it->second.metrics.forget();
        files_.remove(it->first);
        it = limited_.erase(it);
    }
    if (options_.may_forget && !options_.may_forget()) {
        strange_.clear();
        return;
    }
    std::map<std::string, TimePoint> strange;
    for (const std::string& token : files_.tokens()) {
        if (held.contains(token)) continue;
        const auto before = strange_.find(token);
        const TimePoint since = before == strange_.end() ? now : before->second;
        if (now - since >= options_.forget_after) {
            files_.remove(token);
        } else {
            strange.emplace(token, since);
        }
    }
    strange_ = std::move(strange);
}

void GuardKeeper::start() {
    if (watch_) watch_->start();
    thread_ = std::thread([this] { run(); });
}

void GuardKeeper::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
    if (watch_) watch_->stop();
}

void GuardKeeper::wake() {
    const std::lock_guard lock(mutex_);
    woken_ = true;
    changed_.notify_all();
}

void GuardKeeper::run() {
    TimePoint next_round{};
    while (true) {
        const TimePoint now = MonoClock::now();
        if (now >= next_round) {
            // Nothing to watch: asleep until a pod or a record changes.
            next_round = now + (round(now) > 0 ? options_.tick : options_.forget_after);
        }
        const bool computing = control();
        std::unique_lock lock(mutex_);
        const TimePoint wake =
            computing ? std::min(next_round, now + options_.control) : next_round;
        changed_.wait_until(lock, wake, [&] { return stopping_ || woken_; });
        if (stopping_) return;
        if (std::exchange(woken_, false)) next_round = {};
    }
}

}  // namespace egpu::agent
