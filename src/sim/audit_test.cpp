#include "sim/audit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/picture.h"

namespace egpu::sim {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

core::ContainerRequest asks(
    const std::string& name, int percent, core::ContainerKind kind = core::ContainerKind::kApp
) {
    core::ContainerRequest out;
    out.name = name;
    out.kind = kind;
    out.percent = percent;
    out.whole = percent == 100;
    return out;
}

// One node with two cards; pod "a" holds 60 percent of G0. All views agree.
ClusterView healthy_view() {
    ClusterView view;
    NodeView node;
    node.name = "n";
    for (const int i : {0, 1}) {
        core::Card card;
        card.uuid = "G" + std::to_string(i);
        card.index = i;
        card.model = "Tesla T4";
        node.cards.push_back(card);
        node.healthy[card.uuid] = true;
    }
    node.allocatable = {{"nvidia.com/gpu", 1}, {"nano-gpu/gpu-percent", 200}};

    PodView pod;
    pod.uid = "u-a";
    pod.key = "default/a";
    pod.node = "n";
    pod.phase = "Running";
    pod.request.containers = {asks("main", 60)};
    pod.placement = core::Placement{{{"main", {{"G0", 0, 60, 0}}}}};
    view.pods = {pod};

    testing::PodStatus status;
    status.uid = "u-a";
    status.ns = "default";
    status.name = "a";
    status.phase = testing::PodPhase::kRunning;
    testing::ContainerStatus container{.name = "main"};
    container.state = testing::ContainerState::kRunning;
    for (int i = 0; i < 60; ++i) {
        container.ids["nano-gpu/gpu-percent"].push_back("G0::" + std::to_string(i));
    }
    container.given.envs["NVIDIA_VISIBLE_DEVICES"] = "G0";
    status.containers = {container};
    node.pods = {status};
    view.nodes = {node};

    view.extender = *json::parse(R"({"n":{"GPUs":[
        {"UUID":"G0","Percent":40,"Healthy":true,"Holders":[{"UID":"u-a","Pod":"a"}]},
        {"UUID":"G1","Percent":100,"Healthy":true,"Holders":[]}],"Unplaced":[]}})");
    return view;
}

TEST(Audit, AViewWithoutContradictionsIsClean) {
    EXPECT_THAT(unsafe(healthy_view()), IsEmpty());
    EXPECT_THAT(disagrees(healthy_view()), IsEmpty());
    EXPECT_THAT(overridden(healthy_view()), IsEmpty());
}

TEST(Audit, ACardAboveHundredByAnnotationsDoesNotSettle) {
    ClusterView view = healthy_view();
    PodView second = view.pods[0];
    second.uid = "u-b";
    second.key = "default/b";
    view.pods.push_back(second);
    EXPECT_THAT(disagrees(view), Contains(HasSubstr("card G0 carries 120 percent")));
    view.pods[1].deleting = true;  // still holds
    EXPECT_THAT(disagrees(view), Contains(HasSubstr("card G0 carries 120 percent")));
    view.pods[1].phase = "Succeeded";
    EXPECT_THAT(disagrees(view), Not(Contains(HasSubstr("120 percent"))));
}

TEST(Audit, ACardAboveHundredByWhatContainersWereGivenIsUnsafe) {
    ClusterView view = healthy_view();
    PodView second = view.pods[0];
    second.uid = "u-b";
    second.placement = core::Placement{{{"main", {{"G1", 1, 60, 0}}}}};
    view.pods.push_back(second);
    testing::PodStatus status = view.nodes[0].pods[0];
    status.uid = "u-b";
    view.nodes[0].pods.push_back(status);
    EXPECT_THAT(unsafe(view), Contains(HasSubstr("given: card G0 carries 120 percent")));
}

