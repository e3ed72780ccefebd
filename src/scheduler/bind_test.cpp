#include "scheduler/bind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/metrics.h"
#include "k8s/codec.h"
#include "k8s/scripted_api.h"
#include "scheduler/cluster_for_test.h"

namespace egpu::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kBinding = "/binding$";

class BindTest : public ::testing::Test {
  protected:
    void start(Options options = quick_options()) {
        ASSERT_TRUE(cluster.api().load(node_with_cards_json("n1", 2)).ok());
        ASSERT_TRUE(cluster.api().load(node_with_cards_json("n2", 1)).ok());
        cluster.start(options);
    }
    TestCluster cluster;
};

TEST_F(BindTest, WritesNodeAndPlacementInOneBinding) {
    start();
    TestPod pod;
    pod.name = "p";
    const std::string long_name(63, 'x');
    pod.containers = {
        {.name = "main", .percent = "20"}, {.name = "plain"}, {.name = long_name, .percent = "30"}};
    cluster.add_pod_and_wait(pod);
    EXPECT_EQ(cluster.bind(pod, "n1"), "");
    EXPECT_EQ(cluster.annotation("p", "nano-gpu/assume"), "true");
    EXPECT_EQ(cluster.annotation("p", "nano-gpu/container-main"), "0");
    // A key of more than 63 characters would break every later update of the pod.
    EXPECT_EQ(cluster.annotation("p", "nano-gpu/container-" + long_name), "");
    EXPECT_THAT(cluster.annotation("p", "edge-gpu.io/placement"), HasSubstr("GPU-n1-0"));
    EXPECT_THAT(cluster.annotation("p", "edge-gpu.io/placement"), HasSubstr(long_name));
}

// The node's agent offers the card to the other resource by the same event that frees it here.
TEST_F(BindTest, ACardThatChangesItsResourceIsLeftAMoment) {
    start();
    TestPod whole;
    whole.name = "whole";
    whole.containers = {{.name = "main", .whole = "1"}};
    cluster.add_pod_and_wait(whole);
    ASSERT_EQ(cluster.bind(whole, "n2"), "");
    const TestPod share = share_pod("share", 20);
    cluster.add_pod_and_wait(share);
    const TimePoint removed = MonoClock::now();
    ASSERT_TRUE(cluster.api().remove({"pods", "default", "whole"}, 0).ok());
    ASSERT_TRUE(eventually([&] { return cluster.used("n2") == std::vector<int>{0}; }));
    EXPECT_EQ(cluster.bind(share, "n2"), "");
    EXPECT_GE(MonoClock::now() - removed, StateOptions{}.hand_over);
    EXPECT_EQ(cluster.node_of("share"), "n2");
}

TEST_F(BindTest, TimeoutAfterTheWriteIsSuccess) {
    start();
    const TestPod pod = share_pod("p", 20);
    cluster.add_pod_and_wait(pod);
    cluster.api().faults().drop_after_commit(1, "POST", kBinding);
    EXPECT_EQ(cluster.bind(pod, "n1"), "");
    EXPECT_EQ(cluster.node_of("p"), "n1");
    EXPECT_THAT(cluster.used("n1"), ElementsAre(20, 0));
}

TEST_F(BindTest, StallAfterTheWriteIsSuccessWithinTheTime) {
    Options options = quick_options();
    options.bind_timeout = Millis(1000);
    start(options);
    const TestPod pod = share_pod("p", 20);
    cluster.add_pod_and_wait(pod);
    testing::FaultRule stall;
    stall.action = testing::FaultAction::kStallAfterCommit;
    stall.method = "POST";
    stall.path = kBinding;
    stall.delay = Seconds(5);
    ASSERT_TRUE(cluster.api().faults().add(stall).ok());
    const TimePoint start_time = MonoClock::now();
    EXPECT_EQ(cluster.bind(pod, "n1"), "");
    EXPECT_LT(MonoClock::now() - start_time, Millis(2500));
}

TEST_F(BindTest, DroppedBeforeTheWriteIsAnErrorAndTheShareComesBack) {
    start();
    const TestPod pod = share_pod("p", 20);
    cluster.add_pod_and_wait(pod);
    cluster.api().faults().drop_before(1, "POST", kBinding);
    EXPECT_NE(cluster.bind(pod, "n1"), "");
    // In doubt until looked up: the write could still have been on its way.
    EXPECT_TRUE(eventually([&] { return cluster.used("n1") == std::vector<int>{0, 0}; }));
    EXPECT_EQ(cluster.bind(pod, "n2"), "");
    EXPECT_EQ(cluster.node_of("p"), "n2");
}

