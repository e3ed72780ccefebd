#include "k8s/cluster_snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "core/cluster_for_test.h"
#include "core/cluster_use.h"

namespace egpu::k8s {
namespace {

using testing::HasSubstr;
using testing::Not;

ClusterSnapshot sample() {
    core::ClusterBuilder build;
    build.node("worker-a", 2, "Tesla T4", {8000, 32'000}).inventory.percent_units = 200;
    auto& second = build.node("worker-b", 1);
    second.ready = false;
    second.schedulable = false;
    second.inventory.cards[0].healthy = false;
    second.inventory.cards[0].numa = 1;
    second.inventory.cards[0].replicas = 4;
    second.inventory.whole_units = 4;
    auto& share = build.pod("train-1", "worker-a", 40, {1}, {1500, 2048});
    share.created = "2026-11-26T10:00:00Z";
    share.priority = -5;
    share.request.models = {"T4", "A10"};
    share.request.policy = "spread";
    share.request.containers[0].memory_mib = 4096;
    share.request.containers.push_back(share.request.containers[0]);
    share.request.containers[1].name = "init";
    share.request.containers[1].kind = core::ContainerKind::kInit;
    share.placement.reset();
    auto& whole = build.pod("train-2", "worker-a", 100, {0});
    whole.request.containers[0].resource = core::kResourceWhole;
    whole.deleting = true;
    build.pod("waits", "", 10, {0}).owner = "";
    core::ClusterPod cpu_only;
    cpu_only.id = {"uid-cpu", "kube-system", "proxy"};
    cpu_only.node = "worker-a";
    cpu_only.request.host = {100, 50};
    build.cluster.pods.push_back(cpu_only);
    return {"2026-11-26T12:00:00Z", false, build.cluster};
}

TEST(ClusterSnapshot, round_trip) {
    const auto back = decode_snapshot(encode_snapshot(sample()));
    ASSERT_TRUE(back.ok()) << back.error().message;
    EXPECT_EQ(*back, sample());
    EXPECT_EQ(*decode_snapshot(encode_snapshot({})), ClusterSnapshot{});
}

TEST(ClusterSnapshot, what_is_held_is_there_for_people) {
    const auto document = json::parse(encode_snapshot(sample()));
    ASSERT_TRUE(document.ok());
    const auto& node = json::get_array(*document, {"nodes"})->at(0);
    EXPECT_EQ(json::get_int(node, {"cpuFreeMilli"}), 8000 - 1500 - 100);
    const auto& cards = *json::get_array(node, {"cards"});
    EXPECT_EQ(json::get_int(cards[0], {"usedPercent"}), 100);
    EXPECT_EQ(json::get_int(cards[1], {"usedPercent"}), 40);
}

TEST(ClusterSnapshot, anonymous_ones_keep_what_counts) {
    const auto hidden = anonymized(sample());
    const std::string text = encode_snapshot(hidden);
    for (const char* name :
         {"worker", "train", "waits", "kube-system", "proxy", "main", "uid-train"}) {
        EXPECT_THAT(text, Not(HasSubstr(name)));
    }
    EXPECT_TRUE(hidden.anonymous);
    const auto back = decode_snapshot(text);
    ASSERT_TRUE(back.ok()) << back.error().message;
    const auto uses = core::cluster_use(back->cluster);
    ASSERT_EQ(uses.size(), 2U);
    EXPECT_EQ(uses[0].cards[0].used_percent, 100);
    EXPECT_EQ(uses[0].cards[1].used_percent, 40);
    EXPECT_EQ(uses[0].host_free, (core::HostAmounts{6400, 32'000 - 2048 - 50}));
    EXPECT_EQ(back->cluster.pods[0].node, back->cluster.nodes[0].name);
}

TEST(ClusterSnapshot, wrong_input_is_named) {
    const auto doc = [](const std::string& rest) {
        return R"({"kind":"edge-gpu-snapshot","version":1,)" + rest + "}";
    };
    const std::pair<std::string, const char*> wrong[] = {
        {"", "JSON"},
        {"[]", "no snapshot"},
        {R"({"kind":"List","items":[]})", "no snapshot"},
        {R"({"kind":"edge-gpu-snapshot"})", "version"},
        {R"({"kind":"edge-gpu-snapshot","version":2})", "newer"},
        {doc(R"("pods":[])"), "\"nodes\" is missing"},
        {doc(R"("nodes":{})"), "not a list"},
        {doc(R"("nodes":[1])"), "nodes[0]: is no object"},
        {doc(R"("nodes":[{"cards":[]}])"), "nodes[0]: \"name\""},
        {doc(R"("nodes":[{"name":"a","cpuMilli":-1}])"), "nodes[0] (a): \"cpuMilli\""},
        {doc(R"("nodes":[{"name":"a","ready":"yes"}])"), "\"ready\""},
        {doc(R"("nodes":[{"name":"a"},{"name":"a"}])"), "nodes[1] (a): is listed twice"},
        {doc(R"("nodes":[{"name":"a","cards":[{}]}])"), "cards[0]: \"index\" is missing"},
        {doc(R"("nodes":[{"name":"a","cards":[{"index":0},{"index":0}]}])"), "twice"},
        {doc(R"("nodes":[{"name":"a","cards":[{"index":0,"memoryMiB":1.5}]}])"), "\"memoryMiB\""},
        {doc(R"("nodes":[],"pods":[{"name":"p","namespace":"n"}])"), "pods[0] (n/p): \"uid\""},
        {doc(R"("nodes":[],"pods":[{"uid":"u"},{"uid":"u"}])"), "uid u is listed twice"},
        {doc(R"("nodes":[],"pods":[{"uid":"u","containers":[{"name":"c","percent":0}]}])"),
         "\"percent\""},
        {doc(R"("nodes":[],"pods":[{"uid":"u","containers":[{"name":"c","resource":"x/y"}]}])"),
         "\"resource\""},
        {doc(R"("nodes":[],"pods":[{"uid":"u","containers":[{"name":"c","percent":50,"cards":2}]}])"
         ),
         "share"},
        {doc(R"("nodes":[],"pods":[{"uid":"u","containers":[{"name":"c"},{"name":"c"}]}])"),
         "twice"},
        {doc(R"("nodes":[],"pods":[{"uid":"u","placement":{"version":1}}])"), "\"placement\""},
        {doc(R"("nodes":[],"pods":[{"uid":"u","models":[1]}])"), "\"models\""},
        {doc(R"("nodes":[],"pods":[{"uid":"u","priority":9999999999}])"), "\"priority\""},
    };
    for (const auto& [text, word] : wrong) {
        const auto read = decode_snapshot(text);
        ASSERT_FALSE(read.ok()) << text;
        EXPECT_EQ(read.error().code, ErrorCode::kInvalid);
        EXPECT_THAT(read.error().message, HasSubstr(word)) << text;
    }
}

}  // namespace
}  // namespace egpu::k8s
