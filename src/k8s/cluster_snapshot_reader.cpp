#include <limits>
#include <set>

#include "base/json.h"
#include "k8s/cluster_snapshot.h"
#include "k8s/placement_annotations.h"

namespace egpu::k8s {
namespace {

constexpr std::size_t kMostBytes = std::size_t{512} << 20;
constexpr std::size_t kMostNodes = 20'000;
constexpr std::size_t kMostPods = 1'000'000;
constexpr std::size_t kMostCards = 1024;
constexpr std::size_t kMostContainers = 256;
constexpr std::size_t kMostText = 1024;
constexpr std::int64_t kMostAmount = std::int64_t{1} << 40;
constexpr std::int64_t kMostIndex = 1'000'000;

Error invalid(std::string what) {
    return Error{ErrorCode::kInvalid, std::move(what)};
}

// Reads the fields of one object. The first wrong one is remembered; all that follows is harmless.
class Reader {
  public:
    Reader(const json::value& from, std::string where) : from_(from), where_(std::move(where)) {
        if (!from.is_object()) fail("is no object");
    }

    std::string text(std::string_view key, std::size_t most = kMostText) {
        const json::value* field = json::find(from_, {key});
        if (field == nullptr || field->is_null()) return "";
        if (!field->is_string()) return fail(quoted(key) + " is not a text"), "";
        const std::string_view text = json::get_string(from_, {key});
        if (text.size() > most) return fail(quoted(key) + " is too long"), "";
        return std::string(text);
    }
    std::int64_t number(
        std::string_view key, std::int64_t otherwise, std::int64_t least, std::int64_t most
    ) {
        const json::value* field = json::find(from_, {key});
        if (field == nullptr || field->is_null()) return otherwise;
        const auto value = json::get_int(from_, {key});
        if (value && *value >= least && *value <= most) return *value;
        fail(
            quoted(key) + " is not a whole number from " + std::to_string(least) + " to " +
            std::to_string(most)
        );
        return otherwise;
    }
    bool flag(std::string_view key, bool otherwise) {
        const json::value* field = json::find(from_, {key});
        if (field == nullptr || field->is_null()) return otherwise;
        if (!field->is_bool()) fail(quoted(key) + " is neither true nor false");
        return json::get_bool(from_, {key}, otherwise);
    }
    // nullptr when it is missing (or wrong).
    const json::array* list(std::string_view key, std::size_t most) {
        const json::value* field = json::find(from_, {key});
        if (field == nullptr || field->is_null()) return nullptr;
        const json::array* array = field->if_array();
        if (array == nullptr) {
            fail(quoted(key) + " is not a list");
        } else if (array->size() > most) {
            fail(quoted(key) + " has more than " + std::to_string(most) + " entries");
            array = nullptr;
        }
        return array;
    }
    const json::value* field(std::string_view key) { return json::find(from_, {key}); }
    // For messages from now on.
    void name(const std::string& name) {
        if (!name.empty()) where_ += " (" + name + ")";
    }
    const std::string& where() const { return where_; }
    void fail(const std::string& what) {
        if (status_.ok()) status_ = invalid(where_ + ": " + what);
    }
    const Status& status() const { return status_; }

  private:
    static std::string quoted(std::string_view key) { return "\"" + std::string(key) + "\""; }

