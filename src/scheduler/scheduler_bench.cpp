// Benchmarks of the scheduler against the budgets of the design: filter and priorities (in process,
// over loopback, with full Node objects), bind against an API server that costs nothing, memory of
// a replica that follows 5,000 nodes, 40,000 cards and 100,000 pods. Percentiles are counters
// (p50_us, p99_us), memory is rss_mib.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <span>

#include <benchmark/benchmark.h>
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/random.h"
#include "http/client.h"
#include "http/server.h"
#include "k8s/codec.h"
#include "scheduler/handlers.h"
#include "scheduler/node_cards.h"
#include "scheduler/objects_for_test.h"
#include "scheduler/policy_worker.h"
#include "scheduler/service.h"
#include "testing/apiserver/api_server.h"

namespace egpu::scheduler {
namespace {

constexpr int kCardsPerNode = 8;

std::string node_name(int i) {
    char text[48];
    std::snprintf(text, sizeof text, "gpu-node-%05d.cluster.example", i);
    return text;
}

class Percentiles {
  public:
    template <class F>
    void time(F&& work) {
        const TimePoint start = MonoClock::now();
        work();
        samples_.push_back(
            std::chrono::duration<double, std::micro>(MonoClock::now() - start).count()
        );
    }
    void report(benchmark::State& run) {
        if (samples_.empty()) return;
        std::sort(samples_.begin(), samples_.end());
        run.counters["min_us"] = samples_.front();
        run.counters["p50_us"] = samples_[samples_.size() / 2];
        run.counters["p99_us"] = samples_[samples_.size() * 99 / 100];
    }

  private:
    std::vector<double> samples_;
};

double rss_mib() {
    malloc_trim(0);
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("VmRSS:")) return std::strtod(line.c_str() + 6, nullptr) / 1024.0;
    }
    return 0;
}

// A replica without an API server: N nodes of 8 cards, about half full. kube-scheduler names them
// in an order that is not the one in which the watch showed them.
struct World {
    explicit World(int nodes, const char* policy = "binpack")
        : state(options(policy)), handlers(state, gate) {
        GateProbes probes;
        probes.synced = [] { return true; };
        gate.open(probes);
        for (int i = 0; i < nodes; ++i) {
            names.push_back(node_name(i));
            const auto node =
                k8s::node_from_json(node_with_cards_json(names.back(), kCardsPerNode));
            state.upsert_node(names.back(), read_node_cards(*node).inventory);
            for (int card = 0; card < kCardsPerNode; ++card) {
                if ((i * 7 + card * 3) % 5 < 2) continue;
                TestPod pod = share_pod(
                    "p" + std::to_string(i) + "-" + std::to_string(card), 20 + (i + card) % 70
                );
                pod.node = names.back();
                pod.annotations = {
                    {"nano-gpu/assume", "true"}, {"nano-gpu/container-main", std::to_string(card)}};
                state.upsert_pod(read_facts(*k8s::pod_from_json(pod_json(pod))), MonoClock::now());
            }
        }
        Random random(1);
        std::shuffle(names.begin(), names.end(), random);
        PolicyWorker::work_off(state, StopSource().token());
    }
    static StateOptions options(const char* policy) {
        StateOptions out;
        out.policy = policy;
        return out;
    }
    Gate gate;
    State state;
    Handlers handlers;
    std::vector<std::string> names;
};

World& world(int nodes) {
    static std::map<int, std::unique_ptr<World>> worlds;
    auto& entry = worlds[nodes];
    if (!entry) entry = std::make_unique<World>(nodes);
    return *entry;
}

// One kube-scheduler connection to the handlers over loopback.
struct Loopback {
    explicit Loopback(World& w) {
        http::ServerOptions options;
        options.max_body = 256U << 20;
        auto started =
            http::Server::start(options, [&w](http::Exchange& e) { w.handlers.handle(e); });
        EG_CHECK(started.ok());
        server = std::move(*started);
        http::ClientOptions client_options;
        client_options.base_url = "http://" + server->address();
        auto opened = http::Client::open(client_options);
        EG_CHECK(opened.ok());
        client = std::move(*opened);
    }
    std::size_t post(const char* target, const std::string& body) {
        request.method = "POST";
        request.target = target;
        request.content_type = "application/json";
        if (request.body.size() != body.size()) request.body = body;
        auto response = client->call(request, MonoClock::now() + Seconds(30));
        EG_CHECK(response.ok() && response->status == 200);
        return response->body.size();
    }
    std::unique_ptr<http::Server> server;
    std::unique_ptr<http::Client> client;
    http::Request request;
};

