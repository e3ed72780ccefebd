#include "scheduler/cluster_for_test.h"

#include <gtest/gtest.h>

namespace egpu::scheduler {

TestCluster::TestCluster(testing::ApiServerOptions api_options) {
    auto api = testing::ApiServer::start(std::move(api_options));
    EG_CHECK(api.ok());
    api_ = std::move(*api);
    auto config = k8s::parse_kubeconfig(api_->kubeconfig(), "/");
    EG_CHECK(config.ok());
    config_ = std::move(*config);
}

void TestCluster::start(Options options) {
    auto service = Service::start(options, config_);
    ASSERT_TRUE(service.ok()) << service.error().message;
    service_ = std::move(*service);
    ASSERT_TRUE(eventually([&] { return service_->ready(); }));
}

void TestCluster::add_node(std::string_view name, int percent) {
    ASSERT_TRUE(api_->load(node_json(name, percent)).ok());
    if (service_) {
        ASSERT_TRUE(eventually([&] { return state().node(name).has_value(); }));
    }
}

void TestCluster::add_pod(const TestPod& pod) {
    const auto loaded = api_->load(pod_json(pod));
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
}

void TestCluster::add_pod_and_wait(const TestPod& pod) {
    const std::size_t pending = state().pending_count();
    add_pod(pod);
    ASSERT_TRUE(eventually([&] {
        return state().pending_count() > pending || state().pod(uid_of(pod)).has_value();
    }));
}

http::Response TestCluster::request(
    std::string_view method, std::string_view path, const std::string& body
) {
    http::ClientOptions options;
    options.base_url = "http://" + service_->address();
    auto client = http::Client::open(options);
    EG_CHECK(client.ok());
    http::Request request;
    request.method = method;
    request.target = path;
    request.body = body;
    request.content_type = "application/json";
    auto response = (*client)->call(request, MonoClock::now() + Seconds(20));
    EXPECT_TRUE(response.ok()) << (response ? "" : response.error().message);
    return response ? std::move(*response) : http::Response{};
}

json::value TestCluster::call(std::string_view verb, const std::string& body) {
    const http::Response response = request("POST", "/scheduler/" + std::string(verb), body);
    EXPECT_EQ(response.status, 200) << verb;
    auto parsed = json::parse(response.body);
    EXPECT_TRUE(parsed.ok()) << response.body;
    return parsed ? std::move(*parsed) : json::value();
}

std::vector<std::string> TestCluster::filter(
    const TestPod& pod, const std::vector<std::string>& nodes
) {
    const json::value answer = call("filter", filter_body(pod, nodes));
    last_error = json::get_string(answer, {"Error"});
    std::vector<std::string> out;
    if (const auto* names = json::get_array(answer, {"NodeNames"})) {
        for (const auto& name : *names) out.emplace_back(name.as_string());
    }
    for (const char* key : {"FailedNodes", "FailedAndUnresolvableNodes"}) {
        if (const auto* failed = json::get_object(answer, {key})) {
            for (const auto& [node, text] : *failed) last_error = text.as_string();
        }
    }
    return out;
}

std::string TestCluster::bind(const TestPod& pod, std::string_view node) {
    const json::value answer = call("bind", bind_body(pod, node));
    EXPECT_EQ(answer.as_object().size(), 1U);
    return std::string(json::get_string(answer, {"Error"}));
}

std::string TestCluster::schedule(const TestPod& pod, const std::vector<std::string>& nodes) {
    const std::vector<std::string> fitting = filter(pod, nodes);
    if (fitting.empty()) return "";
    last_error = bind(pod, fitting.front());
    return last_error.empty() ? fitting.front() : "";
}

json::value TestCluster::pod(std::string_view name) {
    auto found = api_->get({"pods", "default", std::string(name)});
    return found ? std::move(*found) : json::value();
}

std::string TestCluster::node_of(std::string_view name) {
    return std::string(json::get_string(pod(name), {"spec", "nodeName"}));
}

std::string TestCluster::annotation(std::string_view pod_name, std::string_view key) {
    return std::string(json::get_string(pod(pod_name), {"metadata", "annotations", key}));
}

std::vector<int> TestCluster::used(std::string_view node) {
    std::vector<int> out;
    if (const auto info = state().node(node)) {
        for (const auto& card : info->cards) out.push_back(card.used_percent);
    }
    return out;
}

}  // namespace egpu::scheduler
