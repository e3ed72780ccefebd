#include "guard/memory_account.h"

#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "guard/shared_ledger_for_test.h"

namespace egpu::guard {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

TEST(MemoryAccount, GrantsUpToTheLimitAndNotOneByteMore) {
    SharedLedger ledger;
    ledger->slots[0].live = 1;
    EXPECT_TRUE(reserve(*ledger, 0, 3, 6 * kMiB, 10 * kMiB, nullptr));
    EXPECT_FALSE(reserve(*ledger, 0, 3, 4 * kMiB + 1, 10 * kMiB, nullptr));
    EXPECT_TRUE(reserve(*ledger, 0, 3, 4 * kMiB, 10 * kMiB, nullptr));
    EXPECT_FALSE(reserve(*ledger, 0, 3, 1, 10 * kMiB, nullptr));
    EXPECT_EQ(used_bytes(*ledger, 3), 10 * kMiB);
    EXPECT_EQ(used_bytes(*ledger, 2), 0U);
    EXPECT_EQ(ledger->totals[3].refused, 2U);
    EXPECT_EQ(ledger->slots[0].stats.refused, 2U);
    refund(*ledger, 0, 3, 10 * kMiB);
    EXPECT_EQ(used_bytes(*ledger, 3), 0U);
    EXPECT_EQ(ledger->slots[0].used[3], 0U);
    EXPECT_EQ(ledger->totals[3].peak_units, 10 * kMiB / kUnitBytes);
    EXPECT_EQ(ledger->slots[0].stats.inconsistencies, 0U);
}

TEST(MemoryAccount, CountsInUnitsOf512) {
    SharedLedger ledger;
    ledger->slots[0].live = 1;
    EXPECT_TRUE(reserve(*ledger, 0, 0, 1, 1024, nullptr));
    EXPECT_TRUE(reserve(*ledger, 0, 0, 512, 1024, nullptr));
    EXPECT_FALSE(reserve(*ledger, 0, 0, 1, 1024, nullptr));
    EXPECT_FALSE(reserve(*ledger, 0, 0, 1, 1535, nullptr)) << "a part of a unit is none";
    EXPECT_TRUE(reserve(*ledger, 0, 0, 0, 0, nullptr)) << "nothing is always granted";
}

TEST(MemoryAccount, SurvivesRequestsBeyondAnyNumber) {
    SharedLedger ledger;
    ledger->slots[0].live = 1;
    EXPECT_FALSE(reserve(*ledger, 0, 0, ~std::uint64_t{0}, kUnlimited, nullptr));
    EXPECT_TRUE(reserve(*ledger, 0, 0, kUnitMask * kUnitBytes, kUnlimited, nullptr));
    EXPECT_FALSE(reserve(*ledger, 0, 0, 512, kUnlimited, nullptr));
    EXPECT_EQ(ledger->slots[0].used[0], kUnitMask * kUnitBytes);
}

TEST(MemoryAccount, ALimitBelowWhatIsUsedRefusesAndTakesNothingAway) {
    SharedLedger ledger;
    ledger->slots[0].live = 1;
    ASSERT_TRUE(reserve(*ledger, 0, 0, 8 * kMiB, 10 * kMiB, nullptr));
    EXPECT_FALSE(reserve(*ledger, 0, 0, 512, 4 * kMiB, nullptr));
    EXPECT_EQ(used_bytes(*ledger, 0), 8 * kMiB);
    refund(*ledger, 0, 0, 8 * kMiB);
    EXPECT_TRUE(reserve(*ledger, 0, 0, 4 * kMiB, 4 * kMiB, nullptr));
}

TEST(MemoryAccount, RefundOfTooMuchSaturatesAndIsCounted) {
    SharedLedger ledger;
    ledger->slots[0].live = 1;
    ASSERT_TRUE(reserve(*ledger, 0, 0, kMiB, 10 * kMiB, nullptr));
    refund(*ledger, 0, 0, 2 * kMiB);
    EXPECT_EQ(used_bytes(*ledger, 0), 0U);
    EXPECT_EQ(ledger->slots[0].used[0], 0U);
    EXPECT_EQ(ledger->slots[0].stats.inconsistencies, 2U);
}

TEST(MemoryAccount, ARefusalFindsTheShareOfTheDead) {
    SharedLedger ledger;
    ledger->slots[0].live = 1;
    ledger->slots[1].live = 2;
    ASSERT_TRUE(reserve(*ledger, 0, 0, 6 * kMiB, 10 * kMiB, nullptr));
    ASSERT_TRUE(reserve(*ledger, 1, 0, 2 * kMiB, 10 * kMiB, nullptr));
    EXPECT_FALSE(reserve(*ledger, 1, 0, 4 * kMiB, 10 * kMiB, nullptr));
    ledger->slots[0].live = 1 | kOwnerDied;
    EXPECT_TRUE(reserve(*ledger, 1, 0, 4 * kMiB, 10 * kMiB, nullptr));
    EXPECT_EQ(used_bytes(*ledger, 0), 6 * kMiB);
    EXPECT_EQ(ledger->totals[0].audit_repairs, 1U);
}

TEST(MemoryAccount, ATamperedLedgerCanOnlyTightenOrSaturate) {
    SharedLedger ledger;
    ledger->slots[0].live = 1;
    ledger->slots[1].live = 2;
    ledger->slots[1].used[0] = ~std::uint64_t{0};
    EXPECT_TRUE(audit(*ledger, 0, nullptr));
    EXPECT_EQ(used_bytes(*ledger, 0), kUnitMask * kUnitBytes);
    EXPECT_FALSE(reserve(*ledger, 0, 0, 512, kUnlimited, nullptr));
}

// Threads of one process and auditors at once: the granted bytes are counted beside the ledger by
// the test itself.
TEST(MemoryAccount, NeverOverWithThreadsAndAuditors) {
    SharedLedger ledger;
    constexpr std::uint64_t kLimit = 64 * kMiB;
    std::atomic<std::uint64_t> granted{0};
    std::atomic<std::uint64_t> highest{0};
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; ++t) {
        ledger->slots[t / 2].live = t / 2 + 1;
        threads.emplace_back([&, t] {
            std::mt19937_64 random(t);
            std::vector<std::uint64_t> mine;
            for (int i = 0; i < 30'000; ++i) {
                const std::uint64_t bytes = (random() % (4 * kMiB)) / 512 * 512 + 512;
                if (random() % 2 == 0 && reserve(*ledger, t / 2, 0, bytes, kLimit, nullptr)) {
                    const std::uint64_t now = granted.fetch_add(bytes) + bytes;
                    if (now > highest) highest = now;
                    mine.push_back(bytes);
                } else if (!mine.empty()) {
                    granted.fetch_sub(mine.back());
                    refund(*ledger, t / 2, 0, mine.back());
                    mine.pop_back();
                }
            }
            for (const std::uint64_t bytes : mine) {
                granted.fetch_sub(bytes);
                refund(*ledger, t / 2, 0, bytes);
            }
        });
    }
    std::thread auditor([&] {
        while (!stop) audit(*ledger, 0, nullptr);
    });
    for (std::thread& thread : threads) thread.join();
    stop = true;
    auditor.join();
    EXPECT_LE(highest.load(), kLimit);
    EXPECT_GT(highest.load(), kLimit / 2);
    EXPECT_TRUE(audit(*ledger, 0, nullptr));
    EXPECT_EQ(used_bytes(*ledger, 0), 0U);
    for (const ProcessSlot& slot : ledger->slots) ASSERT_EQ(slot.used[0], 0U);
}

}  // namespace
}  // namespace egpu::guard
