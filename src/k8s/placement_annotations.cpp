#include "k8s/placement_annotations.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/json.h"
#include "core/card.h"
#include "k8s/codec.h"

namespace egpu::k8s {

namespace {

constexpr std::int64_t kVersion = 1;
constexpr std::size_t kMaxContainers = 256;
constexpr std::size_t kMaxUuid = 96;

Error bad(std::string_view annotation, std::string_view why) {
    return Error{
        ErrorCode::kInvalid, "annotation " + std::string(annotation) + ": " + std::string(why)};
}

Error bad_placement(std::string_view why) {
    return bad(kAnnotationPlacement, why);
}

bool is_uuid(std::string_view text) {
    return text.size() <= kMaxUuid && std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      c == '-' || c == '/' || c == '_';
           });
}

Result<core::CardShare> read_card(const json::value& item, const std::string& where) {
    core::CardShare card;
    if (!item.is_object()) return bad_placement(where + ": a card is no object");
    const std::string_view uuid = json::get_string(item, {"uuid"});
    if (!is_uuid(uuid)) return bad_placement(where + ": uuid is not a card's UUID");
    card.uuid = uuid;
    const auto index = json::get_int(item, {"index"});
    if (!index || *index < 0 || *index > core::kMaxCardIndex) {
        return bad_placement(where + ": index must be 0 to " + std::to_string(core::kMaxCardIndex));
    }
    const auto percent = json::get_int(item, {"percent"});
    if (!percent || *percent < 1 || *percent > core::kCardUnits) {
        return bad_placement(where + ": percent must be 1 to 100");
    }
    card.index = static_cast<int>(*index);
    card.percent = static_cast<int>(*percent);
    if (json::find(item, {"memoryMiB"}) != nullptr) {
        const auto memory = json::get_int(item, {"memoryMiB"});
        if (!memory || *memory < 0 || *memory > core::kMaxMemoryCapMib) {
            return bad_placement(where + ": memoryMiB is out of range");
        }
        card.memory_mib = *memory;
    }
    return card;
}

Result<core::ContainerPlacement> read_container(const json::value& item) {
    core::ContainerPlacement container;
    container.container = json::get_string(item, {"name"});
    if (container.container.empty() || container.container.size() > 63) {
        return bad_placement("a container's name is missing or too long");
    }
    const std::string where = "container " + container.container;
    const json::array* cards = json::get_array(item, {"cards"});
    if (cards == nullptr || cards->empty() || cards->size() > core::kMaxNodeCards) {
        return bad_placement(
            where + ": cards must be a list of 1 to " + std::to_string(core::kMaxNodeCards)
        );
    }
    for (const json::value& entry : *cards) {
        EG_TRY(core::CardShare card, read_card(entry, where));
        for (const core::CardShare& other : container.cards) {
            if (other.index == card.index || (!card.uuid.empty() && other.uuid == card.uuid)) {
                return bad_placement(where + ": names one card twice");
            }
        }
        container.cards.push_back(std::move(card));
    }
    return container;
}

Result<std::vector<int>> read_indexes(const std::string& key, std::string_view text) {
    std::vector<int> indexes;
    while (true) {
        const std::size_t comma = text.find(',');
        std::string_view one = text.substr(0, comma);
        while (!one.empty() && one.front() == ' ') one.remove_prefix(1);
        while (!one.empty() && one.back() == ' ') one.remove_suffix(1);
        int index = -1;
        const auto [end, error] = std::from_chars(one.data(), one.data() + one.size(), index);
        if (error != std::errc() || end != one.data() + one.size() || index < 0 ||
            index > core::kMaxCardIndex) {
            return bad(key, "\"" + std::string(one.substr(0, 20)) + "\" is not a card index");
        }
        if (std::find(indexes.begin(), indexes.end(), index) != indexes.end()) {
            return bad(key, "names card " + std::to_string(index) + " twice");
        }
        indexes.push_back(index);
        if (indexes.size() > core::kMaxNodeCards) return bad(key, "names too many cards");
        if (comma == std::string_view::npos) return indexes;
        text.remove_prefix(comma + 1);
    }
}

Result<core::Placement> from_nano_gpu(
    const StringMap& annotations, const core::PodRequest& request
) {
    core::Placement placement;
    for (const core::ContainerRequest& wanted : request.containers) {
        const std::string key = std::string(kAnnotationContainerPrefix) + wanted.name;
        const auto at = annotations.find(key);
        if (at == annotations.end()) return bad(key, "is missing");
        if (at->second == "-1") return bad(key, "names no card, but the container asks for one");
        EG_TRY(const std::vector<int> indexes, read_indexes(key, at->second));
        if (indexes.size() != static_cast<std::size_t>(wanted.cards)) {
            return bad(
                key,
                "names " + std::to_string(indexes.size()) + " cards, the container asks for " +
                    std::to_string(wanted.cards)
            );
        }
        core::ContainerPlacement& container = placement.containers.emplace_back();
        container.container = wanted.name;
        for (const int index : indexes) {
            container.cards.push_back({"", index, wanted.percent, wanted.memory_mib});
        }
    }
    return placement;
}

