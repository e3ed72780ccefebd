// Topology from the simulated driver to a pod's cards, and the commands that look at the cluster:
// real processes, a DGX-1 and a node of T4s.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "base/json.h"
#include "command.h"
#include "sim/audit.h"
#include "sim/cluster.h"

namespace egpu::e2e {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class InspectTest : public ::testing::Test {
  protected:
    void SetUp() override {
        sim::ClusterOptions options;
        options.executable = edge_gpu();
        options.nodes = {
            {"dgx", "dgx1", testing::Dialect::k1_34}, {"t4", "t4", testing::Dialect::k1_34}};
        auto cluster = sim::Cluster::start(std::move(options), StopSource().token());
        ASSERT_TRUE(cluster.ok()) << cluster.error().message;
        cluster_ = std::move(*cluster);
    }
    void TearDown() override {
        if (!cluster_) return;
        const Status stopped = cluster_->stop();
        EXPECT_TRUE(stopped.ok()) << stopped.error().message;
    }

    // Made and running; the indexes of its cards.
    std::vector<int> run(
        const std::string& name, const std::string& resource, int amount, const std::string& model
    ) {
        const std::string pod =
            R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name +
            R"(","annotations":{"edge-gpu.io/gpu-model":")" + model +
            R"("}},"spec":{"containers":[{"name":"main","image":"i","resources":{"limits":{")" +
            resource + R"(":")" + std::to_string(amount) + R"("}}}]}})";
        const auto made = cluster_->api().create(pod);
        EXPECT_TRUE(made.ok()) << made.error().message;
        std::vector<int> cards;
        const bool running = cluster_->api().wait_for(
            {"pods", "default", name},
            [&](const json::value* object) {
                if (object == nullptr) return false;
                const sim::PodView view = sim::pod_view(*object);
                if (view.phase != "Running" || !view.placement) return false;
                cards.clear();
                for (const auto& share : view.placement->containers[0].cards)
                    cards.push_back(share.index);
                return true;
            },
            Seconds(60)
        );
        EXPECT_TRUE(running) << name;
        return cards;
    }

    CommandResult command(std::vector<std::string> arguments) {
        arguments.insert(arguments.end(), {"--kubeconfig", cluster_->kubeconfig().string()});
        auto done = run_command(edge_gpu(), arguments, {}, Seconds(60));
        EXPECT_TRUE(done.ok()) << (done.ok() ? "" : done.error().message);
        return done.ok() ? *done : CommandResult{};
    }

    ScratchFolder scratch_;
    std::unique_ptr<sim::Cluster> cluster_;
};

TEST_F(InspectTest, TopologyAndTheAdviceThatFollows) {
    const std::string percent = "nano-gpu/gpu-percent";
    const std::string whole = "nvidia.com/gpu";
    EXPECT_THAT(run("small", percent, 20, "V100"), ElementsAre(0));
    // 0 is in use; of the two quads the other one is free.
    EXPECT_THAT(run("quad", whole, 4, "V100"), ElementsAre(4, 5, 6, 7));
    EXPECT_THAT(run("pair", percent, 200, "V100"), ElementsAre(2, 3));
    run("t4-a", percent, 60, "T4");
    run("t4-b", percent, 30, "T4");
    const Status settled = sim::settle(*cluster_, Seconds(60), StopSource().token());
    EXPECT_TRUE(settled.ok()) << settled.error().message;

    const auto text = command({"describe", "cluster", "--free", "1", "--model", "T4"});
    EXPECT_EQ(text.status, 0) << text.output;
    EXPECT_THAT(text.output, HasSubstr("2 nodes with 10 cards: 7.10 used (71 %), 2.90 free"));
    EXPECT_THAT(text.output, HasSubstr("Tesla V100-SXM2-16GB      8"));
    EXPECT_THAT(text.output, HasSubstr("1 free card of T4 on one node: no move needed, t4 has 1"));
    const auto impossible =
        command({"describe", "cluster", "--free", "8", "--model", "V100", "-o", "json"});
    EXPECT_EQ(impossible.status, 1) << impossible.output;
    const auto document = json::parse(impossible.output);
    ASSERT_TRUE(document.ok()) << impossible.output;
    EXPECT_FALSE(json::get_bool(*document, {"free", "possible"}, true));
    EXPECT_EQ(json::get_int(*document, {"free", "freeNow"}), 1);

    const std::string file = (scratch_.path() / "cluster.json").string();
    EXPECT_EQ(command({"snapshot", "--anonymous", "-o", file}).status, 0);
    const auto snapshot = read_file(file);
    ASSERT_TRUE(snapshot.ok());
    EXPECT_THAT(*snapshot, Not(HasSubstr("t4-a")));
    const auto again =
        run_command(edge_gpu(), {"describe", "cluster", "--snapshot", file}, {}, Seconds(60));
    ASSERT_TRUE(again.ok());
    EXPECT_THAT(again->output, HasSubstr("2 nodes with 10 cards: 7.10 used (71 %), 2.90 free"));
    const auto simulated = run_command(
        edge_gpu(),
        {"simulate",
         "--nodes",
         file,
         "--pods",
         file,
         "--policy",
         "best-fit",
         "--plot",
         file + ".svg",
         "-o",
         "csv"},
        {},
        Seconds(60)
    );
    ASSERT_TRUE(simulated.ok());
    EXPECT_EQ(simulated->status, 0) << simulated->output;
    EXPECT_THAT(simulated->output, HasSubstr("cluster,best-fit,42,"));
    EXPECT_THAT(*read_file(file + ".svg"), HasSubstr("</svg>"));
}

TEST(Inspect, AClusterThatIsNotThere) {
    const ScratchFolder scratch;
    const auto file = scratch.path() / "kubeconfig";
    ASSERT_TRUE(write_file_atomically(
        file,
        "clusters:\n- name: c\n  cluster: {server: 'http://127.0.0.1:1'}\n"
        "contexts:\n- name: c\n  context: {cluster: c, user: u}\n"
        "users:\n- name: u\n  user: {}\ncurrent-context: c\n"
    ));
    const auto gone = run_command(
        edge_gpu(), {"snapshot", "--timeout", "2s", "--kubeconfig", file.string()}, {}, Seconds(60)
    );
    ASSERT_TRUE(gone.ok());
    EXPECT_EQ(gone->status, 2);
    EXPECT_THAT(
        gone->output, HasSubstr("edge-gpu snapshot: reading /api/v1/nodes from http://127")
    );
}

}  // namespace
}  // namespace egpu::e2e
