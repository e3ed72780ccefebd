#include "guard/block_map.h"

#include <atomic>
#include <map>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace egpu::guard {
namespace {

Block block(std::uint64_t key, std::uint64_t size, BlockKind kind = BlockKind::plain) {
    Block made;
    made.key = key;
    made.size = size;
    made.kind = kind;
    return made;
}

// Against std::map, with keys in a row (as a driver's addresses are) and deletions in any order.
TEST(BlockMap, RemembersWhatAMapWould) {
    const auto map = std::make_unique<BlockMap>();
    std::map<std::uint64_t, std::uint64_t> model;
    std::mt19937_64 random(7);
    for (int step = 0; step < 200'000; ++step) {
        const std::uint64_t key = 0x7f0000000000 + random() % 3000 * 512;
        Block out;
        switch (random() % 3) {
            case 0: {
                const std::uint64_t size = random();
                ASSERT_TRUE(map->insert(block(key, size), out));
                ASSERT_EQ(out.kind != BlockKind::none, model.contains(key));
                if (model.contains(key)) {
                    ASSERT_EQ(out.size, model[key]);
                }
                model[key] = size;
                break;
            }
            case 1:
                ASSERT_EQ(map->take(key, out), model.contains(key));
                if (model.contains(key)) {
                    ASSERT_EQ(out.size, model[key]);
                }
                model.erase(key);
                break;
            default:
                ASSERT_EQ(map->find(key, out), model.contains(key));
                if (model.contains(key)) {
                    ASSERT_EQ(out.size, model[key]);
                }
        }
    }
    EXPECT_EQ(map->size(), model.size());
}

TEST(BlockMap, TakesOutWhatMatchesAndNothingElse) {
    const auto map = std::make_unique<BlockMap>();
    Block out;
    for (std::uint64_t i = 0; i < 20'000; ++i) {
        Block one = block(0x10000 + i * 512, 1);
        one.owner = i % 3;
        ASSERT_TRUE(map->insert(one, out));
    }
    std::uint64_t gone = 0;
    map->take_if(
        [](const Block& b, void*) { return b.owner == 1; },
        [](const Block& b, void* count) {
            EXPECT_EQ(b.owner, 1U);
            ++*static_cast<std::uint64_t*>(count);
        },
        &gone
    );
    EXPECT_EQ(gone, 6667U);
    EXPECT_EQ(map->size(), 20'000U - 6667U);
    EXPECT_FALSE(map->find(0x10000 + 512, out));
    EXPECT_TRUE(map->find(0x10000, out));
}

TEST(BlockMap, UpdateMayTakeTheBlockOut) {
    const auto map = std::make_unique<BlockMap>();
    Block out;
    ASSERT_TRUE(map->insert(block(5, 1), out));
    const auto grow = [](Block& b, void*) { return ++b.size == 3; };
    ASSERT_TRUE(map->update(5, grow, nullptr, out));
    EXPECT_EQ(out.size, 2U);
    ASSERT_TRUE(map->update(5, grow, nullptr, out));
    EXPECT_EQ(out.size, 3U);
    EXPECT_FALSE(map->update(5, grow, nullptr, out));
}

TEST(BlockMap, ThreadsDoNotLoseEachOthersBlocks) {
    const auto map = std::make_unique<BlockMap>();
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (std::uint64_t round = 0; round < 20; ++round) {
                Block out;
                for (std::uint64_t i = 0; i < 500; ++i) {
                    if (!map->insert(block((t << 40) + i * 4096 + 1, i), out)) ++wrong;
                }
                for (std::uint64_t i = 0; i < 500; ++i) {
                    if (!map->take((t << 40) + i * 4096 + 1, out) || out.size != i) ++wrong;
                }
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong.load(), 0);
    EXPECT_EQ(map->size(), 0U);
}

// Full buckets go on in spare lines, which come back: keys that share their upper half and whose
// lower halves are found to fall into few buckets of any table.
TEST(BlockMap, CrowdedBucketsLoseNothing) {
    const auto map = std::make_unique<BlockMap>();
    std::vector<std::uint64_t> keys;
    for (std::uint64_t key = 1; keys.size() < 400; ++key) {
        if ((key ^ key >> 32U) * 0x9e3779b97f4a7c15ULL >> 52U == 0) keys.push_back(key);
    }
    Block out;
    for (int round = 0; round < 50; ++round) {
        for (const std::uint64_t key : keys) {
            ASSERT_TRUE(map->insert(block(key, key * 2), out));
            ASSERT_EQ(out.kind, BlockKind::none);
        }
        EXPECT_EQ(map->size(), keys.size());
        for (std::size_t i = 0; i < keys.size(); ++i) {
            const std::uint64_t key = keys[i * 7 % keys.size()];
            ASSERT_TRUE(map->take(key, out));
            ASSERT_EQ(out.size, key * 2);
            ASSERT_FALSE(map->find(key, out));
        }
        EXPECT_EQ(map->size(), 0U);
    }
}

TEST(BlockMap, KeepsTheCountsOfPhysicalMemoryAndTheOwnersOfAllElse) {
    const auto map = std::make_unique<BlockMap>();
    Block physical = block(1, ~std::uint64_t{0}, BlockKind::physical);
    physical.handles = 0x80000001;
    physical.mappings = 0xfffffffe;
    physical.device = -1;
    Block plain = block(2, 4096);
    plain.owner = ~std::uint64_t{0};
    plain.device = 15;
    plain.shard = 3;
    Block out;
    ASSERT_TRUE(map->insert(physical, out));
    ASSERT_TRUE(map->insert(plain, out));
    ASSERT_TRUE(map->find(1, out));
    EXPECT_EQ(out.handles, physical.handles);
    EXPECT_EQ(out.mappings, physical.mappings);
    EXPECT_EQ(out.size, physical.size);
    EXPECT_EQ(out.device, -1);
    EXPECT_EQ(out.shard, kNoShard);
    ASSERT_TRUE(map->find(2, out));
    EXPECT_EQ(out.owner, plain.owner);
    EXPECT_EQ(out.device, 15);
    EXPECT_EQ(out.shard, 3);
}

// The table grows under the feet of threads that put in, look up and take out, and of one that
// takes out by what blocks look like.
TEST(BlockMap, GrowsWhileOthersWork) {
    const auto map = std::make_unique<BlockMap>();
    std::atomic<int> wrong{0};
    std::atomic<std::uint64_t> swept{0};
    std::atomic<bool> done{false};
    std::thread sweeper([&] {
        while (!done.load()) {
            map->take_if(
                [](const Block& b, void*) { return b.owner == 77; },
                [](const Block&, void* count) {
                    ++*static_cast<std::atomic<std::uint64_t>*>(count);
                },
                &swept
            );
        }
    });
    constexpr std::uint64_t kEach = 20'000;
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 3; ++t) {
        threads.emplace_back([&, t] {
            Block out;
            for (std::uint64_t i = 0; i < kEach; ++i) {
                const std::uint64_t key = 0x7f0000000000 + (i * 3 + t) * 512;
                Block one = block(key, i);
                one.owner = i % 10 == 0 ? 77 : 1;
                if (!map->insert(one, out) || out.kind != BlockKind::none) ++wrong;
                if (i % 10 != 0 && !map->find(key, out)) ++wrong;
                if (i % 2 == 1 && (!map->take(key, out) || out.size != i)) ++wrong;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    done = true;
    sweeper.join();
    map->take_if(
        [](const Block& b, void*) { return b.owner == 77; },
        [](const Block&, void* count) { ++*static_cast<std::atomic<std::uint64_t>*>(count); },
        &swept
    );
    EXPECT_EQ(wrong.load(), 0);
    EXPECT_EQ(swept.load(), 3 * kEach / 10);
    EXPECT_EQ(map->size(), 3 * (kEach / 2 - kEach / 10));
}

// What was there before the sweep is swept, though the table grows meanwhile.
TEST(BlockMap, ASweepMissesNothingWhileTheTableGrows) {
    for (int round = 0; round < 20; ++round) {
        const auto map = std::make_unique<BlockMap>();
        Block out;
        constexpr std::uint64_t kOld = 3'000;
        for (std::uint64_t i = 0; i < kOld; ++i) {
            Block one = block(0x10000 + i * 512, 1);
            one.owner = 77;
            ASSERT_TRUE(map->insert(one, out));
        }
        std::atomic<bool> begun{false};
        std::thread grower([&] {
            Block replaced;
            for (std::uint64_t i = 0; i < 60'000; ++i) {
                map->insert(block(0x7f0000000000 + i * 512, 1), replaced);
                begun = true;
            }
        });
        while (!begun.load()) {
        }
        std::uint64_t swept = 0;
        map->take_if(
            [](const Block& b, void*) { return b.owner == 77; },
            [](const Block&, void* count) { ++*static_cast<std::uint64_t*>(count); },
            &swept
        );
        grower.join();
        ASSERT_EQ(swept, kOld);
    }
}

TEST(BlockMap, ForgetsInAChild) {
    const auto map = std::make_unique<BlockMap>();
    Block out;
    ASSERT_TRUE(map->insert(block(9, 1), out));
    map->forget();
    EXPECT_FALSE(map->find(9, out));
    ASSERT_TRUE(map->insert(block(9, 2), out));
    EXPECT_EQ(out.kind, BlockKind::none);
}

}  // namespace
}  // namespace egpu::guard
