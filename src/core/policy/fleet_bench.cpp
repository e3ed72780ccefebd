// fill-gradient at 5,000 nodes: what a call costs while nothing is renewed, and what a renewal
// costs whoever does it.
#include <memory>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/random.h"
#include "core/policy/fleet.h"
#include "core/policy/rooms_for_test.h"

namespace egpu::core {
namespace {

constexpr FleetNode kNodes = 5000;

std::vector<Shape> shapes() {
    std::vector<Shape> out;
    Random random(1);
    for (int i = 0; i < 60; ++i) {
        const int cpu = 1000 * random.between(2, 16);
        out.push_back(
            i % 3 == 0 ? whole_cards(1 << random.below(4), cpu, 4 * cpu)
                       : share_of(10 * random.between(1, 9), cpu, 4 * cpu)
        );
    }
    return out;
}

Room used_room(Random& random) {
    Room room = room_of({}, 1000 * random.between(0, 96), 4000 * random.between(0, 96));
    room.cards = 8;
    for (int card = 0; card < 8; ++card) {
        room.free[card] =
            static_cast<std::uint8_t>(random.chance(0.4) ? 100 : 10 * random.below(10));
    }
    return room;
}

// Every node in a state of its own: the worst case.
struct Cluster {
    Fleet fleet{*find_scorer("fill-gradient")};
    std::vector<Shape> pods = shapes();
    std::vector<FleetNode> nodes;
    std::vector<double> out = std::vector<double>(kNodes);
    Random random{2};

    Cluster() {
        for (FleetNode node = 0; node < kNodes; ++node) {
            nodes.push_back(node);
            fleet.set_room(node, used_room(random));
        }
        for (int i = 0; i < 600; ++i) fleet.arrived(pods[random.below(pods.size())]);
        fleet.refresh_if_due();
        for (const Shape& pod : pods) fleet.scores(nodes, pod, out);
    }
};

Cluster& cluster() {
    static Cluster one;
    return one;
}

// A pod of a shape that was seen before, after one node has changed: every scheduling cycle.
void BM_ScoresWarm(benchmark::State& state) {
    Cluster& c = cluster();
    for (auto _ : state) {
        c.fleet.set_room(static_cast<FleetNode>(c.random.below(kNodes)), used_room(c.random));
        c.fleet.scores(c.nodes, c.pods[c.random.below(c.pods.size())], c.out);
    }
}
BENCHMARK(BM_ScoresWarm)->Unit(benchmark::kMicrosecond);

void BM_PlaceWarm(benchmark::State& state) {
    Cluster& c = cluster();
    for (auto _ : state) benchmark::DoNotOptimize(c.fleet.place(c.pods[c.random.below(60)]));
}
BENCHMARK(BM_PlaceWarm)->Unit(benchmark::kMicrosecond);

void BM_ScoresOfAnUnknownShape(benchmark::State& state) {
    Cluster& c = cluster();
    std::uint8_t percent = 0;
    for (auto _ : state) {
        percent = static_cast<std::uint8_t>(percent % 99 + 1);
        c.fleet.scores(
            c.nodes, share_of(percent, 1000 + static_cast<int>(c.random.below(999))), c.out
        );
    }
}
BENCHMARK(BM_ScoresOfAnUnknownShape)->Unit(benchmark::kMillisecond)->Iterations(20);

// The three parts of a renewal of the prices, and the first question after it.
void BM_NewPrices(benchmark::State& state) {
    Cluster& c = cluster();
    for (auto _ : state) {
        state.PauseTiming();
        for (int i = 0; i < 50; ++i) c.fleet.arrived(c.pods[c.random.below(60)]);
        state.ResumeTiming();
        auto job = c.fleet.prepare(true);
        if (state.range(0) > 0) {
            state.PauseTiming();
            while (!job->step(1000)) {
            }
            if (state.range(0) > 1) c.fleet.install(std::move(*job));
            state.ResumeTiming();
        } else {
            while (!job->step(1000)) {
            }
            c.fleet.install(std::move(*job));
        }
        if (state.range(0) == 1) c.fleet.install(std::move(*job));
        if (state.range(0) == 2) c.fleet.scores(c.nodes, c.pods[c.random.below(60)], c.out);
    }
    state.SetLabel(
        state.range(0) == 0   ? "prepare, step, install"
        : state.range(0) == 1 ? "prepare and install"
                              : "prepare, and the first scores"
    );
}
BENCHMARK(BM_NewPrices)->Arg(0)->Arg(1)->Arg(2)->Unit(benchmark::kMillisecond)->Iterations(10);

}  // namespace
}  // namespace egpu::core
