// A real agent between an embedded kubelet (both dialects), simulated cards and an embedded API server.
#include <algorithm>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/agent_rig.h"
#include "base/json.h"
#include "base/random.h"
#include "gpu/cards_annotation.h"
#include "http/client.h"
#include "k8s/placement_annotations.h"

namespace egpu::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::ContainerKind;
using testing::Dialect;

class AgentLive : public ::testing::TestWithParam<Dialect> {};

INSTANTIATE_TEST_SUITE_P(
    Kubelets, AgentLive, ::testing::Values(Dialect::k1_21, Dialect::k1_34),
    [](const auto& parameter) { return parameter.param == Dialect::k1_21 ? "v121" : "v134"; }
);

TEST_P(AgentLive, GuidePodsGetTheAnnotatedCard) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const RigPod share = rig.run("share", {{.name = "main", .percent = 20, .cards = {2}}});
    const RigPod whole = rig.run("whole", {{.name = "main", .whole = 1, .cards = {3}}});
    ASSERT_TRUE(share.admission.admitted) << share.admission.message;
    ASSERT_TRUE(whole.admission.admitted) << whole.admission.message;
    ASSERT_TRUE(rig.running(share));
    ASSERT_TRUE(rig.running(whole));
    EXPECT_THAT(rig.given(share, "main"), ElementsAre(2));
    EXPECT_THAT(rig.given(whole, "main"), ElementsAre(3));
    EXPECT_EQ(rig.used(2), 20);
    EXPECT_EQ(rig.used(3), 100);
    // The record carries the right name, seen in the kubelet's books.
    EXPECT_TRUE(eventually([&] {
        const auto records = rig.agent().allocator().records();
        return records.size() == 2 && std::all_of(records.begin(), records.end(), [](const Record& r) {
                   return r.holder.confirmed && !r.overridden();
               });
    }));
    rig.remove(share);
    rig.remove(whole);
    EXPECT_TRUE(rig.settled_empty());
    EXPECT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kWhole, 4, Seconds(10)));
}

TEST_P(AgentLive, CardsArePublishedOnChangeOnly) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const auto published = [&] {
        const auto node = rig.api().get({"nodes", "", AgentRig::kNode});
        const auto text = json::get_string(*node, {"metadata", "annotations", gpu::kAnnotationCards});
        auto cards = gpu::decode_cards(text);
        return cards ? *cards : std::vector<core::Card>();
    };
    ASSERT_TRUE(eventually([&] { return published().size() == 4; }));
    EXPECT_EQ(published()[1].uuid, rig.uuid(1));
    EXPECT_EQ(published()[1].model, "NVIDIA A10");
    const auto writes = rig.api().faults().count("PATCH", "/api/v1/nodes/edge-1");
    rig.stop_agent();
    ASSERT_TRUE(rig.start_agent());
    ASSERT_TRUE(eventually([&] { return rig.agent().cards_published(); }));
    EXPECT_EQ(rig.api().faults().count("PATCH", "/api/v1/nodes/edge-1"), writes);
    ASSERT_TRUE(rig.gpus().set_lost(rig.uuid(1), true));
    rig.write_gpus();
    EXPECT_TRUE(eventually([&] { return !published()[1].healthy; }));
}

