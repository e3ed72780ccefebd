#include "inspect/gather.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "k8s/kubeconfig.h"
#include "testing/apiserver/api_server.h"

namespace egpu::inspect {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kNode =
    R"({"kind":"Node","apiVersion":"v1","metadata":{"name":"gpu-1","annotations":{
    "edge-gpu.io/cards":"{\"version\":1,\"cards\":[{\"uuid\":\"GPU-a\",\"index\":0,\"model\":\"Tesla T4\",\"memoryMiB\":15360},{\"uuid\":\"GPU-b\",\"index\":1,\"model\":\"Tesla T4\",\"memoryMiB\":15360}]}"}},
    "spec":{"unschedulable":true},
    "status":{"allocatable":{"cpu":"15500m","memory":"64Gi","nano-gpu/gpu-percent":"200","nvidia.com/gpu":"2"},
              "conditions":[{"type":"Ready","status":"True"}]}})";
constexpr const char* kPod =
    R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"train","namespace":"team","uid":"u-1",
      "creationTimestamp":"2026-11-26T10:00:00Z",
      "ownerReferences":[{"kind":"Other","name":"x"},{"kind":"StatefulSet","name":"y","controller":true}],
      "annotations":{"edge-gpu.io/placement":"{\"version\":1,\"containers\":[{\"name\":\"main\",\"cards\":[{\"uuid\":\"GPU-b\",\"index\":1,\"percent\":40}]}]}"}},
    "spec":{"nodeName":"gpu-1","containers":[{"name":"main","image":"i",
      "resources":{"limits":{"nano-gpu/gpu-percent":"40"},"requests":{"cpu":"1500m","memory":"1Gi"}}}]},
    "status":{"phase":"Running"}})";

class GatherTest : public ::testing::Test {
  protected:
    GatherTest() : api_(std::move(*testing::ApiServer::start())) {}

    void load(const std::string& text) {
        auto object = json::parse(text);
        ASSERT_TRUE(object.ok()) << object.error().message;
        const auto loaded = api_->load(std::move(*object));
        ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    }
    Result<Gathered> look(Duration limit = Seconds(20)) {
        auto config = k8s::parse_kubeconfig(api_->kubeconfig(), "/");
        EXPECT_TRUE(config.ok());
        auto client = k8s::Client::open(*config);
        EXPECT_TRUE(client.ok());
        return gather(*client, MonoClock::now() + limit);
    }

    std::unique_ptr<testing::ApiServer> api_;
};

TEST_F(GatherTest, a_live_cluster) {
    load(kNode);
    load(kPod);
    load(R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"done","namespace":"team"},
             "spec":{"nodeName":"gpu-1","containers":[{"name":"c","image":"i"}]},"status":{"phase":"Succeeded"}})"
    );
    const auto found = look();
    ASSERT_TRUE(found.ok()) << found.error().message;
    EXPECT_TRUE(found->notes.empty());
    EXPECT_EQ(found->snapshot.taken.size(), 20U);
    const core::Cluster& cluster = found->snapshot.cluster;
    ASSERT_EQ(cluster.nodes.size(), 1U);
    EXPECT_FALSE(cluster.nodes[0].schedulable);
    EXPECT_TRUE(cluster.nodes[0].ready);
    EXPECT_EQ(cluster.nodes[0].inventory.host, (core::HostAmounts{15'500, 65'536}));
    EXPECT_EQ(cluster.nodes[0].inventory.cards.size(), 2U);
    ASSERT_EQ(cluster.pods.size(), 1U);
    const core::ClusterPod& pod = cluster.pods[0];
    EXPECT_EQ(pod.id, (core::PodIdentity{"u-1", "team", "train"}));
    EXPECT_EQ(pod.owner, "StatefulSet");
    EXPECT_EQ(pod.request.host, (core::HostAmounts{1500, 1024}));
    ASSERT_TRUE(pod.placement);
    EXPECT_EQ(pod.placement->containers[0].cards[0].uuid, "GPU-b");
    // And it survives the document.
    const auto back = k8s::decode_snapshot(k8s::encode_snapshot(found->snapshot));
    ASSERT_TRUE(back.ok()) << back.error().message;
    EXPECT_EQ(*back, found->snapshot);
}

TEST_F(GatherTest, more_than_a_page) {
    for (int i = 0; i < 1203; ++i) {
        const std::string n = std::to_string(i);
        load(
            R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"p)" + n +
            R"(","namespace":"team"},"spec":{"containers":[{"name":"c","image":"i"}]}})"
        );
    }
    const auto found = look();
    ASSERT_TRUE(found.ok()) << found.error().message;
    EXPECT_EQ(found->snapshot.cluster.pods.size(), 1203U);
}

TEST_F(GatherTest, what_does_not_hold_is_noted) {
    load(
        R"({"kind":"Node","apiVersion":"v1","metadata":{"name":"gpu-1","annotations":{"edge-gpu.io/cards":"nonsense"}},
             "status":{"allocatable":{"nano-gpu/gpu-percent":"400"}}})"
    );
    load(
        R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","namespace":"team","annotations":{"edge-gpu.io/placement":"{}"}},
             "spec":{"nodeName":"gpu-1","containers":[{"name":"c","image":"i","resources":{"limits":{"nano-gpu/gpu-percent":"40"}}}]}})"
    );
    const auto found = look();
    ASSERT_TRUE(found.ok()) << found.error().message;
    EXPECT_THAT(found->notes, ElementsAre(HasSubstr("node gpu-1"), HasSubstr("pod team/p")));
    EXPECT_EQ(found->snapshot.cluster.nodes[0].inventory.percent_units, 400);
    EXPECT_FALSE(found->snapshot.cluster.pods[0].placement);
}

// Bound past the extender, 150 percent holds what the scheduler says that it holds: two cards.
TEST_F(GatherTest, a_refused_request_that_runs_is_counted_as_the_scheduler_counts_it) {
    load(kNode);
    load(
        R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","namespace":"team"},
             "spec":{"nodeName":"gpu-1","containers":[{"name":"c","image":"i","resources":{"limits":{"nano-gpu/gpu-percent":"150"}}}]}})"
    );
    const auto found = look();
    ASSERT_TRUE(found.ok()) << found.error().message;
    EXPECT_THAT(found->notes, ElementsAre(HasSubstr("150")));
    const core::PodRequest& request = found->snapshot.cluster.pods.at(0).request;
    ASSERT_EQ(request.containers.size(), 1U);
    EXPECT_EQ(request.containers[0].cards, 2);
    EXPECT_TRUE(request.containers[0].whole);
}

TEST_F(GatherTest, an_api_server_that_does_not_answer) {
    api_->stop();
    const auto found = look(Millis(300));
    ASSERT_FALSE(found.ok());
    EXPECT_THAT(found.error().message, HasSubstr("/api/v1/nodes"));
}

}  // namespace
}  // namespace egpu::inspect
