#include "agent/device_plugins.h"

#include <algorithm>
#include <set>
#include <thread>

#include "agent/identity.h"
#include "agent/take_over.h"
#include "base/log.h"

namespace egpu::agent {
namespace {

// A node that starts shows many pods at once; the watch will bring them anyway.
constexpr std::size_t kMostFetches = 4;

std::string socket_prefix(Resource resource) {
    return resource == Resource::kPercent ? "edge-gpu-percent" : "edge-gpu-whole";
}

}  // namespace

DevicePlugins::DevicePlugins(
    DevicePluginsOptions options, Allocator& allocator, KubeletBooksReader& books, PodsView& pods
)
    : options_(std::move(options)), allocator_(allocator), books_(books), pods_(pods) {
    for (const Resource resource : options_.resources) {
        kubelet::DevicePluginOptions plugin;
        plugin.resource = std::string(resource_name(resource));
        plugin.folder = options_.folder;
        plugin.socket_prefix = socket_prefix(resource);
        kubelet::DevicePluginHandlers handlers;
        handlers.preferred = [this, resource](const auto& available, const auto& must, int size) {
            return preferred(resource, available, must, size);
        };
        handlers.allocate = [this, resource](const auto& ids) { return allocate(resource, ids); };
        handlers.pre_start = [this, resource](const auto& ids) { return pre_start(resource, ids); };
        served_[resource].plugin =
            std::make_unique<kubelet::DevicePlugin>(std::move(plugin), std::move(handlers));
    }
}

DevicePlugins::~DevicePlugins() {
    stop();
}

void DevicePlugins::show(Resource resource, const std::vector<kubelet::Device>& devices) {
    const std::lock_guard lock(mutex_);
    const auto found = served_.find(resource);
    if (found == served_.end() || devices.empty()) return;
    Served& served = found->second;
    served.plugin->set_devices(devices);
    if (!running_ || served.started) return;
    served.started = true;
    if (const Status started = served.plugin->start(); !started) {
        log::error(
            "a resource cannot be served",
            {{"resource", resource_name(resource)}, {"error", started.error().message}}
        );
    }
}

void DevicePlugins::start() {
    {
        const std::lock_guard lock(mutex_);
        running_ = true;
    }
    allocator_.show_devices();
}

void DevicePlugins::stop() {
    std::vector<kubelet::DevicePlugin*> plugins;
    {
        const std::lock_guard lock(mutex_);
        running_ = false;
        for (auto& [resource, served] : served_) plugins.push_back(served.plugin.get());
    }
    for (kubelet::DevicePlugin* plugin : plugins) plugin->stop();
}

std::map<Resource, kubelet::PluginState> DevicePlugins::states() const {
    const std::lock_guard lock(mutex_);
    std::map<Resource, kubelet::PluginState> states;
    for (const auto& [resource, served] : served_) states[resource] = served.plugin->state();
    return states;
}

int DevicePlugins::registrations() const {
    const std::lock_guard lock(mutex_);
    int count = 0;
    for (const auto& [resource, served] : served_) count += served.plugin->registrations();
    return count;
}

Result<std::vector<std::string>> DevicePlugins::preferred(
    Resource resource,
    const std::vector<std::string>& available,
    const std::vector<std::string>& must_include,
    int size
) {
    std::string error;
    const auto listed = books_.list(MonoClock::now() + options_.list_deadline, error);
    if (listed) {
        drop_vacated(resource, available, must_include, *listed);
        fetch_unseen(*listed);
    } else {
        log::warn(
            "pod-resources does not answer: the pod under admission is guessed", {{"error", error}}
        );
    }
    const std::vector<NodePodPtr> pods = pods_.all();
    std::vector<Candidate> candidates;
    allocator_.look([&](const NodeLedger& ledger) {
        const HasRecord has_record =
            [&](std::string_view uid, std::string_view container, Resource r) {
                return ledger.has_record(uid, container, r);
            };
        candidates = admission_candidates(resource, size, listed, pods, has_record, ledger.cards());
    });
    log::debug(
        "preferred allocation",
        {{"resource", resource_name(resource)},
         {"size", size},
         {"available", available.size()},
         {"candidates", candidates.size()}}
    );
    return allocator_.preferred(resource, available, must_include, size, candidates);
}

// The kubelet frees devices lazily and offers at once what it freed; our records go with the same
// evidence. A card that changes from one resource to the other was never offered in this one: there
// the API server's word that the pod ended and the kubelet's list together are the evidence.
void DevicePlugins::drop_vacated(
    Resource resource,
    const std::vector<std::string>& available,
    const std::vector<std::string>& must_include,
    const std::vector<ListedPod>& listed
) {
    std::vector<std::string> fresh;
    const std::vector<std::string> offered = as_id_set(available);
    const std::vector<std::string> kept = as_id_set(must_include);
    std::set_difference(
        offered.begin(), offered.end(), kept.begin(), kept.end(), std::back_inserter(fresh)
    );
    allocator_.edit([&](NodeLedger& ledger) {
        std::vector<std::string> tokens;
        for (const Record* record : ledger.overlapping(resource, fresh)) {
            if (vacated(*record, listed, pods_)) tokens.push_back(record->token);
        }
        for (const Record& record : ledger.records()) {
            if (record.resource != resource && pods_.ended(record.holder.pod_uid) &&
                vacated(record, listed, pods_)) {
                tokens.push_back(record.token);
            }
        }
        for (const std::string& token : tokens) {
            log::info("released: the kubelet has let go of the devices", {{"token", token}});
            ledger.release(token);
        }
        return !tokens.empty();
    });
}

void DevicePlugins::fetch_unseen(const std::vector<ListedPod>& listed) {
    std::vector<const ListedPod*> unseen;
    for (const ListedPod& pod : listed) {
        if (!pods_.by_name(pod.ns, pod.name)) unseen.push_back(&pod);
    }
    if (unseen.size() > kMostFetches) return;
    const TimePoint deadline = MonoClock::now() + options_.fetch_deadline;
    for (const ListedPod* pod : unseen) {
        const auto fetched = pods_.fetch(pod->ns, pod->name, deadline);
        if (!fetched) {
            log::debug(
                "an unseen pod cannot be fetched",
                {{"pod", pod->ns + "/" + pod->name}, {"error", fetched.error().message}}
            );
            if (fetched.error().code != ErrorCode::kNotFound) return;
        }
    }
}

Result<kubelet::AllocateResponse> DevicePlugins::allocate(
    Resource resource, const std::vector<std::string>& ids
) {
    if (options_.one_replica_a_container && resource == Resource::kWhole && ids.size() > 1) {
        return Error{
            ErrorCode::kInvalid,
            std::string(core::kResourceWhole) + ": " + std::to_string(ids.size()) +
                " devices asked for; this node shares its cards by time-slicing, and a container "
                "may "
                "ask for one of them (failRequestsGreaterThanOne)"};
    }
    const std::vector<core::Card> cards = allocator_.cards();
    std::vector<Candidate> containers;
    for (const NodePodPtr& pod : pods_.all()) {
        if (pod->terminal) continue;
        for (Candidate& c : candidates_of(*pod, resource, static_cast<int>(ids.size()), cards)) {
            containers.push_back(std::move(c));
        }
    }
    return allocator_.allocate(resource, ids, containers);
}

// `known`: there is a record for these IDs, and no doubt whose it is. The error: the container must
// not start now.
Status DevicePlugins::check_record(
    Resource resource, const std::vector<std::string>& ids, bool& known
) {
    Status status;
    allocator_.look([&](const NodeLedger& ledger) {
        const auto records = ledger.with_ids(resource, ids);
        known =
            !records.empty() && std::all_of(records.begin(), records.end(), [&](const Record* r) {
                return r->holder.confirmed && r->group == records.front()->group;
            });
        if (ledger.provisional()) {
            status = Error{
                ErrorCode::kUnavailable,
                "edge-gpu agent: the NVIDIA driver has not answered since the agent started; the "
                "container is "
                "started when it does"};
            return;
        }
        if (records.empty()) return;
        for (const core::CardShare& share : records.front()->cards) {
            const auto card = std::find_if(
                ledger.cards().begin(),
                ledger.cards().end(),
                [&](const core::Card& c) { return c.uuid == share.uuid; }
            );
            if (card != ledger.cards().end() && card->healthy) continue;
            status = Error{
                ErrorCode::kUnavailable,
                "edge-gpu agent: card " + std::to_string(share.index) + " (" + share.uuid +
                    ") of this container is unhealthy; the container is started when it recovers"};
        }
    });
    return status;
}

Status DevicePlugins::pre_start(Resource resource, const std::vector<std::string>& ids) {
    EG_TRY_VOID(identify(resource, ids));
    if (!gate_) return ok_status();
    std::vector<Record> records;
    allocator_.look([&](const NodeLedger& ledger) {
        for (const Record* record : ledger.with_ids(resource, ids)) records.push_back(*record);
    });
    for (const Record& record : records) {
        if (const Status open = gate_(record); !open) {
            return Error{ErrorCode::kUnavailable, "edge-gpu agent: " + open.error().message};
        }
    }
    return ok_status();
}

// Whose container it is, and whether its cards can be used now.
Status DevicePlugins::identify(Resource resource, const std::vector<std::string>& ids) {
    bool known = false;
    EG_TRY_VOID(check_record(resource, ids, known));
    // What the answer names may be gone: /run is emptied by a reboot, the driver was replaced.
    std::vector<std::string> cards;
    allocator_.look([&](const NodeLedger& ledger) {
        for (const Record* record : ledger.with_ids(resource, ids)) {
            for (const core::CardShare& share : record->cards) cards.push_back(share.uuid);
        }
    });
    if (const Status ensured = allocator_.ensure_artefacts(cards); !ensured) {
        return Error{ErrorCode::kUnavailable, "edge-gpu agent: " + ensured.error().message};
    }
    if (known) return ok_status();

    // The checkpoint names the pod's UID and needs no call. The list comes second, and not in the
    // middle of an Allocate.
    const std::vector<std::string> set = as_id_set(ids);
    const TimePoint deadline = MonoClock::now() + options_.pre_start_deadline;
    KubeletBooks books;
    books.checkpoint = books_.checkpoint(books.error);
    const auto learn = [&] {
        std::vector<BookEntry> entries = book_entries(books, pods_, allocator_.cards());
        std::erase_if(entries, [&](const BookEntry& e) {
            return e.resource != resource || e.ids != set || e.alive == BookEntry::Alive::kNo;
        });
        allocator_.edit([&](NodeLedger& ledger) { return take_over(ledger, entries, pods_, true); }
        );
        return !entries.empty();
    };
    bool found = learn();
    EG_TRY_VOID(check_record(resource, ids, known));
    if (found && known) return ok_status();

    while (allocator_.allocating() && MonoClock::now() + Seconds(1) < deadline) {
        std::this_thread::sleep_for(Millis(5));
    }
    books.pods = books_.list(deadline, books.error);
    found = learn() || found;
    EG_TRY_VOID(check_record(resource, ids, known));
    bool recorded = false;
    allocator_.look([&](const NodeLedger& ledger) {
        recorded = !ledger.with_ids(resource, ids).empty();
    });
    if (recorded && (found || !books.pods)) return ok_status();
    return Error{
        ErrorCode::kUnavailable,
        "edge-gpu agent: " + std::to_string(set.size()) + " devices of " +
            std::string(resource_name(resource)) + " are in no container of the kubelet's books" +
            (books.error.empty() ? "" : " (" + books.error + ")")};
}

}  // namespace egpu::agent
