// The small kube-scheduler between an embedded API server and a scripted extender.
#include "sim/kube_scheduler.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/server.h"
#include "testing/apiserver/api_server.h"

namespace egpu::sim {
namespace {

using testing::ApiServer;
using ::testing::Contains;
using testing::Dialect;
using ::testing::ElementsAre;
using testing::FaultAction;
using testing::FaultRule;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Answers as told and remembers what it was asked.
class ScriptedExtender {
  public:
    using Answer = std::function<json::value(const json::value& arguments)>;

    ScriptedExtender() {
        auto server =
            http::Server::start({}, [this](http::Exchange& exchange) { serve(exchange); });
        EXPECT_TRUE(server.ok());
        server_ = std::move(*server);
    }
    ~ScriptedExtender() { server_->stop(Duration::zero()); }

    std::string url() const { return "http://" + server_->address() + "/scheduler"; }
    void on(const std::string& verb, Answer answer) {
        const std::scoped_lock lock(mutex_);
        answers_[verb] = std::move(answer);
    }
    std::vector<json::value> calls(const std::string& verb) const {
        const std::scoped_lock lock(mutex_);
        const auto found = calls_.find(verb);
        return found == calls_.end() ? std::vector<json::value>{} : found->second;
    }

  private:
    void serve(http::Exchange& exchange) {
        auto body = exchange.read_all(1U << 20);
        auto arguments = body ? json::parse(*body) : Result<json::value>(body.error());
        const std::string prefix = "/scheduler/";
        const std::string& path = exchange.request().path;
        if (!arguments || !path.starts_with(prefix)) {
            (void)exchange.respond(404, "text/plain", "");
            return;
        }
        const std::string verb = path.substr(prefix.size());
        Answer answer;
        {
            const std::scoped_lock lock(mutex_);
            calls_[verb].push_back(*arguments);
            answer = answers_[verb];
        }
        if (!answer) {
            (void)exchange.respond(500, "text/plain", "");
            return;
        }
        (void)exchange.respond(200, "application/json", json::to_text(answer(*arguments)));
    }

    mutable std::mutex mutex_;
    std::map<std::string, Answer> answers_;
    std::map<std::string, std::vector<json::value>> calls_;
    std::unique_ptr<http::Server> server_;
};

json::value passes(const json::value& arguments) {
    return json::object{
        {"Nodes", nullptr},
        {"NodeNames", *json::find(arguments, {"NodeNames"})},
        {"FailedNodes", json::object{}},
        {"FailedAndUnresolvableNodes", json::object{}},
        {"Error", ""}};
}

class KubeSchedulerTest : public ::testing::Test {
  protected:
    void SetUp() override {
        auto api = ApiServer::start();
        ASSERT_TRUE(api.ok()) << api.error().message;
        api_ = std::move(*api);
        options_.queue = {Millis(20), Millis(100), Seconds(20)};
        options_.extender.url_prefix = extender_.url();
        extender_.on("filter", passes);
        extender_.on("priorities", [](const json::value& arguments) {
            json::array out;
            for (const auto& name : *json::get_array(arguments, {"NodeNames"})) {
                out.push_back(json::object{{"Host", name}, {"Score", name == "n2" ? 10 : 1}});
            }
            return json::value(std::move(out));
        });
        extender_.on("bind", [this](const json::value& arguments) { return bind(arguments); });
    }

    // What an extender does.
    json::value bind(const json::value& arguments) {
        const Status bound = api_->bind(
            {"pods",
             std::string(json::get_string(arguments, {"PodNamespace"})),
             std::string(json::get_string(arguments, {"PodName"}))},
            json::get_string(arguments, {"Node"}),
            {{"bound-by", "extender"}}
        );
        return json::object{{"Error", bound ? "" : bound.error().message}};
    }

    void start() {
        k8s::Config config;
        config.server = api_->url();
        auto client = k8s::Client::open(config);
        ASSERT_TRUE(client.ok());
        auto scheduler = KubeScheduler::start(*client, options_);
        ASSERT_TRUE(scheduler.ok()) << scheduler.error().message;
        scheduler_ = std::move(*scheduler);
    }

