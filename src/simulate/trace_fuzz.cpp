// Whatever is in the files: an error or a cluster and workload that can be replayed.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "simulate/replay.h"
#include "simulate/trace.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace egpu::simulate;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto cluster = parse_cluster("nodes.csv", text);
    if (cluster) {
        for (const TraceNode& node : cluster->nodes) EG_CHECK(!node.name.empty());
    }
    const auto fixed =
        parse_cluster("nodes.csv", "sn,cpu_milli,memory_mib,gpu,model\na,9000,9000,2,T4\n");
    EG_CHECK(fixed.ok());
    const auto workload = parse_workload("pods.csv", text, *fixed);
    if (!workload || workload->pods.size() > 200) return 0;
    std::atomic<int> progress{0};
    RunOptions options;
    options.inflate = 2;
    const auto run = replay(
        {.cluster = *fixed,
         .workload = *workload,
         .scorer = *egpu::core::find_scorer("best-fit"),
         .seed = 1,
         .options = options,
         .progress = progress}
    );
    EG_CHECK(run.ok() && run->allocated_at_end >= 0 && run->allocated_at_end <= 100);
    return 0;
}
