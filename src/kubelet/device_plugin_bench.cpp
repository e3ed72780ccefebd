// What the agent's budget counts of the kubelet's side: start to registered, resident memory, the
// time of the kubelet's calls, recovery after a kubelet restart. Against the embedded kubelet.
#include <atomic>
#include <fstream>
#include <string>

#include <benchmark/benchmark.h>
#include <sys/resource.h>
#include <time.h>

#include "base/log.h"
#include "kubelet/pod_resources.h"
#include "testing/kubelet/plugin_client.h"
#include "testing/kubelet/rig.h"

namespace egpu::kubelet {
namespace {

using egpu::testing::Dialect;
using egpu::testing::make_devices;
using egpu::testing::one_container;
using egpu::testing::Rig;

double resident_mib() {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;) {
        if (word == "VmRSS:") {
            double kib = 0;
            status >> kib;
            return kib / 1024;
        }
    }
    return 0;
}

double cpu_seconds() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void BM_StartToStreaming(benchmark::State& state) {
    log::configure("bench", log::Level::kOff, log::Format::kLogfmt);
    Rig rig(Dialect::k1_34);
    if (!rig.kubelet().start()) state.SkipWithError("kubelet");
    for (auto _ : state) {
        if (!rig.start_plugin(make_devices(800)) ||
            !rig.plugin().wait_for(PluginState::kStreaming, Seconds(10))) {
            state.SkipWithError("not registered");
            break;
        }
        state.PauseTiming();
        rig.stop_plugin();
        // A kubelet that has not seen the old stream's end disconnects the new plugin: that is
        // another measurement.
        rig.offered(0);
        state.ResumeTiming();
    }
}
BENCHMARK(BM_StartToStreaming)->Unit(benchmark::kMillisecond)->UseRealTime()->Iterations(20);

void BM_KubeletStartToAllocatable(benchmark::State& state) {
    log::configure("bench", log::Level::kOff, log::Format::kLogfmt);
    Rig rig(Dialect::k1_34);
    if (!rig.up(800)) state.SkipWithError("not up");
    for (auto _ : state) {
        state.PauseTiming();
        rig.kubelet().stop();
        state.ResumeTiming();
        if (!rig.kubelet().start() || !rig.offered(800)) {
            state.SkipWithError("not back");
            break;
        }
    }
}
BENCHMARK(BM_KubeletStartToAllocatable)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(20);

void BM_Allocate(benchmark::State& state) {
    log::configure("bench", log::Level::kOff, log::Format::kLogfmt);
    Rig rig(Dialect::k1_34);
    if (!rig.up(800)) state.SkipWithError("not up");
    const std::atomic<bool> never{false};
    const auto client =
        egpu::testing::PluginClient::dial(rig.plugin().socket(), Dialect::k1_34, Seconds(5), never);
    std::vector<std::string> ids;
    for (const auto& device : make_devices(20)) ids.push_back(device.id);
    for (auto _ : state) {
        if (!(*client)->allocate(ids)) state.SkipWithError("refused");
    }
}
BENCHMARK(BM_Allocate)->Unit(benchmark::kMicrosecond)->UseRealTime();

void BM_PodResourcesList(benchmark::State& state) {
    log::configure("bench", log::Level::kOff, log::Format::kLogfmt);
    Rig rig(Dialect::k1_21);  // no rate limit
    if (!rig.up(800)) state.SkipWithError("not up");
    for (int i = 0; i < 40; ++i) {
        if (!rig.kubelet().add_pod(one_container("u" + std::to_string(i), Rig::kResource, 20))) {
            state.SkipWithError("not admitted");
        }
    }
    PodResourcesClient client(rig.kubelet().pod_resources_socket());
    for (auto _ : state) {
        if (!client.list(MonoClock::now() + Seconds(5))) state.SkipWithError("no answer");
    }
}
BENCHMARK(BM_PodResourcesList)->Unit(benchmark::kMicrosecond)->UseRealTime();

// A plugin with its stream open and nothing to do, seen from outside of the kubelet: resident
// memory of plugin and embedded kubelet together, and the CPU time of 5 idle seconds.
void BM_Idle(benchmark::State& state) {
    log::configure("bench", log::Level::kOff, log::Format::kLogfmt);
    Rig rig(Dialect::k1_34, [](egpu::testing::KubeletOptions& options) {
        options.gc_tick = Seconds(10);
    });
    if (!rig.up(800)) state.SkipWithError("not up");
    for (auto _ : state) {
        const double before = cpu_seconds();
        const timespec pause{5, 0};
        ::nanosleep(&pause, nullptr);
        state.counters["cpu_percent"] = (cpu_seconds() - before) / 5 * 100;
        state.counters["resident_mib"] = resident_mib();
    }
}
BENCHMARK(BM_Idle)->Unit(benchmark::kMillisecond)->UseRealTime()->Iterations(1);

}  // namespace
}  // namespace egpu::kubelet