    void TearDown() override { scheduler_.reset(); }

    void add_node(const std::string& name, int units) {
        auto made = api_->load(*json::parse(
            R"({"apiVersion":"v1","kind":"Node","metadata":{"name":")" + name +
            R"("},"status":{"allocatable":{"cpu":"4","memory":"8Gi","pods":"10","nano-gpu/gpu-percent":")" +
            std::to_string(units) + "\"}}}"
        ));
        ASSERT_TRUE(made.ok()) << made.error().message;
    }

    void add_pod(const std::string& name, int units, const std::string& more = "") {
        const std::string limits =
            units == 0 ? "{}" : R"({"nano-gpu/gpu-percent":")" + std::to_string(units) + "\"}";
        auto made = api_->create(
            R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name + R"("},"spec":{)" +
            more + R"("containers":[{"name":"main","image":"i","resources":{"limits":)" + limits +
            "}}]}}"
        );
        ASSERT_TRUE(made.ok()) << made.error().message;
    }

    // The node, or "" after a while.
    std::string node_of(const std::string& name, Duration timeout = Seconds(10)) {
        std::string node;
        api_->wait_for(
            {"pods", "default", name},
            [&](const json::value* pod) {
                node =
                    pod == nullptr ? "" : std::string(json::get_string(*pod, {"spec", "nodeName"}));
                return !node.empty();
            },
            timeout
        );
        return node;
    }

    bool says(const std::string& name, std::string_view part, Duration timeout = Seconds(10)) {
        return api_->wait_for(
            {"pods", "default", name},
            [&](const json::value* pod) {
                const auto* list =
                    pod == nullptr ? nullptr : json::get_array(*pod, {"status", "conditions"});
                if (list == nullptr) return false;
                for (const json::value& c : *list) {
                    if (json::get_string(c, {"type"}) == "PodScheduled" &&
                        json::get_string(c, {"status"}) == "False" &&
                        json::get_string(c, {"message"}).find(part) != std::string_view::npos) {
                        return true;
                    }
                }
                return false;
            },
            timeout
        );
    }

    // An event with exactly this text.
    bool has_event(std::string_view reason, const std::string& text) {
        std::vector<std::string> texts;
        const bool found = api_->wait_until(
            [&] {
                texts.clear();
                for (const auto& e : api_->list("events")) {
                    if (json::get_string(e, {"reason"}) == reason) {
                        texts.emplace_back(json::get_string(e, {"message"}));
                    }
                }
                return std::find(texts.begin(), texts.end(), text) != texts.end();
            },
            Seconds(10)
        );
        if (found) return true;
        EXPECT_THAT(texts, Contains(text));
        return false;
    }

    void passes_preemption() {
        extender_.on("preempt", [](const json::value& arguments) {
            return json::value(json::object{
                {"NodeNameToMetaVictims", *json::find(arguments, {"NodeNameToMetaVictims"})}});
        });
    }

    // From now on requests of this kind take so long.
    void slow(std::string_view method, const std::string& path, Duration delay) {
        FaultRule rule;
        rule.action = FaultAction::kDelay;
        rule.method = method;
        rule.path = path;
        rule.count = -1;
        rule.delay = delay;
        ASSERT_TRUE(api_->faults().add(rule).ok());
    }

    json::value get(const std::string& name) {
        auto pod = api_->get({"pods", "default", name});
        return pod ? *pod : json::value();
    }

    bool is_marked(const std::string& name) {
        const auto pod = sched_pod(get(name));
        return pod && pod->preempted;
    }

    bool asked_to_go(const std::string& name) {
        return api_->wait_for(
            {"pods", "default", name},
            [](const json::value* pod) {
                return pod == nullptr ||
                       !json::get_string(*pod, {"metadata", "deletionTimestamp"}).empty();
            },
            Seconds(10)
        );
    }

