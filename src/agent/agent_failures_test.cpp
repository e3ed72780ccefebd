// What must hold after each failure (DESIGN 6): a real agent, embedded peers, both dialects of
// kubelets.
#include <algorithm>
#include <fstream>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/rig_for_test.h"
#include "k8s/placement_annotations.h"

namespace egpu::agent {
namespace {

using testing::ContainerKind;
using testing::Dialect;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class AgentFailures : public ::testing::TestWithParam<Dialect> {};

INSTANTIATE_TEST_SUITE_P(
    Kubelets,
    AgentFailures,
    ::testing::Values(Dialect::k1_21, Dialect::k1_34),
    [](const auto& parameter) { return parameter.param == Dialect::k1_21 ? "v121" : "v134"; }
);

TEST_P(AgentFailures, KubeletRestartKeepsEverything) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const RigPod pod = rig.run("before", {{.name = "main", .percent = 30, .cards = {1}}});
    ASSERT_TRUE(rig.running(pod));
    const auto before = rig.agent().allocator().records();
    rig.kubelet().stop();
    std::this_thread::sleep_for(Millis(100));
    ASSERT_TRUE(rig.kubelet().start());
    ASSERT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 400, Seconds(15)));
    ASSERT_TRUE(rig.kubelet().wait_synced(Seconds(10)));
    EXPECT_TRUE(rig.running(pod));
    EXPECT_EQ(rig.used(1), 30);
    ASSERT_EQ(rig.agent().allocator().records().size(), 1U);
    EXPECT_EQ(rig.agent().allocator().records()[0].token, before[0].token);
    const RigPod next = rig.run("after", {{.name = "main", .percent = 60, .cards = {1}}});
    EXPECT_TRUE(next.admission.admitted) << next.admission.message;
    EXPECT_TRUE(rig.running(next));
    EXPECT_THAT(rig.given(next, "main"), ElementsAre(1));
}

TEST_P(AgentFailures, AgentRestartKeepsEverything) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const RigPod pod = rig.run("before", {{.name = "main", .percent = 30, .cards = {2}}});
    ASSERT_TRUE(rig.running(pod));
    ASSERT_TRUE(eventually([&] { return rig.agent().allocator().records().at(0).holder.confirmed; })
    );
    const auto before = rig.agent().allocator().records();
    rig.stop_agent();
    ASSERT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 0, Seconds(10)));
    ASSERT_TRUE(rig.start_agent());
    ASSERT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 400, Seconds(15)));
    EXPECT_EQ(rig.agent().allocator().records(), before);
    // A container restarted now passes the gate.
    ASSERT_TRUE(rig.kubelet().restart_container(pod.uid, "main"));
    EXPECT_TRUE(eventually([&] {
        const auto c = rig.kubelet().container(pod.uid, "main");
        return c && c->restarts == 1 && c->state == testing::ContainerState::kRunning;
    }));
    EXPECT_THAT(rig.given(pod, "main"), ElementsAre(2));
}

TEST_P(AgentFailures, RestartOfAContainerWaitsForTheAgent) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const RigPod pod = rig.run("p", {{.name = "main", .percent = 30, .cards = {2}}});
    ASSERT_TRUE(rig.running(pod));
    rig.stop_agent();
    ASSERT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 0, Seconds(10)));
    ASSERT_TRUE(rig.kubelet().restart_container(pod.uid, "main"));
    EXPECT_TRUE(eventually([&] {
        const auto c = rig.kubelet().container(pod.uid, "main");
        return c && c->reason == "CreateContainerConfigError";
    }));
    ASSERT_TRUE(rig.start_agent());
    EXPECT_TRUE(rig.running(pod));
}

TEST_P(AgentFailures, LostSocketIsServedAgain) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const int before = rig.agent().plugins().registrations();
    for (const auto& entry : std::filesystem::directory_iterator(rig.kubelet().plugin_folder())) {
        if (entry.path().filename().string().starts_with("edge-gpu-percent"))
            std::filesystem::remove(entry.path());
    }
    EXPECT_TRUE(eventually([&] { return rig.agent().plugins().registrations() > before; }));
    EXPECT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 400, Seconds(15)));
    const RigPod pod = rig.run("p", {{.name = "main", .percent = 30, .cards = {0}}});
    EXPECT_TRUE(pod.admission.admitted) << pod.admission.message;
    EXPECT_TRUE(rig.running(pod));
}