TEST(Audit, NothingRunsWithoutItsPlacement) {
    ClusterView view = healthy_view();
    view.pods[0].placement.reset();
    EXPECT_THAT(unsafe(view), Contains(HasSubstr("without a placement")));
    view = healthy_view();
    view.nodes[0].pods[0].containers[0].given.envs.clear();
    EXPECT_THAT(unsafe(view), Contains(HasSubstr("runs without its cards")));
    view.nodes[0].pods[0].containers[0].given.envs["NVIDIA_VISIBLE_DEVICES"] = "elsewhere";
    EXPECT_THAT(unsafe(view), Contains(HasSubstr("not on this node")));
}

TEST(Audit, EnvironmentAnnotationAndIdsMustAgree) {
    ClusterView view = healthy_view();
    view.nodes[0].pods[0].containers[0].given.envs["NVIDIA_VISIBLE_DEVICES"] = "G1";
    EXPECT_THAT(disagrees(view), Contains(HasSubstr("was given G1, its placement says G0")));
    EXPECT_THAT(overridden(view), Contains(HasSubstr("other cards than its device IDs name: G1")));
    view = healthy_view();
    view.nodes[0].pods[0].containers[0].ids["nano-gpu/gpu-percent"].pop_back();
    EXPECT_THAT(disagrees(view), Contains(HasSubstr("holds 59 devices")));
    view = healthy_view();
    view.nodes[0].pods[0].containers[0].state = testing::ContainerState::kWaiting;
    EXPECT_THAT(disagrees(view), Contains(HasSubstr("is not running")));
}

TEST(Audit, LeaksShowInWhatTheNodeOffersAndInTheExtendersAccount) {
    ClusterView view = healthy_view();
    view.nodes[0].allocatable["nvidia.com/gpu"] = 2;
    EXPECT_THAT(disagrees(view), Contains(HasSubstr("offers 2 nvidia.com/gpu, 1 by what")));
    view = healthy_view();
    view.pods.clear();
    view.nodes[0].pods.clear();
    const auto lines = disagrees(view);
    EXPECT_THAT(lines, Contains(HasSubstr("offers 1 nvidia.com/gpu, 2 by what")));
    EXPECT_THAT(
        lines, Contains(HasSubstr("40 percent free for the extender and 100 by the annotations"))
    );
    EXPECT_THAT(lines, Contains(HasSubstr("holder a of G0 is gone")));
}

// Pod "a" holds IDs of G0 and was given G1; pod "b" has all of G0.
TEST(Audit, ACardTakenAsAWholeStillOffersTheIdsThatSomebodyHolds) {
    ClusterView view = healthy_view();
    view.pods[0].placement = core::Placement{{{"main", {{"G1", 1, 60, 0}}}}};
    view.nodes[0].pods[0].containers[0].given.envs["NVIDIA_VISIBLE_DEVICES"] = "G1";
    PodView whole = view.pods[0];
    whole.uid = "u-b";
    whole.key = "default/b";
    whole.request.containers[0] = asks("main", 100);
    whole.request.containers[0].resource = core::kResourceWhole;
    whole.placement = core::Placement{{{"main", {{"G0", 0, 100, 0}}}}};
    view.pods.push_back(whole);
    view.nodes[0].allocatable = {{"nvidia.com/gpu", 1}, {"nano-gpu/gpu-percent", 160}};
    EXPECT_THAT(disagrees(view), Not(Contains(HasSubstr(": offers"))));

    view.nodes[0].allocatable["nano-gpu/gpu-percent"] = 161;  // one that nobody holds
    EXPECT_THAT(disagrees(view), Contains(HasSubstr("offers 161 nano-gpu/gpu-percent, 160 by")));
    view.nodes[0].pods[0].phase = testing::PodPhase::kSucceeded;  // holds no longer
    EXPECT_THAT(disagrees(view), Contains(HasSubstr("offers 161 nano-gpu/gpu-percent, 100 by")));
}

