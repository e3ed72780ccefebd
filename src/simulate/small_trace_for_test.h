// A small cluster and workload, as text.
#pragma once

#include <string>

#include "simulate/trace.h"

namespace egpu::simulate {

inline constexpr const char* kSmallNodes =
    "sn,cpu_milli,memory_mib,gpu,model\n"
    "n2,32000,65536,2,T4\n"
    "n1,64000,131072,4,A10\n"
    "n3,16000,32768,0,\n";

// 120 pods: shares of several sizes, whole cards, pairs, pods without a card; lifetimes 50 to 649
// s.
inline std::string small_pods() {
    std::string text =
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,creation_time,deletion_time\n";
    for (int i = 0; i < 120; ++i) {
        const char* kind = i % 8 == 0   ? "1,1000,"
                           : i % 8 == 1 ? "2,1000,A10"
                           : i % 8 == 2 ? "0,0,"
                           : i % 8 == 3 ? "1,470,T4|A10"
                           : i % 8 == 4 ? "1,810,"
                                        : "1,320,";
        text += "pod-" + std::to_string(1000 + i) + "," + std::to_string(1000 * (1 + i % 5)) +
                ",1024," + kind + "," + std::to_string(100 * i) + "," +
                std::to_string(100 * i + 50 + (i * 37) % 600) + "\n";
    }
    return text;
}

inline Cluster small_cluster() {
    auto cluster = parse_cluster("nodes.csv", kSmallNodes);
    EG_CHECK(cluster.ok());
    return std::move(*cluster);
}

inline Workload small_workload(const Cluster& cluster) {
    auto workload = parse_workload("pods.csv", small_pods(), cluster);
    EG_CHECK(workload.ok());
    return std::move(*workload);
}

}  // namespace egpu::simulate