    std::unique_ptr<ApiServer> api_;
    ScriptedExtender extender_;
    KubeSchedulerOptions options_;
    std::unique_ptr<KubeScheduler> scheduler_;
};

// n2 is nearly full, which the default plugins dislike by more than a hundred points. One step of
// the extender's score outweighs that at the weight scheduler-config sets, and not at a small one.
class KubeSchedulerWeights : public KubeSchedulerTest {
  protected:
    void SetUp() override {
        KubeSchedulerTest::SetUp();
        add_node("n1", 100);
        add_node("n2", 100);
        ASSERT_TRUE(api_->load(*json::parse(
            R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"busy","namespace":"default"},)"
            R"("spec":{"nodeName":"n2","containers":[{"name":"main","image":"i","resources":)"
            R"({"requests":{"cpu":"3500m","memory":"7Gi"}}}]},"status":{"phase":"Running"}})"
        )));
        extender_.on("priorities", [](const json::value&) {
            return json::value(json::array{
                {{"Host", "n1"}, {"Score", 9}}, {{"Host", "n2"}, {"Score", 10}}});
        });
    }
};

TEST_F(KubeSchedulerWeights, TheExtendersWinnerIsChosen) {
    start();
    add_pod("p", 10);
    EXPECT_EQ(node_of("p"), "n2");
}

TEST_F(KubeSchedulerWeights, ASmallWeightDrowns) {
    options_.extender.weight = 5;
    start();
    add_pod("p", 10);
    EXPECT_EQ(node_of("p"), "n1");
}

TEST_F(KubeSchedulerTest, TheBestScoreWinsAndTheExtenderBinds) {
    add_node("n1", 100);
    add_node("n2", 100);
    add_node("full", 10);
    start();
    add_pod("a", 20);
    EXPECT_EQ(node_of("a"), "n2");
    const auto filters = extender_.calls("filter");
    ASSERT_EQ(filters.size(), 1U);
    EXPECT_EQ(json::to_text(*json::find(filters[0], {"NodeNames"})), R"(["n1","n2"])");
    EXPECT_TRUE(json::find(filters[0], {"Nodes"})->is_null());
    EXPECT_EQ(json::get_string(filters[0], {"Pod", "metadata", "name"}), "a");
    auto pod = api_->get({"pods", "default", "a"});
    EXPECT_EQ(json::get_string(*pod, {"metadata", "annotations", "bound-by"}), "extender");
}

TEST_F(KubeSchedulerTest, PrioritiesAreSkippedForASingleNode) {
    add_node("n1", 100);
    start();
    add_pod("a", 20);
    EXPECT_EQ(node_of("a"), "n1");
    EXPECT_THAT(extender_.calls("priorities"), IsEmpty());
}

TEST_F(KubeSchedulerTest, PodsWithoutAManagedResourceNeverMeetTheExtender) {
    add_node("n1", 100);
    start();
    add_pod("plain", 0);
    EXPECT_EQ(node_of("plain"), "n1");
    EXPECT_THAT(extender_.calls("filter"), IsEmpty());
    EXPECT_THAT(extender_.calls("bind"), IsEmpty());
}

TEST_F(KubeSchedulerTest, WholeNodesAreSentWithoutTheNodeCache) {
    options_.extender.node_cache_capable = false;
    extender_.on("filter", [](const json::value& arguments) {
        return json::value(json::object{
            {"Nodes", *json::find(arguments, {"Nodes"})}, {"NodeNames", nullptr}, {"Error", ""}});
    });
    add_node("n1", 100);
    start();
    add_pod("a", 20);
    EXPECT_EQ(node_of("a"), "n1");
    const auto filters = extender_.calls("filter");
    ASSERT_FALSE(filters.empty());
    EXPECT_TRUE(json::find(filters[0], {"NodeNames"})->is_null());
    const auto* items = json::get_array(filters[0], {"Nodes", "items"});
    ASSERT_NE(items, nullptr);
    EXPECT_EQ(json::get_string(items->at(0), {"status", "allocatable", "pods"}), "10");
}

