#include "kubelet/checkpoint.h"

#include <algorithm>
#include <optional>

#include "base/base64.h"
#include "base/files.h"
#include "base/json.h"

namespace egpu::kubelet {
namespace {

constexpr std::size_t kFileLimit = 64U << 20;

Error corrupt(std::string_view what) {
    return Error{ErrorCode::kCorrupt, "kubelet checkpoint: " + std::string(what)};
}

void sort_unique(std::vector<std::string>& ids) {
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

Status append_ids(std::vector<std::string>& out, const json::value& list, std::string_view field) {
    if (list.is_null()) return {};
    const json::array* items = list.if_array();
    if (items == nullptr) return corrupt(std::string(field) + " is not a list");
    for (const auto& item : *items) {
        if (!item.is_string()) return corrupt(std::string(field) + " holds a non-string ID");
        out.emplace_back(item.get_string());
    }
    return {};
}

// A map NUMA node -> IDs since 1.20, a flat list before, null where there is none.
Status read_ids(std::vector<std::string>& out, const json::value& ids) {
    if (const json::object* by_numa = ids.if_object()) {
        for (const auto& [node, list] : *by_numa) EG_TRY_VOID(append_ids(out, list, "DeviceIDs"));
    } else {
        EG_TRY_VOID(append_ids(out, ids, "DeviceIDs"));
    }
    sort_unique(out);
    return {};
}

Result<std::string> required(const json::value& entry, std::string_view field) {
    const auto text = json::get_string(entry, {field});
    if (text.empty()) return corrupt("an entry without " + std::string(field));
    return std::string(text);
}

Result<CheckpointEntry> read_entry(const json::value& from) {
    CheckpointEntry entry;
    EG_TRY(entry.pod_uid, required(from, "PodUID"));
    EG_TRY(entry.container, required(from, "ContainerName"));
    EG_TRY(entry.resource, required(from, "ResourceName"));
    if (const auto* ids = json::find(from, {"DeviceIDs"})) {
        EG_TRY_VOID(read_ids(entry.device_ids, *ids));
    }
    const auto* response = json::find(from, {"AllocResp"});
    if (response != nullptr && !response->is_null()) {
        if (!response->is_string()) return corrupt("AllocResp is not a string");
        auto bytes = base64_decode(json::get_string(from, {"AllocResp"}));
        if (!bytes) return corrupt("AllocResp: " + bytes.error().message);
        entry.allocate_response = *std::move(bytes);
    }
    return entry;
}

}  // namespace

Result<Checkpoint> parse_checkpoint(std::string_view text) {
    auto parsed = json::parse(text);
    if (!parsed) return corrupt(parsed.error().message);
    const json::value& document = *parsed;
    const json::value* data = json::find(document, {"Data"});
    if (data == nullptr || !data->is_object()) return corrupt("no Data object");
    // Present in every real file; its value cannot be checked here.
    const json::value* checksum = json::find(document, {"Checksum"});
    if (checksum == nullptr || !checksum->is_number()) return corrupt("no Checksum number");

    Checkpoint checkpoint;
    const json::value* entries = json::find(*data, {"PodDeviceEntries"});
    if (entries != nullptr && !entries->is_null()) {
        const json::array* list = entries->if_array();
        if (list == nullptr) return corrupt("PodDeviceEntries is not a list");
        for (const auto& item : *list) {
            EG_TRY(auto entry, read_entry(item));
            checkpoint.entries.push_back(std::move(entry));
        }
    }
    const json::value* registered = json::find(*data, {"RegisteredDevices"});
    if (registered != nullptr && !registered->is_null()) {
        const json::object* by_resource = registered->if_object();
        if (by_resource == nullptr) return corrupt("RegisteredDevices is not an object");
        for (const auto& [resource, ids] : *by_resource) {
            auto& known = checkpoint.registered[std::string(resource)];
            EG_TRY_VOID(append_ids(known, ids, "RegisteredDevices"));
            sort_unique(known);
        }
    }
    return checkpoint;
}

Result<Checkpoint> read_checkpoint(const std::filesystem::path& path) {
    EG_TRY(const auto text, read_file(path, kFileLimit));
    auto parsed = parse_checkpoint(text);
    if (!parsed) return parsed.error().wrap(path.string());
    return parsed;
}

}  // namespace egpu::kubelet
