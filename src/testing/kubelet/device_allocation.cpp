// Which devices a container gets, and the calls around it: the kubelet's own steps, in its order.
#include <algorithm>
#include <sstream>

#include "kubelet/checkpoint.h"
#include "testing/kubelet/device_state.h"

namespace egpu::testing {
namespace {

Error failure(std::string message) {
    return Error{ErrorCode::kConflict, std::move(message)};
}

// How the kubelet words an error of a plugin's call, but Allocate's.
Error rpc_failed(const char* call, const Error& error) {
    return failure(std::string("device plugin ") + call + " rpc failed with err: " + error.message);
}

// A pointer within a Go struct as fmt's %v shows it.
std::string go_pointer(const void* address) {
    if (address == nullptr) return "<nil>";
    std::ostringstream out;
    out << address;
    return out.str();
}

IdSet ids_of(const DeviceState::Holding& holding) {
    IdSet ids;
    for (const auto& [id, numa] : holding.ids) ids.insert(id);
    return ids;
}

IdSet minus(const IdSet& from, const IdSet& what) {
    IdSet out;
    std::set_difference(
        from.begin(), from.end(), what.begin(), what.end(), std::inserter(out, out.end())
    );
    return out;
}

}  // namespace

// The kubelet prints its whole Go struct: mutex, resource, client, stop time and, to 1.24, the
// plugin's socket.
Error DeviceState::stopped_error(const std::string& resource, const Endpoint& endpoint) const {
    const auto since = endpoint.stopped.value_or(TimePoint()).time_since_epoch().count();
    const std::string client = go_pointer(endpoint.client.get());
    const std::string stopped =
        "{" + std::to_string(since) + " " + std::to_string(since) + " " + go_pointer(this) + "}";
    std::string fields;
    if (options_.dialect == Dialect::k1_21) {
        const std::string socket = endpoint.client ? endpoint.client->socket().string() : "";
        fields = client + " " + client + " " + socket + " " + resource + " " + stopped + " {0 0} " +
                 client;
    } else {
        fields = "{{} {0 0}} " + resource + " " + client + " " + stopped + " <nil>";
    }
    return failure("endpoint &{" + fields + "} has been stopped");
}

std::vector<std::string> DeviceState::shuffled(const IdSet& ids) {
    std::vector<std::string> order(ids.begin(), ids.end());
    std::shuffle(order.begin(), order.end(), random_);
    return order;
}

// Devices of plain init containers are for the later containers of the same pod; a sidecar and an
// app container keep theirs.
Status DeviceState::allocate(
    const PodSpec& pod, const ContainerSpec& container, bool sources_ready, bool was_running
) {
    Reusable reusable;
    {
        const std::scoped_lock lock(mutex_);
        if (reuse_uid_ != pod.uid) {
            reuse_uid_ = pod.uid;
            reuse_.clear();
        }
        reusable = reuse_;
    }
    EG_TRY_VOID(allocate_container(pod, container, sources_ready, was_running, reusable));
    const std::scoped_lock lock(mutex_);
    for (const auto& [resource, holding] : pods_[pod.uid][container.name]) {
        for (const auto& [id, numa] : holding.ids) {
            if (container.kind == ContainerKind::kInit) {
                reuse_[resource].insert(id);
            } else {
                reuse_[resource].erase(id);
            }
        }
    }
    return {};
}

Status DeviceState::allocate_container(
    const PodSpec& pod,
    const ContainerSpec& container,
    bool sources_ready,
    bool was_running,
    const Reusable& reusable
) {
    std::vector<std::string> resources;
    {
        const std::scoped_lock lock(mutex_);
        IdSet names;
        for (const auto& [name, needed] : container.limits) names.insert(name);
        resources = shuffled(names);  // Go's map order
        std::erase_if(resources, [this](const std::string& name) { return !known(name); });
    }
    if (resources.empty()) return {};  // nobody's resource: admitted without devices
    update_allocated(sources_ready);
    bool changed = false;
    for (const auto& resource : resources) {
        const auto again = reusable.find(resource);
        EG_TRY(
            const IdSet chosen,
            devices_to_allocate(
                pod.uid,
                container.name,
                resource,
                container.limits.at(resource),
                again == reusable.end() ? IdSet() : again->second,
                !sources_ready && was_running
            )
        );
        if (chosen.empty()) continue;
        changed = true;
        auto answer = call_allocate(resource, chosen);
        const std::scoped_lock lock(mutex_);
        in_flight_.erase(resource);
        if (!answer) {
            rebuild_allocated();
            return answer.error();
        }
        Holding& holding = pods_[pod.uid][container.name][resource];
        holding.response = *std::move(answer);
        const auto offered = resources_.find(resource);
        for (const auto& id : chosen) {
            const bool listed = offered != resources_.end() && offered->second.devices.contains(id);
            holding.ids[id] = listed ? offered->second.devices.at(id) : -1;
        }
    }
    if (changed) {
        const std::scoped_lock lock(mutex_);
        save();
    }
    return {};
}

Result<std::string> DeviceState::call_allocate(const std::string& resource, const IdSet& chosen) {
    std::shared_ptr<PluginClient> client;
    std::vector<std::string> ids;
    {
        const std::scoped_lock lock(mutex_);
        const auto at = endpoints_.find(resource);
        if (at == endpoints_.end()) return failure("unknown Device Plugin " + resource);
        client = at->second.client;
        if (!client || at->second.stopped) return stopped_error(resource, at->second);
        ids = shuffled(chosen);
    }
    return client->allocate(ids);
}

Result<IdSet> DeviceState::devices_to_allocate(
    const std::string& uid,
    const std::string& container,
    const std::string& resource,
    std::int64_t needed,
    const IdSet& reusable,
    bool skip
) {
    const std::int64_t required = needed;
    IdSet chosen;
    IdSet available;
    {
        const std::scoped_lock lock(mutex_);
        IdSet held;
        if (const auto pod = pods_.find(uid); pod != pods_.end()) {
            if (const auto at = pod->second.find(container); at != pod->second.end()) {
                if (const auto has = at->second.find(resource); has != at->second.end()) {
                    held = ids_of(has->second);
                }
            }
        }
        if (!held.empty()) {
            needed -= static_cast<std::int64_t>(held.size());
            if (needed != 0) {
                return failure(
                    "pod \"" + uid + "\" container \"" + container +
                    "\" changed request for resource \"" + resource + "\" from " +
                    std::to_string(held.size()) + " to " + std::to_string(required)
                );
            }
        }
        const Resource offered =
            resources_.contains(resource) ? resources_.at(resource) : Resource();
        if (options_.dialect == Dialect::k1_34) {
            if (skip) return IdSet();
            if (!resources_.contains(resource)) {
                return failure("cannot allocate unregistered device " + resource);
            }
            if (offered.healthy.empty()) {
                return failure(
                    "no healthy devices present; cannot allocate unhealthy devices " + resource
                );
            }
            if (!minus(held, offered.healthy).empty()) {
                return failure(
                    "previously allocated devices are no longer healthy; cannot allocate "
                    "unhealthy devices " +
                    resource
                );
            }
        }
        if (needed <= 0) return IdSet();
        if (options_.dialect == Dialect::k1_21 && !resources_.contains(resource)) {
            return failure("can't allocate unregistered device " + resource);
        }
        for (const auto& id : shuffled(reusable)) {
            allocated_[resource].insert(id);
            chosen.insert(id);
            if (--needed == 0) {
                in_flight_[resource] = chosen;
                return chosen;
            }
        }
        available = minus(offered.healthy, allocated_[resource]);
        if (static_cast<std::int64_t>(available.size()) < needed) {
            const auto count = available.size();
            rebuild_allocated();
            return failure(
                "requested number of devices unavailable for " + resource +
                ". Requested: " + std::to_string(needed) + ", Available: " + std::to_string(count)
            );
        }
    }
    // Topology policy none: all devices are equal, and the plugin is asked even without a choice.
    EG_TRY(const IdSet wanted, preferred(resource, available, chosen, required));
    const std::scoped_lock lock(mutex_);
    const auto take = [&](const IdSet& from) {
        for (const auto& id : shuffled(from)) {
            if (needed == 0) return;
            if (!available.contains(id) || chosen.contains(id)) continue;
            allocated_[resource].insert(id);
            chosen.insert(id);
            --needed;
        }
    };
    take(wanted);
    take(available);
    in_flight_[resource] = chosen;
    return chosen;
}

Result<IdSet> DeviceState::preferred(
    const std::string& resource, const IdSet& available, const IdSet& chosen, std::int64_t size
) {
    std::shared_ptr<PluginClient> client;
    std::vector<std::string> all;
    std::vector<std::string> must;
    {
        const std::scoped_lock lock(mutex_);
        const auto at = endpoints_.find(resource);
        if (at == endpoints_.end()) {
            return failure("endpoint not found in cache for a registered resource: " + resource);
        }
        if (!at->second.options || !at->second.options->preferred) return IdSet();
        client = at->second.client;
        if (at->second.stopped) {
            return rpc_failed("GetPreferredAllocation", stopped_error(resource, at->second));
        }
        IdSet both = available;
        both.insert(chosen.begin(), chosen.end());
        all = shuffled(both);
        must = shuffled(chosen);
    }
    const auto ids = client->preferred(all, must, static_cast<int>(size));
    if (!ids) return rpc_failed("GetPreferredAllocation", ids.error());
    return IdSet(ids->begin(), ids->end());
}

Status DeviceState::pre_start(
    const std::string& uid, const std::string& container, const std::string& resource
) {
    std::shared_ptr<PluginClient> client;
    std::vector<std::string> ids;
    {
        const std::scoped_lock lock(mutex_);
        const auto at = endpoints_.find(resource);
        if (at == endpoints_.end()) {
            return failure("endpoint not found in cache for a registered resource: " + resource);
        }
        // Skipped in silence for the stub after a kubelet restart: the kubelet's own gap.
        if (!at->second.options || !at->second.options->pre_start) return {};
        const auto& held = pods_[uid][container];
        const auto has = held.find(resource);
        if (has == held.end()) {
            return failure(
                "no devices found allocated in local cache for pod " + uid + ", container " +
                container + ", resource " + resource
            );
        }
        if (at->second.stopped) {
            return rpc_failed("PreStartContainer", stopped_error(resource, at->second));
        }
        client = at->second.client;
        ids = shuffled(ids_of(has->second));
    }
    const Status ready = client->pre_start(ids, options_.pre_start_deadline);
    if (!ready) return rpc_failed("PreStartContainer", ready.error());
    return {};
}

Result<DeviceState::Given> DeviceState::run_options(
    const PodSpec& pod, const ContainerSpec& container
) {
    bool missing = false;
    for (const auto& [resource, needed] : container.limits) {
        {
            const std::scoped_lock lock(mutex_);
            if (!known(resource) || needed == 0) continue;
        }
        EG_TRY_VOID(pre_start(pod.uid, container.name, resource));
        const std::scoped_lock lock(mutex_);
        if (!pods_[pod.uid][container.name].contains(resource)) missing = true;
    }
    if (missing) EG_TRY_VOID(allocate(pod, container, true, false));

    Given given;
    for (const auto& [resource, holding] : holdings(pod.uid, container.name)) {
        for (const auto& [id, numa] : holding.ids) given.ids[resource].push_back(id);
        EG_TRY(auto part, egpu::kubelet::decode_allocate_response(holding.response));
        // Over the resources of a container the first one wins.
        auto& all = given.response;
        all.envs.merge(part.envs);
        all.annotations.merge(part.annotations);
        for (auto& mount : part.mounts) {
            const bool taken = std::any_of(all.mounts.begin(), all.mounts.end(), [&](auto& m) {
                return m.container_path == mount.container_path;
            });
            if (!taken) all.mounts.push_back(std::move(mount));
        }
        for (auto& node : part.devices) {
            const bool taken = std::any_of(all.devices.begin(), all.devices.end(), [&](auto& d) {
                return d.container_path == node.container_path;
            });
            if (!taken) all.devices.push_back(std::move(node));
        }
        if (options_.dialect == Dialect::k1_21) continue;  // knows no cdi_devices
        for (auto& name : part.cdi_names) {
            if (std::find(all.cdi_names.begin(), all.cdi_names.end(), name) ==
                all.cdi_names.end()) {
                all.cdi_names.push_back(std::move(name));
            }
        }
    }
    return given;
}

}  // namespace egpu::testing