TEST_F(BindTest, DoubtDoesNotBlockAnotherNode) {
    start();
    const TestPod pod = share_pod("p", 20);
    cluster.add_pod_and_wait(pod);
    cluster.api().faults().drop_before(1, "POST", kBinding);
    EXPECT_NE(cluster.bind(pod, "n1"), "");
    EXPECT_EQ(cluster.bind(pod, "n2"), "");
    EXPECT_THAT(cluster.used("n1"), ElementsAre(0, 0));
    EXPECT_THAT(cluster.used("n2"), ElementsAre(20));
}

TEST_F(BindTest, UnreachableServerIsAnErrorAndLaterSuccess) {
    start();
    const TestPod pod = share_pod("p", 20);
    cluster.add_pod_and_wait(pod);
    ASSERT_TRUE(cluster.api().faults().set_mode(testing::ServerMode::kRefused).ok());
    EXPECT_NE(cluster.bind(pod, "n1"), "");
    ASSERT_TRUE(cluster.api().faults().set_mode(testing::ServerMode::kOnline).ok());
    EXPECT_EQ(cluster.bind(pod, "n1"), "");
    EXPECT_THAT(cluster.used("n1"), ElementsAre(20, 0));
}

TEST_F(BindTest, TooManyRequestsIsRetriedAndCounted) {
    start();
    const TestPod pod = share_pod("p", 20);
    cluster.add_pod_and_wait(pod);
    cluster.api().faults().fail_next(1, "POST", kBinding, 429, 1);
    EXPECT_EQ(cluster.bind(pod, "n1"), "");
    EXPECT_EQ(cluster.node_of("p"), "n1");
}

TEST_F(BindTest, BoundElsewhereMeanwhile) {
    start();
    const TestPod pod = share_pod("p", 20);
    cluster.add_pod_and_wait(pod);
    // Another scheduler is quicker, and this one's watch is late.
    cluster.api().faults().set_latency(Millis(0));
    ASSERT_TRUE(cluster.api().bind({"pods", "default", "p"}, "n2").ok());
    EXPECT_THAT(cluster.bind(pod, "n1"), HasSubstr("n2"));
    EXPECT_TRUE(eventually([&] { return cluster.used("n2") == std::vector<int>{20}; }));
    EXPECT_THAT(cluster.used("n1"), ElementsAre(0, 0));
}

TEST_F(BindTest, ReplacedDeletedFinishedAndUnknownPods) {
    start();
    TestPod pod = share_pod("p", 20);
    EXPECT_THAT(cluster.bind(pod, "n1"), HasSubstr("does not exist"));
    cluster.add_pod_and_wait(pod);
    TestPod old = pod;
    old.uid = "uid-of-the-former";
    EXPECT_THAT(cluster.bind(old, "n1"), HasSubstr("was replaced"));
    TestPod done = share_pod("done", 20);
    done.phase = "Succeeded";
    cluster.add_pod(done);
    EXPECT_THAT(cluster.bind(done, "n1"), HasSubstr("finished"));
    TestPod going = share_pod("going", 20);
    going.deleting = true;
    cluster.add_pod(going);
    EXPECT_NE(cluster.bind(going, "n1"), "");
    EXPECT_THAT(cluster.bind(pod, "no-such-node"), HasSubstr("no-such-node"));
    EXPECT_THAT(cluster.used("n1"), ElementsAre(0, 0));
    EXPECT_EQ(cluster.state().totals().reservations, 0U);
}

TEST_F(BindTest, PodTheWatchHasNotShownIsFetched) {
    start();
    cluster.api().faults().set_latency(Millis(0));
    const TestPod pod = share_pod("p", 20);
    cluster.add_pod(pod);  // no waiting
    EXPECT_EQ(cluster.bind(pod, "n1"), "");
    EXPECT_EQ(cluster.node_of("p"), "n1");
}