TEST_F(KubeSchedulerTest, AnUnschedulablePodSaysWhyAndWaitsForAnEvent) {
    add_node("n1", 100);
    add_node("n2", 10);
    std::atomic<bool> room{false};
    extender_.on("filter", [&](const json::value& arguments) {
        if (room) return passes(arguments);
        return json::value(json::object{
            {"NodeNames", json::array{}},
            {"FailedNodes", json::object{{"n1", "no card with 60 percent free"}}},
            {"Error", ""}});
    });
    start();
    add_pod("a", 60);
    EXPECT_TRUE(says(
        "a",
        "0/2 nodes are available: 1 Insufficient nano-gpu/gpu-percent, 1 no card with 60 percent "
        "free."
    ));
    EXPECT_TRUE(has_event(
        "FailedScheduling",
        "0/2 nodes are available: 1 Insufficient nano-gpu/gpu-percent, 1 no card with 60 percent "
        "free. no new claims to deallocate, preemption: 0/2 nodes are available: 1 No preemption "
        "victims found for incoming pod, 1 Preemption is not helpful for scheduling."
    ));
    const auto tries = extender_.calls("filter").size();
    std::this_thread::sleep_for(Millis(300));
    EXPECT_EQ(extender_.calls("filter").size(), tries) << "nothing has changed";
    room = true;
    ASSERT_TRUE(
        api_->patch({"nodes", "", "n1"}, *json::parse(R"({"metadata":{"labels":{"a":"b"}}})")).ok()
    );
    EXPECT_EQ(node_of("a"), "n1");
}

TEST_F(KubeSchedulerTest, ExtenderErrorsAreRetriedWithBackOff) {
    add_node("n1", 100);
    std::atomic<int> left{3};
    extender_.on("filter", [&](const json::value& arguments) {
        if (left-- > 0) return json::value(json::object{{"Error", "not synced yet"}});
        return passes(arguments);
    });
    start();
    add_pod("a", 20);
    EXPECT_EQ(node_of("a"), "n1");
    EXPECT_EQ(scheduler_->stats().extender_errors, 3U);
}

TEST_F(KubeSchedulerTest, ABindErrorGivesTheRoomBack) {
    add_node("n1", 100);
    std::atomic<int> left{2};
    extender_.on("bind", [&](const json::value& arguments) {
        if (left-- > 0) return json::value(json::object{{"Error", "card taken meanwhile"}});
        return bind(arguments);
    });
    start();
    add_pod("a", 100);
    EXPECT_EQ(node_of("a"), "n1");
    EXPECT_EQ(scheduler_->stats().bind_errors, 2U);
}

TEST_F(KubeSchedulerTest, BindRunsBesideTheNextPodsFilter) {
    add_node("n1", 100);
    std::atomic<bool> hold{true};
    extender_.on("bind", [&](const json::value& arguments) {
        while (hold) std::this_thread::sleep_for(Millis(1));
        return bind(arguments);
    });
    start();
    add_pod("a", 60);
    add_pod("b", 40);
    add_pod("c", 20);
    for (int i = 0; i < 5000 && extender_.calls("filter").size() < 2; ++i) {
        std::this_thread::sleep_for(Millis(1));
    }
    EXPECT_GE(extender_.calls("filter").size(), 2U);
    EXPECT_TRUE(says("c", "Insufficient nano-gpu/gpu-percent")) << "assumed pods count";
    hold = false;
    EXPECT_EQ(node_of("a"), "n1");
    EXPECT_EQ(node_of("b"), "n1");
}