TEST(Audit, ReservationsGuessesAndUnknownNodesDoNotSettle) {
    ClusterView view = healthy_view();
    auto& holder = json::find(*view.extender, {"n", "GPUs"})->as_array()[0];
    holder.as_object()["Holders"].as_array()[0].as_object()["Reserved"] = true;
    EXPECT_THAT(disagrees(view), Contains(HasSubstr("only reserved")));
    view.extender = json::object{};
    EXPECT_THAT(disagrees(view), Contains(HasSubstr("does not know this node")));
    view.extender.reset();
    view.extender_error = "connection refused";
    EXPECT_THAT(disagrees(view), Contains(HasSubstr("connection refused")));
}

TEST(Audit, KubeletAndApiServerMustKnowTheSamePods) {
    ClusterView view = healthy_view();
    view.nodes[0].pods.clear();
    EXPECT_THAT(disagrees(view), Contains(HasSubstr("the kubelet does not have default/a")));
    view = healthy_view();
    view.pods.clear();
    EXPECT_THAT(disagrees(view), Contains(HasSubstr("the kubelet has default/a")));
    view = healthy_view();
    view.pods[0].phase = "Pending";
    EXPECT_THAT(disagrees(view), Contains(HasSubstr("Running for the kubelet and Pending")));
}

TEST(Audit, PodUseIsThePeakOverThePodsLife) {
    core::PodRequest request;
    request.containers = {
        asks("i1", 70, core::ContainerKind::kInit),
        asks("side", 20, core::ContainerKind::kSidecar),
        asks("i2", 40, core::ContainerKind::kInit),
        asks("main", 30)};
    const core::CardShare g0{"G0", 0, 1, 0};
    EXPECT_EQ(
        pod_use(request, {{"i1", {g0}}, {"side", {g0}}, {"i2", {g0}}, {"main", {g0}}}),
        (CardPercents{{"G0", 70}})
    );
    EXPECT_EQ(
        pod_use(request, {{"side", {g0}}, {"i2", {g0}}, {"main", {g0}}}), (CardPercents{{"G0", 60}})
    );
}

TEST(Audit, VisibleDevices) {
    testing::ContainerStatus c;
    EXPECT_THAT(visible_devices(c), IsEmpty());
    c.given.envs["NVIDIA_VISIBLE_DEVICES"] = "void";
    EXPECT_THAT(visible_devices(c), IsEmpty());
    c.given.envs["NVIDIA_VISIBLE_DEVICES"] = "A,B";
    EXPECT_THAT(visible_devices(c), ::testing::ElementsAre("A", "B"));
}

TEST(Audit, PodViewReadsRequestPlacementAndReason) {
    const PodView pod = pod_view(*json::parse(R"({
        "metadata":{"name":"p","namespace":"ns","uid":"u","annotations":{}},
        "spec":{"containers":[{"name":"c","resources":{"limits":{"nano-gpu/gpu-percent":"60"}}}]},
        "status":{"phase":"Pending","conditions":[
            {"type":"PodScheduled","status":"False","reason":"Unschedulable","message":"0/3 nodes"}]}})"
    ));
    EXPECT_EQ(pod.key, "ns/p");
    EXPECT_EQ(pod.reason, "Unschedulable");
    EXPECT_EQ(pod.message, "0/3 nodes");
    ASSERT_EQ(pod.request.containers.size(), 1U);
    EXPECT_FALSE(pod.placement);
    EXPECT_FALSE(pod.holds_cards());
}

TEST(Picture, ShowsHoldersAndWhatContainersWereGiven) {
    const ClusterPicture picture = picture_of(healthy_view());
    ASSERT_EQ(picture.nodes.size(), 1U);
    EXPECT_EQ(picture.nodes[0].cards[0].used_percent, 60);
    EXPECT_EQ(picture.nodes[0].cards[0].holders, (std::vector<HolderRow>{{"a", "", 60}}));
    EXPECT_EQ(picture.nodes[0].cards[1].used_percent, 0);
    ASSERT_EQ(picture.pods.size(), 1U);
    EXPECT_EQ(
        picture.pods[0].containers[0].given, "60 percent of card 0, NVIDIA_VISIBLE_DEVICES=G0"
    );
}

}  // namespace
}  // namespace egpu::sim
