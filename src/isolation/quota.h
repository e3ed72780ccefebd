// What one allocation may use of its cards, as the agent decides it and the `limits` page says it.
// Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "core/card.h"
#include "core/placement.h"
#include "core/request.h"
#include "guard/pages.h"

namespace egpu::isolation {

using CardId = std::array<std::uint8_t, 16>;

struct CardQuota {
    CardId uuid{};
    std::uint64_t memory_bytes = guard::kUnlimited;
    std::uint32_t share_ppm = guard::kWholePpm;  // of the card's time
    guard::ComputeMode mode = guard::ComputeMode::kHard;

    bool operator==(const CardQuota&) const = default;
};

struct Quota {
    std::vector<CardQuota> cards;  // the order never changes while the allocation lives
    core::GpuPriority priority = core::GpuPriority::kNormal;

    bool operator==(const Quota&) const = default;
};

// The 16 bytes of "GPU-…" or "MIG-…", as cuDeviceGetUuid tells them. kInvalid for anything else.
Result<CardId> card_id(std::string_view uuid);

// Of a card whose memory is not known only the explicit cap holds. kInvalid for a card without such
// a UUID, kExhausted for more cards than the page has room for.
Result<Quota> quota_of(
    std::span<const core::CardShare> shares,
    std::span<const core::Card> cards,
    core::ComputeMode mode,
    core::GpuPriority priority = core::GpuPriority::kNormal
);

core::ComputeMode core_mode(guard::ComputeMode mode);

// The page's body. What is measured (overhead, contention, …) stays as it was `before`, else 0.
guard::LimitsBody body_of(
    const Quota& quota, const std::optional<guard::LimitsBody>& before = std::nullopt
);
// The other way round, for a page of an earlier run. kInvalid when it cannot be one of ours.
Result<Quota> quota_from(const guard::LimitsBody& body);

}  // namespace egpu::isolation
