#include "agent/publisher.h"

#include <atomic>
#include <functional>
#include <optional>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/pods_view.h"
#include "base/json.h"
#include "k8s/placement_annotations.h"
#include "testing/apiserver/api_server.h"

namespace egpu::agent {
namespace {

using testing::ServerMode;

bool soon(const std::function<bool()>& done) {
    const TimePoint until = MonoClock::now() + Seconds(20);
    while (!done()) {
        if (MonoClock::now() >= until) return false;
        std::this_thread::sleep_for(Millis(2));
    }
    return true;
}

class WithApi : public ::testing::Test {
  protected:
    WithApi() {
        auto started = testing::ApiServer::start();
        EXPECT_TRUE(started);
        api = std::move(*started);
        k8s::Config config;
        config.server = api->url();
        auto opened = k8s::Client::open(config);
        EXPECT_TRUE(opened);
        client.emplace(std::move(*opened));
        EXPECT_TRUE(api->create(R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"}})"));
    }

    PublisherOptions options() {
        PublisherOptions out;
        out.node_name = "n1";
        out.retry_first = Millis(20);
        out.retry_most = Millis(100);
        out.call_timeout = Seconds(1);
        out.repeat_report = Millis(50);
        return out;
    }
    std::string make_pod(const std::string& name, const std::string& percent = "20") {
        const auto pod = api->create(
            R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name +
            R"("},"spec":{"containers":[{"name":"main","image":"i","resources":{"limits":{"nano-gpu/gpu-percent":")" +
            percent + R"("}}}]}})"
        );
        EXPECT_TRUE(pod);
        EXPECT_TRUE(api->bind({"pods", "default", name}, "n1"));
        return std::string(json::get_string(*pod, {"metadata", "uid"}));
    }
    std::string annotation(const testing::ObjectRef& ref, std::string_view key) {
        const auto object = api->get(ref);
        return object ? std::string(json::get_string(*object, {"metadata", "annotations", key}))
                      : "";
    }
    static PlacementReport report(const std::string& uid, const std::string& name, int card) {
        return {
            uid,
            "default",
            name,
            {{{"main", {{"GPU-x", card, 20, 0}}}}},
            "container main has card x"};
    }

    std::unique_ptr<testing::ApiServer> api;
    std::optional<k8s::Client> client;
};

TEST_F(WithApi, PublisherWritesOnChangeOnly) {
    Publisher publisher(*client, options());
    publisher.start();
    publisher.publish_cards("one", "direct: a reason");
    ASSERT_TRUE(soon([&] {
        return annotation({"nodes", "", "n1"}, "edge-gpu.io/cards") == "one";
    }));
    ASSERT_TRUE(soon([&] { return publisher.cards_published(); }));
    publisher.publish_cards("one", "direct: a reason");
    std::this_thread::sleep_for(Millis(200));
    EXPECT_EQ(api->faults().count("PATCH", "/api/v1/nodes/n1"), 1U);
    publisher.publish_cards("two", "direct: a reason");
    ASSERT_TRUE(soon([&] {
        return annotation({"nodes", "", "n1"}, "edge-gpu.io/cards") == "two";
    }));
}

TEST_F(WithApi, PublisherKeepsTryingAndSendsTheNewest) {
    ASSERT_TRUE(api->faults().set_mode(ServerMode::kRefused));
    Publisher publisher(*client, options());
    publisher.start();
    const std::string uid = make_pod("p");
    publisher.publish_cards("old", "direct: a reason");
    publisher.report(report(uid, "p", 1));
    std::this_thread::sleep_for(Millis(200));
    publisher.publish_cards("new", "direct: a reason");
    publisher.report(report(uid, "p", 2));
    EXPECT_EQ(publisher.waiting_reports(), 1U);
    ASSERT_TRUE(api->faults().set_mode(ServerMode::kOnline));
    publisher.kick();
    ASSERT_TRUE(soon([&] {
        return annotation({"nodes", "", "n1"}, "edge-gpu.io/cards") == "new";
    }));
    ASSERT_TRUE(soon([&] { return publisher.waiting_reports() == 0; }));
    EXPECT_EQ(annotation({"pods", "default", "p"}, "nano-gpu/container-main"), "2");
}

