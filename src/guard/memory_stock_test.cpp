#include "guard/memory_stock.h"

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "guard/shared_ledger_for_test.h"

namespace egpu::guard {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20U;
constexpr unsigned kMine = 0;
constexpr unsigned kOther = 1;
constexpr unsigned kShard = 2;

class MemoryStock : public ::testing::Test {
  protected:
    MemoryStock() {
        ledger_->slots[kMine].live = 1;
        ledger_->slots[kOther].live = 2;
    }
    // As the hook for cuMemAlloc does it.
    bool allocate(unsigned slot, std::uint64_t bytes, std::uint64_t limit) {
        if (used_bytes(*ledger_, 0) <= limit && take_spare(*ledger_, slot, kShard, 0, bytes))
            return true;
        if (!try_reserve(*ledger_, slot, 0, bytes, limit) &&
            !reserve_with_spare(*ledger_, slot, 0, bytes, limit) &&
            !reserve(*ledger_, slot, 0, bytes, limit, nullptr)) {
            return false;
        }
        move_to_stock(*ledger_, slot, kShard, 0, bytes);
        return true;
    }
    void release(unsigned slot, std::uint64_t bytes) {
        if (!keep_spare(*ledger_, slot, kShard, 0, bytes))
            refund_stocked(*ledger_, slot, kShard, 0, bytes);
    }
    std::uint64_t granted() { return used_bytes(*ledger_, 0) - spare_bytes(*ledger_, 0); }
    void expect_sums_right() {
        const std::uint64_t before = used_bytes(*ledger_, 0);
        EXPECT_TRUE(audit(*ledger_, 0, nullptr));
        EXPECT_EQ(used_bytes(*ledger_, 0), before);
        EXPECT_EQ(ledger_->totals[0].audit_repairs, 0U);
        for (const ProcessSlot& slot : ledger_->slots) EXPECT_EQ(slot.stats.inconsistencies, 0U);
    }