TEST_P(AgentLive, ManyPodsAtOnceAgreeWithTheirAnnotations) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    struct Wanted {
        RigPod pod;
        std::vector<RigContainer> containers;
    };
    std::vector<Wanted> pods;
    Random random(11);
    // Ten of equal demand over all cards, ten of different ones, two of them with two containers.
    for (int i = 0; i < 10; ++i) {
        pods.push_back({{}, {{.name = "main", .percent = 10, .cards = {i % 4}}}});
    }
    for (int i = 0; i < 8; ++i) {
        pods.push_back({{}, {{.name = "main", .percent = 5 + i, .cards = {(i * 3) % 4}}}});
    }
    for (int i = 0; i < 2; ++i) {
        pods.push_back({{},
                        {{.name = "a", .percent = 10, .cards = {i}}, {.name = "b", .percent = 10, .cards = {3 - i}}}});
    }
    std::shuffle(pods.begin(), pods.end(), random);
    for (std::size_t i = 0; i < pods.size(); ++i) {
        pods[i].pod = rig.create("pod-" + std::to_string(i), pods[i].containers);
    }
    std::shuffle(pods.begin(), pods.end(), random);
    std::vector<std::thread> admitters;
    for (std::size_t t = 0; t < 4; ++t) {
        admitters.emplace_back([&, t] {
            for (std::size_t i = t; i < pods.size(); i += 4) rig.admit(pods[i].pod, pods[i].containers);
        });
    }
    for (std::thread& thread : admitters) thread.join();
    for (const Wanted& wanted : pods) {
        ASSERT_TRUE(wanted.pod.admission.admitted) << wanted.pod.admission.message;
        ASSERT_TRUE(rig.running(wanted.pod));
        for (const RigContainer& container : wanted.containers) {
            EXPECT_EQ(rig.given(wanted.pod, container.name), container.cards) << wanted.pod.name;
        }
    }
    EXPECT_THAT(rig.violations(), IsEmpty());
    for (const Wanted& wanted : pods) rig.remove(wanted.pod);
    EXPECT_TRUE(rig.settled_empty());
}

TEST_P(AgentLive, InitContainersUnitsAreUsedAgain) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const RigPod other = rig.run("other", {{.name = "main", .percent = 50, .cards = {1}}});
    const RigPod pod = rig.run(
        "staged", {{.name = "prepare", .percent = 40, .kind = ContainerKind::kInit, .cards = {1}},
                   {.name = "a", .percent = 20, .cards = {1}},
                   {.name = "b", .percent = 20, .cards = {1}}});
    ASSERT_TRUE(pod.admission.admitted) << pod.admission.message;
    ASSERT_TRUE(rig.running(pod));
    for (const char* container : {"prepare", "a", "b"}) EXPECT_THAT(rig.given(pod, container), ElementsAre(1));
    EXPECT_EQ(rig.used(1), 90);
    EXPECT_TRUE(eventually([&] {
        std::vector<std::string> names;
        for (const Record& r : rig.agent().allocator().records()) names.push_back(r.holder.container);
        std::sort(names.begin(), names.end());
        return names == std::vector<std::string>{"a", "b", "main", "prepare"};
    }));
    // The init container's record stays while its pod does, although pod-resources never lists it.
    std::this_thread::sleep_for(Millis(1500));
    EXPECT_EQ(rig.agent().allocator().records().size(), 4U);
    EXPECT_EQ(rig.used(1), 90);
    rig.remove(pod);
    rig.remove(other);
    EXPECT_TRUE(rig.settled_empty());
}

TEST_P(AgentLive, KubeletRestartKeepsEverything) {
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

TEST_P(AgentLive, AgentRestartKeepsEverything) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const RigPod pod = rig.run("before", {{.name = "main", .percent = 30, .cards = {2}}});
    ASSERT_TRUE(rig.running(pod));
    ASSERT_TRUE(eventually([&] { return rig.agent().allocator().records().at(0).holder.confirmed; }));
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

TEST_P(AgentLive, RestartOfAContainerWaitsForTheAgent) {
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

TEST_P(AgentLive, LostSocketIsServedAgain) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const int before = rig.agent().plugins().registrations();
    for (const auto& entry : std::filesystem::directory_iterator(rig.kubelet().plugin_folder())) {
        if (entry.path().filename().string().starts_with("edge-gpu-percent")) std::filesystem::remove(entry.path());
    }
    EXPECT_TRUE(eventually([&] { return rig.agent().plugins().registrations() > before; }));
    EXPECT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 400, Seconds(15)));
    const RigPod pod = rig.run("p", {{.name = "main", .percent = 30, .cards = {0}}});
    EXPECT_TRUE(pod.admission.admitted) << pod.admission.message;
    EXPECT_TRUE(rig.running(pod));
}

