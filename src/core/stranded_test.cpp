#include "core/stranded.h"

#include <gtest/gtest.h>

#include "core/cluster_for_test.h"

namespace egpu::core {
namespace {

class StrandedTest : public ::testing::Test, public ClusterBuilder {
  protected:
    StrandedReport report() { return find_stranded(cluster, cluster_use(cluster)); }
    static double part(const CardTotals& totals, Stranding cause) {
        return totals.stranded[static_cast<std::size_t>(cause)];
    }
    static double sum(const CardTotals& totals) {
        double all = totals.usable;
        for (const double part : totals.stranded) all += part;
        return all;
    }
};

TEST_F(StrandedTest, without_demand_all_that_is_healthy_and_open_is_usable) {
    node("a", 2).inventory.cards[1].healthy = false;
    node("b", 1).schedulable = false;
    const auto found = report();
    EXPECT_EQ(found.all.cards, 3);
    EXPECT_DOUBLE_EQ(found.all.free, 3);
    EXPECT_DOUBLE_EQ(found.all.usable, 1);
    EXPECT_DOUBLE_EQ(part(found.all, Stranding::kUnhealthy), 1);
    EXPECT_DOUBLE_EQ(part(found.all, Stranding::kNodeClosed), 1);
    EXPECT_EQ(found.pods_seen, 0);
}

TEST_F(StrandedTest, fragments_too_small_for_what_is_asked_for) {
    node("a", 2);
    pod("p", "a", 70, {0});  // leaves 30, and 70 is all that anybody asks for
    const auto found = report();
    EXPECT_DOUBLE_EQ(found.all.used, 0.7);
    EXPECT_DOUBLE_EQ(part(found.all, Stranding::kFragment), 0.3);
    EXPECT_DOUBLE_EQ(found.all.usable, 1);
    // A second kind of pod that can use it halves it.
    pod("q", "", 30, {0});
    EXPECT_DOUBLE_EQ(part(report().all, Stranding::kFragment), 0.15);
    EXPECT_EQ(report().kinds_seen, 2);
}

TEST_F(StrandedTest, cpu_and_memory_of_the_node) {
    node("a", 2, "Tesla T4", {4000, 10'000});
    pod("p", "a", 100, {0}, {3000, 1000});
    EXPECT_DOUBLE_EQ(part(report().all, Stranding::kNoCpu), 1);
    cluster.pods[0].request.host = {1000, 6000};
    EXPECT_DOUBLE_EQ(part(report().all, Stranding::kNoMemory), 1);
    cluster.pods[0].request.host = {1000, 1000};
    EXPECT_DOUBLE_EQ(report().all.usable, 1);
}

TEST_F(StrandedTest, several_whole_cards_and_the_other_resource) {
    node("a", 4);
    pod("p", "a", 20, {0});
    pod("q", "", 100, {0, 1, 2, 3}).request.containers[0].resource = kResourceWhole;
    const auto found = report();  // half of the pods want 4 cards, half 20 percent
    EXPECT_DOUBLE_EQ(part(found.all, Stranding::kOtherResource), 0.4);
    EXPECT_DOUBLE_EQ(part(found.all, Stranding::kTooFewCards), 1.5);
    EXPECT_DOUBLE_EQ(found.all.usable, 1.9);
    EXPECT_DOUBLE_EQ(sum(found.all), found.all.free);
}

TEST_F(StrandedTest, models_are_told_apart) {
    node("a", 1, "Tesla T4");
    node("b", 1, "NVIDIA A10");
    pod("p", "", 50, {0}).request.models = {"A10"};
    const auto found = report();
    ASSERT_EQ(found.models.size(), 2U);
    EXPECT_EQ(found.models[0].model, "NVIDIA A10");
    EXPECT_DOUBLE_EQ(found.models[0].totals.usable, 1);
    EXPECT_DOUBLE_EQ(part(found.models[1].totals, Stranding::kModel), 1);
    EXPECT_EQ(found.nodes.size(), 2U);
}

TEST_F(StrandedTest, memory_caps_of_cards) {
    node("a", 1);
    auto& request = pod("p", "a", 10, {0}).request;
    request.containers[0].memory_mib = 10'000;
    EXPECT_DOUBLE_EQ(part(report().all, Stranding::kFragment), 0.9);
}

TEST_F(StrandedTest, every_cause_has_its_words) {
    for (int i = 0; i < kStrandings; ++i) {
        EXPECT_FALSE(stranding_name(static_cast<Stranding>(i)).empty());
        EXPECT_FALSE(stranding_text(static_cast<Stranding>(i)).empty());
    }
}

}  // namespace
}  // namespace egpu::core
