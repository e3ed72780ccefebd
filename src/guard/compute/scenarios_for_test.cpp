#include "guard/compute/scenarios_for_test.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/random.h"

namespace egpu::guard {

namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

std::uint64_t longest(const Scenario& scenario) {
    std::uint64_t cost = 0;
    for (const Tenant& tenant : scenario.tenants) {
        for (const Shape& shape : tenant.work.shapes) cost = std::max(cost, shape.cost_ns);
    }
    return cost;
}

std::string percent(double share) {
    return std::to_string(std::lround(share * 100));
}

}  // namespace

ComputePolicy policy_of(double share, ComputeMode mode) {
    ComputePolicy policy;
    policy.mode = mode;
    policy.share_ppm = static_cast<std::uint32_t>(std::lround(share * kWholePpm));
    return policy;
}

std::function<void(App&)> body_of(const Workload& workload, std::uint64_t seed) {
    return [workload, seed](App& app) {
        Random random(seed);
        app.set_launch_ns(workload.launch_ns);
        std::vector<int> streams{app.stream()};
        while (static_cast<int>(streams.size()) < workload.streams) {
            streams.push_back(app.make_stream());
        }
        for (std::uint64_t i = 1;; ++i) {
            Shape shape = workload.shapes[random.below(workload.shapes.size())];
            if (workload.jitter > 0) {
                const double unit = static_cast<double>(random.below(2'000'001)) / 1e6 - 1;
                shape.cost_ns = static_cast<std::uint64_t>(
                    static_cast<double>(shape.cost_ns) * (1 + unit * workload.jitter)
                );
            }
            app.launch(shape, streams[i % streams.size()]);
            if (workload.sync_every == 0 || i % static_cast<unsigned>(workload.sync_every) != 0) {
                continue;
            }
            for (const int stream : streams) app.sync(stream);
            if (workload.idle_ns != 0) app.compute(workload.idle_ns);
        }
    };
}

Outcome run(const Scenario& scenario, std::uint64_t seed) {
    VirtualCard card(scenario.card);
    card.use_agent(scenario.agent);
    card.set_host(scenario.host);
    std::vector<Container*> containers;
    for (const Tenant& tenant : scenario.tenants) {
        Container& container = card.add_container(policy_of(tenant.share, tenant.mode));
        container.reported = scenario.nvml;
        if (scenario.card.spatial) {
            container.policy.spatial = 1;
            container.policy.block_slots = scenario.card.sm_count * scenario.card.threads_per_sm;
        }
        containers.push_back(&container);
        for (int p = 0; p < tenant.processes; ++p) {
            Process& process = card.add_process(container);
            for (int t = 0; t < tenant.threads; ++t) {
                card.add_app(
                    process,
                    body_of(
                        tenant.work, seed + card.processes().size() * 16 + static_cast<unsigned>(t)
                    )
                );
            }
        }
    }
    card.run_until(scenario.seconds * kSecond);
    const std::uint64_t from = (scenario.tenants.size() == 1 ? 1 : 3) * kSecond;
    Outcome outcome;
    // A second holds only a few kernels of tens of milliseconds; whole kernels fall in or out.
    outcome.window_ns = longest(scenario) > 10'000'000 ? 5 * kSecond : kSecond;
    for (std::size_t i = 0; i < containers.size(); ++i) {
        outcome.achieved.push_back(card.share(*containers[i], from, scenario.seconds * kSecond));
        double sm_ns = 0;
        for (const auto& process : card.processes()) {
            if (process->container == containers[i])
                sm_ns += card.model().use(process->client).sm_ns;
        }
        outcome.sm_share.push_back(sm_ns / static_cast<double>(scenario.seconds * kSecond));
        outcome.worst.push_back(
            card.worst_window(*containers[i], scenario.tenants[i].share, from, outcome.window_ns)
        );
    }
    return outcome;
}