TEST_P(AgentFailures, WorksWithoutTheApiServerAndReportsLater) {
    AgentRig rig(GetParam());
    // The server exists, but the agent finds its port closed.
    ASSERT_TRUE(rig.up(false));
    rig.stop_agent();
    const std::vector<RigContainer> big{{.name = "main", .percent = 70}};
    const std::vector<RigContainer> small{{.name = "main", .percent = 30}};
    RigPod first = rig.create("first", big);
    RigPod second = rig.create("second", small);
    ASSERT_TRUE(rig.api().faults().set_mode(testing::ServerMode::kRefused));
    ASSERT_TRUE(rig.start_agent());
    ASSERT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 400, Seconds(15)));
    rig.admit(first, big);
    rig.admit(second, small);
    ASSERT_TRUE(first.admission.admitted) << first.admission.message;
    ASSERT_TRUE(second.admission.admitted) << second.admission.message;
    ASSERT_TRUE(rig.running(first));
    ASSERT_TRUE(rig.running(second));
    EXPECT_EQ(
        rig.given(first, "main"), rig.given(second, "main")
    );  // best fit: one card is full now
    EXPECT_THAT(rig.violations(), IsEmpty());
    EXPECT_EQ(rig.annotation(first, "edge-gpu.io/placement"), "");

    ASSERT_TRUE(rig.api().faults().set_mode(testing::ServerMode::kOnline));
    for (const RigPod& pod : {first, second}) {
        ASSERT_TRUE(eventually(
            [&] { return !rig.annotation(pod, "edge-gpu.io/placement").empty(); }, Seconds(60)
        ));
        const auto placement = k8s::parse_placement(rig.annotation(pod, "edge-gpu.io/placement"));
        ASSERT_TRUE(placement);
        EXPECT_EQ(
            placement->containers.at(0).cards.at(0).uuid, rig.uuid(rig.given(pod, "main").at(0))
        );
    }
    EXPECT_TRUE(eventually([&] { return rig.agent().cards_published(); }, Seconds(60)));
}

TEST_P(AgentFailures, ACardDiesAndRecovers) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const RigPod pod = rig.run("p", {{.name = "main", .percent = 30, .cards = {1}}});
    ASSERT_TRUE(rig.running(pod));
    ASSERT_TRUE(rig.gpus().set_lost(rig.uuid(1), true));
    rig.write_gpus();
    ASSERT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 300, Seconds(15)));
    EXPECT_EQ(rig.used(1), 30);
    const RigPod other = rig.run("other", {{.name = "main", .percent = 30, .cards = {1}}});
    ASSERT_TRUE(other.admission.admitted) << other.admission.message;
    EXPECT_NE(rig.given(other, "main"), std::vector<int>{1});
    ASSERT_TRUE(rig.gpus().set_lost(rig.uuid(1), false));
    rig.write_gpus();
    EXPECT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 400, Seconds(30)));
}

TEST_P(AgentFailures, LostStateIsRebuilt) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const RigPod share = rig.run("share", {{.name = "main", .percent = 30, .cards = {2}}});
    const RigPod whole = rig.run("whole", {{.name = "main", .whole = 1, .cards = {0}}});
    const RigPod staged = rig.run(
        "staged",
        {{.name = "i", .percent = 40, .kind = ContainerKind::kInit, .cards = {1}},
         {.name = "a", .percent = 20, .cards = {1}}}
    );
    for (const RigPod& pod : {share, whole, staged})
        ASSERT_TRUE(rig.running(pod)) << pod.admission.message;
    const auto tokens = [&] {
        std::set<std::string> set;
        for (const Record& r : rig.agent().allocator().records()) {
            if (r.resource == Resource::kPercent) set.insert(r.token);
        }
        return set;
    };
    const auto before = tokens();
    rig.stop_agent();
    std::filesystem::remove_all(rig.folder() / "state");
    ASSERT_TRUE(rig.start_agent());
    EXPECT_TRUE(eventually([&] { return rig.agent().allocator().records().size() == 4; }));
    EXPECT_EQ(tokens(), before);
    EXPECT_EQ(rig.used(0), 100);
    EXPECT_EQ(rig.used(1), 40);
    EXPECT_EQ(rig.used(2), 30);
    EXPECT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 300, Seconds(10)));
    // The pods' restart finds its records.
    ASSERT_TRUE(rig.kubelet().restart_container(staged.uid, "a"));
    EXPECT_TRUE(eventually([&] {
        const auto c = rig.kubelet().container(staged.uid, "a");
        return c && c->restarts == 1 && c->state == testing::ContainerState::kRunning;
    }));
    for (const RigPod& pod : {share, whole, staged}) rig.remove(pod);
    EXPECT_TRUE(rig.settled_empty());
}

