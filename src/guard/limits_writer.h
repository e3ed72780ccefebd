// The writer's side of the limits page, for the agent (and tests). Header only: the agent links
// nothing of the guard.
#pragma once

#include <cstdint>
#include <cstring>

#include "guard/pages.h"

namespace egpu::guard {

// Makes `body` the current one. Readers see the one before or this one, whole, also when the writer
// dies in the middle. One writer at a time. Two changes should be some microseconds apart: a reader
// gives up after 8 of them in a row.
inline void publish(LimitsPage& page, const LimitsBody& body) {
    const std::uint32_t next = page.generation.load(std::memory_order_relaxed) + 1;
    // Readers of the generation before last may still be looking at these words: they must see the
    // last generation no later than the first new word.
    std::atomic_thread_fence(std::memory_order_release);
    auto* to = reinterpret_cast<std::uint64_t*>(&page.body[next & 1U]);
    const auto* from = reinterpret_cast<const char*>(&body);
    for (std::size_t i = 0; i < sizeof(LimitsBody) / sizeof(std::uint64_t); ++i) {
        std::uint64_t word = 0;
        std::memcpy(&word, from + i * sizeof word, sizeof word);
        __atomic_store_n(&to[i], word, __ATOMIC_RELAXED);
    }
    page.generation.store(next, std::memory_order_release);
}

}  // namespace egpu::guard
