// Each defect of nano-gpu-scheduler that concerns a scheduler, by its number in the study of that
// project, as a test that fails on the described behaviour.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/cluster_for_test.h"

namespace egpu::scheduler {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kBinding = "/binding$";

class NanoGpuDefect : public ::testing::Test {
  protected:
    void SetUp() override {
        cluster.add_node("n1", 100);
        cluster.start();
    }
    void add_and_bind(const TestPod& pod, const std::string& node = "n1") {
        cluster.add_pod_and_wait(pod);
        ASSERT_EQ(cluster.bind(pod, node), "");
        ASSERT_EQ(cluster.node_of(pod.name), node);
    }
    bool is_used(const std::vector<int>& expected, const std::string& node = "n1") {
        return eventually([&] { return cluster.used(node) == expected; }, Seconds(5));
    }
    TestCluster cluster;
};

TEST_F(NanoGpuDefect, D01_BindNeverReportsSuccessWithoutABinding) {
    const TestPod pod = share_pod("p", 60);
    cluster.add_pod_and_wait(pod);
    for (const int status : {409, 500, 503, 403, 422}) {
        cluster.api().faults().fail_next(1, "POST", kBinding, status);
        EXPECT_NE(cluster.bind(pod, "n1"), "") << status;
        EXPECT_EQ(cluster.node_of("p"), "") << status;
    }
    EXPECT_EQ(cluster.bind(pod, "n1"), "");
    EXPECT_EQ(cluster.node_of("p"), "n1");
    EXPECT_EQ(cluster.annotation("p", "nano-gpu/container-main"), "0");
}

TEST_F(NanoGpuDefect, D02_FailedBindsGiveTheirCapacityBack) {
    const TestPod pod = share_pod("p", 60);
    cluster.add_pod_and_wait(pod);
    for (int i = 0; i < 5; ++i) {
        cluster.api().faults().fail_next(1, "POST", kBinding, 500);
        EXPECT_NE(cluster.bind(pod, "n1"), "");
        EXPECT_THAT(cluster.used("n1"), ElementsAre(0));
    }
    const TestPod other = share_pod("other", 100);
    add_and_bind(other);
}

TEST_F(NanoGpuDefect, D03_PodsWithAPlainContainerAreBound) {
    TestPod pod = share_pod("p", 40);
    pod.containers.push_back({.name = "plain"});
    add_and_bind(pod);
    EXPECT_THAT(cluster.used("n1"), ElementsAre(40));
}

TEST_F(NanoGpuDefect, D04_RollbackRestoresExactlyWhatEachContainerTook) {
    TestPod pod;
    pod.name = "p";
    pod.containers = {
        {.name = "a", .percent = "20"}, {.name = "plain"}, {.name = "b", .percent = "50"}};
    cluster.add_pod_and_wait(pod);
    cluster.api().faults().fail_next(1, "POST", kBinding, 409);
    EXPECT_NE(cluster.bind(pod, "n1"), "");
    EXPECT_THAT(cluster.used("n1"), ElementsAre(0));
    EXPECT_EQ(cluster.bind(pod, "n1"), "");
    EXPECT_THAT(cluster.used("n1"), ElementsAre(70));
}

TEST_F(NanoGpuDefect, D05_DeletedPodsReleaseForcedOrNot) {
    for (int i = 0; i < 20; ++i) {
        const TestPod pod = share_pod("p" + std::to_string(i), 20);
        add_and_bind(pod);
        if (i % 2 == 0) {
            ASSERT_TRUE(cluster.api().remove({"pods", "default", pod.name}, 0).ok());
        } else {
            ASSERT_TRUE(cluster.api().remove({"pods", "default", pod.name}, 1).ok());
            ASSERT_TRUE(cluster.api().remove({"pods", "default", pod.name}, 0).ok());
        }
        ASSERT_TRUE(is_used({0})) << i;
    }
}

TEST_F(NanoGpuDefect, D06_ManyCompletionsAreNoticedAtOnce) {
    for (int i = 0; i < 20; ++i) add_and_bind(share_pod("p" + std::to_string(i), 5));
    EXPECT_THAT(cluster.used("n1"), ElementsAre(100));
    for (int i = 0; i < 20; ++i) {
        json::value done = cluster.pod("p" + std::to_string(i));
        done.at("status").as_object()["phase"] = "Succeeded";
        ASSERT_TRUE(cluster.api().load(done).ok());
    }
    // One a second would take 20 s.
    EXPECT_TRUE(is_used({0}));
}

TEST_F(NanoGpuDefect, D07_TerminatingPodsKeepTheirShare) {
    const TestPod pod = share_pod("old", 80);
    add_and_bind(pod);
    ASSERT_TRUE(cluster.api().remove({"pods", "default", "old"}, 30).ok());
    const TestPod next = share_pod("next", 80);
    cluster.add_pod_and_wait(next);  // the watch has passed the deletion by then
    EXPECT_THAT(cluster.filter(next, {"n1"}), IsEmpty());
    EXPECT_THAT(cluster.bind(next, "n1"), HasSubstr("no card with 80 percent free"));
    EXPECT_THAT(cluster.used("n1"), ElementsAre(80));
    ASSERT_TRUE(cluster.api().remove({"pods", "default", "old"}, 0).ok());
    ASSERT_TRUE(is_used({0}));
    EXPECT_EQ(cluster.bind(next, "n1"), "");
}

TEST(NanoGpuDefectAtStart, D08_FinishedPodsAreNotCountedAfterARestart) {
    TestCluster cluster;
    cluster.add_node("n1", 100);
    for (int i = 0; i < 40; ++i) {
        TestPod pod = share_pod("done" + std::to_string(i), 2);
        pod.node = "n1";
        pod.phase = i % 2 == 0 ? "Succeeded" : "Failed";
        pod.annotations = {{"nano-gpu/assume", "true"}, {"nano-gpu/container-main", "0"}};
        cluster.add_pod(pod);
    }
    cluster.start();
    const TestPod pod = share_pod("p", 90);
    cluster.add_pod_and_wait(pod);
    EXPECT_EQ(cluster.schedule(pod, {"n1"}), "n1") << cluster.last_error;
}

TEST_F(NanoGpuDefect, D09_PlainContainersDoNotInflateCapacity) {
    TestPod pod;
    pod.name = "whole";
    pod.containers = {{.name = "main", .percent = "100"}, {.name = "plain"}};
    add_and_bind(pod);
    ASSERT_TRUE(cluster.api().remove({"pods", "default", "whole"}, 0).ok());
    ASSERT_TRUE(is_used({0}));
    TestPod again = pod;
    again.name = "again";
    add_and_bind(again);
    EXPECT_THAT(cluster.used("n1"), ElementsAre(100));
}

TEST_F(NanoGpuDefect, D10_AnOldAnswerOfFilterCannotOvercommit) {
    const TestPod a = share_pod("a", 60);
    const TestPod b = share_pod("b", 50);
    cluster.add_pod_and_wait(a);
    cluster.add_pod_and_wait(b);
    EXPECT_THAT(cluster.filter(a, {"n1"}), ElementsAre("n1"));
    EXPECT_THAT(cluster.filter(b, {"n1"}), ElementsAre("n1"));
    EXPECT_EQ(cluster.bind(a, "n1"), "");
    EXPECT_THAT(cluster.filter(b, {"n1"}), IsEmpty());
    EXPECT_THAT(cluster.bind(b, "n1"), HasSubstr("no card with 50 percent free"));
    EXPECT_EQ(cluster.node_of("b"), "");
    EXPECT_THAT(cluster.used("n1"), ElementsAre(60));
}

TEST_F(NanoGpuDefect, D11_IdenticalPodsDoNotCollide) {
    const TestPod a = share_pod("a", 50);
    const TestPod b = share_pod("b", 50);
    cluster.add_pod_and_wait(a);
    cluster.add_pod_and_wait(b);
    for (const TestPod& pod : {a, b}) {
        EXPECT_THAT(cluster.filter(pod, {"n1"}), ElementsAre("n1"));
        EXPECT_EQ(cluster.call("priorities", filter_body(pod, {"n1"})).as_array().size(), 1U);
    }
    EXPECT_EQ(cluster.bind(a, "n1"), "");
    EXPECT_EQ(cluster.bind(b, "n1"), "");
    EXPECT_THAT(cluster.used("n1"), ElementsAre(100));
}

TEST_F(NanoGpuDefect, D12_ADoubleBindCountsOnce) {
    const TestPod pod = share_pod("p", 40);
    add_and_bind(pod);
    EXPECT_EQ(cluster.bind(pod, "n1"), "");
    EXPECT_THAT(cluster.used("n1"), ElementsAre(40));
    EXPECT_EQ(cluster.api().faults().count("POST", kBinding), 1U);
    EXPECT_THAT(cluster.bind(pod, "n2"), HasSubstr("bound to node n1 already"));
}

TEST_F(NanoGpuDefect, D13_AnnotationsOutOfRangeAreQuarantined) {
    TestPod pod = share_pod("evil", 30);
    pod.node = "n1";
    pod.annotations = {{"nano-gpu/assume", "true"}, {"nano-gpu/container-main", "99"}};
    cluster.add_pod(pod);
    ASSERT_TRUE(is_used({30}));  // on whatever card has room, never for free
    const char* texts[] = {"-7", "x", "9999999999999999999", "0,0,0", "{}"};
    int i = 0;
    for (const char* text : texts) {
        TestPod worse = share_pod("worse" + std::to_string(i++), 10);
        worse.node = "n1";
        worse.annotations = {{"nano-gpu/assume", "true"}, {"nano-gpu/container-main", text}};
        cluster.add_pod(worse);
    }
    TestPod json_pod = share_pod("json", 10);
    json_pod.node = "n1";
    json_pod.annotations = {{"edge-gpu.io/placement", "{\"version\":1,\"containers\":[{}"}};
    cluster.add_pod(json_pod);
    ASSERT_TRUE(is_used({90}));
    EXPECT_EQ(cluster.request("GET", "/healthz").status, 200);
    EXPECT_TRUE(eventually([&] {
        for (const auto& event : cluster.api().list("events")) {
            if (json::get_string(event, {"reason"}) == "PlacementNotBelieved" &&
                json::get_string(event, {"involvedObject", "name"}) == "json") {
                return true;
            }
        }
        return false;
    }));
}

TEST_F(NanoGpuDefect, D13_TheSameAtStart) {
    cluster.stop_service();
    TestPod evil = share_pod("evil", 30);
    evil.node = "n1";
    evil.annotations = {{"nano-gpu/assume", "true"}, {"nano-gpu/container-main", "99"}};
    cluster.add_pod(evil);
    TestPod nothing = share_pod("nothing", 30);
    nothing.node = "n1";
    cluster.add_pod(nothing);
    cluster.start();
    EXPECT_THAT(cluster.used("n1"), ElementsAre(60));
}

TEST_F(NanoGpuDefect, D14_PodsBoundByOthersAreAccountedFor) {
    TestPod pod = share_pod("static", 70);
    pod.node = "n1";
    cluster.add_pod(pod);
    ASSERT_TRUE(is_used({70}));
    const TestPod next = share_pod("next", 40);
    cluster.add_pod_and_wait(next);
    EXPECT_THAT(cluster.filter(next, {"n1"}), IsEmpty());
    EXPECT_THAT(cluster.bind(pod, "n1"), HasSubstr("past edge-gpu, without a placement"));
}

TEST_F(NanoGpuDefect, D15_NodeChangesAreSeen) {
    const TestPod pod = share_pod("p", 400);
    cluster.add_pod_and_wait(pod);
    EXPECT_THAT(cluster.filter(pod, {"n1"}), IsEmpty());
    ASSERT_TRUE(cluster.api().load(node_json("n1", 400)).ok());
    ASSERT_TRUE(is_used({0, 0, 0, 0}));
    EXPECT_THAT(cluster.filter(pod, {"n1"}), ElementsAre("n1"));
    // Sick cards lower allocatable, not capacity.
    json::value sick = node_json("n1", 400);
    sick.at_pointer("/status/allocatable").as_object()["nano-gpu/gpu-percent"] = "300";
    ASSERT_TRUE(cluster.api().load(sick).ok());
    ASSERT_TRUE(is_used({0, 0, 0}));
    EXPECT_THAT(cluster.filter(pod, {"n1"}), IsEmpty());
    ASSERT_TRUE(cluster.api().remove({"nodes", "", "n1"}).ok());
    ASSERT_TRUE(eventually([&] { return !cluster.state().node("n1").has_value(); }));
    EXPECT_THAT(cluster.filter(share_pod("q", 1), {"n1"}), IsEmpty());
}

TEST_F(NanoGpuDefect, D16_StatusBesideFilterAndBind) {
    std::atomic<bool> done{false};
    std::thread reader([&] {
        while (!done) EXPECT_EQ(cluster.request("POST", "/status").status, 200);
    });
    for (int i = 0; i < 20; ++i) {
        const TestPod pod = share_pod("p" + std::to_string(i), 5);
        cluster.add_pod_and_wait(pod);
        EXPECT_EQ(cluster.schedule(pod, {"n1"}), "n1");
    }
    done = true;
    reader.join();
}

TEST_F(NanoGpuDefect, D17_EachPodKeepsItsOwnName) {
    for (int i = 0; i < 3; ++i) add_and_bind(share_pod("p" + std::to_string(i), 10));
    std::vector<std::string> names;
    const auto node = cluster.state().node("n1");
    for (const auto& holder : node->cards.at(0).holders) names.push_back(holder.pod);
    EXPECT_THAT(names, ::testing::UnorderedElementsAre("p0", "p1", "p2"));
}

TEST_F(NanoGpuDefect, D18_D19_OneBindingPostAndNoOtherWrite) {
    TestPod pod = share_pod("p", 10);
    json::value object = pod_json(pod);
    object.at("spec").as_object()["hostUsers"] = false;
    object.at("spec").as_object()["fieldOfTheFuture"] = json::object{{"a", 1}};
    ASSERT_TRUE(cluster.api().load(object).ok());
    ASSERT_TRUE(eventually([&] { return cluster.state().pending_count() == 1; }));
    cluster.api().faults().forget_requests();
    EXPECT_EQ(cluster.bind(pod, "n1"), "");
    EXPECT_EQ(cluster.api().faults().count("PUT", "/pods/"), 0U);
    EXPECT_EQ(cluster.api().faults().count("PATCH", "/pods/"), 0U);
    EXPECT_EQ(cluster.api().faults().count("POST", kBinding), 1U);
    EXPECT_NE(json::find(cluster.pod("p"), {"spec", "fieldOfTheFuture", "a"}), nullptr);
    EXPECT_EQ(cluster.annotation("p", "nano-gpu/assume"), "true");
}

TEST_F(NanoGpuDefect, D20_NothingIsKeptOfPodsThatAreGone) {
    for (int i = 0; i < 50; ++i) {
        const TestPod pod = share_pod("p" + std::to_string(i), 100);
        cluster.add_pod_and_wait(pod);
        if (i % 2 == 0) {
            EXPECT_EQ(cluster.bind(pod, "n1"), "");
        }
        ASSERT_TRUE(cluster.api().remove({"pods", "default", pod.name}, 0).ok());
        ASSERT_TRUE(eventually([&] {
            return cluster.state().pending_count() == 0 && cluster.state().totals().pods == 0;
        }));
    }
    EXPECT_EQ(cluster.state().totals().reservations, 0U);
}

TEST_F(NanoGpuDefect, D21_GpusOfInitContainersCount) {
    TestPod pod;
    pod.name = "init-only";
    pod.containers = {{.name = "warm", .percent = "70", .init = true}};
    cluster.add_pod_and_wait(pod);
    EXPECT_EQ(cluster.schedule(pod, {"n1"}), "n1") << cluster.last_error;
    EXPECT_THAT(cluster.used("n1"), ElementsAre(70));
    EXPECT_EQ(cluster.annotation("init-only", "nano-gpu/container-warm"), "0");
}

TEST_F(NanoGpuDefect, D21_InitAndSidecarArithmetic) {
    TestPod pod;
    pod.name = "p";
    // max(app 30 + sidecar 20, init 60 + sidecar 20): the sidecar starts before the init container.
    pod.containers = {
        {.name = "side", .percent = "20", .sidecar = true},
        {.name = "warm", .percent = "60", .init = true},
        {.name = "main", .percent = "30"}};
    add_and_bind(pod);
    EXPECT_THAT(cluster.used("n1"), ElementsAre(80));
}

TEST_F(NanoGpuDefect, D22_ScoresKeepTheContract) {
    for (int i = 0; i < 8; ++i) cluster.add_node("big" + std::to_string(i), 100 * (i + 1));
    std::vector<std::string> names{"n1"};
    for (int i = 0; i < 8; ++i) names.push_back("big" + std::to_string(i));
    for (const char* policy : {"binpack", "spread", "random"}) {
        for (const int percent : {1, 50, 100, 800}) {
            TestPod pod = share_pod("p", percent);
            pod.annotations["edge-gpu.io/policy"] = policy;
            const json::value answer = cluster.call("priorities", filter_body(pod, names));
            ASSERT_EQ(answer.as_array().size(), names.size());
            for (std::size_t i = 0; i < names.size(); ++i) {
                const json::value& entry = answer.as_array()[i];
                EXPECT_EQ(json::get_string(entry, {"Host"}), names[i]);
                const auto score = json::get_int(entry, {"Score"});
                ASSERT_TRUE(score.has_value());
                EXPECT_GE(*score, 0);
                EXPECT_LE(*score, 10);
            }
        }
    }
}

TEST_F(NanoGpuDefect, D23_NodesWithoutCardsScoreZero) {
    ASSERT_TRUE(cluster.api().load(node_json("plain", 0)).ok());
    const TestPod pod = share_pod("p", 10);
    EXPECT_THAT(cluster.filter(pod, {"plain", "no-such-node"}), IsEmpty());
    EXPECT_EQ(cluster.last_error, "node has no GPU");
    const json::value answer = cluster.call("priorities", filter_body(pod, {"plain", "n1"}));
    EXPECT_EQ(json::get_int(answer.as_array()[0], {"Score"}), 0);
}

TEST_F(NanoGpuDefect, D25_D26_D30_FilterAndPrioritiesCallNobody) {
    ASSERT_TRUE(cluster.api().load(node_json("plain", 0)).ok());
    const TestPod pod = share_pod("p", 10);
    cluster.add_pod_and_wait(pod);
    EXPECT_EQ(cluster.bind(pod, "n1"), "");  // asks for the server's version once
    cluster.api().faults().forget_requests();
    for (int i = 0; i < 50; ++i) {
        cluster.filter(share_pod("q", 10), {"n1", "plain"});
        cluster.call("priorities", filter_body(share_pod("q", 10), {"n1", "plain"}));
    }
    EXPECT_EQ(cluster.api().faults().count("", ".*"), 0U);
    // A bind is one call.
    const TestPod next = share_pod("next", 10);
    cluster.add_pod_and_wait(next);
    cluster.api().faults().forget_requests();
    EXPECT_EQ(cluster.bind(next, "n1"), "");
    EXPECT_EQ(cluster.api().faults().count("", "/pods"), 1U);
}

TEST_F(NanoGpuDefect, D27_ManyContainersAreNoExponentialSearch) {
    cluster.add_node("eight", 800);
    TestPod pod;
    pod.name = "many";
    for (int i = 0; i < 20; ++i) {
        pod.containers.push_back(
            {.name = "c" + std::to_string(i), .percent = std::to_string(35 + i % 5)}
        );
    }
    const TimePoint start = MonoClock::now();
    cluster.filter(pod, {"eight", "n1"});
    TestPod full = pod;
    full.containers.resize(9);
    for (auto& container : full.containers) container.percent = "60";  // nine of 60 on eight cards
    EXPECT_THAT(cluster.filter(full, {"eight"}), IsEmpty());
    EXPECT_LT(MonoClock::now() - start, Seconds(5));  // nano-gpu: 12 s for nine, hours for twenty
}

TEST_F(NanoGpuDefect, D28_CallsLeaveNoLogLines) {
    std::vector<std::string> nodes{"n1"};
    for (int i = 0; i < 50; ++i) {
        nodes.push_back("many" + std::to_string(i));
        cluster.add_node(nodes.back(), 800);
    }
    const TestPod fits = share_pod("fits", 10);
    cluster.add_pod_and_wait(fits);
    ::testing::internal::CaptureStderr();
    for (int i = 0; i < 50; ++i) {
        cluster.filter(fits, nodes);
        cluster.call("priorities", filter_body(fits, nodes));
        cluster.filter(share_pod("too-big", 900), nodes);
    }
    EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");  // nano-gpu: 3.1 GB in 320 calls
}

TEST_F(NanoGpuDefect, D29_PodsWithoutGpuAreNotKept) {
    for (int i = 0; i < 20; ++i) {
        TestPod pod;
        pod.name = "plain" + std::to_string(i);
        pod.containers = {{.name = "main"}};
        if (i % 2 == 0) pod.node = "n1";
        cluster.add_pod(pod);
    }
    cluster.add_pod_and_wait(share_pod("gpu", 10));
    EXPECT_EQ(cluster.state().pending_count(), 1U);
    EXPECT_EQ(cluster.state().totals().pods, 0U);
}

// The study's 31: no TLS and no authentication (service_test has the client certificates), pprof
// for everybody, and rights that read every Secret.
TEST_F(NanoGpuDefect, D31_NoProfilerAndNothingButPodsAndNodesIsRead) {
    EXPECT_EQ(cluster.request("GET", "/debug/pprof/").status, 404);
    add_and_bind(share_pod("p", 10));
    const auto& requests = cluster.api().faults();
    EXPECT_GT(requests.count("GET", ".*"), 0U);
    EXPECT_EQ(
        requests.count("", ".*"),
        requests.count(
            "", "^/api/v1/(pods|nodes|namespaces/[^/]+/(pods/[^/]+/binding|events))|^/version"
        )
    );
}

}  // namespace
}  // namespace egpu::scheduler