void filter_in_process(benchmark::State& run) {
    World& w = world(static_cast<int>(run.range(0)));
    const std::string body = filter_body(share_pod("new", 30), w.names);
    Percentiles times;
    for (auto _ : run) times.time([&] { benchmark::DoNotOptimize(w.handlers.filter(body)); });
    times.report(run);
}

void priorities_in_process(benchmark::State& run) {
    World& w = world(static_cast<int>(run.range(0)));
    const std::string body = filter_body(share_pod("new", 30), w.names);
    Percentiles times;
    for (auto _ : run) times.time([&] { benchmark::DoNotOptimize(w.handlers.priorities(body)); });
    times.report(run);
}

// The parts of a filter call.
void read_body(benchmark::State& run) {
    World& w = world(static_cast<int>(run.range(0)));
    const std::string body = filter_body(share_pod("new", 30), w.names);
    k8s::ExtenderReader reader;
    Percentiles times;
    for (auto _ : run) {
        times.time([&] {
            reader.reset();
            EG_CHECK(reader.feed(std::span(body.data(), body.size())).ok());
            EG_CHECK(reader.args().ok());
        });
    }
    times.report(run);
}

void ask_ledger(benchmark::State& run) {
    World& w = world(static_cast<int>(run.range(0)));
    const std::string body = filter_body(share_pod("new", 30), w.names);
    k8s::ExtenderReader reader;
    EG_CHECK(reader.feed(std::span(body.data(), body.size())).ok());
    const k8s::ExtenderArgs& args = **reader.args();
    const PodFacts pod = read_facts(*args.pod);
    Percentiles times;
    for (auto _ : run) times.time([&] { benchmark::DoNotOptimize(w.state.filter(args, pod)); });
    times.report(run);
}

void ask_scores(benchmark::State& run) {
    World& w = world(static_cast<int>(run.range(0)));
    const std::string body = filter_body(share_pod("new", 30), w.names);
    k8s::ExtenderReader reader;
    EG_CHECK(reader.feed(std::span(body.data(), body.size())).ok());
    const k8s::ExtenderArgs& args = **reader.args();
    const PodFacts pod = read_facts(*args.pod);
    Percentiles times;
    for (auto _ : run) times.time([&] { benchmark::DoNotOptimize(w.state.scores(args, pod)); });
    times.report(run);
}

// The same with fill-gradient, which has learned 70 sizes of shares from 24,000 pods; nearly every
// node is different from all others. One pod comes and goes between two questions, as in life.
// `cold`: a size that was never asked for, and how long it takes until it is known everywhere.
void ask_fill_gradient(benchmark::State& run, bool cold) {
    static const double before = rss_mib();
    static World w(5000, "fill-gradient");
    const StopToken never = StopSource().token();
    k8s::ExtenderReader reader;
    Percentiles times;
    Percentiles warming;
    int percent = 29;
    int number = 0;
    for (auto _ : run) {
        run.PauseTiming();
        if (cold) percent = 1 + percent % 99;
        TestPod pod = share_pod("new-" + std::to_string(number), percent);
        const std::string body = filter_body(pod, w.names);
        reader.reset();
        EG_CHECK(reader.feed(std::span(body.data(), body.size())).ok());
        const k8s::ExtenderArgs& args = **reader.args();
        const PodFacts facts = read_facts(*args.pod);
        if (!cold && number == 0) {
            benchmark::DoNotOptimize(w.state.scores(args, facts));
            PolicyWorker::work_off(w.state, never);
        }
        run.ResumeTiming();
        times.time([&] { benchmark::DoNotOptimize(w.state.scores(args, facts)); });
        run.PauseTiming();
        if (cold) {
            warming.time([&] { PolicyWorker::work_off(w.state, never); });
        } else {
            TestPod other = share_pod("other-" + std::to_string(number), 10);
            other.node = w.names[static_cast<std::size_t>(number) % w.names.size()];
            w.state.upsert_pod(read_facts(*k8s::pod_from_json(pod_json(other))), MonoClock::now());
        }
        ++number;
        run.ResumeTiming();
    }
    warming.report(run);
    if (cold) run.counters["warming_p50_us"] = run.counters["p50_us"];
    times.report(run);
    run.counters["rss_grown_mib"] = rss_mib() - before;
}

