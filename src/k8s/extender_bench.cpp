// The extender's bodies at 5,000 nodes: names only (about 230 KB) and whole Node objects (about 23
// MB).
#include <benchmark/benchmark.h>

#include "k8s/extender.h"

namespace egpu::k8s {
namespace {

std::string pod_text() {
    std::string containers;
    for (const char* name : {"main", "side"}) {
        if (!containers.empty()) containers += ",";
        containers +=
            std::string(R"({"name":")") + name +
            R"(","image":"registry.example/team/app:1.2.3","resources":{"limits":{"cpu":"2",)"
            R"("memory":"4Gi","nano-gpu/gpu-percent":"35"},"requests":{"nano-gpu/gpu-percent":"35"}},)"
            R"("volumeMounts":[{"name":"kube-api-access-rcskj","readOnly":true,"mountPath":"/var/run"}]})";
    }
    return R"({"metadata":{"name":"trainer-7c9f","namespace":"team-a","uid":"c011de05-ef19-44ce-ba87-c03d1a75b527",)"
           R"("labels":{"app":"trainer"},"annotations":{"edge-gpu.io/policy":"binpack"}},"spec":{"containers":[)" +
           containers +
           R"(],"nodeName":"","priority":0,"tolerations":[{"key":"gpu","operator":"Exists"}]}})";
}

std::string node_name(int i) {
    return "gpu-node-" + std::to_string(i / 100) + "-" + std::to_string(i) +
           ".region-1.example.com";
}

std::string node_text(int i, std::size_t size) {
    std::string node =
        R"({"metadata":{"name":")" + node_name(i) +
        R"(","labels":{"kubernetes.io/arch":"amd64"},"annotations":{"note":"\u003ca\u003e"}},"status":{"images":[)";
    for (int image = 0; node.size() + 200 < size; ++image) {
        if (image > 0) node += ",";
        node +=
            R"({"names":["registry.example/team/image-)" + std::to_string(image) +
            R"(@sha256:6f2d0c8d4ed2b8ef7f6a0c1d","registry.example/team/image:v1"],"sizeBytes":123456789})";
    }
    return node + R"(],"allocatable":{"nano-gpu/gpu-percent":"800","nvidia.com/gpu":"8"}}})";
}

std::string body(int nodes, bool names) {
    std::string out = R"({"Pod":)" + pod_text() + R"(,"Nodes":)";
    std::string list;
    for (int i = 0; i < nodes; ++i) {
        if (i > 0) list += ",";
        list += names ? "\"" + node_name(i) + "\"" : node_text(i, 4700);
    }
    out += names ? R"(null,"NodeNames":[)" + list + "]}"
                 : R"({"metadata":{},"items":[)" + list + R"(]},"NodeNames":null})";
    return out;
}

void feed(ExtenderReader& reader, const std::string& text) {
    reader.reset();
    for (std::size_t at = 0; at < text.size(); at += 16384) {
        const std::size_t n = std::min<std::size_t>(16384, text.size() - at);
        if (!reader.feed({text.data() + at, n})) std::abort();
    }
}

void BM_ReadNames(benchmark::State& state) {
    const std::string text = body(static_cast<int>(state.range(0)), true);
    ExtenderReader reader;
    for (auto _ : state) {
        feed(reader, text);
        benchmark::DoNotOptimize(reader.args());
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}
BENCHMARK(BM_ReadNames)->Arg(100)->Arg(1000)->Arg(5000)->Unit(benchmark::kMicrosecond);

void BM_ReadNodes(benchmark::State& state) {
    const std::string text = body(static_cast<int>(state.range(0)), false);
    ExtenderReader reader(ExtenderLimits{.keep_nodes = state.range(1) != 0});
    for (auto _ : state) {
        feed(reader, text);
        benchmark::DoNotOptimize(reader.args());
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}
BENCHMARK(BM_ReadNodes)->Args({5000, 0})->Args({5000, 1})->Unit(benchmark::kMillisecond);

void BM_WriteFilter(benchmark::State& state) {
    ExtenderReader reader;
    feed(reader, body(5000, state.range(0) != 0));
    const ExtenderArgs& args = **reader.args();
    std::vector<std::uint32_t> fitting;
    std::vector<FailedNode> failed;
    const FilterReason reasons[] = {{"no card with 60 percent free", false}};
    for (std::uint32_t i = 0; i < 5000; ++i) {
        if (i % 2 == 0) {
            fitting.push_back(i);
        } else {
            failed.push_back({i, 0});
        }
    }
    for (auto _ : state)
        benchmark::DoNotOptimize(write_filter_result(args, fitting, failed, reasons));
}
BENCHMARK(BM_WriteFilter)->Arg(1)->Arg(0)->Unit(benchmark::kMicrosecond);

void BM_WritePriorities(benchmark::State& state) {
    ExtenderReader reader;
    feed(reader, body(5000, true));
    const std::vector<int> scores(5000, 7);
    for (auto _ : state) benchmark::DoNotOptimize(write_priorities(**reader.args(), scores));
}
BENCHMARK(BM_WritePriorities)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace egpu::k8s
