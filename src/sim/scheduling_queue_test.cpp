#include "sim/scheduling_queue.h"

#include <gtest/gtest.h>

namespace egpu::sim {
namespace {

const TimePoint kStart{};
TimePoint at(int ms) {
    return kStart + Seconds(100) + Millis(ms);
}

QueueTimes times() {
    return {Millis(100), Millis(400), Millis(5000)};
}

TEST(SchedulingQueue, PriorityThenAge) {
    SchedulingQueue queue(times());
    queue.add("old", 0, at(0));
    queue.add("new", 0, at(1));
    queue.add("important", 10, at(2));
    EXPECT_EQ(queue.pop(at(3)), "important");
    EXPECT_EQ(queue.pop(at(3)), "old");
    EXPECT_EQ(queue.pop(at(3)), "new");
    EXPECT_EQ(queue.pop(at(3)), std::nullopt);
    EXPECT_EQ(queue.in_flight(), 3U);
}

TEST(SchedulingQueue, WaitsForAnEventAndBacksOffExponentially) {
    SchedulingQueue queue(times());
    queue.add("p", 0, at(0));
    ASSERT_TRUE(queue.pop(at(0)));
    queue.failed("p", true, at(0));
    EXPECT_FALSE(queue.pop(at(4000))) << "nothing has changed";
    queue.cluster_event(at(50));
    EXPECT_FALSE(queue.pop(at(99))) << "still backing off";
    ASSERT_TRUE(queue.pop(at(100)));
    queue.failed("p", true, at(100));
    queue.cluster_event(at(101));
    EXPECT_FALSE(queue.pop(at(299)));
    ASSERT_TRUE(queue.pop(at(300)));
    for (int now = 300; now < 3000; now += 400) {
        queue.failed("p", true, at(now));
        queue.cluster_event(at(now));
        EXPECT_FALSE(queue.pop(at(now + 399)));
        ASSERT_TRUE(queue.pop(at(now + 400)));
    }
}

TEST(SchedulingQueue, AnEventDuringTheAttemptCounts) {
    SchedulingQueue queue(times());
    queue.add("p", 0, at(0));
    ASSERT_TRUE(queue.pop(at(0)));
    queue.cluster_event(at(1));
    queue.failed("p", true, at(2));
    EXPECT_TRUE(queue.pop(at(102)));
}

TEST(SchedulingQueue, ErrorsAreTriedAgainWithoutAnEvent) {
    SchedulingQueue queue(times());
    queue.add("p", 0, at(0));
    ASSERT_TRUE(queue.pop(at(0)));
    queue.failed("p", false, at(0));
    EXPECT_EQ(queue.next_try(), at(100));
    EXPECT_TRUE(queue.pop(at(100)));
}

TEST(SchedulingQueue, FlushesPodsThatNoEventWakes) {
    SchedulingQueue queue(times());
    queue.add("p", 0, at(0));
    ASSERT_TRUE(queue.pop(at(0)));
    queue.failed("p", true, at(0));
    EXPECT_FALSE(queue.pop(at(4999)));
    EXPECT_TRUE(queue.pop(at(5000)));
}

TEST(SchedulingQueue, AHeldPodMissesEventsAndIsNotTried) {
    SchedulingQueue queue(times());
    queue.add("p", 0, at(0));
    ASSERT_TRUE(queue.pop(at(0)));
    queue.cluster_event(at(1));
    queue.hold("p");
    queue.failed("p", true, at(2));
    queue.cluster_event(at(3));
    EXPECT_FALSE(queue.pop(at(9000)));
    EXPECT_FALSE(queue.next_try());
    queue.release("p");
    EXPECT_FALSE(queue.pop(at(4000))) << "what happened meanwhile is forgotten";
    queue.cluster_event(at(4000));
    EXPECT_TRUE(queue.pop(at(4000)));
}

TEST(SchedulingQueue, AnActivatedPodNeitherWaitsNorBacksOff) {
    SchedulingQueue queue(times());
    queue.add("p", 0, at(0));
    ASSERT_TRUE(queue.pop(at(0)));
    queue.hold("p");
    queue.failed("p", true, at(0));
    queue.release("p");
    queue.activate("p", at(10));
    EXPECT_TRUE(queue.pop(at(10)));
}

TEST(SchedulingQueue, RemovedPodsAreForgotten) {
    SchedulingQueue queue(times());
    queue.add("p", 0, at(0));
    ASSERT_TRUE(queue.pop(at(0)));
    queue.remove("p");
    queue.failed("p", false, at(0));
    EXPECT_EQ(queue.size(), 0U);
    EXPECT_FALSE(queue.next_try());
}

}  // namespace
}  // namespace egpu::sim
