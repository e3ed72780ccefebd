// A whole replica: routes, start-up, readiness, leadership and fail-over, an API server that is
// away, an orderly stop.
#include "scheduler/service.h"

#include <cstdlib>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "k8s/client.h"
#include "k8s/lease.h"
#include "scheduler/cluster_for_test.h"

namespace egpu::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Options elected_options() {
    Options options = quick_options();
    options.leader_elect = true;
    return options;
}

http::ClientOptions client_options(const std::string& address) {
    http::ClientOptions options;
    options.base_url = "http://" + address;
    return options;
}

http::Response ask(
    const std::string& address,
    std::string_view method,
    std::string_view path,
    const std::string& body = ""
) {
    auto client = http::Client::open(client_options(address));
    EG_CHECK(client.ok());
    http::Request request;
    request.method = method;
    request.target = path;
    request.body = body;
    auto response = (*client)->call(request, MonoClock::now() + Seconds(10));
    return response ? std::move(*response) : http::Response{};
}

TEST(Routes, OnesOfNanoGpuAndOurs) {
    TestCluster cluster;
    cluster.add_node("n1", 200);
    cluster.start();
    EXPECT_THAT(cluster.request("GET", "/version").body, HasSubstr("edge-gpu"));
    EXPECT_EQ(cluster.request("GET", "/healthz").status, 200);
    EXPECT_EQ(cluster.request("GET", "/readyz").status, 200);
    EXPECT_THAT(cluster.request("GET", "/metrics").body, HasSubstr("edge_gpu_scheduler_cards 2"));
    EXPECT_EQ(cluster.request("GET", "/nowhere").status, 404);
    EXPECT_EQ(cluster.request("POST", "/scheduler/nowhere", "{}").status, 404);
    const http::Response wrong = cluster.request("GET", "/scheduler/filter");
    EXPECT_EQ(wrong.status, 405);
    EXPECT_EQ(wrong.headers.get("Allow"), "POST");
    EXPECT_EQ(cluster.request("POST", "/version").status, 405);
    EXPECT_EQ(cluster.request("POST", "/scheduler/filter/", "{").status, 200);
    for (const char* method : {"GET", "POST"}) {
        const auto status = json::parse(cluster.request(method, "/status").body);
        ASSERT_TRUE(status.ok());
        const json::value& node = status->at("n1");
        EXPECT_EQ(node.at("Name").as_string(), "n1");
        EXPECT_EQ(node.at("GPUs").as_array().size(), 2U);
        EXPECT_EQ(node.at("GPUs").as_array()[0].at("Percent").as_int64(), 100);
        EXPECT_EQ(node.at("GPUs").as_array()[0].at("PercentTotal").as_int64(), 100);
        EXPECT_TRUE(node.at("PlanCache").is_object());
    }
}

TEST(Routes, BodiesOverTheLimitAreAnsweredInForm) {
    TestCluster cluster;
    cluster.add_node("n1", 100);
    Options options = quick_options();
    options.max_body = 64U << 10;
    cluster.start(options);
    TestPod pod = share_pod("p", 10);
    pod.annotations["note"] = std::string(100U << 10, 'x');
    const http::Response response =
        cluster.request("POST", "/scheduler/filter", filter_body(pod, {"n1"}));
    EXPECT_TRUE(response.status == 413 || response.status == 200) << response.status;
    if (response.status == 200) {
        EXPECT_NE(json::get_string(*json::parse(response.body), {"Error"}), "");
    }
    EXPECT_THAT(cluster.filter(share_pod("q", 10), {"n1"}), ElementsAre("n1"));
}

