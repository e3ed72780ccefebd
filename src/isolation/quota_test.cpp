#include "isolation/quota.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace egpu::isolation {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kUuid = "GPU-00112233-4455-6677-8899-aabbccddeeff";
constexpr std::uint64_t kGib = 1ULL << 30;

core::Card card(std::int64_t memory_mib) {
    core::Card card;
    card.uuid = kUuid;
    card.memory_mib = memory_mib;
    return card;
}

TEST(Quota, UuidsBecomeTheirBytes) {
    const auto id = card_id(kUuid);
    ASSERT_TRUE(id.ok());
    EXPECT_THAT(
        *id,
        ElementsAre(
            0x00,
            0x11,
            0x22,
            0x33,
            0x44,
            0x55,
            0x66,
            0x77,
            0x88,
            0x99,
            0xaa,
            0xbb,
            0xcc,
            0xdd,
            0xee,
            0xff
        )
    );
    EXPECT_TRUE(card_id("MIG-00112233-4455-6677-8899-AABBCCDDEEFF").ok());
    for (const char* wrong :
         {"",
          "GPU-",
          "00112233-4455-6677-8899-aabbccddeeff",
          "GPU-0011",
          "GPU-00112233-4455-6677-8899-aabbccddeeff0",
          "GPU-g0112233-4455-6677-8899-aabbccddeeff"}) {
        EXPECT_FALSE(card_id(wrong).ok()) << wrong;
    }
}

TEST(Quota, MemoryFollowsThePercentOrTheCap) {
    const core::Card t4 = card(16 * 1024);
    auto quota =
        quota_of(std::vector{core::CardShare{kUuid, 0, 25, 0}}, {&t4, 1}, core::ComputeMode::kSoft);
    ASSERT_TRUE(quota.ok());
    EXPECT_EQ(quota->cards[0].share_ppm, 250'000U);
    EXPECT_EQ(quota->cards[0].mode, guard::ComputeMode::kSoft);
    // Whole bytes of a hundredth, so that a hundred shares of one percent fit.
    EXPECT_EQ(quota->cards[0].memory_bytes, 16 * kGib / 100 * 25);

    quota = quota_of(
        std::vector{core::CardShare{kUuid, 0, 25, 1024}}, {&t4, 1}, core::ComputeMode::kOff
    );
    EXPECT_EQ(quota->cards[0].memory_bytes, kGib);
    const core::Card unknown = card(0);
    quota = quota_of(
        std::vector{core::CardShare{kUuid, 0, 25, 0}}, {&unknown, 1}, core::ComputeMode::kHard
    );
    EXPECT_EQ(quota->cards[0].memory_bytes, guard::kUnlimited);
}

TEST(Quota, GoesIntoThePageAndBack) {
    const core::Card t4 = card(16 * 1024);
    const auto quota = quota_of(
        std::vector{core::CardShare{kUuid, 0, 30, 0}}, {&t4, 1}, core::ComputeMode::kBurst
    );
    ASSERT_TRUE(quota.ok());
    const auto back = quota_from(body_of(*quota));
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(*back, *quota);
    guard::LimitsBody body = body_of(*quota);
    body.device_count = guard::kMaxDevices + 1;
    EXPECT_FALSE(quota_from(body).ok());
    body.device_count = 1;
    body.devices[0].mode = 99;
    EXPECT_FALSE(quota_from(body).ok());
}

TEST(Quota, WhatThePageHasNoRoomForIsRefused) {
    const std::vector<core::CardShare> many(guard::kMaxDevices + 1, {kUuid, 0, 10, 0});
    const auto quota = quota_of(many, {}, core::ComputeMode::kHard);
    ASSERT_FALSE(quota.ok());
    EXPECT_THAT(quota.error().message, HasSubstr("17 cards"));
    EXPECT_FALSE(
        quota_of(std::vector{core::CardShare{"0", 0, 10, 0}}, {}, core::ComputeMode::kHard).ok()
    );
}

}  // namespace
}  // namespace egpu::isolation
