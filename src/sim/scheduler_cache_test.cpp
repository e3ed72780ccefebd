#include "sim/scheduler_cache.h"

#include <gtest/gtest.h>

#include "sim/cached_objects_for_test.h"

namespace egpu::sim {
namespace {

TEST(SchedulerCache, AssumedPodsCountUntilTheyAreForgottenOrConfirmed) {
    SchedulerCache cache;
    cache.upsert_node(node("n", 4));
    cache.upsert_pod(pod("a", 3));
    EXPECT_EQ(cache.snapshot().used("n", pod("x", 1))["gpu"], 0);
    cache.assume("a", "n");
    EXPECT_EQ(cache.snapshot().used("n", pod("x", 1))["gpu"], 3);
    EXPECT_EQ(cache.node_of("a"), "n");
    cache.forget("a");
    EXPECT_EQ(cache.snapshot().used("n", pod("x", 1))["gpu"], 0);
    cache.assume("a", "n");
    EXPECT_TRUE(cache.upsert_pod(pod("a", 3, 0, "n")));
    cache.forget("a");
    EXPECT_EQ(cache.node_of("a"), "n");
    EXPECT_TRUE(cache.remove_pod("a"));
    EXPECT_EQ(cache.snapshot().used("n", pod("x", 1))["gpu"], 0);
}

TEST(SchedulerCache, NominatedPodsKeepTheirRoomFromLessImportantOnes) {
    SchedulerCache cache;
    cache.upsert_node(node("n", 4));
    cache.upsert_pod(pod("waits", 4, 10));
    cache.nominate("waits", "n");
    const Snapshot snapshot = cache.snapshot();
    EXPECT_EQ(snapshot.used("n", pod("lower", 1, 5))["gpu"], 4);
    EXPECT_EQ(snapshot.used("n", pod("higher", 1, 11))["gpu"], 0);
    EXPECT_EQ(snapshot.used("n", pod("waits", 4, 10))["gpu"], 0);
}

TEST(SchedulerCache, OnlyChangesThatMayHelpAreEvents) {
    SchedulerCache cache;
    EXPECT_TRUE(cache.upsert_node(node("n", 4)));
    EXPECT_FALSE(cache.upsert_node(node("n", 4)));
    EXPECT_TRUE(cache.upsert_node(node("n", 5)));
    EXPECT_FALSE(cache.upsert_pod(pod("a", 1)));
    EXPECT_FALSE(cache.remove_pod("a"));
}

}  // namespace
}  // namespace egpu::sim
