#include "guard/compute/bucket.h"

#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "core/replay_seed.h"

namespace egpu::guard {
namespace {

constexpr BucketRate kHalf{.ppm = 500'000, .cap_ns = 10'000'000, .debt_ns = 1'000'000'000};

TEST(Bucket, FillsWithTimeUpToItsCap) {
    std::atomic<std::uint64_t> word{0};
    Bucket bucket(word);
    const std::uint64_t start = 5'000'000'000;
    EXPECT_EQ(bucket.charge(start, kHalf, 10'000'000), 0);  // full after a long time, emptied
    EXPECT_NEAR(static_cast<double>(bucket.charge(start + 4'000'000, kHalf, 0)), 2e6, 40'000);
    EXPECT_EQ(bucket.charge(start + 900'000'000, kHalf, 0), 10'000'000);
}

TEST(Bucket, GoesIntoDebtDownToTheFloor) {
    std::atomic<std::uint64_t> word{0};
    Bucket bucket(word);
    bucket.charge(1'000'000'000, kHalf, 100'000'000);
    EXPECT_EQ(bucket.charge(1'000'000'000, kHalf, 0), -90'000'000);
    EXPECT_EQ(bucket.charge(1'000'000'000, kHalf, 60'000'000'000), -1'000'000'000);
    EXPECT_NEAR(static_cast<double>(bucket.charge(2'000'000'000, kHalf, 0)), -500e6, 40'000);
}

TEST(Bucket, SmallStepsLoseNothing) {
    for (const std::uint64_t ppm : {3'000U, 10'000U, 123'457U, 1'300'000U}) {
        std::atomic<std::uint64_t> word{0};
        Bucket bucket(word);
        const BucketRate rate{.ppm = ppm, .cap_ns = 1'000, .debt_ns = 100'000'000'000};
        const std::uint64_t start = 1ULL << 45;
        const std::int64_t begin = bucket.charge(start, rate, 50'000'000'000);
        for (std::uint64_t t = 0; t <= 2'000'000'000; t += 10'007)
            bucket.charge(start + t, rate, 0);
        const std::int64_t end = bucket.charge(start + 2'000'000'000, rate, 0);
        EXPECT_NEAR(
            static_cast<double>(end - begin),
            2e9 * static_cast<double>(ppm) / 1e6,
            2e9 * static_cast<double>(ppm) / 1e6 * 0.001 + 200'000
        );
    }
}

TEST(Bucket, AClockThatIsALittleBehindFillsNothing) {
    std::atomic<std::uint64_t> word{0};
    Bucket bucket(word);
    bucket.charge(10'000'000'000, kHalf, 20'000'000);
    EXPECT_EQ(bucket.charge(9'999'000'000, kHalf, 0), -10'000'000);
}

TEST(Bucket, AnyWordIsSurvived) {
    EG_TRACE_SEED();
    Random random(core::replay_seed());
    for (int i = 0; i < 10'000; ++i) {
        std::atomic<std::uint64_t> word{random()};
        Bucket bucket(word);
        const std::int64_t tokens =
            bucket.charge(random() >> 4, kHalf, static_cast<std::int64_t>(random() >> 30));
        EXPECT_LE(tokens, kHalf.cap_ns);
        EXPECT_GE(tokens, -kHalf.debt_ns);
    }
}

TEST(Bucket, ThreadsChargeExactly) {
    std::atomic<std::uint64_t> word{0};
    const BucketRate rate{.ppm = 1, .cap_ns = 1'000'000'000, .debt_ns = 100'000'000'000};
    Bucket(word).charge(1'000'000'000, rate, 0);
    const std::int64_t before = Bucket(word).charge(1'000'000'000, rate, 0);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 20'000; ++i) Bucket(word).charge(1'000'000'000, rate, 3);
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(before - Bucket(word).charge(1'000'000'000, rate, 0), 240'000);
}

}  // namespace
}  // namespace egpu::guard