TEST_F(KubeSchedulerTest, PreemptionAsksTheExtenderAndEvictsItsChoice) {
    add_node("n1", 100);
    start();
    add_pod("low-1", 50, R"("priority":1,)");
    ASSERT_EQ(node_of("low-1"), "n1");
    add_pod("low-2", 50, R"("priority":2,)");
    ASSERT_EQ(node_of("low-2"), "n1");
    passes_preemption();
    add_pod("high", 50, R"("priority":10,)");
    // There is no kubelet: the graceful deletion is finished here.
    ASSERT_TRUE(asked_to_go("low-1"));
    (void)api_->remove({"pods", "default", "low-1"}, 0);
    EXPECT_EQ(node_of("high"), "n1");
    EXPECT_TRUE(api_->get({"pods", "default", "low-2"}).ok());
    EXPECT_EQ(scheduler_->stats().preemptions, 1U);
    ASSERT_FALSE(extender_.calls("preempt").empty());
    const auto asked = extender_.calls("preempt")[0];
    EXPECT_TRUE(json::find(asked, {"NodeNameToVictims"})->is_null());
    EXPECT_EQ(json::get_array(asked, {"NodeNameToMetaVictims", "n1", "Pods"})->size(), 1U);
}

// The node is nominated and the cycle over before the first victim is asked to go; the next pod is
// scheduled meanwhile, the preemptor itself is not tried before its last victim's turn.
TEST_F(KubeSchedulerTest, VictimsAreEvictedBesideTheNextCycles) {
    add_node("n1", 100);
    start();
    add_pod("low-1", 50, R"("priority":1,)");
    ASSERT_EQ(node_of("low-1"), "n1");
    add_pod("low-2", 50, R"("priority":2,)");
    ASSERT_EQ(node_of("low-2"), "n1");
    passes_preemption();
    slow("DELETE", "/pods/low-2$", Seconds(3));
    add_pod("high", 100, R"("priority":10,)");
    ASSERT_TRUE(api_->wait_until([&] { return is_marked("low-2"); }, Seconds(10)));
    EXPECT_EQ(json::get_string(get("high"), {"status", "nominatedNodeName"}), "n1");
    EXPECT_TRUE(has_event(
        "FailedScheduling", "0/1 nodes are available: 1 Insufficient nano-gpu/gpu-percent."
    ));
    const auto cycles = scheduler_->stats().cycles;
    add_pod("plain", 0);
    EXPECT_EQ(node_of("plain"), "n1");
    std::this_thread::sleep_for(Millis(300));  // its binding is an event
    EXPECT_EQ(json::get_string(get("low-2"), {"metadata", "deletionTimestamp"}), "");
    EXPECT_FALSE(is_marked("low-1"));
    EXPECT_EQ(scheduler_->stats().cycles, cycles + 1) << "the preemptor was tried, too";
    ASSERT_TRUE(asked_to_go("low-2"));
    ASSERT_TRUE(asked_to_go("low-1"));
    EXPECT_TRUE(is_marked("low-1"));
    const std::string uid(json::get_string(get("high"), {"metadata", "uid"}));
    EXPECT_TRUE(has_event("Preempted", "Preempted by pod " + uid + " on node n1"));
    EXPECT_TRUE(has_event(
        "FailedScheduling",
        "0/1 nodes are available: 1 Insufficient nano-gpu/gpu-percent. no new claims to "
        "deallocate, preemption: not eligible due to a terminating pod on the nominated node."
    ));
    for (const char* name : {"low-1", "low-2"}) (void)api_->remove({"pods", "default", name}, 0);
    EXPECT_EQ(node_of("high"), "n1");
    EXPECT_EQ(scheduler_->stats().preemptions, 1U);
}

TEST_F(KubeSchedulerTest, AFailedEvictionIsTriedAgainAtOnce) {
    add_node("n1", 100);
    options_.queue = {Seconds(20), Seconds(20), Seconds(20)};
    start();
    add_pod("low", 100);
    ASSERT_EQ(node_of("low"), "n1");
    passes_preemption();
    api_->faults().fail_next(1, "PATCH", "/pods/low/status$", 400);
    add_pod("high", 50, R"("priority":10,)");
    ASSERT_TRUE(asked_to_go("low"));
    EXPECT_EQ(scheduler_->stats().preemptions, 2U);
}