    const json::value& from_;
    std::string where_;
    Status status_ = ok_status();
};

std::string at(std::string_view list, std::size_t position) {
    return std::string(list) + "[" + std::to_string(position) + "]";
}

Result<core::Card> read_card(const json::value& from, const std::string& where) {
    Reader reader(from, where);
    core::Card card;
    card.uuid = reader.text("uuid");
    card.index = static_cast<int>(reader.number("index", -1, 0, kMostIndex));
    if (card.index < 0) reader.fail("\"index\" is missing");
    card.model = reader.text("model");
    card.memory_mib = reader.number("memoryMiB", 0, 0, kMostAmount);
    card.numa = static_cast<int>(reader.number("numa", -1, -1, kMostIndex));
    card.replicas = static_cast<int>(reader.number("replicas", 1, 1, core::kCardUnits));
    card.healthy = reader.flag("healthy", true);
    EG_TRY_VOID(reader.status());
    return card;
}

Result<core::ClusterNode> read_node(const json::value& from, std::size_t position) {
    Reader reader(from, at("nodes", position));
    core::ClusterNode node;
    node.name = reader.text("name");
    if (node.name.empty()) reader.fail("\"name\" is missing");
    reader.name(node.name);
    node.ready = reader.flag("ready", true);
    node.schedulable = reader.flag("schedulable", true);
    core::NodeInventory& inventory = node.inventory;
    inventory.host.cpu_milli = reader.number("cpuMilli", core::kHostUnlimited, 0, kMostAmount);
    inventory.host.memory_mib = reader.number("memoryMiB", core::kHostUnlimited, 0, kMostAmount);
    constexpr auto kMost = static_cast<std::int64_t>(kMostCards);
    inventory.percent_units = reader.number("gpuPercent", 0, 0, kMost * core::kCardUnits);
    inventory.whole_units = reader.number("gpus", 0, 0, kMost * core::kCardUnits);
    std::set<int> indexes;
    std::set<std::string> uuids;
    if (const json::array* cards = reader.list("cards", kMostCards)) {
        for (std::size_t i = 0; i < cards->size(); ++i) {
            EG_TRY(core::Card card, read_card((*cards)[i], reader.where() + " " + at("cards", i)));
            const bool twice = !indexes.insert(card.index).second ||
                               (!card.uuid.empty() && !uuids.insert(card.uuid).second);
            if (twice) return invalid(reader.where() + " " + at("cards", i) + ": is listed twice");
            inventory.cards.push_back(std::move(card));
        }
    }
    EG_TRY_VOID(reader.status());
    return node;
}

Result<core::ContainerRequest> read_container(const json::value& from, const std::string& where) {
    Reader reader(from, where);
    core::ContainerRequest container;
    container.name = reader.text("name");
    if (container.name.empty()) reader.fail("\"name\" is missing");
    reader.name(container.name);
    const std::string kind = reader.text("kind");
    if (kind == "init") {
        container.kind = core::ContainerKind::kInit;
    } else if (kind == "sidecar") {
        container.kind = core::ContainerKind::kSidecar;
    } else if (!kind.empty() && kind != "app") {
        reader.fail("\"kind\" is none of app, init, sidecar");
    }
    const std::string resource = reader.text("resource");
    if (resource == core::kResourceWhole) {
        container.resource = core::kResourceWhole;
    } else if (!resource.empty() && resource != core::kResourcePercent) {
        reader.fail("\"resource\" is neither nano-gpu/gpu-percent nor nvidia.com/gpu");
    }
    container.percent =
        static_cast<int>(reader.number("percent", core::kCardUnits, 1, core::kCardUnits));
    container.cards = static_cast<int>(reader.number("cards", 1, 1, kMostCards));
    container.whole = container.percent == core::kCardUnits;
    if (!container.whole && (container.cards > 1 || container.resource == core::kResourceWhole)) {
        reader.fail("a share is of one card, through nano-gpu/gpu-percent");
    }
    container.memory_mib = reader.number("cardMemoryMiB", 0, 0, kMostAmount);
    EG_TRY_VOID(reader.status());
    return container;
}

Result<core::ClusterPod> read_pod(const json::value& from, std::size_t position) {
    Reader reader(from, at("pods", position));
    core::ClusterPod pod;
    pod.id.ns = reader.text("namespace");
    pod.id.name = reader.text("name");
    reader.name(pod.id.ns + "/" + pod.id.name);
    pod.id.uid = reader.text("uid");
    if (pod.id.uid.empty()) reader.fail("\"uid\" is missing");
    pod.node = reader.text("node");
    pod.phase = reader.text("phase");
    pod.created = reader.text("created");
    pod.deleting = reader.flag("deleting", false);
    constexpr std::int64_t kPriority = std::numeric_limits<std::int32_t>::max();
    pod.priority = reader.number("priority", 0, -kPriority - 1, kPriority);
    pod.owner = reader.text("owner");
    pod.request.host.cpu_milli = reader.number("cpuMilli", 0, 0, kMostAmount);
    pod.request.host.memory_mib = reader.number("memoryMiB", 0, 0, kMostAmount);
    pod.request.policy = reader.text("policy");
    if (const json::array* models = reader.list("models", kMostContainers)) {
        for (const json::value& model : *models) {
            const json::string* text = model.if_string();
            if (text == nullptr || text->size() > kMostText) {
                reader.fail("\"models\" has an entry that is not a short text");
                break;
            }
            pod.request.models.emplace_back(text->data(), text->size());
        }
    }
    if (const json::array* containers = reader.list("containers", kMostContainers)) {
        std::set<std::string> names;
        for (std::size_t i = 0; i < containers->size(); ++i) {
            const std::string where = reader.where() + " " + at("containers", i);
            EG_TRY(core::ContainerRequest container, read_container((*containers)[i], where));
            if (!names.insert(container.name).second)
                return invalid(where + ": name is listed twice");
            pod.request.containers.push_back(std::move(container));
        }
    }
    if (const json::value* placement = reader.field("placement")) {
        auto read = parse_placement(json::to_text(*placement));
        if (!read) return invalid(reader.where() + ": \"placement\": " + read.error().message);
        pod.placement = std::move(*read);
    }
    EG_TRY_VOID(reader.status());
    return pod;
}

}  // namespace

Result<ClusterSnapshot> decode_snapshot(std::string_view text) {
    if (text.size() > kMostBytes) return invalid("snapshot: larger than 512 MiB");
    auto parsed = json::parse(text);
    if (!parsed) return invalid("snapshot: " + parsed.error().message);
    if (json::get_string(*parsed, {"kind"}) != kSnapshotKind) {
        return invalid(
            "this is no snapshot: \"kind\" is not \"" + std::string(kSnapshotKind) +
            "\"; `edge-gpu snapshot` writes one"
        );
    }
    const auto version = json::get_int(*parsed, {"version"});
    if (!version || *version < 1) return invalid("snapshot: \"version\" is missing");
    if (*version > 1) {
        return invalid(
            "snapshot: version " + std::to_string(*version) +
            " is newer than this program reads (1)"
        );
    }
    Reader reader(*parsed, "snapshot");
    ClusterSnapshot snapshot;
    snapshot.taken = reader.text("taken");
    snapshot.anonymous = reader.flag("anonymous", false);
    const json::array* nodes = reader.list("nodes", kMostNodes);
    const json::array* pods = reader.list("pods", kMostPods);
    if (nodes == nullptr) reader.fail("\"nodes\" is missing");
    EG_TRY_VOID(reader.status());
    std::set<std::string> seen;
    for (std::size_t i = 0; i < nodes->size(); ++i) {
        EG_TRY(core::ClusterNode node, read_node((*nodes)[i], i));
        if (!seen.insert(node.name).second) {
            return invalid(at("nodes", i) + " (" + node.name + "): is listed twice");
        }
        snapshot.cluster.nodes.push_back(std::move(node));
    }
    seen.clear();
    for (std::size_t i = 0; pods != nullptr && i < pods->size(); ++i) {
        EG_TRY(core::ClusterPod pod, read_pod((*pods)[i], i));
        if (!seen.insert(pod.id.uid).second) {
            return invalid(at("pods", i) + ": uid " + pod.id.uid + " is listed twice");
        }
        snapshot.cluster.pods.push_back(std::move(pod));
    }
    return snapshot;
}

}  // namespace egpu::k8s
