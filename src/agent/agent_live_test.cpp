// A real agent between an embedded kubelet (both dialects), simulated cards and an embedded API
// server.
#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/rig_for_test.h"
#include "base/json.h"
#include "base/random.h"
#include "gpu/cards_annotation.h"
#include "http/client.h"
#include "k8s/placement_annotations.h"
#include "kubelet/pod_resources.h"

namespace egpu::agent {
namespace {

using testing::ContainerKind;
using testing::Dialect;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class AgentLive : public ::testing::TestWithParam<Dialect> {};

INSTANTIATE_TEST_SUITE_P(
    Kubelets,
    AgentLive,
    ::testing::Values(Dialect::k1_21, Dialect::k1_34),
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
        return records.size() == 2 &&
               std::all_of(records.begin(), records.end(), [](const Record& r) {
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
        const auto text =
            json::get_string(*node, {"metadata", "annotations", gpu::kAnnotationCards});
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
        pods.push_back(
            {{},
             {{.name = "a", .percent = 10, .cards = {i}},
              {.name = "b", .percent = 10, .cards = {3 - i}}}}
        );
    }
    std::shuffle(pods.begin(), pods.end(), random);
    for (std::size_t i = 0; i < pods.size(); ++i) {
        pods[i].pod = rig.create("pod-" + std::to_string(i), pods[i].containers);
    }
    std::shuffle(pods.begin(), pods.end(), random);
    std::vector<std::thread> admitters;
    for (std::size_t t = 0; t < 4; ++t) {
        admitters.emplace_back([&, t] {
            for (std::size_t i = t; i < pods.size(); i += 4)
                rig.admit(pods[i].pod, pods[i].containers);
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

// Somebody else (a monitoring agent) lists pod-resources all the time, which makes this kubelet
// hand IDs out twice.
TEST_P(AgentLive, TheKubeletsRaceNeverOvercommitsACard) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    std::atomic<bool> stop{false};
    std::thread lister([&] {
        kubelet::PodResourcesClient client(rig.kubelet().pod_resources_socket());
        while (!stop) static_cast<void>(client.list(MonoClock::now() + Seconds(1)));
    });
    Random random(5);
    struct Live {
        RigPod pod;
        std::vector<RigContainer> containers;
    };
    std::vector<Live> live;
    int admitted = 0;
    for (int i = 0; i < 60; ++i) {
        std::vector<RigContainer> containers{{.name = "a", .percent = random.between(5, 40)}};
        if (random.chance(0.5))
            containers.push_back({.name = "b", .percent = random.between(5, 40)});
        const RigPod pod = rig.run("p" + std::to_string(i), containers);
        if (pod.admission.admitted) {
            ++admitted;
            live.push_back({pod, containers});
        } else {
            rig.set_phase(pod, "Failed");
        }
        while (live.size() > 8 || (!live.empty() && random.chance(0.4))) {
            const std::size_t at = random.below(live.size());
            rig.remove(live[at].pod);
            live.erase(live.begin() + static_cast<std::ptrdiff_t>(at));
        }
        ASSERT_THAT(rig.violations(), IsEmpty());
        std::map<int, int> used;
        for (const Live& l : live) {
            ASSERT_TRUE(rig.running(l.pod));
            for (const RigContainer& c : l.containers) {
                for (const int card : rig.given(l.pod, c.name)) used[card] += c.percent;
            }
        }
        for (const auto& [card, percent] : used) ASSERT_LE(percent, 100) << "card " << card;
    }
    stop = true;
    lister.join();
    EXPECT_GT(admitted, 40);
    for (const Live& l : live) rig.remove(l.pod);
    EXPECT_TRUE(rig.settled_empty());
}

TEST_P(AgentLive, InitContainersUnitsAreUsedAgain) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const RigPod other = rig.run("other", {{.name = "main", .percent = 50, .cards = {1}}});
    const RigPod pod = rig.run(
        "staged",
        {{.name = "prepare", .percent = 40, .kind = ContainerKind::kInit, .cards = {1}},
         {.name = "a", .percent = 20, .cards = {1}},
         {.name = "b", .percent = 20, .cards = {1}}}
    );
    ASSERT_TRUE(pod.admission.admitted) << pod.admission.message;
    ASSERT_TRUE(rig.running(pod));
    for (const char* container : {"prepare", "a", "b"})
        EXPECT_THAT(rig.given(pod, container), ElementsAre(1));
    EXPECT_EQ(rig.used(1), 90);
    EXPECT_TRUE(eventually([&] {
        std::vector<std::string> names;
        for (const Record& r : rig.agent().allocator().records())
            names.push_back(r.holder.container);
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

TEST_P(AgentLive, PodBoundWithoutTheExtenderIsPlacedAndReported) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const RigPod pod =
        rig.run("plain", {{.name = "main", .percent = 25}, {.name = "side", .percent = 30}});
    ASSERT_TRUE(pod.admission.admitted) << pod.admission.message;
    ASSERT_TRUE(rig.running(pod));
    ASSERT_TRUE(eventually([&] { return !rig.annotation(pod, "edge-gpu.io/placement").empty(); }));
    const auto placement = k8s::parse_placement(rig.annotation(pod, "edge-gpu.io/placement"));
    ASSERT_TRUE(placement);
    ASSERT_EQ(placement->containers.size(), 2U);
    EXPECT_EQ(placement->containers[0].cards.at(0).percent, 25);
    EXPECT_EQ(
        rig.annotation(pod, "nano-gpu/container-main"), std::to_string(rig.given(pod, "main").at(0))
    );
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

// The scheduler frees a card with the event that says the pod ended, and places the next pod long
// before the kubelet's books were read twice.
TEST_P(AgentLive, ACardChangesItsResourceAtOnce) {
    AgentRig rig(GetParam());
    rig.timing.reconcile.settle = Seconds(60);  // the books alone would be too late
    ASSERT_TRUE(rig.up());
    RigPod before = rig.run("whole-0", {{.name = "main", .whole = 4, .cards = {0, 1, 2, 3}}});
    ASSERT_TRUE(before.admission.admitted) << before.admission.message;
    ASSERT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 0, Seconds(10)));
    for (int i = 1; i <= 6; ++i) {
        const bool share = i % 2 == 1;
        rig.remove(before);
        ASSERT_TRUE(rig.kubelet().wait_allocatable(
            share ? AgentRig::kPercent : AgentRig::kWhole, share ? 400 : 4, Seconds(10)
        ));
        const std::string name = (share ? "share-" : "whole-") + std::to_string(i);
        before = share ? rig.run(name, {{.name = "main", .percent = 400, .cards = {0, 1, 2, 3}}})
                       : rig.run(name, {{.name = "main", .whole = 4, .cards = {0, 1, 2, 3}}});
        ASSERT_TRUE(before.admission.admitted) << name << ": " << before.admission.message;
        ASSERT_TRUE(rig.running(before));
        EXPECT_EQ(rig.agent().allocator().records().size(), 1U);
        EXPECT_THAT(rig.violations(), IsEmpty());
    }
}

// What the API server says frees nothing: the kubelet still has the pod.
TEST_P(AgentLive, AnEndedPodKeepsItsCardsUntilTheKubeletLetsGo) {
    AgentRig rig(GetParam());
    ASSERT_TRUE(rig.up());
    const RigPod whole = rig.run("whole", {{.name = "main", .whole = 4, .cards = {0, 1, 2, 3}}});
    ASSERT_TRUE(rig.running(whole));
    ASSERT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 0, Seconds(10)));
    rig.set_phase(whole, "Failed");
    ASSERT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 400, Seconds(10)));
    const RigPod share = rig.run("share", {{.name = "main", .percent = 20, .cards = {1}}});
    EXPECT_FALSE(share.admission.admitted);
    EXPECT_THAT(share.admission.message, HasSubstr("no card has 20 percent free"));
    EXPECT_EQ(rig.used(1), 100);
}

// NVIDIA's time-slicing: a device of nvidia.com/gpu is a quarter of a card.
TEST_P(AgentLive, ReplicasAreSharesOfTheirCards) {
    AgentRig rig(GetParam());
    rig.adjust = [](Options& options) { options.replicas = 4; };
    ASSERT_TRUE(rig.up_without_agent());
    ASSERT_TRUE(rig.start_agent());
    ASSERT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kWhole, 16, Seconds(10)));
    ASSERT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 400, Seconds(10)));
    ASSERT_TRUE(eventually([&] { return rig.agent().pods().connected(); }));

    std::vector<RigPod> pods;
    for (int i = 0; i < 4; ++i) {
        pods.push_back(
            rig.run("on-2-" + std::to_string(i), {{.name = "main", .whole = 1, .cards = {2}}})
        );
        ASSERT_TRUE(pods.back().admission.admitted) << pods.back().admission.message;
        ASSERT_TRUE(rig.running(pods.back()));
        EXPECT_THAT(rig.given(pods.back(), "main"), ElementsAre(2));
        EXPECT_EQ(rig.used(2), 25 * (i + 1));
    }
    // Without a placement: on the cards with the most room, two of one container on two of them.
    const RigPod two = rig.run("two", {{.name = "main", .whole = 2}});
    ASSERT_TRUE(two.admission.admitted) << two.admission.message;
    ASSERT_TRUE(rig.running(two));
    EXPECT_THAT(rig.given(two, "main"), ElementsAre(0, 1));
    // Beside a share of the other resource there is room for three.
    const RigPod share = rig.run("share", {{.name = "main", .percent = 20, .cards = {3}}});
    ASSERT_TRUE(rig.running(share));
    EXPECT_EQ(rig.used(3), 20);
    EXPECT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kWhole, 15, Seconds(10)));
    EXPECT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 250, Seconds(10)));
    EXPECT_THAT(rig.violations(), IsEmpty());

    rig.stop_agent();  // and all is as it was
    ASSERT_TRUE(rig.start_agent());
    ASSERT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kWhole, 15, Seconds(10)));
    EXPECT_EQ(rig.used(2), 100);
    for (const RigPod& pod : pods) rig.remove(pod);
    rig.remove(two);
    rig.remove(share);
    EXPECT_TRUE(rig.settled_empty());
    EXPECT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 400, Seconds(10)));
}

