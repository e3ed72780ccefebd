#include "simulate/runner.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "base/clock.h"
#include "simulate/departures.h"
#include "simulate/replay.h"

namespace egpu::simulate {
namespace {

struct Task {
    const Workload* workload = nullptr;
    const core::Scorer* scorer = nullptr;
    std::uint64_t seed = 0;
    std::atomic<int> progress{0};
    std::optional<Result<RunResult>> result;
};

}  // namespace

Result<std::vector<RunResult>> run_all(
    const Cluster& cluster,
    const std::vector<Workload>& workloads,
    const Options& options,
    const std::function<void(double)>& watch
) {
    std::vector<Task> tasks(workloads.size() * options.policies.size() * options.seeds.size());
    std::size_t at = 0;
    for (const Workload& workload : workloads) {
        for (const core::Scorer* scorer : options.policies) {
            for (const std::uint64_t seed : options.seeds) {
                tasks[at].workload = &workload;
                tasks[at].scorer = scorer;
                tasks[at++].seed = seed;
            }
        }
    }
    std::atomic<std::size_t> next{0};
    std::atomic<bool> failed{false};
    std::mutex mutex;
    std::condition_variable finished;
    std::size_t working = 0;
    const auto work = [&] {
        while (!failed) {
            const std::size_t mine = next++;
            if (mine >= tasks.size()) break;
            Task& task = tasks[mine];
            const auto run = options.run.departures ? replay_with_departures : replay;
            task.result.emplace(run(
                {.cluster = cluster,
                 .workload = *task.workload,
                 .scorer = *task.scorer,
                 .seed = task.seed,
                 .options = options.run,
                 .progress = task.progress}
            ));
            task.progress = 1000;
            if (!*task.result) failed = true;
        }
        const std::lock_guard lock(mutex);
        --working;
        finished.notify_all();
    };
    const unsigned cpus = std::max(1U, std::thread::hardware_concurrency());
    const std::size_t wanted = options.jobs > 0 ? static_cast<std::size_t>(options.jobs) : cpus;
    std::vector<std::thread> threads;
    working = std::min(wanted, tasks.size());
    for (std::size_t i = std::min(wanted, tasks.size()); i > 0; --i) threads.emplace_back(work);
    {
        std::unique_lock lock(mutex);
        while (!finished.wait_for(lock, Millis(100), [&] { return working == 0; })) {
            double done = 0;
            for (const Task& task : tasks) done += std::min(task.progress.load(), 1000);
            watch(done / (1000.0 * static_cast<double>(tasks.size())));
        }
    }
    for (std::thread& thread : threads) thread.join();
    std::vector<RunResult> out;
    for (Task& task : tasks) {
        if (!task.result) continue;  // not started, for another one failed
        EG_TRY(RunResult result, *std::move(task.result));
        out.push_back(std::move(result));
    }
    return out;
}

}  // namespace egpu::simulate
