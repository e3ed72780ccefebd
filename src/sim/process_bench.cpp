// The processes as a whole, in a simulated cluster of one node with eight cards: how long an agent
// takes from its start until the kubelet offers its devices, and what agent and scheduler cost when
// nothing happens.
#include <algorithm>
#include <cstdio>
#include <sstream>
#include <thread>

#include <benchmark/benchmark.h>
#include <unistd.h>

#include "base/files.h"
#include "base/log.h"
#include "sim/cluster.h"

namespace egpu::sim {
namespace {

constexpr auto kWait = Seconds(20);
constexpr auto kIdle = Seconds(20);
constexpr const char* kShare = "nano-gpu/gpu-percent";

Result<std::unique_ptr<Cluster>> start_cluster() {
    ClusterOptions options;
    options.nodes = {{.name = "bench", .profile = "h100"}};
    EG_TRY(const auto self, self_executable());
    options.executable = self.parent_path() / "edge-gpu";
    StopSource never;
    return Cluster::start(std::move(options), never.token());
}

// MiB of a line of /proc/PID/status, for example VmRSS.
double memory_mib(pid_t pid, const std::string& field) {
    const auto text = read_file("/proc/" + std::to_string(pid) + "/status");
    if (!text) return -1;
    const std::size_t at = text->find(field + ":");
    return at == std::string::npos ? -1 : std::atof(text->c_str() + at + field.size() + 1) / 1024;
}

double cpu_seconds(pid_t pid) {
    const auto text = read_file("/proc/" + std::to_string(pid) + "/stat");
    if (!text) return -1;
    std::istringstream fields(text->substr(text->rfind(')') + 2));
    std::string skipped;
    double user = 0;
    double system = 0;
    for (int i = 0; i < 11; ++i) fields >> skipped;
    fields >> user >> system;
    return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

void BM_AgentStartToOffered(benchmark::State& state) {
    auto cluster = start_cluster();
    if (!cluster) {
        state.SkipWithError(cluster.error().message.c_str());
        return;
    }
    SimulatedNode& node = *(*cluster)->nodes().front();
    const auto all = node.kubelet().allocatable()[kShare];
    for (auto _ : state) {
        (*cluster)->kill_agent(node);
        if (!node.kubelet().wait_allocatable(kShare, 0, kWait)) {
            state.SkipWithError("the kubelet did not notice the agent's end");
            return;
        }
        const TimePoint begin = MonoClock::now();
        const Status started = (*cluster)->start_agent(node);
        while (started && node.kubelet().allocatable()[kShare] != all &&
               MonoClock::now() - begin < kWait) {
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
        state.SetIterationTime(std::chrono::duration<double>(MonoClock::now() - begin).count());
    }
}
BENCHMARK(BM_AgentStartToOffered)
    ->UseManualTime()
    ->Iterations(1)
    ->Repetitions(15)
    ->Unit(benchmark::kMillisecond)
    ->ReportAggregatesOnly();

// Counters: resident memory in MiB and CPU in percent of one core, both over an idle time of 20 s.
void BM_Idle(benchmark::State& state) {
    auto cluster = start_cluster();
    if (!cluster) {
        state.SkipWithError(cluster.error().message.c_str());
        return;
    }
    const pid_t agent = (*cluster)->nodes().front()->agent().pid();
    const pid_t scheduler = (*cluster)->scheduler().pid();
    for (auto _ : state) {
        std::this_thread::sleep_for(Seconds(2));
        const double agent_before = cpu_seconds(agent);
        const double scheduler_before = cpu_seconds(scheduler);
        std::this_thread::sleep_for(kIdle);
        const double seconds = std::chrono::duration<double>(kIdle).count();
        state.counters["agent_cpu_percent"] = (cpu_seconds(agent) - agent_before) / seconds * 100;
        state.counters["scheduler_cpu_percent"] =
            (cpu_seconds(scheduler) - scheduler_before) / seconds * 100;
        for (const auto& [name, pid] :
             {std::pair{"agent", agent}, std::pair{"scheduler", scheduler}}) {
            state.counters[std::string(name) + "_rss_mib"] = memory_mib(pid, "VmRSS");
            state.counters[std::string(name) + "_anon_mib"] = memory_mib(pid, "RssAnon");
        }
    }
}
BENCHMARK(BM_Idle)->Iterations(1)->Unit(benchmark::kSecond);

}  // namespace
}  // namespace egpu::sim
