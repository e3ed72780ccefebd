#include "scheduler/node_cards.h"

#include <algorithm>

#include "core/quantity.h"
#include "gpu/cards_annotation.h"

namespace egpu::scheduler {
namespace {

constexpr std::int64_t kMostCards = 1024;  // a node that claims more is wrong or hostile

std::int64_t units(const std::string& allocatable, const std::string& capacity, std::int64_t most) {
    const std::string& text = allocatable.empty() ? capacity : allocatable;
    if (text.empty()) return 0;
    const auto parsed = core::parse_quantity(text);
    return parsed ? std::clamp<std::int64_t>(*parsed, 0, most) : 0;
}

}  // namespace

NodeCards read_node_cards(const k8s::Node& node) {
    NodeCards out;
    out.inventory.percent_units =
        units(node.percent_allocatable, node.percent_capacity, kMostCards * core::kCardUnits);
    out.inventory.whole_units = units(node.whole_allocatable, node.whole_capacity, kMostCards);
    const auto annotation = node.meta.annotations.find(std::string(gpu::kAnnotationCards));
    if (annotation == node.meta.annotations.end()) return out;
    auto cards = gpu::decode_cards(annotation->second);
    if (cards) {
        out.inventory.cards = std::move(*cards);
    } else {
        out.problem = cards.error().message;
    }
    return out;
}

}  // namespace egpu::scheduler
