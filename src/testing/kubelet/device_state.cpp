#include "testing/kubelet/device_state.h"

#include <algorithm>

#include "base/base64.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "kubelet/checkpoint.h"

namespace egpu::testing {

DeviceState::DeviceState(
    const KubeletOptions& options, std::function<std::set<std::string>()> active
)
    : options_(options),
      active_(std::move(active)),
      checkpoint_(options.root / "device-plugins" / egpu::kubelet::kCheckpointName),
      random_(options.seed) {}

void DeviceState::load() {
    const auto read = egpu::kubelet::read_checkpoint(checkpoint_);
    if (!read) {
        if (read.error().code != ErrorCode::kNotFound) {
            log::warn(
                "embedded kubelet: starts with an empty state", {{"why", read.error().message}}
            );
        }
        return;
    }
    const std::scoped_lock lock(mutex_);
    for (const auto& entry : read->entries) {
        Holding& holding = pods_[entry.pod_uid][entry.container][entry.resource];
        for (const auto& id : entry.device_ids) holding.ids.emplace(id, -1);
        holding.response = entry.allocate_response;
    }
    rebuild_allocated();
    for (const auto& [resource, ids] : read->registered) {
        resources_[resource];  // known, with no devices
        endpoints_[resource] = {nullptr, std::nullopt, MonoClock::now()};
    }
}

// The format of the real file; its checksum is over a dump of Go structures, any number will do.
void DeviceState::save() {
    json::array entries;
    for (const auto& [uid, containers] : pods_) {
        for (const auto& [container, by_resource] : containers) {
            for (const auto& [resource, holding] : by_resource) {
                json::object by_numa;
                for (const auto& [id, numa] : holding.ids) {
                    const int shown = numa < 0 && options_.dialect == Dialect::k1_21 ? 0 : numa;
                    auto& list = by_numa[std::to_string(shown)];
                    if (!list.is_array()) list = json::array();
                    list.get_array().emplace_back(id);
                }
                entries.push_back(json::object{
                    {"PodUID", uid},
                    {"ContainerName", container},
                    {"ResourceName", resource},
                    {"DeviceIDs", std::move(by_numa)},
                    {"AllocResp", base64_encode(holding.response)}});
            }
        }
    }
    json::object registered;
    for (const auto& [resource, offered] : resources_) {
        json::array ids;
        for (const auto& id : offered.healthy) ids.emplace_back(id);
        registered[resource] = std::move(ids);
    }
    json::object data;
    data["PodDeviceEntries"] = entries.empty() ? json::value(nullptr) : json::value(entries);
    data["RegisteredDevices"] = std::move(registered);
    json::object document;
    document["Data"] = std::move(data);
    document["Checksum"] = 1234567890;
    if (const auto written = write_file_atomically(checkpoint_, json::to_text(document));
        !written) {
        log::warn("embedded kubelet: checkpoint", {{"error", written.error().message}});
    }
}

void DeviceState::endpoint_added(
    const std::string& resource, std::shared_ptr<PluginClient> client, PluginOptions options
) {
    const std::scoped_lock lock(mutex_);
    endpoints_[resource] = {std::move(client), options, std::nullopt};
}

void DeviceState::endpoint_gone(const std::string& resource, const PluginClient* only) {
    const std::scoped_lock lock(mutex_);
    const auto at = endpoints_.find(resource);
    if (at == endpoints_.end()) return;
    if (only != nullptr && at->second.client.get() != only) return;
    at->second.stopped = MonoClock::now();
    const auto offered = resources_.find(resource);
    if (offered == resources_.end()) return;
    offered->second.unhealthy.merge(offered->second.healthy);
    offered->second.healthy.clear();
}

void DeviceState::devices_updated(
    const std::string& resource, const std::vector<egpu::kubelet::Device>& devices
) {
    const std::scoped_lock lock(mutex_);
    Resource fresh;
    for (const auto& device : devices) {
        fresh.devices[device.id] = device.numa.value_or(-1);
        (device.healthy ? fresh.healthy : fresh.unhealthy).insert(device.id);
    }
    resources_[resource] = std::move(fresh);
    save();
}

bool DeviceState::expire() {
    const std::scoped_lock lock(mutex_);
    const auto now = MonoClock::now();
    const auto expired = std::erase_if(endpoints_, [&](const auto& item) {
        const bool gone =
            item.second.stopped && now - *item.second.stopped > options_.endpoint_grace;
        if (gone) resources_.erase(item.first);
        return gone;
    });
    if (expired > 0) save();
    return expired > 0;
}

bool DeviceState::known(const std::string& resource) const {
    if (resources_.contains(resource)) return true;
    const auto at = allocated_.find(resource);
    return at != allocated_.end() && !at->second.empty();
}

void DeviceState::rebuild_allocated() {
    allocated_.clear();
    for (const auto& [uid, containers] : pods_) {
        for (const auto& [container, by_resource] : containers) {
            for (const auto& [resource, holding] : by_resource) {
                for (const auto& [id, numa] : holding.ids) allocated_[resource].insert(id);
            }
        }
    }
    if (options_.double_handout_race) return;
    for (const auto& [resource, ids] : in_flight_) {
        allocated_[resource].insert(ids.begin(), ids.end());
    }
}

// The kubelet's race: while an Allocate is in flight its IDs are in allocated_ only; when a pod has
// left, allocated_ is rebuilt without them.
void DeviceState::update_allocated(bool sources_ready) {
    if (!sources_ready) return;
    const std::scoped_lock lock(mutex_);
    const auto active = active_();
    const auto freed =
        std::erase_if(pods_, [&](const auto& item) { return !active.contains(item.first); });
    if (freed > 0) rebuild_allocated();
}

DeviceState::ByResource DeviceState::holdings(const std::string& uid, const std::string& container)
    const {
    const std::scoped_lock lock(mutex_);
    const auto pod = pods_.find(uid);
    if (pod == pods_.end()) return {};
    const auto at = pod->second.find(container);
    return at == pod->second.end() ? ByResource() : at->second;
}

std::map<std::string, std::map<std::string, int>> DeviceState::all_devices() const {
    const std::scoped_lock lock(mutex_);
    std::map<std::string, std::map<std::string, int>> out;
    for (const auto& [resource, offered] : resources_) {
        for (const auto& id : offered.healthy) out[resource][id] = offered.devices.at(id);
    }
    return out;
}

void DeviceState::count(
    std::map<std::string, std::int64_t>& capacity, std::map<std::string, std::int64_t>& healthy
) const {
    const std::scoped_lock lock(mutex_);
    for (const auto& [resource, offered] : resources_) {
        healthy[resource] = static_cast<std::int64_t>(offered.healthy.size());
        capacity[resource] =
            static_cast<std::int64_t>(offered.healthy.size() + offered.unhealthy.size());
    }
}

}  // namespace egpu::testing