    SharedLedger ledger_;
};

TEST_F(MemoryStock, WhatIsFreedServesTheNextAllocation) {
    ASSERT_TRUE(allocate(kMine, 3 * kMiB, 10 * kMiB));
    EXPECT_EQ(granted(), 3 * kMiB);
    release(kMine, 3 * kMiB);
    EXPECT_EQ(granted(), 0U);
    EXPECT_EQ(claimed_bytes(*ledger_, kMine, 0), 0U);
    EXPECT_EQ(used_bytes(*ledger_, 0), 3 * kMiB) << "it stays reserved";
    const std::uint64_t total = ledger_->totals[0].word;
    ASSERT_TRUE(allocate(kMine, 2 * kMiB, 10 * kMiB));
    ASSERT_TRUE(allocate(kMine, kMiB, 10 * kMiB));
    EXPECT_EQ(ledger_->totals[0].word, total) << "the shared word was not touched";
    EXPECT_EQ(granted(), 3 * kMiB);
    ASSERT_TRUE(allocate(kMine, 1, 10 * kMiB));
    EXPECT_EQ(granted(), 3 * kMiB + 512);
    EXPECT_EQ(claimed_bytes(*ledger_, kMine, 0), granted());
    expect_sums_right();
}

TEST_F(MemoryStock, KeepsNoMoreThanItMay) {
    const std::uint64_t most = kSpareUnits * kUnitBytes;
    ASSERT_TRUE(allocate(kMine, most, 100 * kMiB));
    ASSERT_TRUE(allocate(kMine, kMiB, 100 * kMiB));
    ASSERT_TRUE(allocate(kMine, 40 * kMiB, 100 * kMiB));
    release(kMine, most);
    release(kMine, kMiB);
    release(kMine, 40 * kMiB);
    EXPECT_EQ(spare_bytes(*ledger_, 0), most);
    EXPECT_EQ(used_bytes(*ledger_, 0), most);
    expect_sums_right();
}

TEST_F(MemoryStock, NobodyIsRefusedForWhatIsSpareElsewhere) {
    ASSERT_TRUE(allocate(kOther, 6 * kMiB, 10 * kMiB));
    release(kOther, 6 * kMiB);
    ASSERT_TRUE(allocate(kMine, 3 * kMiB, 10 * kMiB));
    release(kMine, 3 * kMiB);
    EXPECT_TRUE(allocate(kMine, 10 * kMiB, 10 * kMiB)) << "all of it, of both processes";
    EXPECT_EQ(granted(), 10 * kMiB);
    EXPECT_EQ(spare_bytes(*ledger_, 0), 0U);
    EXPECT_FALSE(allocate(kOther, 512, 10 * kMiB));
    EXPECT_EQ(ledger_->totals[0].peak_units * kUnitBytes, 10 * kMiB);
    EXPECT_EQ(ledger_->totals[0].refused, 1U);
    release(kMine, 10 * kMiB);
    expect_sums_right();
}

TEST_F(MemoryStock, ARefusalGivesBackWhatItGathered) {
    ASSERT_TRUE(allocate(kOther, 6 * kMiB, 10 * kMiB));
    ASSERT_TRUE(allocate(kOther, kMiB, 10 * kMiB));
    release(kOther, kMiB);
    EXPECT_FALSE(allocate(kMine, 5 * kMiB, 10 * kMiB));
    EXPECT_EQ(used_bytes(*ledger_, 0), 6 * kMiB);
    EXPECT_TRUE(allocate(kMine, 4 * kMiB, 10 * kMiB));
    expect_sums_right();
}

TEST_F(MemoryStock, ALimitBelowWhatIsReservedRefusesWhatIsSpare) {
    ASSERT_TRUE(allocate(kMine, 8 * kMiB, 10 * kMiB));
    ASSERT_TRUE(allocate(kMine, 2 * kMiB, 10 * kMiB));
    release(kMine, 2 * kMiB);
    EXPECT_FALSE(allocate(kMine, kMiB, 4 * kMiB));
    EXPECT_EQ(granted(), 8 * kMiB);
    release(kMine, 8 * kMiB);
    EXPECT_TRUE(allocate(kMine, 3 * kMiB, 4 * kMiB)) << "spare memory does not hold it up, either";
    EXPECT_LE(used_bytes(*ledger_, 0), 4 * kMiB);
    EXPECT_FALSE(allocate(kMine, 2 * kMiB, 4 * kMiB));
}

TEST_F(MemoryStock, WhatADeadProcessKeptComesBackOnce) {
    ASSERT_TRUE(allocate(kOther, 6 * kMiB, 10 * kMiB));
    ASSERT_TRUE(allocate(kOther, 2 * kMiB, 10 * kMiB));
    release(kOther, 6 * kMiB);
    ledger_->slots[kOther].live = 2 | kOwnerDied;
    ASSERT_TRUE(audit(*ledger_, 0, nullptr));
    EXPECT_EQ(used_bytes(*ledger_, 0), 0U);
    EXPECT_TRUE(allocate(kMine, 10 * kMiB, 10 * kMiB));
    EXPECT_FALSE(allocate(kMine, 6 * kMiB, 10 * kMiB)) << "not a second time, out of its stock";
}

TEST_F(MemoryStock, SurvivesNonsenseInTheLedger) {
    std::mt19937_64 random(5);
    for (int i = 0; i < 2'000; ++i) {
        for (ProcessStock& stock : ledger_->stocks) stock.shards[kShard].word[0] = random();
        ledger_->totals[0].word = random();
        ledger_->slots_so_far = static_cast<std::uint32_t>(random());
        ledger_->slots[i % kSlots].live = static_cast<std::uint32_t>(random());
        allocate(kMine, random() % (8 * kMiB), 10 * kMiB);
        release(kMine, random() % (8 * kMiB));
        audit(*ledger_, 0, nullptr);
        spare_bytes(*ledger_, 0);
    }
}

// Two processes of two threads each that allocate and free, one that wants nearly everything from
// time to time, and an auditor; what is granted is counted beside the ledger.
TEST_F(MemoryStock, NeverOverWithThreadsAndAuditors) {
    constexpr std::uint64_t kLimit = 64 * kMiB;
    std::atomic<std::uint64_t> granted_now{0};
    std::atomic<std::uint64_t> highest{0};
    std::atomic<bool> stop{false};
    const auto work = [&](unsigned slot, std::uint64_t seed, std::uint64_t most) {
        std::mt19937_64 random(seed);
        std::vector<std::uint64_t> mine;
        for (int i = 0; i < 20'000; ++i) {
            const std::uint64_t bytes = (random() % most) / 512 * 512 + 512;
            if (random() % 2 == 0 && allocate(slot, bytes, kLimit)) {
                const std::uint64_t now = granted_now.fetch_add(bytes) + bytes;
                std::uint64_t seen = highest;
                while (now > seen && !highest.compare_exchange_weak(seen, now)) {
                }
                mine.push_back(bytes);
            } else if (!mine.empty()) {
                granted_now.fetch_sub(mine.back());
                release(slot, mine.back());
                mine.pop_back();
            }
        }
        for (const std::uint64_t bytes : mine) {
            granted_now.fetch_sub(bytes);
            release(slot, bytes);
        }
    };
    ledger_->slots[2].live = 3;
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; ++t) threads.emplace_back(work, t / 2, t, 4 * kMiB);
    threads.emplace_back(work, 2, 9, 50 * kMiB);
    std::thread auditor([&] {
        while (!stop) audit(*ledger_, 0, nullptr);
    });
    for (std::thread& thread : threads) thread.join();
    stop = true;
    auditor.join();
    EXPECT_LE(highest.load(), kLimit);
    EXPECT_GT(highest.load(), kLimit / 2);
    EXPECT_TRUE(audit(*ledger_, 0, nullptr));
    EXPECT_EQ(granted(), 0U);
    EXPECT_TRUE(allocate(kMine, kLimit, kLimit)) << "all of it can be had";
    for (const ProcessSlot& slot : ledger_->slots) ASSERT_EQ(slot.stats.inconsistencies, 0U);
}

}  // namespace
}  // namespace egpu::guard