void write_answer(benchmark::State& run) {
    World& w = world(static_cast<int>(run.range(0)));
    const std::string body = filter_body(share_pod("new", 30), w.names);
    k8s::ExtenderReader reader;
    EG_CHECK(reader.feed(std::span(body.data(), body.size())).ok());
    const k8s::ExtenderArgs& args = **reader.args();
    const FilterOutcome outcome = w.state.filter(args, read_facts(*args.pod));
    Percentiles times;
    for (auto _ : run) {
        times.time([&] {
            benchmark::DoNotOptimize(
                k8s::write_filter_result(args, outcome.fitting, outcome.failed, outcome.reasons)
            );
        });
    }
    times.report(run);
}

void filter_loopback(benchmark::State& run) {
    World& w = world(static_cast<int>(run.range(0)));
    Loopback loopback(w);
    const std::string body = filter_body(share_pod("new", 30), w.names);
    Percentiles times;
    for (auto _ : run) times.time([&] { loopback.post("/scheduler/filter", body); });
    times.report(run);
}

void priorities_loopback(benchmark::State& run) {
    World& w = world(static_cast<int>(run.range(0)));
    Loopback loopback(w);
    const std::string body = filter_body(share_pod("new", 30), w.names);
    Percentiles times;
    for (auto _ : run) times.time([&] { loopback.post("/scheduler/priorities", body); });
    times.report(run);
}

// As Go's encoder writes it: ours escapes slashes.
std::string body_with_full_nodes(const std::vector<std::string>& names, int images_per_node) {
    std::vector<json::value> nodes;
    for (const std::string& name : names) {
        json::value node = node_with_cards_json(name, kCardsPerNode);
        json::array images;
        for (int i = 0; i < images_per_node; ++i) {
            images.push_back(json::object{
                {"names",
                 json::array{"registry.example/some/image-" + std::to_string(i) + ":v1.2.3"}},
                {"sizeBytes", 123456789 + i}});
        }
        node.at("status").as_object()["images"] = std::move(images);
        nodes.push_back(std::move(node));
    }
    std::string body;
    bool escaped = false;
    for (const char c : filter_body_with_nodes(share_pod("new", 30), nodes)) {
        if (escaped && c == '/') body.pop_back();
        body.push_back(c);
        escaped = c == '\\' && !escaped;
    }
    return body;
}

// nodeCacheCapable false: 5,000 Node objects of 4.6 KB, and the survivors echoed.
void full_nodes_loopback(benchmark::State& run, const char* target) {
    World& w = world(5000);
    Loopback loopback(w);
    const std::string body = body_with_full_nodes(w.names, 44);
    loopback.post(target, body);
    const double before = rss_mib();
    Percentiles times;
    for (auto _ : run) times.time([&] { loopback.post(target, body); });
    times.report(run);
    run.counters["body_mb"] = static_cast<double>(body.size()) / 1e6;
    run.counters["rss_grown_mib"] = rss_mib() - before;
}

// An API server that answers every write at once.
void bind_zero_latency(benchmark::State& run) {
    World& w = world(1000);
    auto api = http::Server::start({}, [](http::Exchange& exchange) {
        static_cast<void>(exchange.read_all(1U << 20));
        if (exchange.request().path == "/version") {
            static_cast<void>(
                exchange.respond(200, "application/json", R"({"major":"1","minor":"34"})")
            );
        } else {
            static_cast<void>(exchange.respond(
                201,
                "application/json",
                R"({"kind":"Status","apiVersion":"v1","status":"Success","code":201})"
            ));
        }
    });
    EG_CHECK(api.ok());
    k8s::Config config;
    config.server = "http://" + (*api)->address();
    auto client = k8s::Client::open(config);
    EG_CHECK(client.ok());
    log::configure("bench", log::Level::kError, log::Format::kLogfmt);
    Binder binder(w.state, w.gate, *client, {});
    Percentiles times;
    Percentiles api_times;
    int i = 0;
    for (auto _ : run) {
        run.PauseTiming();
        const TestPod pod = share_pod("bind-" + std::to_string(i), 1);
        const std::string& node = w.names[static_cast<std::size_t>(i++) % w.names.size()];
        w.state.upsert_pod(read_facts(*k8s::pod_from_json(pod_json(pod))), MonoClock::now());
        k8s::ExtenderBindingArgs args{pod.name, "default", uid_of(pod), node};
        run.ResumeTiming();
        times.time([&] {
            const Status bound = binder.bind(args);
            EG_CHECK(bound.ok());
        });
        run.PauseTiming();
        api_times.time([&] {
            static_cast<void>(client->bind_pod(
                "default", pod.name, uid_of(pod), node, {}, MonoClock::now() + Seconds(5)
            ));
        });
        w.state.remove_pod(uid_of(pod), MonoClock::now());
        run.ResumeTiming();
    }
    times.report(run);
    benchmark::State& out = run;
    const double bind_p50 = out.counters["p50_us"];
    const double bind_p99 = out.counters["p99_us"];
    api_times.report(run);
    out.counters["api_p50_us"] = out.counters["p50_us"];
    out.counters["p50_us"] = bind_p50;
    out.counters["p99_us"] = bind_p99;
}

