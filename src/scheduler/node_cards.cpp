#include "scheduler/node_cards.h"

#include <algorithm>

#include "core/quantity.h"
#include "gpu/cards_annotation.h"

namespace egpu::scheduler {
namespace {

constexpr std::int64_t kMostCards = core::kMaxNodeCards;

std::int64_t units(const std::string& allocatable, const std::string& capacity, std::int64_t most) {
    const std::string& text = allocatable.empty() ? capacity : allocatable;
    if (text.empty()) return 0;
    const auto parsed = core::parse_quantity(text);
    return parsed ? std::clamp<std::int64_t>(*parsed, 0, most) : 0;
}

// kHostUnlimited for what is missing or makes no sense.
core::HostAmounts host_of(const k8s::Node& node) {
    constexpr std::int64_t kMiB = 1024 * 1024;
    core::HostAmounts host{core::kHostUnlimited, core::kHostUnlimited};
    const auto cpu = core::parse_milli(node.cpu_allocatable);
    if (cpu && *cpu >= 0) host.cpu_milli = *cpu;
    const auto memory = core::parse_quantity(node.memory_allocatable);
    if (memory && *memory >= 0) host.memory_mib = *memory / kMiB;
    return host;
}

}  // namespace

NodeCards read_node_cards(const k8s::Node& node) {
    NodeCards out;
    out.inventory.percent_units =
        units(node.percent_allocatable, node.percent_capacity, kMostCards * core::kCardUnits);
    out.inventory.whole_units = units(node.whole_allocatable, node.whole_capacity, kMostCards);
    out.inventory.host = host_of(node);
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