TEST_F(BindTest, PodThatAsksForNothingIsBoundWithoutAnnotations) {
    start();
    TestPod pod;
    pod.name = "zero";
    pod.containers = {{.name = "main", .percent = "0"}};
    cluster.add_pod(pod);
    EXPECT_THAT(cluster.filter(pod, {"n1", "anything"}), ElementsAre("n1", "anything"));
    EXPECT_EQ(cluster.bind(pod, "n1"), "");
    EXPECT_EQ(cluster.node_of("zero"), "n1");
    EXPECT_EQ(cluster.annotation("zero", "nano-gpu/assume"), "");
}

TEST_F(BindTest, WrongRequestIsRefusedWithTheReason) {
    start();
    const TestPod pod = share_pod("p", 150);
    cluster.add_pod_and_wait(pod);
    EXPECT_THAT(cluster.bind(pod, "n1"), HasSubstr("150"));
    EXPECT_EQ(cluster.node_of("p"), "");
}

TEST_F(BindTest, RefusalByOldFactsIsCheckedWithTheServer) {
    start();
    TestPod pod = share_pod("p", 20);
    pod.annotations = {{"edge-gpu.io/gpu-model", "H100"}};
    cluster.add_pod_and_wait(pod);
    for (const char* method : {"GET", "WATCH"}) {
        testing::FaultRule blind;
        blind.method = method;
        blind.path = "/pods$";
        blind.count = -1;
        ASSERT_TRUE(cluster.api().faults().add(blind).ok());
    }
    cluster.api().faults().break_watches();
    pod.annotations = {{"edge-gpu.io/policy", "x"}};
    cluster.add_pod(pod);
    EXPECT_THAT(cluster.bind(pod, "n1"), HasSubstr("edge-gpu.io/policy \"x\""));
    pod.annotations = {{"edge-gpu.io/policy", "spread"}};
    cluster.add_pod(pod);
    EXPECT_EQ(cluster.bind(pod, "n1"), "");
    EXPECT_EQ(cluster.node_of("p"), "n1");
}

// The API server does not check a Binding's annotations: with more than 256 KiB of them every later
// update of the pod fails, the kubelet's included.
TEST_F(BindTest, APlacementThatWouldBreakThePodIsNotWritten) {
    start();
    TestPod pod = share_pod("p", 20);
    pod.annotations["notes"] = std::string(262'000, 'x');
    cluster.add_pod_and_wait(pod);
    EXPECT_THAT(cluster.bind(pod, "n1"), HasSubstr("annotations"));
    EXPECT_EQ(cluster.node_of("p"), "");
    EXPECT_THAT(cluster.used("n1"), ElementsAre(0, 0));
}

TEST_F(BindTest, CompatLabel) {
    Options options = quick_options();
    options.compat_label = true;
    start(options);
    // Made as a user makes them, so that the API server accepts a patch.
    const auto create = [&](const char* name) {
        TestPod pod = share_pod(name, 20);
        const auto created = cluster.api().create(pod_json(pod));
        EXPECT_TRUE(created.ok());
        pod.uid = json::get_string(*created, {"metadata", "uid"});
        return pod;
    };
    EXPECT_EQ(cluster.bind(create("p"), "n1"), "");
    EXPECT_EQ(
        json::get_string(cluster.pod("p"), {"metadata", "labels", "nano-gpu/assume"}), "true"
    );
    const TestPod next = create("next");
    cluster.api().faults().fail_next(1, "PATCH", "/pods/", 500);
    EXPECT_EQ(cluster.bind(next, "n1"), "");  // best effort
    EXPECT_EQ(cluster.node_of("next"), "n1");
}

TEST_F(BindTest, EmptyFieldsAndBadJson) {
    start();
    for (const char* body : {"", "{", "[]", "{\"PodName\":\"p\"}", "null", "{\"PodName\":1}"}) {
        const json::value answer = cluster.call("bind", body);
        EXPECT_NE(json::get_string(answer, {"Error"}), "") << body;
    }
}

TEST_F(BindTest, ConcurrentBindsOfOnePodAreOne) {
    start();
    const TestPod pod = share_pod("p", 20);
    cluster.add_pod_and_wait(pod);
    cluster.api().faults().set_latency(Millis(30));
    std::vector<std::thread> threads;
    std::atomic<int> bound{0};
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            if (cluster.bind(pod, "n1").empty()) ++bound;
        });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(bound, 4);
    EXPECT_EQ(cluster.api().faults().count("POST", kBinding), 1U);
    EXPECT_THAT(cluster.used("n1"), ElementsAre(20, 0));
}