TEST_F(KubeSchedulerTest, AnOutrankedNominationIsTakenBack) {
    add_node("n1", 100);
    start();
    add_pod("low", 100);
    ASSERT_EQ(node_of("low"), "n1");
    passes_preemption();
    add_pod("middle", 60, R"("priority":5,)");
    ASSERT_TRUE(asked_to_go("low"));
    ASSERT_EQ(json::get_string(get("middle"), {"status", "nominatedNodeName"}), "n1");
    slow("PATCH", "/pods/middle/status$", Millis(500));
    add_pod("high", 60, R"("priority":10,)");
    ASSERT_TRUE(api_->wait_until(
        [&] {
            return json::get_string(get("high"), {"status", "nominatedNodeName"}) == "n1";
        },
        Seconds(10)
    ));
    // The victim's end is an event that the preemptor misses: it is not to be tried yet.
    (void)api_->remove({"pods", "default", "low"}, 0);
    EXPECT_EQ(node_of("high"), "n1");
    EXPECT_TRUE(api_->wait_until(
        [&] {
            return json::get_string(get("middle"), {"status", "nominatedNodeName"}).empty();
        },
        Seconds(10)
    ));
}

// 1.21: the cycle lasts until all victims were asked to go, no condition marks them, and the event
// says nothing about preemption.
TEST_F(KubeSchedulerTest, The1_21DialectEvictsWithinTheCycle) {
    options_.dialect = Dialect::k1_21;
    add_node("n1", 100);
    start();
    add_pod("low", 100);
    ASSERT_EQ(node_of("low"), "n1");
    passes_preemption();
    slow("DELETE", "/pods/low$", Seconds(1));
    add_pod("high", 50, R"("priority":10,)");
    ASSERT_TRUE(api_->wait_until([&] { return !extender_.calls("preempt").empty(); }, Seconds(10)));
    add_pod("plain", 0);
    EXPECT_EQ(node_of("plain"), "n1");
    EXPECT_NE(json::get_string(get("low"), {"metadata", "deletionTimestamp"}), "");
    EXPECT_FALSE(is_marked("low"));
    EXPECT_EQ(json::get_string(get("high"), {"status", "nominatedNodeName"}), "n1");
    EXPECT_TRUE(has_event("Preempted", "Preempted by default/high on node n1"));
    add_pod("meek", 100);
    EXPECT_TRUE(says("meek", "0/1 nodes are available: 1 Insufficient nano-gpu/gpu-percent."));
    EXPECT_FALSE(says("meek", "preemption", Millis(1)));
}

TEST_F(KubeSchedulerTest, AVictimThatIsNotOnTheNodeEndsThePreemption) {
    add_node("n1", 100);
    start();
    add_pod("low", 100);
    ASSERT_EQ(node_of("low"), "n1");
    extender_.on("preempt", [](const json::value&) {
        return json::value(json::object{
            {"NodeNameToMetaVictims",
             json::object{
                 {"n1",
                  json::object{
                      {"Pods", json::array{json::object{{"UID", "gone"}}}},
                      {"NumPDBViolations", 0}}}}}});
    });
    add_pod("high", 50, R"("priority":10,)");
    EXPECT_TRUE(says(
        "high", "gpu-percent. preemption: extender claims to preempt pod (UID: gone) on node: n1"
    ));
    EXPECT_EQ(scheduler_->stats().preemptions, 0U);
    EXPECT_TRUE(api_->get({"pods", "default", "low"}).ok());
}

TEST_F(KubeSchedulerTest, ANodeNobodySentIsAnError) {
    add_node("n1", 100);
    std::atomic<bool> lie{true};
    extender_.on("filter", [&](const json::value& arguments) {
        if (!lie) return passes(arguments);
        return json::value(json::object{{"NodeNames", json::array{"elsewhere"}}, {"Error", ""}});
    });
    start();
    add_pod("a", 20);
    EXPECT_TRUE(says("a", "claims a filtered node \"elsewhere\""));
    lie = false;
    EXPECT_EQ(node_of("a"), "n1");
}

}  // namespace
}  // namespace egpu::sim