TEST(Tls, ServedAndClientCertificatesRequiredWhenAsked) {
    TestCluster cluster;
    cluster.add_node("n1", 100);
    std::string pattern = (std::filesystem::temp_directory_path() / "egpu-tls-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    const auto files = testing::make_tls_files(pattern);
    if (!files) GTEST_SKIP() << files.error().message;
    Options options = quick_options();
    options.tls_cert = files->cert_file;
    options.tls_key = files->key_file;
    options.tls_client_ca = files->ca_file;
    auto service = Service::start(options, cluster.config());
    ASSERT_TRUE(service.ok()) << service.error().message;
    http::ClientOptions client_options;
    client_options.base_url = "https://" + (*service)->address();
    client_options.tls.ca_file = files->ca_file;
    const auto version = [&] {
        auto client = http::Client::open(client_options);
        EXPECT_TRUE(client.ok());
        http::Request request;
        request.target = "/version";
        return (*client)->call(request, MonoClock::now() + Seconds(5));
    };
    EXPECT_FALSE(version().ok());  // without a certificate: anyone could bind any pod
    service->reset();
    options.tls_client_ca.clear();
    service = Service::start(options, cluster.config());
    ASSERT_TRUE(service.ok()) << service.error().message;
    client_options.base_url = "https://" + (*service)->address();
    const auto answer = version();
    ASSERT_TRUE(answer.ok()) << answer.error().message;
    EXPECT_EQ(answer->status, 200);
    std::filesystem::remove_all(pattern);
}

TEST(ApiServerAway, AnswersInFormFromTheFirstMoment) {
    TestCluster cluster;
    cluster.add_node("n1", 100);
    ASSERT_TRUE(cluster.api().faults().set_mode(testing::ServerMode::kRefused).ok());
    auto service = Service::start(quick_options(), cluster.config());
    ASSERT_TRUE(service.ok()) << service.error().message;
    const std::string address = (*service)->address();
    const TestPod pod = share_pod("p", 10);
    EXPECT_TRUE(eventually([&] {
        const auto answer =
            json::parse(ask(address, "POST", "/scheduler/filter", filter_body(pod, {"n1"})).body);
        return answer.ok() &&
               std::string(json::get_string(*answer, {"Error"})).find("API server:") !=
                   std::string::npos;
    }));
    const auto bound =
        json::parse(ask(address, "POST", "/scheduler/bind", bind_body(pod, "n1")).body);
    EXPECT_THAT(std::string(json::get_string(*bound, {"Error"})), HasSubstr("API server"));
    const http::Response ready = ask(address, "GET", "/readyz");
    EXPECT_EQ(ready.status, 503);
    EXPECT_THAT(ready.body, HasSubstr("API server"));
    EXPECT_EQ(ask(address, "GET", "/healthz").status, 200);
    ASSERT_TRUE(cluster.api().faults().set_mode(testing::ServerMode::kOnline).ok());
    EXPECT_TRUE(eventually([&] { return (*service)->ready(); }));
    EXPECT_EQ(ask(address, "GET", "/readyz").status, 200);
}

TEST(ApiServerAway, LosingItLaterKeepsAnsweringAndFreesNothing) {
    TestCluster cluster;
    cluster.add_node("n1", 100);
    cluster.start();
    const TestPod pod = share_pod("p", 60);
    cluster.add_pod_and_wait(pod);
    ASSERT_EQ(cluster.bind(pod, "n1"), "");
    ASSERT_TRUE(cluster.api().faults().set_mode(testing::ServerMode::kRefused).ok());
    const TestPod next = share_pod("next", 60);
    EXPECT_THAT(cluster.filter(next, {"n1"}), IsEmpty());
    EXPECT_NE(cluster.bind(next, "n1"), "");
    EXPECT_TRUE(eventually([&] {
        return cluster.request("GET", "/readyz").body.find("API server:") != std::string::npos;
    }));
    ASSERT_TRUE(cluster.api().remove({"pods", "default", "p"}, 0).ok());
    cluster.api().faults().expire_history();
    ASSERT_TRUE(cluster.api().faults().set_mode(testing::ServerMode::kOnline).ok());
    // The deletion was missed; the next list tells.
    EXPECT_TRUE(eventually([&] { return cluster.used("n1") == std::vector<int>{0}; }));
}

TEST(WatchTrouble, BrokenAndExpiredWatchesConverge) {
    TestCluster cluster;
    cluster.add_node("n1", 100);
    cluster.start();
    for (int i = 0; i < 4; ++i) {
        if (i % 2 == 0) {
            cluster.api().faults().break_watches();
        } else {
            cluster.api().faults().expire_history();
        }
        const TestPod pod = share_pod("p" + std::to_string(i), 60);
        cluster.add_pod(pod);
        ASSERT_EQ(cluster.bind(pod, "n1"), "") << i;
        ASSERT_TRUE(cluster.api().remove({"pods", "default", pod.name}, 0).ok());
        ASSERT_TRUE(
            eventually([&] { return cluster.used("n1") == std::vector<int>{0}; }, Seconds(20))
        ) << i;
    }
    EXPECT_THAT(cluster.state().check_invariants(), IsEmpty());
}

TEST(WatchTrouble, BadCardAnnotationsGetOneEventAndTheNodeStaysUsable) {
    TestCluster cluster;
    cluster.add_node("n1", 100);
    cluster.start();
    json::value node = node_json("n1", 200);
    node.at("metadata").as_object()["annotations"] = json::object{{"edge-gpu.io/cards", "[1,2"}};
    for (int i = 0; i < 3; ++i) {
        node.at("metadata").as_object()["labels"] = json::object{{"n", std::to_string(i)}};
        ASSERT_TRUE(cluster.api().load(node).ok());
    }
    ASSERT_TRUE(eventually([&] { return cluster.used("n1").size() == 2; }));
    EXPECT_TRUE(eventually([&] {
        for (const auto& event : cluster.api().list("events")) {
            if (json::get_string(event, {"reason"}) == "CardsNotBelieved") return true;
        }
        return false;
    }));
}

TEST(WatchTrouble, NodesNotReadyKeepTheirShares) {
    TestCluster cluster;
    cluster.add_node("n1", 100);
    cluster.start();
    const TestPod pod = share_pod("p", 60);
    cluster.add_pod_and_wait(pod);
    ASSERT_EQ(cluster.bind(pod, "n1"), "");
    json::value node = node_json("n1", 100);
    node.at("status").as_object()["conditions"] =
        json::array{json::object{{"type", "Ready"}, {"status", "Unknown"}}};
    node.at("metadata").as_object()["labels"] = json::object{{"seen", "yes"}};
    ASSERT_TRUE(cluster.api().load(node).ok());
    const TestPod next = share_pod("next", 60);
    cluster.add_pod_and_wait(next);
    EXPECT_THAT(cluster.used("n1"), ElementsAre(60));
    EXPECT_THAT(cluster.filter(next, {"n1"}), IsEmpty());
}

TEST(NanoGpuState, PlacementsOfNanoGpuAreRead) {
    TestCluster cluster;
    cluster.add_node("n1", 400);
    TestPod pod = share_pod("old", 60);
    pod.containers.push_back({.name = "plain"});
    pod.node = "n1";
    pod.annotations = {
        {"nano-gpu/assume", "true"},
        {"nano-gpu/container-main", "2"},
        {"nano-gpu/container-plain", "-1"}};
    cluster.add_pod(pod);
    cluster.start();
    EXPECT_THAT(cluster.used("n1"), ElementsAre(0, 0, 60, 0));
}

// --- leadership ---

TEST(Leadership, OneWriterAndQuickHandOver) {
    TestCluster cluster;
    cluster.add_node("n1", 100);
    cluster.start(elected_options());
    auto second = Service::start(elected_options(), cluster.config());
    ASSERT_TRUE(second.ok());
    const std::string address = (*second)->address();
    const TestPod first_pod = share_pod("a", 60);
    cluster.add_pod_and_wait(first_pod);
    ASSERT_EQ(cluster.bind(first_pod, "n1"), "");
    EXPECT_TRUE(eventually([&] {
        return ask(address, "GET", "/readyz").body.find("not the leader") != std::string::npos;
    }));
    const TestPod pod = share_pod("b", 60);
    cluster.add_pod_and_wait(pod);
    const auto refused =
        json::parse(ask(address, "POST", "/scheduler/bind", bind_body(pod, "n1")).body);
    EXPECT_THAT(std::string(json::get_string(*refused, {"Error"})), HasSubstr("not the leader"));
    cluster.stop_service();  // an orderly stop gives the lease back
    const TimePoint start = MonoClock::now();
    EXPECT_TRUE(eventually([&] { return (*second)->ready(); }, Seconds(3)));
    EXPECT_LT(MonoClock::now() - start, Seconds(3));
    // What the first leader bound is in the second one's ledger.
    const auto full =
        json::parse(ask(address, "POST", "/scheduler/bind", bind_body(pod, "n1")).body);
    EXPECT_THAT(
        std::string(json::get_string(*full, {"Error"})), HasSubstr("no card with 60 percent free")
    );
}

TEST(Leadership, ADeadLeadersLeaseIsTakenWithinThreeSeconds) {
    TestCluster cluster;
    cluster.add_node("n1", 100);
    // A leader that renews until it is killed.
    std::atomic<bool> alive{true};
    auto client = k8s::Client::open(cluster.config());
    ASSERT_TRUE(client.ok());
    const Options options = elected_options();
    k8s::LeaseOptions lease;
    lease.ns = options.lease_namespace;
    lease.name = options.lease_name;
    lease.identity = "the-other";
    lease.lease = options.lease_duration;
    lease.renew = options.renew_deadline;
    lease.retry = options.retry_period;
    lease.release_on_stop = false;  // as after SIGKILL
    k8s::LeaderElector other(*client, lease);
    ASSERT_TRUE(other.start().ok());
    ASSERT_TRUE(eventually([&] { return other.is_leader(); }));
    auto standby = Service::start(options, cluster.config());
    ASSERT_TRUE(standby.ok());
    std::this_thread::sleep_for(Millis(2500));
    EXPECT_FALSE((*standby)->ready());
    const TimePoint killed = MonoClock::now();
    other.stop();
    EXPECT_TRUE(eventually([&] { return (*standby)->ready(); }, Seconds(6)));
    EXPECT_LT(MonoClock::now() - killed, Seconds(3));
}

TEST(Leadership, LosingTheLeaseStopsBindsAtOnce) {
    TestCluster cluster;
    cluster.add_node("n1", 100);
    cluster.start(elected_options());
    const TestPod pod = share_pod("p", 60);
    cluster.add_pod_and_wait(pod);
    // Renewals fail, everything else works.
    cluster.api().faults().fail_next(-1, "", "/leases/", 500);
    ASSERT_TRUE(eventually([&] { return !cluster.service().ready(); }, Seconds(5)));
    EXPECT_THAT(cluster.bind(pod, "n1"), HasSubstr("not the leader"));
    EXPECT_EQ(cluster.node_of("p"), "");
    ASSERT_TRUE(cluster.api().faults().clear().ok());
    ASSERT_TRUE(eventually([&] { return cluster.service().ready(); }));
    EXPECT_EQ(cluster.bind(pod, "n1"), "");
}

// Told to come back later while it led, it must not write when its lease may be another's.
TEST(Leadership, ABindIsNotTriedAgainAfterTheLease) {
    TestCluster cluster;
    cluster.add_node("n1", 100);
    Options options = elected_options();
    options.bind_timeout = Seconds(8);
    cluster.start(options);
    const TestPod pod = share_pod("p", 60);
    cluster.add_pod_and_wait(pod);
    cluster.api().faults().fail_next(-1, "", "/leases/", 500);
    cluster.api().faults().fail_next(1, "POST", "/binding$", 429, 4);
    EXPECT_NE(cluster.bind(pod, "n1"), "");
    EXPECT_EQ(cluster.node_of("p"), "");
    EXPECT_EQ(cluster.api().faults().count("POST", "/binding$"), 1U);
}

// --- shutting down ---

TEST(Shutdown, BindsInFlightFinish) {
    TestCluster cluster;
    cluster.add_node("n1", 100);
    cluster.start();
    const TestPod pod = share_pod("p", 60);
    cluster.add_pod_and_wait(pod);
    ASSERT_EQ(cluster.bind(share_pod("unknown", 1), "n1").empty(), false);  // warms /version up
    cluster.api().faults().set_latency(Millis(400));
    std::string error = "not answered";
    std::thread binding([&] { error = cluster.bind(pod, "n1"); });
    std::this_thread::sleep_for(Millis(150));
    cluster.service().stop();
    binding.join();
    EXPECT_EQ(error, "");
    EXPECT_EQ(cluster.node_of("p"), "n1");
    EXPECT_FALSE(cluster.service().ready());
}

}  // namespace
}  // namespace egpu::scheduler
