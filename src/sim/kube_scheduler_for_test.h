// For tests: a small kube-scheduler between an embedded API server and a scripted extender.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/server.h"
#include "sim/kube_scheduler.h"
#include "testing/apiserver/api_server.h"

namespace egpu::sim {

// An extender that answers as told and remembers what it was asked.
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

inline json::value passes(const json::value& arguments) {
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
        auto api = testing::ApiServer::start();
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
        EXPECT_THAT(texts, ::testing::Contains(text));
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
        testing::FaultRule rule;
        rule.action = testing::FaultAction::kDelay;
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

    std::unique_ptr<testing::ApiServer> api_;
    ScriptedExtender extender_;
    KubeSchedulerOptions options_;
    std::unique_ptr<KubeScheduler> scheduler_;
};

}  // namespace egpu::sim