TEST_P(AgentLive, WorksWithoutTheApiServerAndReportsLater) {
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
    EXPECT_EQ(rig.given(first, "main"), rig.given(second, "main"));  // best fit: one card is full now
    EXPECT_THAT(rig.violations(), IsEmpty());
    EXPECT_EQ(rig.annotation(first, "edge-gpu.io/placement"), "");

    ASSERT_TRUE(rig.api().faults().set_mode(testing::ServerMode::kOnline));
    for (const RigPod& pod : {first, second}) {
        ASSERT_TRUE(eventually(
            [&] { return !rig.annotation(pod, "edge-gpu.io/placement").empty(); }, Seconds(60)));
        const auto placement = k8s::parse_placement(rig.annotation(pod, "edge-gpu.io/placement"));
        ASSERT_TRUE(placement);
        EXPECT_EQ(placement->containers.at(0).cards.at(0).uuid, rig.uuid(rig.given(pod, "main").at(0)));
    }
    EXPECT_TRUE(eventually([&] { return rig.agent().cards_published(); }, Seconds(60)));
}

TEST_P(AgentLive, PodBoundWithoutTheExtenderIsPlacedAndReported) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const RigPod pod = rig.run("plain", {{.name = "main", .percent = 25}, {.name = "side", .percent = 30}});
    ASSERT_TRUE(pod.admission.admitted) << pod.admission.message;
    ASSERT_TRUE(rig.running(pod));
    ASSERT_TRUE(eventually([&] { return !rig.annotation(pod, "edge-gpu.io/placement").empty(); }));
    const auto placement = k8s::parse_placement(rig.annotation(pod, "edge-gpu.io/placement"));
    ASSERT_TRUE(placement);
    ASSERT_EQ(placement->containers.size(), 2U);
    EXPECT_EQ(placement->containers[0].cards.at(0).percent, 25);
    EXPECT_EQ(rig.annotation(pod, "nano-gpu/container-main"), std::to_string(rig.given(pod, "main").at(0)));
    EXPECT_TRUE(eventually([&] {
        for (const json::value& event : rig.api().list("events")) {
            if (json::get_string(event, {"reason"}) == "GPUPlacementReported" &&
                json::get_string(event, {"involvedObject", "name"}) == "plain") {
                return true;
            }
        }
        return false;
    }));
}

TEST_P(AgentLive, ResourcesWithdrawEachOther) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const RigPod share = rig.run("share", {{.name = "main", .percent = 20, .cards = {1}}});
    ASSERT_TRUE(rig.running(share));
    EXPECT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kWhole, 3, Seconds(10)));
    EXPECT_EQ(rig.healthy(AgentRig::kPercent), 400);
    const RigPod whole = rig.run("whole", {{.name = "main", .whole = 2, .cards = {0, 3}}});
    ASSERT_TRUE(whole.admission.admitted) << whole.admission.message;
    ASSERT_TRUE(rig.running(whole));
    EXPECT_THAT(rig.given(whole, "main"), ElementsAre(0, 3));
    EXPECT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 200, Seconds(10)));
    EXPECT_TRUE(rig.running(share));
    rig.remove(whole);
    EXPECT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 400, Seconds(10)));
    rig.remove(share);
    EXPECT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kWhole, 4, Seconds(10)));
}

TEST_P(AgentLive, WhatDoesNotFitIsRefusedInWords) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    for (int card = 0; card < 4; ++card) {
        const RigPod pod =
            rig.run("p" + std::to_string(card), {{.name = "main", .percent = 60, .cards = {card}}});
        ASSERT_TRUE(pod.admission.admitted) << pod.admission.message;
    }
    // The node's sum would allow it; no card does.
    const RigPod refused = rig.run("late", {{.name = "main", .percent = 50}});
    EXPECT_FALSE(refused.admission.admitted);
    EXPECT_EQ(refused.admission.reason, "UnexpectedAdmissionError");
    EXPECT_THAT(refused.admission.message, HasSubstr("no card has 50 percent free (the most is 40 percent"));
    EXPECT_THAT(rig.violations(), IsEmpty());
    EXPECT_EQ(rig.agent().allocator().records().size(), 4U);
}