TEST_P(AgentLive, OneReplicaAContainer) {
    AgentRig rig(GetParam());
    rig.adjust = [](Options& options) {
        options.replicas = 2;
        options.one_replica_a_container = true;
    };
    ASSERT_TRUE(rig.up_without_agent());
    ASSERT_TRUE(rig.start_agent());
    ASSERT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kWhole, 8, Seconds(10)));
    const RigPod refused = rig.run("two", {{.name = "main", .whole = 2}});
    EXPECT_FALSE(refused.admission.admitted);
    EXPECT_THAT(refused.admission.message, HasSubstr("failRequestsGreaterThanOne"));
    EXPECT_TRUE(rig.run("one", {{.name = "main", .whole = 1}}).admission.admitted);
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
    EXPECT_THAT(
        refused.admission.message, HasSubstr("no card has 50 percent free (the most is 40 percent")
    );
    EXPECT_THAT(rig.violations(), IsEmpty());
    EXPECT_EQ(rig.agent().allocator().records().size(), 4U);
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
        return response ? std::to_string(response->status) + " " + response->body
                        : response.error().message;
    };
    EXPECT_EQ(get("/healthz"), "200 ok\n");
    EXPECT_EQ(get("/readyz"), "200 ok\n");
    EXPECT_THAT(
        get("/metrics"),
        HasSubstr("edge_gpu_agent_card_used_percent{card=\"1\",uuid=\"" + rig.uuid(1) + "\"} 30")
    );
    EXPECT_THAT(
        get("/metrics"), HasSubstr("edge_gpu_kubelet_registered{resource=\"nvidia.com/gpu\"} 1")
    );
    EXPECT_THAT(get("/status"), HasSubstr("\"pod\":\"p\""));
    EXPECT_THAT(get("/nothing"), HasSubstr("404"));
}

}  // namespace
}  // namespace egpu::agent
