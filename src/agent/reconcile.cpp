#include "agent/reconcile.h"

#include <algorithm>

#include "agent/take_over.h"
#include "base/log.h"

namespace egpu::agent {
namespace {

const Record* record_of(
    const std::vector<Record>& records, const NodePod& pod, const core::ContainerRequest& container
) {
    for (auto r = records.rbegin(); r != records.rend(); ++r) {
        if (r->holder.confirmed && r->holder.pod_uid == pod.uid &&
            r->holder.container == container.name &&
            resource_name(r->resource) == container.resource) {
            return &*r;
        }
    }
    return nullptr;
}

bool same_cards(
    const std::vector<core::CardShare>& planned,
    const std::vector<core::CardShare>& real,
    const std::vector<core::Card>& cards
) {
    if (planned.size() != real.size()) return false;
    return std::all_of(real.begin(), real.end(), [&](const core::CardShare& r) {
        return std::any_of(planned.begin(), planned.end(), [&](const core::CardShare& p) {
            if (!p.uuid.empty()) return p.uuid == r.uuid;
            return std::any_of(cards.begin(), cards.end(), [&](const core::Card& c) {
                return c.index == p.index && c.uuid == r.uuid;
            });
        });
    });
}

std::string describe(const core::ContainerPlacement& placement) {
    std::string text = "container " + placement.container + " has ";
    for (std::size_t i = 0; i < placement.cards.size(); ++i) {
        const core::CardShare& card = placement.cards[i];
        text += (i == 0 ? "" : " and ") +
                (card.percent == core::kCardUnits ? std::string()
                                                  : std::to_string(card.percent) + " percent of ") +
                "card " + std::to_string(card.index);
    }
    return text;
}

}  // namespace

std::optional<PlacementReport> placement_report(
    const NodePod& pod, const std::vector<Record>& records, const std::vector<core::Card>& cards
) {
    // A mirror pod's UID is not the kubelet's; its annotations are the kubelet's, too.
    if (pod.terminal || pod.request.empty() || pod.uid != pod.api_uid) return std::nullopt;
    PlacementReport report{pod.api_uid, pod.ns, pod.name, {}, ""};
    bool differs = !pod.placement.has_value();
    for (const core::ContainerRequest& container : pod.request.containers) {
        const Record* record = record_of(records, pod, container);
        if (record == nullptr) return std::nullopt;
        core::ContainerPlacement real{container.name, record->cards};
        for (core::CardShare& share : real.cards) {
            if (container.memory_mib != 0) share.memory_mib = container.memory_mib;
        }
        const core::ContainerPlacement* planned = pod.placed(container.name);
        if (planned == nullptr || !same_cards(planned->cards, real.cards, cards)) {
            differs = true;
            report.message += (report.message.empty() ? "" : ", ") + describe(real);
        }
        report.placement.containers.push_back(std::move(real));
    }
    if (!differs) return std::nullopt;
    report.message += pod.placement ? "; its placement named other cards"
                                    : "; the pod came to this node without a placement";
    return report;
}

Reconciler::Reconciler(
    ReconcileOptions options,
    Allocator& allocator,
    KubeletBooksReader& books,
    PodsView& pods,
    Report report
)
    : options_(options),
      allocator_(allocator),
      books_(books),
      pods_(pods),
      report_(std::move(report)),
      adopt_unclear_(options.state_lost) {}

Reconciler::~Reconciler() {
    stop();
}

void Reconciler::start() {
    thread_ = std::thread([this] { run(); });
}

void Reconciler::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void Reconciler::wake() {
    const std::lock_guard lock(mutex_);
    woken_ = true;
    changed_.notify_all();
}

void Reconciler::run() {
    bool again = true;
    while (true) {
        {
            std::unique_lock lock(mutex_);
            changed_.wait_for(lock, again ? options_.settle : options_.fallback, [&] {
                return stopping_ || woken_;
            });
            if (stopping_) return;
        }
        wait_for_quiet();
        {
            const std::lock_guard lock(mutex_);
            if (stopping_) return;
            woken_ = false;
        }
        again = round(MonoClock::now());
        last_round_ = MonoClock::now();
    }
}

// Events come in bursts, and a List in the middle of an admission can make the kubelet hand IDs out
// twice.
void Reconciler::wait_for_quiet() {
    const TimePoint latest = MonoClock::now() + options_.longest_quiet;
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, last_round_ + options_.quiet, [&] { return stopping_; });
    while (!stopping_) {
        const Duration quiet = allocator_.quiet_for();
        const TimePoint now = MonoClock::now();
        if (now >= latest || (quiet >= options_.quiet && !allocator_.allocating())) return;
        const Duration rest = std::max<Duration>(options_.quiet - quiet, Millis(5));
        changed_.wait_for(lock, std::min<Duration>(rest, latest - now), [&] { return stopping_; });
    }
}

