#include "sim/load/invariants.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace egpu::sim::load {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

json::value pod(
    const std::string& name, const char* percent, const char* cards, const char* phase = "Running"
) {
    const json::object limits{{"nano-gpu/gpu-percent", percent}};
    return {
        {"metadata",
         {{"name", name},
          {"uid", "uid-" + name},
          {"annotations", {{"nano-gpu/container-main", cards}}}}},
        {"spec",
         {{"nodeName", "n"},
          {"containers", json::array{{{"name", "main"}, {"resources", {{"limits", limits}}}}}}}},
        {"status", {{"phase", phase}}}};
}

json::value status(int free, const char* holder, bool reserved = false) {
    json::array holders;
    if (*holder != 0) holders.push_back({{"UID", holder}, {"Reserved", reserved}});
    return {
        {"n",
         {{"GPUs", json::array{{{"Index", 0}, {"Percent", free}, {"Holders", std::move(holders)}}}},
          {"Unplaced", json::array()}}}};
}

TEST(Invariants, ACardAboveAHundredIsNamed) {
    EXPECT_THAT(broken_promises({pod("a", "60", "0"), pod("b", "40", "0")}), IsEmpty());
    EXPECT_THAT(
        broken_promises({pod("a", "60", "0"), pod("b", "50", "0")}),
        ElementsAre("card 0 of n carries 110 percent")
    );
    EXPECT_THAT(
        broken_promises({pod("a", "200", "0,1"), pod("b", "10", "1")}),
        ElementsAre("card 1 of n carries 110 percent")
    );
}

TEST(Invariants, FinishedPodsHoldNothing) {
    EXPECT_THAT(
        broken_promises({pod("a", "60", "0", "Succeeded"), pod("b", "50", "0")}), IsEmpty()
    );
}

TEST(Invariants, ABoundPodHasItsCards) {
    EXPECT_THAT(broken_promises({pod("a", "60", "")}), ElementsAre(HasSubstr("no card")));
}

TEST(Invariants, LedgerAndPodsTellTheSameStory) {
    EXPECT_THAT(disagreements(status(40, "uid-a"), {pod("a", "60", "0")}), IsEmpty());
    EXPECT_THAT(disagreements(status(100, ""), {}), IsEmpty());
    EXPECT_THAT(
        disagreements(status(100, ""), {pod("a", "60", "0")}),
        ElementsAre("n card 0: 0 percent in the ledger, 60 by the pods")
    );
    EXPECT_THAT(
        disagreements(status(40, "uid-b"), {pod("a", "60", "0")}),
        ElementsAre("n card 0: held by uid-b")
    );
    EXPECT_THAT(
        disagreements(status(40, "uid-a", true), {pod("a", "60", "0")}),
        ElementsAre("n card 0: reserved")
    );
    EXPECT_THAT(
        disagreements(json::object{}, {pod("a", "60", "0")}), ElementsAre(HasSubstr("node n"))
    );
}

}  // namespace
}  // namespace egpu::sim::load