// The author of a pod may write the annotation, so it must say what the pod asks for.
Status matches(const core::Placement& placement, const core::PodRequest& request) {
    if (placement.containers.size() != request.containers.size()) {
        return bad_placement(
            "places " + std::to_string(placement.containers.size()) + " containers, the pod has " +
            std::to_string(request.containers.size()) + " that ask for a GPU"
        );
    }
    for (std::size_t i = 0; i < request.containers.size(); ++i) {
        const core::ContainerRequest& wanted = request.containers[i];
        const core::ContainerPlacement& given = placement.containers[i];
        const std::string where = "container " + wanted.name;
        if (given.container != wanted.name) return bad_placement(where + " is not placed");
        if (given.cards.size() != static_cast<std::size_t>(wanted.cards)) {
            return bad_placement(
                where + " has " + std::to_string(given.cards.size()) + " cards and asks for " +
                std::to_string(wanted.cards)
            );
        }
        // On a node with time-slicing a device of nvidia.com/gpu is a share of a card; how much,
        // the node says.
        if (wanted.resource == core::kResourceWhole) continue;
        for (const core::CardShare& card : given.cards) {
            if (card.percent == wanted.percent) continue;
            return bad_placement(
                where + " has " + std::to_string(card.percent) + " percent and asks for " +
                std::to_string(wanted.percent)
            );
        }
    }
    return ok_status();
}

void sort_like(core::Placement& placement, const core::PodRequest& request) {
    const auto position = [&](const core::ContainerPlacement& c) {
        std::size_t i = 0;
        while (i < request.containers.size() && request.containers[i].name != c.container) ++i;
        return i;
    };
    std::stable_sort(
        placement.containers.begin(),
        placement.containers.end(),
        [&](const auto& a, const auto& b) { return position(a) < position(b); }
    );
}

}  // namespace

std::string placement_text(const core::Placement& placement) {
    std::string out = "{\"version\":" + std::to_string(kVersion) + ",\"containers\":[";
    bool first = true;
    for (const core::ContainerPlacement& container : placement.containers) {
        out += first ? "{\"name\":" : ",{\"name\":";
        first = false;
        json::append_quoted(out, container.container);
        out += ",\"cards\":[";
        for (std::size_t i = 0; i < container.cards.size(); ++i) {
            const core::CardShare& card = container.cards[i];
            out += i == 0 ? "{\"uuid\":" : ",{\"uuid\":";
            json::append_quoted(out, card.uuid);
            out += ",\"index\":" + std::to_string(card.index);
            out += ",\"percent\":" + std::to_string(card.percent);
            if (card.memory_mib > 0) out += ",\"memoryMiB\":" + std::to_string(card.memory_mib);
            out += "}";
        }
        out += "]}";
    }
    return out + "]}";
}

Result<core::Placement> parse_placement(std::string_view text) {
    if (text.size() > kMaxAnnotations) return bad_placement("is larger than 256 KiB");
    auto parsed = json::parse(text);
    if (!parsed) return bad_placement(parsed.error().message);
    const auto version = json::get_int(*parsed, {"version"});
    if (!version) return bad_placement("has no version");
    if (*version != kVersion) {
        return bad_placement(
            "has version " + std::to_string(*version) + ", this program reads version 1"
        );
    }
    const json::array* containers = json::get_array(*parsed, {"containers"});
    if (containers == nullptr || containers->size() > kMaxContainers) {
        return bad_placement("containers must be a list of at most 256");
    }
    core::Placement placement;
    std::set<std::string> names;
    for (const json::value& item : *containers) {
        EG_TRY(core::ContainerPlacement container, read_container(item));
        if (!names.insert(container.container).second) {
            return bad_placement("container " + container.container + " occurs twice");
        }
        placement.containers.push_back(std::move(container));
    }
    return placement;
}

StringMap to_annotations(const core::Placement& placement) {
    StringMap out;
    out.emplace(kAnnotationAssume, "true");
    out.emplace(kAnnotationPlacement, placement_text(placement));
    for (const core::ContainerPlacement& container : placement.containers) {
        std::string key = std::string(kAnnotationContainerPrefix) + container.container;
        if (!is_qualified_name(key)) continue;
        std::string indexes;
        for (const core::CardShare& card : container.cards) {
            if (!indexes.empty()) indexes += ",";
            indexes += std::to_string(card.index);
        }
        out.emplace(std::move(key), std::move(indexes));
    }
    return out;
}

std::size_t annotations_size(const StringMap& annotations) {
    std::size_t size = 0;
    for (const auto& [key, value] : annotations) size += key.size() + value.size();
    return size;
}

Result<std::optional<core::Placement>> from_annotations(
    const StringMap& annotations, const core::PodRequest& request
) {
    if (request.empty()) return std::optional<core::Placement>();
    if (const auto ours = annotations.find(std::string(kAnnotationPlacement));
        ours != annotations.end()) {
        EG_TRY(core::Placement placement, parse_placement(ours->second));
        sort_like(placement, request);
        EG_TRY_VOID(matches(placement, request));
        return std::optional(std::move(placement));
    }
    const auto assume = annotations.find(std::string(kAnnotationAssume));
    if (assume == annotations.end() || assume->second != "true") {
        return std::optional<core::Placement>();
    }
    EG_TRY(core::Placement placement, from_nano_gpu(annotations, request));
    return std::optional(std::move(placement));
}

}  // namespace egpu::k8s
