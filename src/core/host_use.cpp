#include "core/host_use.h"

#include <algorithm>
#include <limits>

#include "core/policy.h"

namespace egpu::core {
namespace {

std::uint32_t clamped(std::int64_t amount) {
    constexpr std::int64_t kMost = std::numeric_limits<std::uint32_t>::max();
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(amount, 0, kMost));
}

}  // namespace

std::size_t HostUse::Hash::operator()(std::string_view text) const {
    return stable_key(text);
}

void HostUse::put(std::string_view uid, std::string_view node, HostAmounts amounts) {
    const std::uint32_t cpu = clamped(amounts.cpu_milli);
    const std::uint32_t memory = clamped(amounts.memory_mib);
    if (const auto known = pods_.find(stable_key(uid)); known != pods_.end()) {
        const Entry& old = known->second;
        const bool here = old.node->first == node;
        if (here && old.cpu_milli == cpu && old.memory_mib == memory) return;
        remove(uid);
    }
    if (cpu == 0 && memory == 0) return;
    auto found = nodes_.find(node);
    if (found == nodes_.end()) found = nodes_.emplace(std::string(node), Total{}).first;
    Total& total = found->second;
    total.sum.cpu_milli += cpu;
    total.sum.memory_mib += memory;
    ++total.pods;
    pods_[stable_key(uid)] = {&*found, cpu, memory};
}

void HostUse::remove(std::string_view uid) {
    const auto known = pods_.find(stable_key(uid));
    if (known == pods_.end()) return;
    const Entry entry = known->second;
    pods_.erase(known);
    Total& total = entry.node->second;
    total.sum.cpu_milli -= entry.cpu_milli;
    total.sum.memory_mib -= entry.memory_mib;
    if (--total.pods == 0) nodes_.erase(nodes_.find(entry.node->first));
}

std::string_view HostUse::node_of(std::string_view uid) const {
    const auto known = pods_.find(stable_key(uid));
    return known == pods_.end() ? std::string_view() : known->second.node->first;
}

HostAmounts HostUse::on(std::string_view node) const {
    const auto found = nodes_.find(node);
    return found == nodes_.end() ? HostAmounts{} : found->second.sum;
}

}  // namespace egpu::core
