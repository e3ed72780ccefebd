#include "scheduler/hand_over.h"

#include <gtest/gtest.h>

namespace egpu::scheduler {
namespace {

core::PodRequest asking(std::initializer_list<std::string_view> resources) {
    core::PodRequest request;
    for (const std::string_view resource : resources) {
        core::ContainerRequest container;
        container.name = "c" + std::to_string(request.containers.size());
        container.resource = resource;
        request.containers.push_back(container);
    }
    return request;
}

TEST(HandOver, OnlyTheOtherResourceOfTheSameNodeWaits) {
    HandOver hand_over(Millis(250));
    const TimePoint start = MonoClock::now();
    hand_over.left("n1", false, true, start);
    const core::PodRequest share = asking({core::kResourcePercent});
    const core::PodRequest whole = asking({core::kResourceWhole});
    const TimePoint now = start + Millis(10);
    EXPECT_EQ(hand_over.ready("n1", share, now), start + Millis(250));
    EXPECT_EQ(
        hand_over.ready("n1", asking({core::kResourceWhole, core::kResourcePercent}), now),
        start + Millis(250)
    );
    EXPECT_EQ(hand_over.ready("n1", whole, now), now);
    EXPECT_EQ(hand_over.ready("n2", share, now), now);

    hand_over.left("n2", true, false, start + Millis(20));
    EXPECT_EQ(hand_over.ready("n2", whole, start + Millis(30)), start + Millis(270));
    EXPECT_EQ(hand_over.ready("n2", share, start + Millis(30)), start + Millis(30));
}

TEST(HandOver, TheLastDepartureCountsAndOldOnesAreForgotten) {
    HandOver hand_over(Millis(250));
    const TimePoint start = MonoClock::now();
    const core::PodRequest share = asking({core::kResourcePercent});
    hand_over.left("n1", false, true, start);
    hand_over.left("n1", false, true, start + Millis(100));
    EXPECT_EQ(hand_over.ready("n1", share, start + Millis(120)), start + Millis(350));
    EXPECT_EQ(hand_over.ready("n1", share, start + Millis(350)), start + Millis(350));
}

}  // namespace
}  // namespace egpu::scheduler