TEST_F(WithApi, PublisherSurvivesErrorsAndForgetsPodsThatAreGone) {
    Publisher publisher(*client, options());
    publisher.start();
    const std::string uid = make_pod("p");
    api->faults().fail_next(3, "PATCH", "/pods/p", 500);
    publisher.report(report("other-uid", "p", 1));  // a pod of that name was replaced
    publisher.report(report("gone", "gone", 1));
    publisher.report(report(uid, "p", 3));
    ASSERT_TRUE(soon([&] { return publisher.waiting_reports() == 0; }));
    EXPECT_EQ(annotation({"pods", "default", "p"}, "nano-gpu/container-main"), "3");
}

TEST_F(WithApi, PublisherIsBounded) {
    ASSERT_TRUE(api->faults().set_mode(ServerMode::kRefused));
    PublisherOptions small = options();
    small.most_reports = 10;
    Publisher publisher(*client, small);
    for (int i = 0; i < 50; ++i) publisher.report(report("u" + std::to_string(i), "p", 1));
    EXPECT_EQ(publisher.waiting_reports(), 10U);
}

TEST_F(WithApi, ViewFollowsPodsOfThisNode) {
    std::atomic<int> changes{0};
    PodsView view("n1", [&] { ++changes; });
    EXPECT_FALSE(view.fetch("default", "p", MonoClock::now() + Seconds(1)));
    view.start(*client);
    const std::string uid = make_pod("p");
    ASSERT_TRUE(soon([&] { return view.by_uid(uid) != nullptr && view.connected(); }));
    EXPECT_EQ(view.by_name("default", "p")->request.containers.at(0).percent, 20);
    EXPECT_EQ(view.fate(uid, "default", "p", MonoClock::now() + Seconds(1)), PodFate::kHere);
    ASSERT_TRUE(api->patch(
        {"pods", "default", "p"},
        json::object{{"status", json::object{{"phase", "Succeeded"}}}},
        "status"
    ));
    ASSERT_TRUE(soon([&] { return view.by_uid(uid)->terminal; }));
    ASSERT_TRUE(api->remove({"pods", "default", "p"}, 0));
    ASSERT_TRUE(soon([&] { return view.by_uid(uid) == nullptr; }));
    EXPECT_EQ(view.fate(uid, "default", "p", MonoClock::now() + Seconds(1)), PodFate::kGone);
    EXPECT_EQ(
        view.fate("never-seen", "default", "p", MonoClock::now() + Seconds(1)), PodFate::kGone
    );
    EXPECT_GT(changes.load(), 2);
    // One constant shape: no pages, this node only.
    for (const testing::RequestRecord& request : api->faults().requests()) {
        if (request.user_agent.find("edge-gpu-agent-pods") == std::string::npos) continue;
        EXPECT_EQ(request.query.find("limit="), std::string::npos);
        if (request.path == "/api/v1/pods") {
            EXPECT_NE(request.query.find("spec.nodeName"), std::string::npos);
        }
    }
}

TEST_F(WithApi, OfflineEvidenceIsNoFate) {
    PodsView view("n1", [] {});
    view.start(*client);
    const std::string uid = make_pod("p");
    ASSERT_TRUE(soon([&] { return view.by_uid(uid) != nullptr && view.connected(); }));
    ASSERT_TRUE(api->faults().set_mode(ServerMode::kLiteOffline));
    ASSERT_TRUE(soon([&] { return !view.connected(); }));
    EXPECT_EQ(view.fate(uid, "default", "p", MonoClock::now() + Seconds(1)), PodFate::kHere);
    EXPECT_EQ(
        view.fate("unknown", "default", "q", MonoClock::now() + Seconds(1)), PodFate::kUnknown
    );
    const auto missing = view.fetch("default", "q", MonoClock::now() + Seconds(1));
    ASSERT_FALSE(missing);
    EXPECT_NE(missing.error().code, ErrorCode::kNotFound);
    // Not asked again at once: admission does not wait for a dead link each time.
    const TimePoint before = MonoClock::now();
    EXPECT_FALSE(view.fetch("default", "q", MonoClock::now() + Seconds(1)));
    EXPECT_LT(MonoClock::now() - before, Millis(200));
}

}  // namespace
}  // namespace egpu::agent
