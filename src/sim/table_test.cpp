#include "sim/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace egpu::sim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Table, BarShowsTensAndAnyUse) {
    const TableStyle plain;
    EXPECT_EQ(used_bar(0, plain), "[..........]");
    EXPECT_EQ(used_bar(1, plain), "[#.........]");
    EXPECT_EQ(used_bar(54, plain), "[#####.....]");
    EXPECT_EQ(used_bar(100, plain), "[##########]");
    EXPECT_EQ(used_bar(140, plain), "[##########]");
}

TEST(Table, WrapBreaksAtCommasThenSpacesAndKeepsLongWords) {
    EXPECT_THAT(wrap("aa, bb, cc, dd", 8), ElementsAre("aa, bb,", "cc, dd"));
    EXPECT_THAT(wrap("one two three", 8), ElementsAre("one two", "three"));
    EXPECT_THAT(wrap("GPU-0123456789abcdef next", 8), ElementsAre("GPU-0123456789abcdef", "next"));
    EXPECT_THAT(
        wrap("on card 1, NAME=GPU-0123456789abcdef", 20),
        ElementsAre("on card 1,", "NAME=", "GPU-0123456789abcdef")
    );
    EXPECT_TRUE(wrap("", 8).empty());
}

ClusterPicture example() {
    ClusterPicture picture;
    picture.title = "two nodes";
    CardRow busy{0, "Tesla T4", 15360, 80, true, {{"a", "", 60}, {"b", "side", 20}}};
    CardRow sick{1, "Tesla T4", 15360, 0, false, {}};
    picture.nodes = {{"edge-t4", "", {busy, sick}}, {"empty", "driver not loaded", {}}};
    picture.pods = {
        {"a", "Running", "edge-t4", "", {{"main", "60 percent of card 0"}}},
        {"c", "Pending", "-", "0/2 nodes are available: 2 no card with 60 percent free.", {}}};
    return picture;
}

TEST(Table, CardsNameNodeModelUseAndHolders) {
    const std::string text = render_cards(example(), TableStyle{});
    EXPECT_THAT(
        text, HasSubstr("edge-t4     0  Tesla T4  15 GiB  [########..]  80    a 60, b/side 20\n")
    );
    EXPECT_THAT(text, HasSubstr("UNHEALTHY"));
    EXPECT_THAT(render_cards(example(), TableStyle{false, 80}), Not(HasSubstr("GiB")));
    EXPECT_THAT(text, HasSubstr("empty    (no cards: driver not loaded)"));
    EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

TEST(Table, PodsSayWhatTheyWereGivenOrWhyTheyWait) {
    const std::string text = render_pods(example(), TableStyle{});
    EXPECT_THAT(text, HasSubstr("a    Running    edge-t4  main: 60 percent of card 0\n"));
    EXPECT_THAT(text, HasSubstr("no card with 60 percent free."));
}

TEST(Table, NarrowTerminalsWrapHoldersInsteadOfCutting) {
    ClusterPicture picture = example();
    picture.nodes[0].cards[0].holders.assign(9, {"some-long-pod-name", "container", 10});
    const std::string text = render_cards(picture, TableStyle{false, 80});
    std::size_t count = 0;
    for (auto at = text.find("some-long"); at != std::string::npos;
         at = text.find("some-long", at + 1)) {
        ++count;
    }
    EXPECT_EQ(count, 9U);
    for (std::size_t at = 0; at < text.size();) {
        const auto end = std::min(text.find('\n', at), text.size());
        EXPECT_LE(end - at, 80U) << text.substr(at, end - at);
        at = end + 1;
    }
}

TEST(Table, ColoursOnlyWhenAskedFor) {
    TableStyle style;
    style.color = true;
    EXPECT_THAT(render_cards(example(), style), HasSubstr("\x1b[32m"));
}

}  // namespace
}  // namespace egpu::sim