std::vector<Workload> workloads() {
    return {
        {.name = "1 us",
         .shapes = {{.id = 1, .cost_ns = 1'000}},
         .sync_every = 128,
         .launch_ns = 500},
        {.name = "20 us, few blocks", .shapes = {{.id = 2, .cost_ns = 20'000, .blocks = 40}}},
        {.name = "100 us", .shapes = {{.id = 3, .cost_ns = 100'000}}},
        {.name = "200 us, synchronous", .shapes = {{.id = 4, .cost_ns = 200'000}}, .sync_every = 1},
        {.name = "1 ms", .shapes = {{.id = 5, .cost_ns = 1'000'000}}},
        {.name = "5 ms", .shapes = {{.id = 6, .cost_ns = 5'000'000}}},
        {.name = "21.7 ms, synchronous",
         .shapes = {{.id = 7, .cost_ns = 21'700'000}},
         .sync_every = 1},
        {.name = "100 ms", .shapes = {{.id = 8, .cost_ns = 100'000'000}}},
        {.name = "mixed, varying",
         .shapes =
             {{.id = 10, .cost_ns = 4'000},
              {.id = 11, .cost_ns = 15'000},
              {.id = 12, .cost_ns = 60'000},
              {.id = 13, .cost_ns = 250'000},
              {.id = 14, .cost_ns = 30'000, .blocks = 200},
              {.id = 15, .cost_ns = 1'200'000},
              {.id = 16, .cost_ns = 8'000},
              {.id = 17, .cost_ns = 90'000}},
         .sync_every = 200,
         .jitter = 0.3},
        {.name = "graph of 3 ms",
         .shapes = {{.id = 20, .cost_ns = 3'000'000, .graph = true}},
         .sync_every = 1},
        {.name = "cooperative 400 us",
         .shapes = {{.id = 21, .cost_ns = 400'000, .blocks = 264, .threads = 1024}}},
        {.name = "two streams",
         .shapes = {{.id = 22, .cost_ns = 150'000}, {.id = 23, .cost_ns = 40'000}},
         .streams = 2},
    };
}

std::vector<Scenario> alone() {
    std::vector<Scenario> scenarios;
    for (const Workload& work : workloads()) {
        for (const double share : {0.1, 0.3, 0.5}) {
            Scenario scenario{
                .name = percent(share), .tenants = {{.share = share, .work = work}}, .card = {}};
            scenario.seconds = longest(scenario) > 10'000'000   ? 31
                               : work.shapes[0].cost_ns < 2'000 ? 4
                                                                : 8;
            scenarios.push_back(scenario);
        }
    }
    return scenarios;
}

std::vector<Scenario> contended() {
    const std::vector<std::vector<double>> splits{
        {0.3, 0.7}, {0.2, 0.2}, {0.25, 0.25, 0.25, 0.25}, {0.1, 0.9}};
    std::vector<Scenario> scenarios;
    const auto add =
        [&scenarios](const std::vector<double>& split, const std::vector<Workload>& work) {
            Scenario scenario;
            for (std::size_t i = 0; i < split.size(); ++i) {
                scenario.name += (i == 0 ? "" : "/") + percent(split[i]);
                scenario.tenants.push_back({.share = split[i], .work = work[i % work.size()]});
            }
            scenario.seconds = longest(scenario) > 10'000'000 ? 43 : 10;
            for (const Workload& one : work) {
                if (one.shapes[0].cost_ns < 2'000)
                    scenario.seconds = std::min<std::uint64_t>(scenario.seconds, 6);
            }
            scenarios.push_back(scenario);
        };
    const std::vector<Workload> all = workloads();
    for (const Workload& work : all) {
        for (const auto& split : splits) add(split, {work});
    }
    // Unequal neighbours: small beside large, synchronous beside queued, graph beside mixed.
    for (const auto& [a, b] :
         {std::pair{2, 5},
          std::pair{2, 7},
          std::pair{3, 2},
          std::pair{8, 9},
          std::pair{6, 8},
          std::pair{7, 8}}) {
        for (const auto& split : splits)
            add(split, {all[static_cast<std::size_t>(a)], all[static_cast<std::size_t>(b)]});
    }
    return scenarios;
}

}  // namespace egpu::guard
