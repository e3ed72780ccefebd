// The two resources and the kubelet device IDs of each. Pure.
//
// nvidia.com/gpu: the ID is the card's UUID, with replicas "<card UUID>::<number>" as NVIDIA's
// plugin has it. nano-gpu/gpu-percent: "<card UUID>::<0..99>", so that an ID says which card it
// belongs to. IDs come back from the kubelet in any order and may be of cards that are gone.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace egpu::agent {

enum class Resource { kPercent, kWhole };

std::string_view resource_name(Resource resource);
std::optional<Resource> resource_of(std::string_view name);

std::string unit_id(std::string_view card_uuid, int unit);
// The card's UUID, or "" when `id` is not of this resource's form.
std::string_view card_of(Resource resource, std::string_view id);
// The number behind "::"; 0 where there is none.
int unit_of(std::string_view id);

// IDs per card, the card with the most first (ties by UUID); IDs without a card are left out.
std::vector<std::pair<std::string, int>> count_by_card(
    Resource resource, std::span<const std::string> ids
);

// Sorted and without duplicates: the form in which sets of IDs are stored and compared.
std::vector<std::string> as_id_set(std::span<const std::string> ids);

}  // namespace egpu::agent