TEST_P(AgentLive, ACardDiesAndRecovers) {
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

TEST_P(AgentLive, LostStateIsRebuilt) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const RigPod share = rig.run("share", {{.name = "main", .percent = 30, .cards = {2}}});
    const RigPod whole = rig.run("whole", {{.name = "main", .whole = 1, .cards = {0}}});
    const RigPod staged = rig.run(
        "staged", {{.name = "i", .percent = 40, .kind = ContainerKind::kInit, .cards = {1}},
                   {.name = "a", .percent = 20, .cards = {1}}});
    for (const RigPod& pod : {share, whole, staged}) ASSERT_TRUE(rig.running(pod)) << pod.admission.message;
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

TEST_P(AgentLive, CorruptStateIsRebuiltWithItsOverride) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    // Shares of 60 on all cards but one, then two that leave only scattered IDs: the last one is an override.
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
        return now.size() == 1 && now[0].token == records[0].token && now[0].holder.pod_uid == a.uid;
    }));
    EXPECT_TRUE(std::filesystem::exists(rig.folder() / "state" / "agent-state.json.corrupt"));
}

TEST_P(AgentLive, AbandonedAllocationsAreReleased) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    // The second container is refused, so the kubelet fails the pod after the first one was allocated.
    const RigPod blocker = rig.run("blocker", {{.name = "main", .percent = 300, .cards = {1, 2, 3}}});
    ASSERT_TRUE(blocker.admission.admitted) << blocker.admission.message;
    const RigPod pod = rig.run("p", {{.name = "a", .percent = 50}, {.name = "b", .percent = 60}});
    EXPECT_FALSE(pod.admission.admitted);
    rig.set_phase(pod, "Failed");
    EXPECT_TRUE(eventually([&] { return rig.agent().allocator().records().size() == 1; }));
    EXPECT_EQ(rig.used(0), 0);
}

TEST_P(AgentLive, OfflineEvidenceFreesNothing) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const RigPod pod = rig.run("p", {{.name = "main", .percent = 30, .cards = {1}}});
    ASSERT_TRUE(rig.running(pod));
    ASSERT_TRUE(eventually([&] { return rig.agent().allocator().records().at(0).holder.confirmed; }));
    ASSERT_TRUE(rig.api().faults().set_mode(testing::ServerMode::kLiteOffline));
    rig.kubelet().stop();  // pod-resources is away, too: no evidence at all
    std::this_thread::sleep_for(Millis(1500));
    EXPECT_EQ(rig.agent().allocator().records().size(), 1U);
    ASSERT_TRUE(rig.kubelet().start());
    std::this_thread::sleep_for(Millis(1500));
    EXPECT_EQ(rig.agent().allocator().records().size(), 1U);
    EXPECT_TRUE(rig.running(pod));
}

TEST_P(AgentLive, RebootBeforeTheDriverIsUp) {
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

TEST_P(AgentLive, HttpSaysHowItIs) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const RigPod pod = rig.run("p", {{.name = "main", .percent = 30, .cards = {1}}});
    ASSERT_TRUE(rig.running(pod));
    http::ClientOptions options;
    options.base_url = "http://127.0.0.1:" + std::to_string(rig.agent().http_port());
    auto client = http::Client::open(options);
    ASSERT_TRUE(client);
    const auto get = [&](const std::string& path) {
        http::Request request;
        request.method = "GET";
        request.target = path;
        const auto response = (*client)->call(request, MonoClock::now() + Seconds(5));
        return response ? std::to_string(response->status) + " " + response->body : response.error().message;
    };
    EXPECT_EQ(get("/healthz"), "200 ok\n");
    EXPECT_EQ(get("/readyz"), "200 ok\n");
    EXPECT_THAT(get("/metrics"), HasSubstr("edge_gpu_agent_card_used_percent{card=\"1\",uuid=\"" + rig.uuid(1) + "\"} 30"));
    EXPECT_THAT(get("/metrics"), HasSubstr("edge_gpu_agent_registered{resource=\"nvidia.com/gpu\"} 1"));
    EXPECT_THAT(get("/status"), HasSubstr("\"pod\":\"p\""));
    EXPECT_THAT(get("/nothing"), HasSubstr("404"));
}

}  // namespace
}  // namespace egpu::agent
