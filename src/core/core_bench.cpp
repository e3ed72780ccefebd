// Budgets: 8 cards x 20 containers in microseconds; filter and score of one share on
// 5,000 nodes x 8 cards under 300 us together; 5,000 nodes, 40,000 cards, 100,000 pods under 80 MB.
#include <cstdio>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <malloc.h>

#include "base/random.h"
#include "core/defragment.h"
#include "core/ledger.h"
#include "core/planner.h"
#include "core/stranded.h"
#include "core/topology.h"

namespace egpu::core {
namespace {

PodRequest shares(std::initializer_list<int> percents) {
    PodRequest request;
    for (const int percent : percents) {
        ContainerRequest c;
        c.name = "c" + std::to_string(request.containers.size());
        c.percent = percent;
        c.whole = percent == 100;
        request.containers.push_back(c);
    }
    return request;
}

std::string uuid_of(int node, int card) {
    char text[48];
    std::snprintf(text, sizeof(text), "GPU-%08x-0000-4000-8000-%012x", node, card);
    return text;
}

std::string uid_of(int pod) {
    char text[48];
    std::snprintf(text, sizeof(text), "%08x-1b2c-4908-9913-88412a4e98da", pod * 2654435761u);
    return text;
}

NodeInventory node_of(int node, int cards) {
    NodeInventory inventory;
    for (int i = 0; i < cards; ++i) {
        inventory.cards.push_back({uuid_of(node, i), i, "NVIDIA H100 80GB HBM3", 81559, i / 4, true}
        );
    }
    inventory.percent_units = cards * 100;
    inventory.whole_units = cards;
    return inventory;
}

std::string name_of(int node) {
    return "gpu-node-" + std::to_string(10000 + node) + ".cluster";
}

void fill(Ledger& ledger, int nodes, int pods_per_node) {
    Random random(1);
    for (int node = 0; node < nodes; ++node) ledger.upsert_node(name_of(node), node_of(node, 8));
    int serial = 0;
    for (int node = 0; node < nodes; ++node) {
        for (int i = 0; i < pods_per_node; ++i) {
            BoundPod pod;
            pod.id = {
                uid_of(serial),
                "team-" + std::to_string(serial % 50),
                "inference-7c9d8b6f5-" + std::to_string(serial)};
            ++serial;
            pod.node = name_of(node);
            const int percent = random.between(1, 8) * 5;
            pod.request = shares({percent});
            const int card = i % 8;
            pod.placement = Placement{{{"c0", {{uuid_of(node, card), card, percent, 0}}}}};
            ledger.upsert_pod(pod);
        }
    }
}

// The worst number of 16 cards, links at random: hardly any set can be left out. Under 1 ms.
void best_8_of_16_cards(benchmark::State& state) {
    Random random(1);
    CloseCards close(16);
    for (int a = 0; a < 16; ++a) {
        for (int b = a + 1; b < 16; ++b) {
            close.set(
                a, b, make_link(static_cast<PciePath>(random.between(1, 5)), random.between(0, 6))
            );
        }
    }
    for (auto _ : state) benchmark::DoNotOptimize(close.best(8));
}
BENCHMARK(best_8_of_16_cards)->Unit(benchmark::kMicrosecond);

// An NVSwitch node of two boards: every second set is as good as the best.
void best_8_of_16_cards_nvswitch(benchmark::State& state) {
    CloseCards close(16);
    for (int a = 0; a < 16; ++a) {
        for (int b = a + 1; b < 16; ++b) {
            close.set(a, b, make_link(a / 8 == b / 8 ? PciePath::kNumaNode : PciePath::kSystem, 6));
        }
    }
    for (auto _ : state) benchmark::DoNotOptimize(close.best(8));
}
BENCHMARK(best_8_of_16_cards_nvswitch)->Unit(benchmark::kMicrosecond);

void plan_8_cards_20_containers(benchmark::State& state) {
    std::vector<CardState> cards(8);
    for (int i = 0; i < 8; ++i) cards[i].card.index = i;
    const PodRequest request =
        shares({70, 60, 55, 50, 45, 45, 40, 40, 35, 35, 30, 30, 30, 25, 25, 20, 20, 15, 10, 10});
    for (auto _ : state) benchmark::DoNotOptimize(plan(cards, request, default_policy()));
}
BENCHMARK(plan_8_cards_20_containers)->Unit(benchmark::kMicrosecond);

// Impossible, and no bound proves it at once: the whole budget is spent.
void plan_8_cards_20_containers_worst(benchmark::State& state) {
    std::vector<CardState> cards(8);
    for (int i = 0; i < 8; ++i) cards[i].card.index = i;
    const PodRequest request =
        shares({51, 51, 51, 49, 48, 47, 46, 45, 44, 43, 42, 41, 38, 36, 35, 33, 32, 26, 22, 20});
    for (auto _ : state) benchmark::DoNotOptimize(plan(cards, request, default_policy()));
}
BENCHMARK(plan_8_cards_20_containers_worst)->Unit(benchmark::kMicrosecond);

void plan_one_share(benchmark::State& state) {
    std::vector<CardState> cards(8);
    for (int i = 0; i < 8; ++i) cards[i].card.index = i;
    const PodRequest request = shares({20});
    for (auto _ : state) benchmark::DoNotOptimize(plan(cards, request, default_policy()));
}
BENCHMARK(plan_one_share);

struct Asked {
    Ledger ledger;
    std::vector<std::string> names;
    explicit Asked(int nodes) {
        fill(ledger, nodes, 12);
        for (int i = 0; i < nodes; ++i) names.push_back(name_of(i));
    }
};

void find_nodes(benchmark::State& state) {
    const Asked asked(static_cast<int>(state.range(0)));
    for (auto _ : state) {
        NodeId sum = 0;
        for (const std::string& name : asked.names) sum += *asked.ledger.find_node(name);
        benchmark::DoNotOptimize(sum);
    }
}
BENCHMARK(find_nodes)->Arg(5000)->Unit(benchmark::kMicrosecond);

void filter_and_score(benchmark::State& state, const PodRequest& request) {
    const Asked asked(static_cast<int>(state.range(0)));
    std::size_t fitting = 0;
    for (auto _ : state) {
        Query query = asked.ledger.query(request, "new");
        fitting = 0;
        int best = 0;
        for (const std::string& name : asked.names) fitting += asked.ledger.fits(name, query).fits;
        for (const std::string& name : asked.names) {
            best = std::max(best, asked.ledger.score(name, query));
        }
        benchmark::DoNotOptimize(best);
    }
    state.counters["fitting"] = static_cast<double>(fitting);
}
void filter_and_score_share(benchmark::State& state) {
    filter_and_score(state, shares({20}));
}
void filter_and_score_refused(benchmark::State& state) {
    filter_and_score(state, shares({95}));
}
void filter_and_score_whole(benchmark::State& state) {
    filter_and_score(state, shares({100}));
}
void filter_and_score_two(benchmark::State& state) {
    filter_and_score(state, shares({20, 30}));
}
void filter_and_score_with_cap(benchmark::State& state) {
    PodRequest request = shares({20});
    request.containers[0].memory_mib = 4096;
    filter_and_score(state, request);
}
BENCHMARK(filter_and_score_share)->Arg(100)->Arg(1000)->Arg(5000)->Unit(benchmark::kMicrosecond);
BENCHMARK(filter_and_score_refused)->Arg(5000)->Unit(benchmark::kMicrosecond);
BENCHMARK(filter_and_score_whole)->Arg(5000)->Unit(benchmark::kMicrosecond);
BENCHMARK(filter_and_score_two)->Arg(5000)->Unit(benchmark::kMicrosecond);
BENCHMARK(filter_and_score_with_cap)->Arg(5000)->Unit(benchmark::kMicrosecond);

void reserve_and_release(benchmark::State& state) {
    Asked asked(1000);
    const PodRequest request = shares({5});
    std::size_t i = 0;
    for (auto _ : state) {
        const PodIdentity id{"new", "default", "new"};
        benchmark::DoNotOptimize(
            asked.ledger.reserve(id, asked.names[i++ % 1000], request, {}, Seconds(30))
        );
        asked.ledger.release_reservation("new");
    }
}
BENCHMARK(reserve_and_release);

// "MB": what the whole ledger has on the heap.
void memory_5000_nodes_100000_pods(benchmark::State& state) {
    for (auto _ : state) {
        malloc_trim(0);
        const auto in_use = [] {
            const struct mallinfo2 info = mallinfo2();
            return info.uordblks + info.hblkhd;
        };
        const std::size_t before = in_use();
        Ledger ledger;
        fill(ledger, 5000, 20);
        state.counters["MB"] = static_cast<double>(in_use() - before) / 1e6;
        state.counters["pods"] = static_cast<double>(ledger.pod_count());
        state.counters["cards"] = static_cast<double>(ledger.totals().cards);
    }
}
BENCHMARK(memory_5000_nodes_100000_pods)->Iterations(1)->Unit(benchmark::kMillisecond);

// 1,000 nodes x 8 cards, nearly full of shares, some CPU short: advice for people, under a second.
Cluster crowded_cluster(int nodes) {
    Random random(1);
    Cluster cluster;
    for (int n = 0; n < nodes; ++n) {
        ClusterNode node;
        node.name = name_of(n);
        node.inventory = node_of(n, 8);
        node.inventory.host = {96'000, 786'432};
        cluster.nodes.push_back(std::move(node));
        for (int card = 0; card < 8; ++card) {
            for (int used = 0; used < 70;) {
                const int percent = random.between(2, 12) * 5;
                if (used + percent > 100) break;
                used += percent;
                ClusterPod pod;
                const int serial = static_cast<int>(cluster.pods.size());
                pod.id = {uid_of(serial), "team", "pod-" + std::to_string(serial)};
                pod.node = name_of(n);
                pod.owner = "ReplicaSet";
                pod.request = shares({percent});
                pod.request.host = {random.between(1, 12) * 500, 4096};
                pod.placement = Placement{{{"c0", {{uuid_of(n, card), card, percent, 0}}}}};
                cluster.pods.push_back(std::move(pod));
            }
        }
    }
    return cluster;
}

void describe_1000_nodes_use(benchmark::State& state) {
    const Cluster cluster = crowded_cluster(1000);
    for (auto _ : state) benchmark::DoNotOptimize(cluster_use(cluster));
    state.counters["pods"] = static_cast<double>(cluster.pods.size());
}
BENCHMARK(describe_1000_nodes_use)->Unit(benchmark::kMillisecond);

void describe_1000_nodes_stranded(benchmark::State& state) {
    const Cluster cluster = crowded_cluster(1000);
    const auto uses = cluster_use(cluster);
    for (auto _ : state) benchmark::DoNotOptimize(find_stranded(cluster, uses));
}
BENCHMARK(describe_1000_nodes_stranded)->Unit(benchmark::kMillisecond);

void describe_1000_nodes_free(benchmark::State& state) {
    const Cluster cluster = crowded_cluster(1000);
    const auto uses = cluster_use(cluster);
    const FreeCardsRequest request{static_cast<int>(state.range(0)), state.range(1) != 0, {}};
    FreeCardsPlan plan;
    for (auto _ : state) plan = plan_free_cards(cluster, uses, request);
    state.counters["moves"] = plan.possible ? static_cast<double>(plan.moves.size()) : -1;
    state.counters["smallest"] = plan.smallest ? 1 : 0;
}
BENCHMARK(describe_1000_nodes_free)
    ->Unit(benchmark::kMillisecond)
    ->Args({1, 0})
    ->Args({4, 0})
    ->Args({8, 0})
    ->Args({100, 1})
    ->Args({9, 0});

}  // namespace
}  // namespace egpu::core
