// Test only: the seed of the property tests. EDGE_GPU_SEED replays a run; without it the seed is
// fixed, so that CI is stable; EDGE_GPU_SEED=random draws one. Printed with every failure.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

namespace egpu::core {

inline std::uint64_t replay_seed() {
    static const std::uint64_t seed = [] {
        const char* text = std::getenv("EDGE_GPU_SEED");
        if (text == nullptr || *text == '\0') return std::uint64_t{20261};
        if (std::string(text) == "random") return std::uint64_t{std::random_device{}()};
        return static_cast<std::uint64_t>(std::strtoull(text, nullptr, 10));
    }();
    return seed;
}

}  // namespace egpu::core

#define EG_TRACE_SEED() SCOPED_TRACE("EDGE_GPU_SEED=" + std::to_string(::egpu::core::replay_seed()))
