#include "agent/device_ids.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "core/card.h"
#include "core/request.h"

namespace egpu::agent {
namespace {

constexpr std::string_view kSeparator = "::";

std::optional<int> parse_unit(std::string_view text) {
    int unit = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), unit);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    if (unit < 0 || unit >= core::kCardUnits) return std::nullopt;
    return unit;
}

}  // namespace

std::string_view resource_name(Resource resource) {
    return resource == Resource::kPercent ? core::kResourcePercent : core::kResourceWhole;
}

std::optional<Resource> resource_of(std::string_view name) {
    if (name == core::kResourcePercent) return Resource::kPercent;
    if (name == core::kResourceWhole) return Resource::kWhole;
    return std::nullopt;
}

std::string unit_id(std::string_view card_uuid, int unit) {
    std::string id(card_uuid);
    id += kSeparator;
    id += std::to_string(unit);
    return id;
}

std::string_view card_of(Resource resource, std::string_view id) {
    const std::size_t at = id.rfind(kSeparator);
    if (at == std::string_view::npos || !parse_unit(id.substr(at + kSeparator.size()))) {
        return resource == Resource::kWhole ? id : std::string_view();
    }
    return id.substr(0, at);
}

int unit_of(std::string_view id) {
    const std::size_t at = id.rfind(kSeparator);
    if (at == std::string_view::npos) return 0;
    return parse_unit(id.substr(at + kSeparator.size())).value_or(0);
}

std::vector<std::pair<std::string, int>> count_by_card(
    Resource resource, std::span<const std::string> ids
) {
    std::map<std::string_view, int> counts;
    for (const std::string& id : ids) {
        const std::string_view card = card_of(resource, id);
        if (!card.empty()) ++counts[card];
    }
    std::vector<std::pair<std::string, int>> cards(counts.begin(), counts.end());
    std::stable_sort(cards.begin(), cards.end(), [](const auto& a, const auto& b) {
        return a.second > b.second;
    });
    return cards;
}

std::vector<std::string> as_id_set(std::span<const std::string> ids) {
    std::vector<std::string> set(ids.begin(), ids.end());
    std::sort(set.begin(), set.end());
    set.erase(std::unique(set.begin(), set.end()), set.end());
    return set;
}

}  // namespace egpu::agent
