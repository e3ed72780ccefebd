#include "inspect/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/cluster_for_test.h"

namespace egpu::inspect {
namespace {

using testing::HasSubstr;
using testing::Not;

const core::FreeCardsRequest kNone{0, false, {}};

core::Cluster sample() {
    core::ClusterBuilder build;
    build.node("n1", 2, "Tesla T4", {8000, core::kHostUnlimited});
    build.node("n2", 2, "Tesla T4", {8000, core::kHostUnlimited});
    build.pod("a", "n1", 70, {0}, {1000, 0});
    build.pod("b", "n1", 20, {1}, {1000, 0}).owner = "";
    build.pod("c", "n2", 50, {0}, {7500, 0});
    build.pod("d", "", 100, {0, 1}, {1000, 0}).id.name = "wants\x1b[2J";
    return build.cluster;
}

TEST(Report, text_of_a_small_cluster) {
    EXPECT_EQ(
        render_text(describe(sample(), {2, false, {}}), 0),
        "2 nodes with 4 cards: 1.40 used (35 %), 2.60 free, 2.12 of it stranded\n"
        "4 pods with GPU, of 4 kinds; 1 waiting\n"
        "\n"
        "MODEL     CARDS  USED  FREE  USABLE  STRANDED\n"
        "Tesla T4      4  1.40  2.60    0.48      2.12\n"
        "\n"
        "STRANDED BECAUSE         CARDS\n"
        "no CPU left on the node   1.77\n"
        "free part too small       0.35\n"
        "\n"
        "NODE  STRANDED  MOSTLY BECAUSE\n"
        "n2        1.50  no CPU left on the node\n"
        "n1        0.62  free part too small\n"
        "\n"
        "2 free cards on one node: not possible, the pods that would have to move find no place "
        "elsewhere, for "
        "example ns/a on n1\n"
    );
}

TEST(Report, moves_are_listed) {
    core::Cluster cluster = sample();
    cluster.pods[2].request.host = {};
    const auto found = describe(cluster, {2, false, {}});
    const std::string text = render_text(found, 0);
    EXPECT_THAT(
        text,
        HasSubstr("1 pod would have to move off n2 (no smaller set would do)\n"
                  "POD   GPU   FROM  TO  CARD  MADE AGAIN BY\n"
                  "ns/c  50 %  n2    n1  1     ReplicaSet\n")
    );
    EXPECT_THAT(text, HasSubstr("Nothing was changed."));
    const json::value document = render_json(found);
    EXPECT_EQ(json::get_string(document, {"free", "node"}), "n2");
    EXPECT_EQ(json::get_array(document, {"free", "moves"})->size(), 1U);
    EXPECT_EQ(json::get_string(json::get_array(document, {"free", "moves"})->at(0), {"to"}), "n1");
    EXPECT_EQ(json::get_array(document, {"nodes"})->size(), 2U);
    EXPECT_TRUE(json::find(document, {"all", "stranded", "no-cpu"}) != nullptr);
}

TEST(Report, what_is_not_possible_or_not_needed) {
    EXPECT_THAT(
        render_text(describe(sample(), {3, false, {}}), 0), HasSubstr("not possible, no node that")
    );
    EXPECT_THAT(
        render_text(describe(sample(), {1, true, {"T4"}}), 0),
        HasSubstr("1 free card of T4 on all nodes together: no move needed, there are 1\n")
    );
    EXPECT_EQ(json::find(render_json(describe(sample(), kNone)), {"free"}), nullptr);
}

TEST(Report, lines_fit_the_terminal) {
    core::Cluster cluster = sample();
    for (core::ClusterNode& node : cluster.nodes) node.name += std::string(60, 'x');
    for (core::ClusterPod& pod : cluster.pods) {
        if (!pod.node.empty()) pod.node += std::string(60, 'x');
        pod.placement.reset();
        pod.request.host = {};
        pod.id.name += std::string(60, 'y');
    }
    const std::string text = render_text(describe(cluster, {2, false, {}}), 72);
    std::size_t begin = 0;
    while (begin < text.size()) {
        const std::size_t end = text.find('\n', begin);
        const std::string line = text.substr(begin, end - begin);
        const auto columns = std::count_if(line.begin(), line.end(), [](char c) {
            return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
        });
        // A word alone may be longer: the node's name in a sentence.
        if (line.find(' ') != std::string::npos) {
            EXPECT_LE(columns, 72) << line;
        }
        begin = end + 1;
    }
    EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

TEST(Report, an_empty_cluster) {
    EXPECT_THAT(render_text(describe({}, kNone), 80), HasSubstr("0 nodes with 0 cards"));
    EXPECT_THAT(render_text(describe({}, {1, false, {}}), 80), HasSubstr("not possible"));
}

}  // namespace
}  // namespace egpu::inspect
