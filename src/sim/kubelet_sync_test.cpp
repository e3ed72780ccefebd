// The embedded kubelet with an embedded API server: what `kubectl` would see of nodes and pods.
#include "sim/kubelet_sync.h"

#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/apiserver/api_server.h"
#include "testing/kubelet/rig.h"

namespace egpu::sim {
namespace {

using testing::ApiServer;
using ::testing::HasSubstr;
using testing::ObjectRef;
using testing::Rig;
using ::testing::StartsWith;

class KubeletSyncTest : public ::testing::Test {
  protected:
    void SetUp() override {
        auto api = ApiServer::start();
        ASSERT_TRUE(api.ok()) << api.error().message;
        api_ = std::move(*api);
        k8s::Config config;
        config.server = api_->url();
        auto client = k8s::Client::open(config);
        ASSERT_TRUE(client.ok()) << client.error().message;
        KubeletSyncOptions options;
        options.facts.name = "n1";
        options.facts.kubelet_version = "v1.34.9";
        options.facts.address = "10.0.0.1";
        options.tick = Millis(20);
        options.retry = Millis(20);
        sync_.emplace(rig_.kubelet(), *client, options);
        ASSERT_TRUE(rig_.up(100));
        sync_->start();
    }

    void TearDown() override {
        rig_.kubelet().stop();
        sync_.reset();
    }

    // A pod bound to n1.
    void run_pod(const std::string& name, int units, const std::string& annotations = "{}") {
        const std::string limits =
            units == 0 ? "{}" : R"({"nano-gpu/gpu-percent":")" + std::to_string(units) + "\"}";
        auto made = api_->create(
            R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name +
            R"(","annotations":)" + annotations +
            R"(},"spec":{"containers":[{"name":"main","image":"i","resources":{"limits":)" +
            limits + "}}]}}"
        );
        ASSERT_TRUE(made.ok()) << made.error().message;
        const Status bound = api_->bind({"pods", "default", name}, "n1");
        ASSERT_TRUE(bound.ok()) << bound.error().message;
    }

    static ObjectRef ref(const std::string& name) { return {"pods", "default", name}; }

    bool phase_becomes(const std::string& name, std::string_view phase) {
        return api_->wait_for(
            ref(name),
            [&](const json::value* pod) {
                return pod != nullptr && json::get_string(*pod, {"status", "phase"}) == phase;
            },
            Seconds(10)
        );
    }

    bool allocatable_becomes(std::string_view units) {
        return api_->wait_for(
            {"nodes", "", "n1"},
            [&](const json::value* node) {
                return node != nullptr &&
                       json::get_string(*node, {"status", "allocatable", "nano-gpu/gpu-percent"}) ==
                           units;
            },
            Seconds(10)
        );
    }

    bool has_event(std::string_view reason, std::string_view part, Duration timeout = Seconds(10)) {
        return testing::eventually(
            [&] {
                for (const json::value& event : api_->list("events")) {
                    if (json::get_string(event, {"reason"}) == reason &&
                        json::get_string(event, {"message"}).find(part) != std::string_view::npos) {
                        return true;
                    }
                }
                return false;
            },
            timeout
        );
    }

    std::unique_ptr<ApiServer> api_;
    Rig rig_{testing::Dialect::k1_34};
    std::optional<KubeletSync> sync_;
};

TEST_F(KubeletSyncTest, RegistersTheNodeAndFollowsItsCapacity) {
    ASSERT_TRUE(allocatable_becomes("100"));
    auto node = api_->get({"nodes", "", "n1"});
    ASSERT_TRUE(node.ok());
    EXPECT_EQ(json::get_string(*node, {"status", "nodeInfo", "kubeletVersion"}), "v1.34.9");
    EXPECT_EQ(json::get_string(*node, {"status", "allocatable", "pods"}), "110");
    rig_.stop_plugin();
    EXPECT_TRUE(allocatable_becomes("0"));
    node = api_->get({"nodes", "", "n1"});
    EXPECT_EQ(json::get_string(*node, {"status", "capacity", "nano-gpu/gpu-percent"}), "100");
}

TEST_F(KubeletSyncTest, ADeletedNodeComesBack) {
    ASSERT_TRUE(allocatable_becomes("100"));
    ASSERT_TRUE(api_->remove({"nodes", "", "n1"}).ok());
    rig_.plugin().set_devices(testing::make_devices(50));
    EXPECT_TRUE(allocatable_becomes("50"));
}

TEST_F(KubeletSyncTest, RunsABoundPodAndReportsIt) {
    run_pod("a", 20);
    ASSERT_TRUE(phase_becomes("a", "Running"));
    auto pod = api_->get(ref("a"));
    ASSERT_TRUE(pod.ok());
    EXPECT_EQ(json::get_string(*pod, {"status", "hostIP"}), "10.0.0.1");
    EXPECT_THAT(std::string(json::get_string(*pod, {"status", "podIP"})), HasSubstr("10.244.0."));
    const auto* containers = json::get_array(*pod, {"status", "containerStatuses"});
    ASSERT_NE(containers, nullptr);
    EXPECT_TRUE(json::get_bool(containers->at(0), {"ready"}));
    bool scheduled = false;
    for (const json::value& c : *json::get_array(*pod, {"status", "conditions"})) {
        scheduled = scheduled || json::get_string(c, {"type"}) == "PodScheduled";
    }
    EXPECT_TRUE(scheduled) << "the bind's condition must survive the kubelet's patch";
    EXPECT_TRUE(has_event("Started", "Started container main"));
}

