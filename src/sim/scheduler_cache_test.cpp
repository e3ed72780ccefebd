#include "sim/scheduler_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace egpu::sim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

SchedPod pod(const std::string& uid, int cards, int priority = 0, const std::string& node = "") {
    SchedPod out;
    out.uid = uid;
    out.ns = "ns";
    out.name = uid;
    out.node = node;
    out.priority = priority;
    out.requests["gpu"] = cards;
    out.object = std::make_shared<const json::value>(json::object{});
    return out;
}

SchedNode node(const std::string& name, int cards) {
    SchedNode out;
    out.name = name;
    out.allocatable = {{"gpu", cards}, {"pods", 100}};
    out.object = std::make_shared<const json::value>(json::object{});
    return out;
}

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

std::vector<std::string> uids(const Victims& victims, const std::string& node) {
    std::vector<std::string> out;
    const auto found = victims.find(node);
    if (found == victims.end()) return out;
    for (const auto& p : found->second) out.push_back(p->uid);
    return out;
}

TEST(Preemption, FewestAndLeastImportantVictims) {
    SchedulerCache cache;
    cache.upsert_node(node("n", 4));
    cache.upsert_pod(pod("low", 2, 1, "n"));
    cache.upsert_pod(pod("middle", 2, 5, "n"));
    const Victims victims = find_victims(pod("new", 2, 10), cache.snapshot(), {"n"});
    EXPECT_THAT(uids(victims, "n"), ElementsAre("low"));
    EXPECT_THAT(find_victims(pod("new", 2, 1), cache.snapshot(), {"n"}), IsEmpty());
    EXPECT_THAT(find_victims(pod("new", 5, 10), cache.snapshot(), {"n"}), IsEmpty());
    EXPECT_THAT(find_victims(pod("new", 2, 10), cache.snapshot(), {}), IsEmpty());
}

TEST(Preemption, NoVictimsNeededMeansNoCandidate) {
    SchedulerCache cache;
    cache.upsert_node(node("n", 4));
    cache.upsert_pod(pod("low", 2, 1, "n"));
    EXPECT_THAT(find_victims(pod("new", 2, 10), cache.snapshot(), {"n"}), IsEmpty());
}

TEST(Preemption, TheExtendersAnswerMayDropNodesAndNameOtherPodsOfTheNode) {
    SchedulerCache cache;
    cache.upsert_node(node("n", 4));
    cache.upsert_node(node("m", 4));
    for (const char* uid : {"a", "b"}) cache.upsert_pod(pod(uid, 2, 1, "n"));
    cache.upsert_pod(pod("c", 4, 1, "m"));
    const Victims proposed = find_victims(pod("new", 2, 10), cache.snapshot(), {"n", "m"});
    ASSERT_EQ(proposed.size(), 2U);
    const auto left = narrowed(proposed, {{"n", {"b"}}}, cache.snapshot());
    ASSERT_TRUE(left.ok());
    EXPECT_EQ(left->size(), 1U);
    EXPECT_THAT(uids(*left, "n"), ElementsAre("b"));
    const auto none = narrowed(proposed, {{"n", {"b"}}, {"m", {"gone"}}}, cache.snapshot());
    ASSERT_FALSE(none.ok());
    EXPECT_THAT(none.error().message, HasSubstr("claims to preempt pod (UID: gone) on node: m"));
}

TEST(Preemption, LeastHarm) {
    const auto p = [](int priority) {
        return std::make_shared<const SchedPod>(pod("p", 1, priority));
    };
    EXPECT_EQ(least_harm({{"a", {p(9)}}, {"b", {p(1), p(1), p(1)}}}), "b");
    EXPECT_EQ(least_harm({{"a", {p(3), p(3)}}, {"b", {p(3)}}}), "b");
    EXPECT_EQ(least_harm({}), std::nullopt);
}

}  // namespace
}  // namespace egpu::sim
