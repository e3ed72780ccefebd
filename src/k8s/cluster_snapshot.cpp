#include "k8s/cluster_snapshot.h"

#include <algorithm>
#include <map>

#include "base/json.h"
#include "core/cluster_use.h"
#include "k8s/placement_annotations.h"

namespace egpu::k8s {
namespace {

constexpr int kVersion = 1;

// Writes the fields of one object.
class Fields {
  public:
    explicit Fields(std::string& out) : out_(out) { out_ += '{'; }
    void text(std::string_view key, std::string_view value) {
        begin(key);
        json::append_quoted(out_, value);
    }
    void number(std::string_view key, std::int64_t value) { raw(key, std::to_string(value)); }
    void flag(std::string_view key, bool value) { raw(key, value ? "true" : "false"); }
    void raw(std::string_view key, std::string_view value) {
        begin(key);
        out_ += value;
    }
    void texts(std::string_view key, const std::vector<std::string>& values) {
        begin(key);
        out_ += '[';
        for (const std::string& value : values) {
            if (out_.back() != '[') out_ += ',';
            json::append_quoted(out_, value);
        }
        out_ += ']';
    }
    void list(std::string_view key) {
        begin(key);
        out_ += '[';
    }
    void end() { out_ += '}'; }

  private:
    void begin(std::string_view key) {
        if (out_.back() != '{') out_ += ',';
        json::append_quoted(out_, key);
        out_ += ':';
    }
    std::string& out_;
};

void write_card(std::string& out, const core::CardState& state) {
    const core::Card& card = state.card;
    Fields fields(out);
    fields.text("uuid", card.uuid);
    fields.number("index", card.index);
    fields.text("model", card.model);
    fields.number("memoryMiB", card.memory_mib);
    if (card.numa >= 0) fields.number("numa", card.numa);
    if (card.replicas > 1) fields.number("replicas", card.replicas);
    fields.flag("healthy", card.healthy);
    fields.number("usedPercent", state.used_percent);
    if (state.used_memory_mib > 0) fields.number("usedMemoryMiB", state.used_memory_mib);
    fields.end();
}

void write_node(std::string& out, const core::ClusterNode& node, const core::NodeUse* use) {
    Fields fields(out);
    fields.text("name", node.name);
    fields.flag("ready", node.ready);
    fields.flag("schedulable", node.schedulable);
    const core::NodeInventory& inventory = node.inventory;
    if (inventory.host.cpu_milli != core::kHostUnlimited) {
        fields.number("cpuMilli", inventory.host.cpu_milli);
        if (use != nullptr) fields.number("cpuFreeMilli", use->host_free.cpu_milli);
    }
    if (inventory.host.memory_mib != core::kHostUnlimited) {
        fields.number("memoryMiB", inventory.host.memory_mib);
        if (use != nullptr) fields.number("memoryFreeMiB", use->host_free.memory_mib);
    }
    fields.number("gpuPercent", inventory.percent_units);
    fields.number("gpus", inventory.whole_units);
    fields.list("cards");
    for (std::size_t i = 0; i < inventory.cards.size(); ++i) {
        if (i > 0) out += ',';
        core::CardState state{inventory.cards[i], 0, 0};
        if (use != nullptr && i < use->cards.size()) {
            state.used_percent = use->cards[i].used_percent;
            state.used_memory_mib = use->cards[i].used_memory_mib;
        }
        write_card(out, state);
    }
    out += ']';
    fields.end();
}

std::string_view kind_text(core::ContainerKind kind) {
    switch (kind) {
        case core::ContainerKind::kInit:
            return "init";
        case core::ContainerKind::kSidecar:
            return "sidecar";
        case core::ContainerKind::kApp:
            break;
    }
    return "app";
}

void write_pod(std::string& out, const core::ClusterPod& pod) {
    Fields fields(out);
    fields.text("namespace", pod.id.ns);
    fields.text("name", pod.id.name);
    fields.text("uid", pod.id.uid);
    fields.text("node", pod.node);
    fields.text("phase", pod.phase);
    fields.text("created", pod.created);
    if (pod.deleting) fields.flag("deleting", true);
    if (pod.priority != 0) fields.number("priority", pod.priority);
    if (!pod.owner.empty()) fields.text("owner", pod.owner);
    fields.number("cpuMilli", pod.request.host.cpu_milli);
    fields.number("memoryMiB", pod.request.host.memory_mib);
    if (!pod.request.models.empty()) fields.texts("models", pod.request.models);
    if (!pod.request.policy.empty()) fields.text("policy", pod.request.policy);
    fields.list("containers");
    for (const core::ContainerRequest& container : pod.request.containers) {
        if (out.back() == '}') out += ',';
        Fields one(out);
        one.text("name", container.name);
        if (container.kind != core::ContainerKind::kApp)
            one.text("kind", kind_text(container.kind));
        one.text("resource", container.resource);
        one.number("percent", container.percent);
        one.number("cards", container.cards);
        if (container.memory_mib > 0) one.number("cardMemoryMiB", container.memory_mib);
        one.end();
    }
    out += ']';
    if (pod.placement) fields.raw("placement", placement_text(*pod.placement));
    fields.end();
}

}  // namespace

std::string encode_snapshot(const ClusterSnapshot& snapshot) {
    std::string out = "{\"kind\":\"" + std::string(kSnapshotKind) +
                      "\",\"version\":" + std::to_string(kVersion) + ",\"taken\":";
    json::append_quoted(out, snapshot.taken);
    out += snapshot.anonymous ? ",\"anonymous\":true" : ",\"anonymous\":false";
    const core::Cluster& cluster = snapshot.cluster;
    std::vector<const core::NodeUse*> held(cluster.nodes.size());
    const std::vector<core::NodeUse> uses = core::cluster_use(cluster);
    for (const core::NodeUse& use : uses) held[static_cast<std::size_t>(use.node)] = &use;
    out += ",\n\"nodes\":[";
    for (std::size_t i = 0; i < cluster.nodes.size(); ++i) {
        out += i == 0 ? "\n" : ",\n";
        write_node(out, cluster.nodes[i], held[i]);
    }
    out += "],\n\"pods\":[";
    for (std::size_t i = 0; i < cluster.pods.size(); ++i) {
        out += i == 0 ? "\n" : ",\n";
        write_pod(out, cluster.pods[i]);
    }
    return out + "]}\n";
}

namespace {

class Names {
  public:
    explicit Names(std::string prefix) : prefix_(std::move(prefix)) {}
    std::string of(const std::string& name) {
        if (name.empty()) return name;
        const auto [at, added] = known_.try_emplace(name);
        if (added) at->second = prefix_ + std::to_string(known_.size());
        return at->second;
    }

