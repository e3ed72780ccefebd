#include "agent/allocator.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <set>

#include "agent/identity.h"
#include "base/log.h"
#include "base/metrics.h"

namespace egpu::agent {
namespace {

std::int64_t wall_seconds() {
    return std::chrono::duration_cast<std::chrono::seconds>(
               std::chrono::system_clock::now().time_since_epoch()
    )
        .count();
}

metrics::Counter allocations(Resource resource, std::string_view result) {
    return metrics::counter(
        "edge_gpu_agent_allocations_total",
        "Allocate calls of the kubelet, by outcome.",
        {{"resource", std::string(resource_name(resource))}, {"result", std::string(result)}}
    );
}

inject::GivenCard given(const gpu::CardInfo& info) {
    return {info.card.uuid, info.card.index, info.index_text, info.device_nodes, info.pci_bus_id};
}

std::vector<inject::GivenCard> given(const Record& record, const gpu::Inventory& inventory) {
    std::vector<inject::GivenCard> cards;
    for (const core::CardShare& share : record.cards) {
        inject::GivenCard card;
        card.uuid = share.uuid;
        for (const gpu::CardInfo& info : inventory.cards) {
            if (info.card.uuid == share.uuid) card = given(info);
        }
        card.index = share.index;
        cards.push_back(std::move(card));
    }
    return cards;
}

kubelet::AllocateResponse to_response(inject::ContainerEdits edits) {
    kubelet::AllocateResponse response;
    response.envs = std::move(edits.envs);
    response.annotations = std::move(edits.annotations);
    response.cdi_names = std::move(edits.cdi_devices);
    for (inject::Mount& mount : edits.mounts) {
        response.mounts.push_back(
            {std::move(mount.container), std::move(mount.host), mount.read_only}
        );
    }
    for (inject::DeviceNode& node : edits.devices) {
        response.devices.push_back(
            {std::move(node.container), std::move(node.host), std::move(node.permissions)}
        );
    }
    return response;
}

std::string cards_text(const Record& record) {
    std::string text;
    for (const core::CardShare& share : record.cards) {
        text += (text.empty() ? "" : ",") + std::to_string(share.index);
    }
    return text;
}

}  // namespace

std::string new_token() {
    constexpr char kDigits[] = "0123456789abcdef";
    std::random_device device;
    std::string token;
    for (int word = 0; word < 4; ++word) {
        std::uint32_t bits = device();
        for (int i = 0; i < 8; ++i, bits >>= 4) token += kDigits[bits & 15U];
    }
    return token;
}

Allocator::Allocator(
    StateFile& file, std::unique_ptr<inject::Injector> injector, bool distribute_replicas
)
    : file_(file), injector_(std::move(injector)) {
    ledger_.distribute_replicas(distribute_replicas);
}

void Allocator::start(NodeState state, Hooks hooks) {
    const std::lock_guard lock(mutex_);
    hooks_ = std::move(hooks);
    ledger_.set_cards(std::move(state.cards), true);
    for (Record& record : state.records) ledger_.restore(std::move(record));
}

void Allocator::set_inventory(const gpu::Inventory& inventory) {
    Snapshot snapshot;
    bool first = false;
    {
        const std::lock_guard lock(mutex_);
        inventory_ = inventory;
    }
    // Before the kubelet learns of the cards. A card's answer needs its nodes, its name in the CDI
    // specification; what fails is tried again before each container start.
    static_cast<void>(ensure_artefacts({}));
    {
        const std::lock_guard lock(mutex_);
        // Until the driver was seen working once, the cards of the last run are all there is to go
        // by.
        if (!inventory.error.empty() && ledger_.provisional()) return;
        std::vector<core::Card> cards;
        cards.reserve(inventory.cards.size());
        for (const gpu::CardInfo& info : inventory.cards) cards.push_back(info.card);
        if (cards.empty() && ledger_.provisional()) return;
        first = ledger_.provisional();
        if (!first && cards == ledger_.cards()) return;
        ledger_.set_cards(std::move(cards));
        snapshot = snapshot_locked();
    }
    log::info(
        "cards",
        {{"count", snapshot.state.cards.size()},
         {"driver", inventory.driver_version},
         {"error", inventory.error}}
    );
    for (const gpu::CardInfo& info : inventory.cards) {
        if (!info.card.healthy) {
            log::warn(
                "card is unhealthy",
                {{"index", info.card.index}, {"uuid", info.card.uuid}, {"reason", info.reason}}
            );
        }
    }
    commit(snapshot);
}

bool Allocator::driver_answered() const {
    const std::lock_guard lock(mutex_);
    return !ledger_.provisional();
}

std::vector<std::string> Allocator::preferred(
    Resource resource,
    std::span<const std::string> available,
    std::span<const std::string> must_include,
    int size,
    std::span<const Candidate> candidates
) {
    const std::lock_guard lock(mutex_);
    last_admission_ = MonoClock::now();
    return ledger_.prefer(resource, available, must_include, size, candidates);
}

Result<kubelet::AllocateResponse> Allocator::allocate(
    Resource resource, std::span<const std::string> ids, std::span<const Candidate> pod_containers
) {
    struct InFlight {
        explicit InFlight(std::atomic<int>& c) : count(c) { ++count; }
        ~InFlight() { --count; }
        std::atomic<int>& count;
    } const in_flight(allocating_);

    // Before the answer is made, which may follow what is there now. An error here would end the
    // pod; PreStartContainer reports it in a way that the kubelet retries.
    static_cast<void>(ensure_artefacts({}));
    Snapshot snapshot;
    Record record;
    inject::ContainerEdits edits;
    {
        const std::lock_guard lock(mutex_);
        last_admission_ = MonoClock::now();
        auto admitted = ledger_.admit(resource, ids, new_token(), wall_seconds(), pod_containers);
        if (!admitted) {
            allocations(resource, "refused").add();
            log::warn(
                "allocation refused",
                {{"resource", resource_name(resource)},
                 {"ids", ids.size()},
                 {"why", admitted.error().message}}
            );
            return std::move(admitted).error();
        }
        record = std::move(*admitted);
        auto made = injector_->edits(given(record, inventory_), record.token);
        if (!made) {
            ledger_.release(record.token);
            allocations(resource, "failed").add();
            return made.error().wrap("edge-gpu agent");
        }
        edits = std::move(*made);
        if (hooks_.extend && hooks_.extend(record, edits)) ledger_.set_guarded(record.token);
        snapshot = snapshot_locked();
    }
    allocations(resource, "ok").add();
    if (record.overridden()) {
        static auto overrides = metrics::counter(
            "edge_gpu_agent_overrides_total",
            "Containers on other cards than their device IDs name."
        );
        overrides.add();
    }
    log::info(
        "allocated",
        {{"resource", resource_name(resource)},
         {"units", record.ids.size()},
         {"cards", cards_text(record)},
         {"override", record.overridden()},
         {"pod", record.holder.pod_namespace + "/" + record.holder.pod_name},
         {"container", record.holder.container}}
    );
    // NVIDIA's resource is answered exactly as NVIDIA's plugin does.
    if (resource == Resource::kPercent) {
        edits.annotations[std::string(kAnnotationAllocation)] = record.token;
    }
    commit(snapshot);
    return to_response(std::move(edits));
}

Duration Allocator::quiet_for() const {
    const std::lock_guard lock(mutex_);
    return MonoClock::now() - last_admission_;
}

void Allocator::edit(const std::function<bool(NodeLedger&)>& edit) {
    Snapshot snapshot;
    {
        const std::lock_guard lock(mutex_);
        if (!edit(ledger_)) return;
        snapshot = snapshot_locked();
    }
    commit(snapshot);
}

void Allocator::offer_ended(const std::function<bool(std::string_view)>& ended) {
    {
        const std::lock_guard lock(mutex_);
        std::set<std::string, std::less<>> pods;
        for (const Record& record : ledger_.records()) {
            const std::string& uid = record.holder.pod_uid;
            if (!uid.empty() && ended(uid)) pods.insert(uid);
        }
        if (!ledger_.set_ended(std::move(pods))) return;
    }
    show_devices();
}

void Allocator::look(const std::function<void(const NodeLedger&)>& look) const {
    const std::lock_guard lock(mutex_);
    look(ledger_);
}

std::vector<Record> Allocator::records() const {
    const std::lock_guard lock(mutex_);
    return ledger_.records();
}

std::vector<core::Card> Allocator::cards() const {
    const std::lock_guard lock(mutex_);
    return ledger_.cards();
}

gpu::Inventory Allocator::inventory() const {
    const std::lock_guard lock(mutex_);
    return inventory_;
}

Allocator::Snapshot Allocator::snapshot_locked() {
    return {++sequence_, {ledger_.cards(), ledger_.records()}};
}

void Allocator::commit(const Snapshot& snapshot) {
    const Status saved = file_.save(snapshot.sequence, snapshot.state);
    if (!saved) {
        static auto failures = metrics::counter(
            "edge_gpu_agent_state_write_failures_total", "Writes of the state file that failed."
        );
        failures.add();
        log::error(
            "the state cannot be written",
            {{"file", file_.path().string()}, {"error", saved.error().message}}
        );
    }
    save_failed_ = !saved.ok();
    show_devices();
    update_metrics();
    if (hooks_.changed) hooks_.changed();
}

Status Allocator::ensure_artefacts(std::span<const std::string> starting) {
    std::vector<inject::GivenCard> cards;
    std::vector<inject::GivenCard> needed;
    {
        const std::lock_guard lock(mutex_);
        for (const gpu::CardInfo& info : inventory_.cards) {
            if (!info.card.healthy) continue;
            cards.push_back(given(info));
            if (std::find(starting.begin(), starting.end(), info.card.uuid) != starting.end()) {
                needed.push_back(cards.back());
            }
        }
    }
    Status ensured = injector_->ensure(cards, needed);
    const std::string error = ensured ? "" : ensured.error().message;
    const std::lock_guard lock(mutex_);
    if (error != ensure_error_ && !error.empty()) {
        log::warn("containers cannot get their cards", {{"why", error}});
    }
    ensure_error_ = error;
    return ensured;
}

std::string Allocator::injection() const {
    return std::string(injector_->name());
}

std::string Allocator::injection_reason() const {
    return injector_->why();
}

void Allocator::retry_save() {
    if (!save_failed_.load()) return;
    Snapshot snapshot;
    {
        const std::lock_guard lock(mutex_);
        snapshot = snapshot_locked();
    }
    if (file_.save(snapshot.sequence, snapshot.state)) {
        save_failed_ = false;
        log::info("the state is written again", {{"file", file_.path().string()}});
    }
}

void Allocator::show_devices() {
    const std::lock_guard order(show_mutex_);
    for (const Resource resource : {Resource::kPercent, Resource::kWhole}) {
        std::vector<DeviceState> states;
        {
            const std::lock_guard lock(mutex_);
            if (ledger_.cards().empty())
                return;  // nothing is known yet: no list rather than an empty one
            states = ledger_.devices(resource);
        }
        std::vector<kubelet::Device> devices;
        devices.reserve(states.size());
        for (DeviceState& state : states) {
            kubelet::Device device;
            device.id = std::move(state.id);
            device.healthy = state.healthy;
            // Hints for shares would make a TopologyManager policy choose cards behind the
            // planner's back.
            if (resource == Resource::kWhole && state.numa >= 0) device.numa = state.numa;
            devices.push_back(std::move(device));
        }
        if (hooks_.show_devices) hooks_.show_devices(resource, std::move(devices));
    }
}

void Allocator::update_metrics() {
    constexpr const char* kUsed = "edge_gpu_agent_card_used_percent";
    constexpr const char* kHealthy = "edge_gpu_agent_card_healthy";
    const std::lock_guard lock(metrics_mutex_);
    std::vector<CardUse> uses;
    look([&](const NodeLedger& ledger) { uses = ledger.usage(); });
    std::vector<metrics::Labels> now;
    for (const CardUse& use : uses) {
        const metrics::Labels labels{
            {"card", std::to_string(use.card.index)}, {"uuid", use.card.uuid}};
        metrics::gauge(kUsed, "Percent of the card given to containers.", labels).set(use.percent);
        metrics::gauge(kHealthy, "1 when the card takes new containers.", labels)
            .set(use.card.healthy ? 1 : 0);
        now.push_back(labels);
    }
    for (const metrics::Labels& labels : measured_) {
        if (std::find(now.begin(), now.end(), labels) != now.end()) continue;
        metrics::remove_gauge(kUsed, labels);
        metrics::remove_gauge(kHealthy, labels);
    }
    measured_ = std::move(now);
    static auto cards = metrics::gauge("edge_gpu_agent_cards", "Cards of this node.");
    cards.set(static_cast<double>(uses.size()));
}

}  // namespace egpu::agent
