// CPU and memory of a node, or what a pod asks for of them. Plain data.
#pragma once

#include <cstdint>

namespace egpu::core {

struct HostAmounts {
    std::int64_t cpu_milli = 0;
    std::int64_t memory_mib = 0;

    bool empty() const { return cpu_milli == 0 && memory_mib == 0; }
    bool operator==(const HostAmounts&) const = default;
};

// Of a node: it has not said how much it has, so nothing is ever short of it.
inline constexpr std::int64_t kHostUnlimited = -1;

}  // namespace egpu::core
