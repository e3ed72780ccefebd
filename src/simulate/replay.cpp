#include "simulate/replay.h"

#include <cmath>
#include <unordered_map>

#include "simulate/cpu_clock.h"
#include "simulate/machine_room.h"

namespace egpu::simulate {
namespace {

constexpr int kPointsPerCause = 5;  // reading the causes takes longer than placing a pod

}  // namespace

PodClass class_of(const core::Shape& shape) {
    if (shape.cards == 0) return PodClass::kCpuOnly;
    if (shape.cards > 1) return PodClass::kSeveralCards;
    return shape.percent < 100 ? PodClass::kShare : PodClass::kOneCard;
}

std::vector<core::ShapeWeight> demand_of(const Workload& workload) {
    std::vector<core::ShapeWeight> out;
    std::unordered_map<core::Shape, std::size_t, core::ShapeHash> index;
    for (const TracePod& pod : workload.pods) {
        const auto [it, added] = index.try_emplace(pod.shape, out.size());
        if (added) out.push_back({pod.shape, 0});
        out[it->second].weight += 1;
    }
    return out;
}

Result<RunResult> replay(const RunInput& input) {
    const Workload& workload = input.workload;
    const RunOptions& options = input.options;
    const int cards = input.cluster.cards();
    EG_TRY(const auto order, arrivals(workload, options.order, options.inflate, cards, input.seed));
    const auto demand = demand_of(workload);
    RunResult out;
    out.workload = workload.name;
    out.policy = input.scorer.name;
    out.seed = input.seed;
    out.allocated_at_100 = -1;
    double begin = thread_cpu_seconds();
    core::FleetOptions fleet = options.fleet;
    fleet.seed = input.seed;
    MachineRoom room(input.cluster, input.scorer, fleet);
    if (input.scorer.potential == core::Potential::kFragmentation) {
        room.fleet().know_demand(demand);
    }
    const double installed = cards * 100.0;
    double asked = 0;
    int next_point = 1;
    std::uint64_t pod_key = 0;
    const auto sample = [&](bool with_causes) {
        out.seconds += thread_cpu_seconds() - begin;
        Sample point{100 * asked / installed, room.allocated_pct(), 0, std::nullopt};
        if (with_causes) point.free_by_cause = room.free_by_cause(demand);
        out.curve.push_back(point);
        input.progress = static_cast<int>(1000 * asked / (installed * options.inflate));
        begin = thread_cpu_seconds();
    };
    sample(true);
    for (const std::uint32_t index : order) {
        const core::Shape& shape = workload.pods[index].shape;
        ClassCount& count = out.classes[static_cast<std::size_t>(class_of(shape))];
        ++count.arrived;
        room.fleet().arrived(shape);
        room.fleet().refresh_if_due();
        if (room.place(shape, ++pod_key)) ++count.placed;
        asked += shape.cards * shape.percent;
        if (out.allocated_at_100 < 0 && asked >= installed) {
            out.allocated_at_100 = room.allocated_pct();
        }
        if (100 * asked >= next_point * installed) {
            sample(next_point % kPointsPerCause == 0);
            next_point = static_cast<int>(100 * asked / installed) + 1;
        }
    }
    sample(true);
    out.allocated_at_end = room.allocated_pct();
    // The next pod would have made it 100: close enough to be that reading.
    if (out.allocated_at_100 < 0 && std::abs(options.inflate - 1) < 1e-9) {
        out.allocated_at_100 = out.allocated_at_end;
    }
    for (const ClassCount& each : out.classes) out.pods_placed += static_cast<double>(each.placed);
    return out;
}

}  // namespace egpu::simulate
