#include "sim/preemption.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/cached_objects_for_test.h"

namespace egpu::sim {
namespace {

using testing::Dialect;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> uids(const Victims& victims, const std::string& node) {
    std::vector<std::string> out;
    const auto found = victims.find(node);
    if (found == victims.end()) return out;
    for (const auto& p : found->second) out.push_back(p->uid);
    return out;
}

DryRun tried(
    const SchedPod& pod,
    const SchedulerCache& cache,
    const std::set<std::string>& unresolvable = {},
    Dialect dialect = Dialect::k1_34
) {
    return dry_run(pod, cache.snapshot(), unresolvable, dialect);
}

TEST(Preemption, FewestAndLeastImportantVictims) {
    SchedulerCache cache;
    cache.upsert_node(node("n", 4));
    cache.upsert_pod(pod("low", 2, 1, "n"));
    cache.upsert_pod(pod("middle", 2, 5, "n"));
    EXPECT_THAT(uids(tried(pod("new", 2, 10), cache).candidates, "n"), ElementsAre("low"));
    EXPECT_THAT(
        uids(tried(pod("new", 4, 10), cache).candidates, "n"), ElementsAre("middle", "low")
    );
    EXPECT_THAT(tried(pod("new", 2, 1), cache).candidates, IsEmpty());
    EXPECT_THAT(tried(pod("new", 5, 10), cache).candidates, IsEmpty());
    EXPECT_THAT(tried(pod("new", 2, 10), cache, {"n"}).candidates, IsEmpty());
}

TEST(Preemption, RoomThatWasPromisedToAnotherPreemptorIsNotCountedTwice) {
    SchedulerCache cache;
    cache.upsert_node(node("n", 4));
    cache.upsert_pod(pod("a", 2, 1, "n"));
    cache.upsert_pod(pod("b", 2, 1, "n"));
    cache.upsert_pod(pod("first", 2, 10));
    cache.nominate("first", "n");
    EXPECT_EQ(uids(tried(pod("second", 2, 10), cache).candidates, "n").size(), 2U);
    cache.nominate("first", "");
    EXPECT_EQ(uids(tried(pod("second", 2, 10), cache).candidates, "n").size(), 1U);
}

// Only the extender said no: 1.34 calls that an error, 1.21 proposes the node with no victims.
TEST(Preemption, ANodeThatHasRoomAlready) {
    SchedulerCache cache;
    cache.upsert_node(node("n", 4));
    cache.upsert_pod(pod("low", 2, 1, "n"));
    const DryRun now = tried(pod("new", 2, 10), cache);
    EXPECT_THAT(now.candidates, IsEmpty());
    EXPECT_EQ(no_candidates_text(now, 1), "expected at least one victim pod on node \"n\"");
    const DryRun old = tried(pod("new", 2, 10), cache, {}, Dialect::k1_21);
    EXPECT_THAT(old.errors, IsEmpty());
    ASSERT_TRUE(old.candidates.contains("n"));
    EXPECT_THAT(uids(old.candidates, "n"), IsEmpty());
    cache.upsert_node(node("m", 4));
    cache.upsert_pod(pod("other", 2, 1, "m"));
    EXPECT_EQ(
        no_candidates_text(tried(pod("new", 2, 10), cache), 2),
        "[expected at least one victim pod on node \"m\", expected at least one victim pod on node "
        "\"n\"]"
    );
}

TEST(Preemption, WhyItDoesNotHelp) {
    SchedulerCache cache;
    for (const char* name : {"a", "b", "c", "d", "e"}) cache.upsert_node(node(name, 4));
    cache.upsert_pod(pod("peer-a", 4, 10, "a"));
    cache.upsert_pod(pod("peer-b", 4, 10, "b"));
    cache.upsert_pod(pod("peer-c", 2, 10, "c"));
    cache.upsert_pod(pod("low-c", 2, 1, "c"));
    const DryRun now = tried(pod("new", 3, 10), cache, {"d", "e"});
    EXPECT_EQ(
        no_candidates_text(now, 5),
        "0/5 nodes are available: 1 Insufficient gpu, 2 No preemption victims found for incoming "
        "pod, 2 Preemption is not helpful for scheduling."
    );
    EXPECT_EQ(
        no_candidates_text(tried(pod("new", 3, 10), cache, {"a", "b", "c", "d", "e"}), 5),
        "0/5 nodes are available: 5 Preemption is not helpful for scheduling."
    );
}

TEST(Preemption, WhoIsNotEligible) {
    SchedulerCache cache;
    cache.upsert_node(node("n", 4));
    SchedPod victim = pod("victim", 4, 1, "n");
    victim.deleting = true;
    cache.upsert_pod(victim);
    const auto why = [&](const SchedPod& p, const std::string& nominated, Dialect dialect) {
        return why_not_eligible(p, cache.snapshot(), nominated, {"unresolvable"}, dialect);
    };
    const SchedPod high = pod("high", 4, 10);
    const char* const terminating = "not eligible due to a terminating pod on the nominated node.";
    EXPECT_EQ(why(high, "", Dialect::k1_34), "");
    EXPECT_EQ(why(high, "n", Dialect::k1_34), "") << "somebody else deleted it";
    EXPECT_EQ(why(high, "n", Dialect::k1_21), terminating);
    victim.preempted = true;
    cache.upsert_pod(victim);
    EXPECT_EQ(why(high, "n", Dialect::k1_34), terminating);
    EXPECT_EQ(why(pod("low", 4, 1), "n", Dialect::k1_34), "");
    EXPECT_EQ(why(high, "unresolvable", Dialect::k1_34), "");
    SchedPod meek = high;
    meek.preempts = false;
    EXPECT_EQ(why(meek, "", Dialect::k1_34), "not eligible due to preemptionPolicy=Never.");
}

TEST(Preemption, TheExtendersAnswerMayDropNodesAndNameOtherPodsOfTheNode) {
    SchedulerCache cache;
    cache.upsert_node(node("n", 4));
    cache.upsert_node(node("m", 4));
    for (const char* uid : {"a", "b"}) cache.upsert_pod(pod(uid, 2, 1, "n"));
    cache.upsert_pod(pod("c", 4, 1, "m"));
    const Snapshot snapshot = cache.snapshot();
    const Victims proposed = tried(pod("new", 2, 10), cache).candidates;
    ASSERT_EQ(proposed.size(), 2U);
    const auto left = narrowed(proposed, {{"n", {"b"}}}, snapshot, Dialect::k1_34);
    ASSERT_TRUE(left.ok());
    EXPECT_EQ(left->size(), 1U);
    EXPECT_THAT(uids(*left, "n"), ElementsAre("b"));
    const auto none = narrowed(proposed, {{"n", {"b"}}, {"m", {"gone"}}}, snapshot, Dialect::k1_34);
    ASSERT_FALSE(none.ok());
    EXPECT_THAT(none.error().message, HasSubstr("claims to preempt pod (UID: gone) on node: m"));
    const auto nobody = narrowed(proposed, {{"n", {}}}, snapshot, Dialect::k1_34);
    ASSERT_FALSE(nobody.ok());
    EXPECT_EQ(nobody.error().message, "expected at least one victim pod on node \"n\"");
    EXPECT_TRUE(narrowed(proposed, {{"n", {}}}, snapshot, Dialect::k1_21).ok());
}

TEST(Preemption, LeastHarm) {
    const auto p = [](int priority) {
        return std::make_shared<const SchedPod>(pod("p", 1, priority));
    };
    EXPECT_EQ(least_harm({{"a", {p(9)}}, {"b", {p(1), p(1), p(1)}}}), "b");
    EXPECT_EQ(least_harm({{"a", {p(3), p(3)}}, {"b", {p(3)}}}), "b");
    EXPECT_EQ(least_harm({{"a", {p(1)}}, {"b", {}}}), "b");
    EXPECT_EQ(least_harm({}), std::nullopt);
}

}  // namespace
}  // namespace egpu::sim