bool Reconciler::round(TimePoint now) {
    allocator_.retry_save();
    const KubeletBooks books = books_.read(MonoClock::now() + options_.list_deadline);
    const bool failed = !books.pods || !books.checkpoint;
    if (failed != books_failed_) {
        books_failed_ = failed;
        if (failed) {
            log::warn(
                "the kubelet's books cannot be read; nothing is released", {{"error", books.error}}
            );
        } else {
            log::info("the kubelet's books can be read again");
        }
    }
    const std::vector<BookEntry> entries = book_entries(books, pods_, allocator_.cards());
    const bool unclear_too = adopt_unclear_;
    if (!failed) adopt_unclear_ = false;
    allocator_.edit([&](NodeLedger& ledger) {
        return take_over(ledger, entries, pods_, unclear_too);
    });
    if (!failed) books_read_ = true;
    const bool again = release_missing(books, now);
    report_placements();
    return again;
}

Reconciler::Evidence Reconciler::evidence(
    const Record& record, const BookEntry* entry, const KubeletBooks& books, TimePoint deadline
) {
    if (!books.pods) return Evidence::kHeld;
    if (entry != nullptr && entry->alive == BookEntry::Alive::kYes) return Evidence::kHeld;
    if (entry != nullptr && entry->alive == BookEntry::Alive::kNo) return Evidence::kGone;
    if (entry == nullptr && books.checkpoint) return Evidence::kGone;
    const Holder& holder = record.holder;
    const PodFate fate =
        pods_.fate(holder.pod_uid, holder.pod_namespace, holder.pod_name, deadline);
    return fate == PodFate::kGone || fate == PodFate::kTerminal ? Evidence::kGone
                                                                : Evidence::kUnclear;
}

bool Reconciler::release_missing(const KubeletBooks& books, TimePoint now) {
    const std::vector<Record> records = allocator_.records();
    const std::vector<BookEntry> entries = book_entries(books, pods_, allocator_.cards());
    const std::vector<const BookEntry*> matches = match_records(records, entries);
    const TimePoint deadline = MonoClock::now() + options_.fate_deadline;
    std::map<std::string, Missing> missing;
    std::vector<std::string> release;
    bool again = false;
    for (std::size_t i = 0; i < records.size(); ++i) {
        const Evidence found = evidence(records[i], matches[i], books, deadline);
        if (found == Evidence::kHeld) continue;
        const std::string& token = records[i].token;
        const auto before = missing_.find(token);
        Missing next = before != missing_.end() ? before->second : Missing{0, {}, now};
        const bool counts = next.rounds == 0 || now - next.last >= options_.settle;
        if (found == Evidence::kUnclear) {
            next.rounds = 0;
            if (now - next.since >= options_.unclear_for) release.push_back(token);
        } else if (counts) {
            next.last = now;
            if (++next.rounds >= 2) release.push_back(token);
        }
        again = again || found == Evidence::kGone || now - next.since < options_.unclear_retry;
        missing.emplace(token, next);
    }
    missing_ = std::move(missing);
    if (release.empty()) return again;
    allocator_.edit([&](NodeLedger& ledger) {
        bool changed = false;
        for (const std::string& token : release) {
            const Record* record = ledger.find(token);
            if (record == nullptr) continue;
            log::info(
                "released",
                {{"pod", record->holder.pod_namespace + "/" + record->holder.pod_name},
                 {"container", record->holder.container},
                 {"token", token}}
            );
            changed = ledger.release(token) || changed;
        }
        return changed;
    });
    for (const std::string& token : release) missing_.erase(token);
    return again;
}

void Reconciler::report_placements() {
    if (!report_) return;
    const std::vector<Record> records = allocator_.records();
    const std::vector<core::Card> cards = allocator_.cards();
    for (const NodePodPtr& pod : pods_.all()) {
        if (auto report = placement_report(*pod, records, cards)) report_(std::move(*report));
    }
}

}  // namespace egpu::agent
