// The agent's own work beside its calls: preference and allocation on a node with 16 cards, the
// state file, device lists.
#include <benchmark/benchmark.h>

#include "agent/node_ledger.h"
#include "agent/state_file.h"

namespace egpu::agent {
namespace {

NodeLedger node(int cards, int shares_per_card) {
    NodeLedger ledger;
    std::vector<core::Card> list;
    for (int i = 0; i < cards; ++i) {
        std::string uuid = "GPU-00000000-0000-0000-0000-0000000000" + std::to_string(10 + i);
        list.push_back({std::move(uuid), i, "Tesla T4", 15360, i / 8, true});
    }
    ledger.set_cards(list);
    for (int i = 0; i < cards; ++i) {
        for (int share = 0; share < shares_per_card; ++share) {
            Record record;
            record.token = std::to_string(i) + "/" + std::to_string(share);
            for (int unit = 0; unit < 10; ++unit) {
                record.ids.push_back(
                    unit_id(list[static_cast<std::size_t>(i)].uuid, share * 10 + unit)
                );
            }
            record.cards = {{list[static_cast<std::size_t>(i)].uuid, i, 10, 0}};
            record.holder = {
                "uid-" + record.token,
                "default",
                "pod-" + record.token,
                "main",
                core::ContainerKind::kApp,
                true};
            ledger.restore(std::move(record));
        }
    }
    return ledger;
}

std::vector<std::string> free_ids(const NodeLedger& ledger) {
    std::vector<std::string> ids;
    for (const DeviceState& device : ledger.devices(Resource::kPercent)) {
        const std::vector<std::string> one{device.id};
        if (device.healthy && ledger.overlapping(Resource::kPercent, one).empty())
            ids.push_back(device.id);
    }
    return ids;
}

void Prefer(benchmark::State& state) {
    NodeLedger ledger = node(16, static_cast<int>(state.range(0)));
    const auto available = free_ids(ledger);
    const std::vector<Candidate> candidates{
        {{"u", "ns", "p", "c", core::ContainerKind::kApp, false},
         {{ledger.cards()[7].uuid, 7, 20, 0}}}};
    for (auto _ : state) {
        benchmark::DoNotOptimize(ledger.prefer(Resource::kPercent, available, {}, 20, candidates));
    }
}
BENCHMARK(Prefer)->Arg(0)->Arg(4)->Arg(7)->Unit(benchmark::kMicrosecond);

void AdmitAndRelease(benchmark::State& state) {
    NodeLedger ledger = node(16, static_cast<int>(state.range(0)));
    const auto available = free_ids(ledger);
    const std::vector<std::string> ids(available.begin(), available.begin() + 20);
    for (auto _ : state) {
        benchmark::DoNotOptimize(ledger.admit(Resource::kPercent, ids, "token", 1, {}));
        ledger.release("token");
    }
}
BENCHMARK(AdmitAndRelease)->Arg(0)->Arg(7)->Unit(benchmark::kMicrosecond);

void DeviceLists(benchmark::State& state) {
    const NodeLedger ledger = node(16, 7);
    for (auto _ : state) {
        benchmark::DoNotOptimize(ledger.devices(Resource::kPercent));
        benchmark::DoNotOptimize(ledger.devices(Resource::kWhole));
    }
}
BENCHMARK(DeviceLists)->Unit(benchmark::kMicrosecond);

void SaveState(benchmark::State& state) {
    const NodeLedger ledger = node(16, static_cast<int>(state.range(0)));
    const std::filesystem::path folder =
        std::filesystem::temp_directory_path() / "edge-gpu-agent-bench";
    StateFile file(folder);
    if (!file.load()) state.SkipWithError("the folder cannot be used");
    std::uint64_t sequence = 0;
    for (auto _ : state) {
        if (!file.save(++sequence, {ledger.cards(), ledger.records()}))
            state.SkipWithError("save failed");
    }
    std::filesystem::remove_all(folder);
}
BENCHMARK(SaveState)->Arg(1)->Arg(7)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace egpu::agent