TEST_F(KubeletSyncTest, RunForMakesItSucceed) {
    run_pod("job", 20, R"({"demo.edge-gpu.io/run-for":"50ms"})");
    EXPECT_TRUE(phase_becomes("job", "Succeeded"));
}

TEST_F(KubeletSyncTest, ARefusedPodIsFailedWithTheReason) {
    run_pod("a", 80);
    ASSERT_TRUE(phase_becomes("a", "Running"));
    run_pod("b", 80);
    ASSERT_TRUE(phase_becomes("b", "Failed"));
    auto pod = api_->get(ref("b"));
    EXPECT_EQ(json::get_string(*pod, {"status", "reason"}), "UnexpectedAdmissionError");
    const std::string message(json::get_string(*pod, {"status", "message"}));
    EXPECT_THAT(message, StartsWith("Pod was rejected: Allocate failed due to "));
    EXPECT_TRUE(has_event("UnexpectedAdmissionError", message.substr(message.find("Allocate"))));
    EXPECT_FALSE(has_event("UnexpectedAdmissionError", "Pod was rejected", Millis(1)));
}

TEST_F(KubeletSyncTest, AContainerThatMayNotStartWaitsWithTheReason) {
    std::atomic<bool> allowed{false};
    rig_.calls().before_start = [&](const std::vector<std::string>&) -> Status {
        if (allowed) return ok_status();
        return Error{ErrorCode::kUnavailable, "not yet"};
    };
    run_pod("a", 20);
    ASSERT_TRUE(api_->wait_for(
        ref("a"),
        [](const json::value* pod) {
            const auto* list =
                pod == nullptr ? nullptr : json::get_array(*pod, {"status", "containerStatuses"});
            return list != nullptr &&
                   json::get_string(list->at(0), {"state", "waiting", "reason"}) ==
                       "CreateContainerConfigError";
        },
        Seconds(10)
    ));
    EXPECT_TRUE(has_event("Failed", "not yet"));
    allowed = true;
    EXPECT_TRUE(phase_becomes("a", "Running"));
}

TEST_F(KubeletSyncTest, GracefulDeletionEndsWithTheObject) {
    run_pod("a", 20);
    ASSERT_TRUE(phase_becomes("a", "Running"));
    ASSERT_TRUE(api_->remove(ref("a")).ok());
    EXPECT_TRUE(api_->wait_for(
        ref("a"), [](const json::value* pod) { return pod == nullptr; }, Seconds(10)
    ));
    EXPECT_TRUE(testing::eventually([&] { return rig_.kubelet().pods().empty(); }));
    run_pod("b", 100);
    EXPECT_TRUE(phase_becomes("b", "Running")) << "the units must be free again";
}

TEST_F(KubeletSyncTest, ForcedDeletionStopsTheContainers) {
    run_pod("a", 20);
    ASSERT_TRUE(phase_becomes("a", "Running"));
    ASSERT_TRUE(api_->remove(ref("a"), 0).ok());
    EXPECT_TRUE(testing::eventually([&] { return rig_.kubelet().pods().empty(); }));
}

TEST_F(KubeletSyncTest, WorksThroughFaultsOfTheApiServer) {
    api_->faults().fail_next(3, "PATCH", "/status$", 500);
    api_->faults().drop_after_commit(2, "PATCH", "/status$");
    api_->faults().fail_next(2, "DELETE", "/pods/", 500);
    run_pod("a", 20);
    ASSERT_TRUE(phase_becomes("a", "Running"));
    api_->faults().break_watches();
    ASSERT_TRUE(api_->remove(ref("a")).ok());
    EXPECT_TRUE(api_->wait_for(
        ref("a"), [](const json::value* pod) { return pod == nullptr; }, Seconds(10)
    ));
}

TEST_F(KubeletSyncTest, PodsBoundOrDeletedWhileTheKubeletIsDownAreCaughtUpWith) {
    run_pod("old", 20);
    ASSERT_TRUE(phase_becomes("old", "Running"));
    rig_.kubelet().stop();
    run_pod("new", 0);
    ASSERT_TRUE(api_->remove(ref("old")).ok());
    ASSERT_TRUE(rig_.kubelet().start().ok());
    EXPECT_TRUE(phase_becomes("new", "Running"));
    EXPECT_TRUE(api_->wait_for(
        ref("old"), [](const json::value* pod) { return pod == nullptr; }, Seconds(10)
    ));
}

}  // namespace
}  // namespace egpu::sim
