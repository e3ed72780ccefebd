// What a big cluster costs here: loading 100,000 pods, and listing them in pages over HTTP.
#include <benchmark/benchmark.h>

#include "http/client.h"
#include "testing/apiserver/api_server.h"

namespace egpu::testing {
namespace {

constexpr int kPods = 100'000;

json::value pod(int i) {
    const std::string n = std::to_string(i);
    return json::
        parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"pod-)" + n +
              R"(","namespace":"default","labels":{"app":"train"},"annotations":{"nano-gpu/assume":"true",)"
              R"("nano-gpu/container-main":"0","edge-gpu.io/placement":"{\"v\":1,\"c\":{\"main\":[\"GPU-)" +
              n + R"(\",0,20]}}"}},"spec":{"nodeName":"node-)" + std::to_string(i % 5000) +
              R"(","schedulerName":"default-scheduler","restartPolicy":"Always","containers":[{"name":"main",)"
              R"("image":"cuda:12","resources":{"limits":{"nano-gpu/gpu-percent":"20"},"requests":)"
              R"({"nano-gpu/gpu-percent":"20"}}}]},"status":{"phase":"Running"}})")
            .value();
}

ApiServer& loaded_server() {
    static const std::unique_ptr<ApiServer> server = [] {
        auto started = ApiServer::start().value();
        for (int i = 0; i < kPods; ++i) started->load(pod(i)).value();
        return started;
    }();
    return *server;
}

void BM_Load(benchmark::State& state) {
    auto server = ApiServer::start().value();
    int i = 0;
    for (auto _ : state) server->load(pod(i++)).value();
    state.SetItemsProcessed(i);
}
BENCHMARK(BM_Load);

void list_all(benchmark::State& state, const std::string& query) {
    http::ClientOptions options;
    options.base_url = loaded_server().url();
    const auto client = http::Client::open(options).value();
    std::size_t bytes = 0;
    for (auto _ : state) {
        std::string token;
        do {
            http::Request request;
            request.target = "/api/v1/pods?" + query +
                             (token.empty() ? "" : "&continue=" + http::percent_encode(token));
            const auto response = client->call(request, MonoClock::now() + Seconds(60)).value();
            bytes += response.body.size();
            const std::string_view head = std::string_view(response.body).substr(0, 300);
            const std::size_t at = head.find("\"continue\":\"");
            token = at == std::string_view::npos
                        ? ""
                        : head.substr(at + 12, head.find('"', at + 12) - at - 12);
        } while (!token.empty());
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}

void BM_ListInPages(benchmark::State& state) {
    list_all(state, "limit=500&fieldSelector=status.phase!%3DSucceeded%2Cstatus.phase!%3DFailed");
}
BENCHMARK(BM_ListInPages)->Unit(benchmark::kMillisecond);

void BM_ListAtOnce(benchmark::State& state) {
    list_all(state, "resourceVersion=0");
}
BENCHMARK(BM_ListAtOnce)->Unit(benchmark::kMillisecond);

void BM_ListOneNode(benchmark::State& state) {
    list_all(state, "fieldSelector=spec.nodeName%3Dnode-7");
}
BENCHMARK(BM_ListOneNode)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace egpu::testing
