#include "isolation/quota.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace egpu::isolation {
namespace {

constexpr std::uint64_t kMib = 1U << 20;
constexpr std::uint32_t kPpmPerPercent = guard::kWholePpm / core::kCardUnits;

guard::ComputeMode guard_mode(core::ComputeMode mode) {
    switch (mode) {
        case core::ComputeMode::kHard:
            return guard::ComputeMode::kHard;
        case core::ComputeMode::kSoft:
            return guard::ComputeMode::kSoft;
        case core::ComputeMode::kBurst:
            return guard::ComputeMode::kBurst;
        case core::ComputeMode::kOff:
            return guard::ComputeMode::kOff;
    }
    return guard::ComputeMode::kHard;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

std::uint64_t memory_bytes(const core::CardShare& share, std::span<const core::Card> cards) {
    if (share.memory_mib > 0) return static_cast<std::uint64_t>(share.memory_mib) * kMib;
    const auto card = std::find_if(cards.begin(), cards.end(), [&](const core::Card& c) {
        return c.uuid == share.uuid;
    });
    if (card == cards.end() || card->memory_mib <= 0) return guard::kUnlimited;
    const auto all = static_cast<std::uint64_t>(card->memory_mib) * kMib;
    return all / core::kCardUnits * static_cast<std::uint64_t>(share.percent);
}

}  // namespace

core::ComputeMode core_mode(guard::ComputeMode mode) {
    switch (mode) {
        case guard::ComputeMode::kOff:
            return core::ComputeMode::kOff;
        case guard::ComputeMode::kHard:
            return core::ComputeMode::kHard;
        case guard::ComputeMode::kSoft:
            return core::ComputeMode::kSoft;
        case guard::ComputeMode::kBurst:
            return core::ComputeMode::kBurst;
    }
    return core::ComputeMode::kHard;
}

Result<CardId> card_id(std::string_view uuid) {
    const Error wrong{
        ErrorCode::kInvalid,
        "\"" + std::string(uuid.substr(0, 96)) + "\" is not the UUID of a card"};
    std::string_view rest = uuid;
    if (!rest.starts_with("GPU-") && !rest.starts_with("MIG-")) return wrong;
    rest.remove_prefix(4);
    CardId id{};
    std::size_t digits = 0;
    for (const char c : rest) {
        if (c == '-') continue;
        const int digit = hex_digit(c);
        if (digit < 0 || digits == 2 * id.size()) return wrong;
        id[digits / 2] = static_cast<std::uint8_t>(id[digits / 2] << 4 | digit);
        ++digits;
    }
    if (digits != 2 * id.size()) return wrong;
    return id;
}

Result<Quota> quota_of(
    std::span<const core::CardShare> shares,
    std::span<const core::Card> cards,
    core::ComputeMode mode,
    core::GpuPriority priority
) {
    if (shares.size() > guard::kMaxDevices) {
        return Error{
            ErrorCode::kExhausted,
            std::to_string(shares.size()) + " cards for one container; the guard has room for " +
                std::to_string(guard::kMaxDevices)};
    }
    Quota quota;
    quota.priority = priority;
    for (const core::CardShare& share : shares) {
        CardQuota card;
        EG_TRY(card.uuid, card_id(share.uuid));
        card.memory_bytes = memory_bytes(share, cards);
        card.share_ppm = static_cast<std::uint32_t>(share.percent) * kPpmPerPercent;
        card.mode = guard_mode(mode);
        quota.cards.push_back(card);
    }
    return quota;
}

guard::LimitsBody body_of(const Quota& quota, const std::optional<guard::LimitsBody>& before) {
    guard::LimitsBody body = before.value_or(guard::LimitsBody{});
    body.device_count = static_cast<std::uint32_t>(quota.cards.size());
    body.flags = quota.priority == core::GpuPriority::kGuaranteed   ? guard::kGuaranteed
                 : quota.priority == core::GpuPriority::kBestEffort ? guard::kBestEffort
                                                                    : 0;
    for (std::size_t i = 0; i < quota.cards.size(); ++i) {
        const CardQuota& card = quota.cards[i];
        guard::DeviceLimits& limits = body.devices[i];
        std::memcpy(limits.uuid, card.uuid.data(), card.uuid.size());
        limits.mem_hard = card.memory_bytes;
        limits.mem_soft = card.memory_bytes;
        limits.mode = static_cast<std::uint32_t>(card.mode);
        limits.share_ppm = card.share_ppm;
        limits.flags = guard::kChargeOverhead;
    }
    return body;
}

Result<Quota> quota_from(const guard::LimitsBody& body) {
    if (body.device_count < 1 || body.device_count > guard::kMaxDevices) {
        return Error{ErrorCode::kInvalid, "a limits page with an impossible number of devices"};
    }
    Quota quota;
    if (body.flags == guard::kGuaranteed) quota.priority = core::GpuPriority::kGuaranteed;
    if (body.flags == guard::kBestEffort) quota.priority = core::GpuPriority::kBestEffort;
    for (std::uint32_t i = 0; i < body.device_count; ++i) {
        const guard::DeviceLimits& limits = body.devices[i];
        CardQuota card;
        std::memcpy(card.uuid.data(), limits.uuid, card.uuid.size());
        card.memory_bytes = limits.mem_hard;
        card.share_ppm = limits.share_ppm;
        if (limits.mode > static_cast<std::uint32_t>(guard::ComputeMode::kBurst)) {
            return Error{ErrorCode::kInvalid, "a limits page with an unknown compute mode"};
        }
        card.mode = static_cast<guard::ComputeMode>(limits.mode);
        quota.cards.push_back(card);
    }
    return quota;
}

}  // namespace egpu::isolation