// The real replica in this process, the API server in a child, so that only the replica is counted.
void memory_of_a_big_cluster(benchmark::State& run) {
    const int nodes = 5000;
    const int pods_per_node = 20;
    for (auto _ : run) {
        int pipe_ends[2];
        EG_CHECK(pipe(pipe_ends) == 0);
        const pid_t child = fork();
        if (child == 0) {
            auto api = testing::ApiServer::start();
            EG_CHECK(api.ok());
            for (int i = 0; i < nodes; ++i) {
                const std::string name = node_name(i);
                EG_CHECK((*api)->load(node_with_cards_json(name, kCardsPerNode)).ok());
                for (int p = 0; p < pods_per_node; ++p) {
                    TestPod pod = share_pod(
                        "workload-7c9f8d6b5-" + std::to_string(i) + "-" + std::to_string(p),
                        20 + p % 15
                    );
                    pod.uid = "3c0830f4-1b2c-4908-9913-" + std::to_string(100000000 + i * 100 + p) +
                              "abc";
                    pod.node = name;
                    pod.phase = "Running";
                    pod.annotations = {
                        {"nano-gpu/assume", "true"},
                        {"nano-gpu/container-main", std::to_string(p % kCardsPerNode)}};
                    EG_CHECK((*api)->load(pod_json(pod)).ok());
                }
            }
            const std::string url = (*api)->url();
            EG_CHECK(write(pipe_ends[1], url.data(), url.size()) > 0);
            for (;;) pause();
        }
        char url[128] = {};
        EG_CHECK(read(pipe_ends[0], url, sizeof url - 1) > 0);
        k8s::Config config;
        config.server = url;
        const double before = rss_mib();
        const TimePoint start = MonoClock::now();
        auto service = Service::start(quick_options(), config);
        EG_CHECK(service.ok());
        EG_CHECK(eventually([&] { return (*service)->ready(); }, Seconds(300)));
        run.counters["sync_s"] = std::chrono::duration<double>(MonoClock::now() - start).count();
        run.counters["cards"] = static_cast<double>((*service)->state().totals().cards);
        run.counters["pods"] = static_cast<double>((*service)->state().totals().pods);
        run.counters["rss_mib"] = rss_mib();
        run.counters["rss_before_mib"] = before;
        kill(child, SIGKILL);
        waitpid(child, nullptr, 0);
        (*service)->stop();
        close(pipe_ends[0]);
        close(pipe_ends[1]);
    }
}

// First, while this process has no threads and nothing else in memory.
BENCHMARK(memory_of_a_big_cluster)->Iterations(1)->Unit(benchmark::kSecond);
BENCHMARK(filter_in_process)->Arg(100)->Arg(1000)->Arg(5000)->Unit(benchmark::kMicrosecond);
BENCHMARK(priorities_in_process)->Arg(100)->Arg(1000)->Arg(5000)->Unit(benchmark::kMicrosecond);
BENCHMARK(read_body)->Arg(5000)->Unit(benchmark::kMicrosecond);
BENCHMARK(ask_ledger)->Arg(5000)->Unit(benchmark::kMicrosecond);
BENCHMARK(ask_scores)->Arg(5000)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(ask_fill_gradient, warm, false)->Iterations(2000)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(ask_fill_gradient, cold, true)->Iterations(60)->Unit(benchmark::kMicrosecond);
BENCHMARK(write_answer)->Arg(5000)->Unit(benchmark::kMicrosecond);
BENCHMARK(filter_loopback)
    ->Arg(100)
    ->Arg(1000)
    ->Arg(5000)
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime();
BENCHMARK(priorities_loopback)
    ->Arg(100)
    ->Arg(1000)
    ->Arg(5000)
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(full_nodes_loopback, filter, "/scheduler/filter")
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(full_nodes_loopback, priorities, "/scheduler/priorities")
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK(bind_zero_latency)->Iterations(2000)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace
}  // namespace egpu::scheduler