  private:
    std::string prefix_;
    std::map<std::string, std::string> known_;
};

}  // namespace

ClusterSnapshot anonymized(const ClusterSnapshot& snapshot) {
    ClusterSnapshot out = snapshot;
    out.anonymous = true;
    Names nodes("node-");
    Names namespaces("ns-");
    Names pods("pod-");
    Names uids("uid-");
    Names cards("GPU-");
    Names containers("c");
    for (core::ClusterNode& node : out.cluster.nodes) {
        node.name = nodes.of(node.name);
        for (core::Card& card : node.inventory.cards) card.uuid = cards.of(card.uuid);
    }
    for (core::ClusterPod& pod : out.cluster.pods) {
        pod.id.name = pods.of(pod.id.ns + "/" + pod.id.name);
        pod.id.ns = namespaces.of(pod.id.ns);
        pod.id.uid = uids.of(pod.id.uid);
        pod.node = nodes.of(pod.node);
        for (core::ContainerRequest& container : pod.request.containers) {
            container.name = containers.of(container.name);
        }
        if (!pod.placement) continue;
        for (core::ContainerPlacement& placed : pod.placement->containers) {
            placed.container = containers.of(placed.container);
            for (core::CardShare& share : placed.cards) share.uuid = cards.of(share.uuid);
        }
    }
    return out;
}

}  // namespace egpu::k8s
