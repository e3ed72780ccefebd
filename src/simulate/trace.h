// A cluster and the pods that arrive, as traces tell of them. The columns are those of Alibaba's
// public GPU trace of 2023 (cluster-trace-gpu-v2023); others are ignored:
//
//   nodes: sn, cpu_milli, memory_mib, gpu (cards), model
//   pods:  name, cpu_milli, memory_mib, num_gpu, gpu_milli (of each card; below 1000 a share), and
//          where there are any: gpu_spec (models joined by |), creation_time, deletion_time (s)
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "core/room.h"

namespace egpu::simulate {

// The last ModelId stands for models that no node has.
inline constexpr int kNoSuchModel = core::kMaxModels - 1;

struct TraceNode {
    std::string name;
    core::Room room;  // all of it free
};

struct TracePod {
    std::string name;
    core::Shape shape;
    std::optional<std::int64_t> created;   // seconds, on the trace's own clock
    std::optional<std::int64_t> lifetime;  // seconds, 0 or more
};

struct Cluster {
    std::vector<TraceNode> nodes;     // sorted by name: no run depends on the file's order
    std::vector<std::string> models;  // by ModelId; 0 is "": no model given
    int cards() const;                // installed
};

struct Workload {
    std::string name;            // the file's without folder and suffix
    std::vector<TracePod> pods;  // sorted by name
    std::size_t rounded = 0;     // shares that are no whole percent; taken as the next one
};

// The file's name without folder and suffix.
std::string workload_name(const std::string& file);

// `file` is what errors call it. A node has at most 16 cards; there are at most 62 models.
Result<Cluster> parse_cluster(const std::string& file, std::string_view text);
// Models are those of the cluster; a pod that asks for others only fits nowhere.
Result<Workload> parse_workload(
    const std::string& file, std::string_view text, const Cluster& cluster
);

}  // namespace egpu::simulate