TEST_P(AgentFailures, CorruptStateIsRebuiltWithItsOverride) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    // Shares of 60 on all cards but one, then two that leave only scattered IDs: the last one is an
    // override.
    const RigPod a = rig.run("a", {{.name = "main", .percent = 60, .cards = {0}}});
    ASSERT_TRUE(rig.running(a));
    // What a kubelet with other ideas would do: the record's card is not the one its IDs name.
    const auto ids = rig.agent().allocator().records().at(0).ids;
    auto answer = rig.agent().plugins().allocate(Resource::kPercent, ids);
    ASSERT_TRUE(answer);
    const auto records = rig.agent().allocator().records();
    ASSERT_EQ(records.size(), 2U);
    // Re-use of unknown kind or a second hand-out: in both cases no card carries more than 100.
    EXPECT_THAT(rig.violations(), IsEmpty());
    rig.stop_agent();
    for (const auto& entry : std::filesystem::directory_iterator(rig.folder() / "state")) {
        std::ofstream(entry.path(), std::ios::trunc) << "{";
    }
    ASSERT_TRUE(rig.start_agent());
    // Only what the kubelet knows is left; the call made here by hand is not in its books.
    EXPECT_TRUE(eventually([&] {
        const auto now = rig.agent().allocator().records();
        return now.size() == 1 && now[0].token == records[0].token &&
               now[0].holder.pod_uid == a.uid;
    }));
    EXPECT_TRUE(std::filesystem::exists(rig.folder() / "state" / "agent-state.json.corrupt"));
}

TEST_P(AgentFailures, AbandonedAllocationsAreReleased) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    // The second container is refused, so the kubelet fails the pod after the first one was
    // allocated.
    const RigPod blocker =
        rig.run("blocker", {{.name = "main", .percent = 300, .cards = {1, 2, 3}}});
    ASSERT_TRUE(blocker.admission.admitted) << blocker.admission.message;
    const RigPod pod = rig.run("p", {{.name = "a", .percent = 50}, {.name = "b", .percent = 60}});
    EXPECT_FALSE(pod.admission.admitted);
    rig.set_phase(pod, "Failed");
    EXPECT_TRUE(eventually([&] { return rig.agent().allocator().records().size() == 1; }));
    EXPECT_EQ(rig.used(0), 0);
}

TEST_P(AgentFailures, OfflineEvidenceFreesNothing) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const RigPod pod = rig.run("p", {{.name = "main", .percent = 30, .cards = {1}}});
    ASSERT_TRUE(rig.running(pod));
    ASSERT_TRUE(eventually([&] { return rig.agent().allocator().records().at(0).holder.confirmed; })
    );
    ASSERT_TRUE(rig.api().faults().set_mode(testing::ServerMode::kLiteOffline));
    rig.kubelet().stop();  // pod-resources is away, too: no evidence at all
    std::this_thread::sleep_for(Millis(1500));
    EXPECT_EQ(rig.agent().allocator().records().size(), 1U);
    ASSERT_TRUE(rig.kubelet().start());
    std::this_thread::sleep_for(Millis(1500));
    EXPECT_EQ(rig.agent().allocator().records().size(), 1U);
    EXPECT_TRUE(rig.running(pod));
}

TEST_P(AgentFailures, RebootBeforeTheDriverIsUp) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const RigPod pod = rig.run("p", {{.name = "main", .percent = 30, .cards = {1}}});
    ASSERT_TRUE(rig.running(pod));
    rig.stop_agent();
    rig.kubelet().power_off();
    rig.gpus().set_driver_loaded(false);
    rig.write_gpus();
    rig.timing.wait_for_cards = Millis(100);
    ASSERT_TRUE(rig.start_agent());
    ASSERT_TRUE(rig.kubelet().start());
    // Nothing new is taken, but what was held is admitted again, and waits for the driver.
    ASSERT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 30, Seconds(15)));
    ASSERT_TRUE(rig.kubelet().wait_synced(Seconds(10)));
    std::this_thread::sleep_for(Millis(300));
    const auto waiting = rig.kubelet().container(pod.uid, "main");
    ASSERT_TRUE(waiting);
    EXPECT_NE(rig.kubelet().pod(pod.uid)->phase, testing::PodPhase::kFailed);
    rig.gpus().set_driver_loaded(true);
    rig.write_gpus();
    EXPECT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 400, Seconds(30)));
    EXPECT_TRUE(rig.running(pod));
    EXPECT_THAT(rig.given(pod, "main"), ElementsAre(1));
}

}  // namespace
}  // namespace egpu::agent