// --- answers that say nothing ---

// What stands between us and the API server may answer in its place.
class BindThroughProxy : public ::testing::Test {
  protected:
    BindThroughProxy()
        : state({}), api([this](int, const k8s::Asked& a, http::Exchange& ex) {
              if (a.path == "/version")
                  return k8s::answer(ex, 200, R"({"major":"1","minor":"30"})");
              if (a.method == "GET") return k8s::answer(ex, 200, json::to_text(pod_now));
              k8s::answer(ex, status, body);
          }) {
        state.upsert_node("n", {.cards = {}, .percent_units = 100});
        gate.open({});
        TestPod pod = share_pod("p", 60);
        pod_now = pod_json(pod);
        state.upsert_pod(read_facts(*k8s::pod_from_json(pod_now)), MonoClock::now());
    }
    Status bind() {
        Binder binder(state, gate, api.client(), {});
        return binder.bind(
            {.pod_name = "p", .pod_namespace = "default", .pod_uid = "uid-p", .node = "n"}
        );
    }
    // As the API server has it after the binding.
    void bound() {
        TestPod pod = share_pod("p", 60);
        pod.node = "n";
        pod.annotations = {
            {"nano-gpu/assume", "true"},
            {"edge-gpu.io/placement",
             R"({"version":1,"containers":[{"name":"main","cards":[{"uuid":"","index":0,"percent":60}]}]})"}};
        pod_now = pod_json(pod);
    }
    State state;
    Gate gate;
    json::value pod_now;
    int status = 201;
    std::string body;
    k8s::ScriptedApi api;
};

TEST_F(BindThroughProxy, ASuccessThatCannotBeReadIsReadBack) {
    body = "<html>created</html>";
    bound();
    const Status result = bind();
    EXPECT_TRUE(result.ok()) << result.error().message;
    EXPECT_EQ(state.totals().used_percent, 60);
    EXPECT_TRUE(state.reservations().empty());
}

// The API server may still be at it.
TEST_F(BindThroughProxy, AGatewaysErrorLeavesTheOutcomeInDoubt) {
    for (const int code : {500, 502, 503, 504}) {
        status = code;
        body = "bad gateway";
        EXPECT_FALSE(bind().ok());
        EXPECT_EQ(state.reservations().size(), 1U) << code;
        EXPECT_EQ(state.totals().used_percent, 60) << code;
    }
    status = 409;
    EXPECT_FALSE(bind().ok());
    EXPECT_TRUE(state.reservations().empty()) << "refused for certain";
}

// --- what a scrape tells ---

TEST_F(BindTest, EveryBindIsCounted) {
    start();
    const auto failed = [] {
        const std::string text = metrics::render();
        const std::string line = "edge_gpu_scheduler_binds_total{result=\"failed\"} ";
        const std::size_t at = text.find(line);
        return at == std::string::npos ? 0 : std::atoi(text.c_str() + at + line.size());
    };
    const int before = failed();
    const json::value answer =
        cluster.call("bind", R"({"PodName":"p","PodNamespace":"default","PodUID":"","Node":"n1"})");
    EXPECT_THAT(std::string(json::get_string(answer, {"Error"})), HasSubstr("PodUID"));
    EXPECT_EQ(failed(), before + 1);
}

TEST(BindOnOldServer, ReplacedPodIsNoticedWithoutTheServersHelp) {
    testing::ApiServerOptions old_server;
    old_server.check_binding_uid = false;
    old_server.version = "1.21.2";
    TestCluster cluster(old_server);
    cluster.add_node("n1", 100);
    cluster.start();
    TestPod pod = share_pod("db-0", 20);
    pod.uid = "new";
    cluster.add_pod_and_wait(pod);
    TestPod old = pod;
    old.uid = "old";
    EXPECT_THAT(cluster.bind(old, "n1"), HasSubstr("was replaced"));
    EXPECT_EQ(cluster.node_of("db-0"), "");
    EXPECT_EQ(cluster.bind(pod, "n1"), "");
    EXPECT_GE(cluster.api().faults().count("GET", "/pods/db-0$"), 2U);
}

}  // namespace
}  // namespace egpu::scheduler
