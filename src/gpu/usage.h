// What processes use of some cards right now, as NVML tells it: one look at a time.
//
// A look asks each card that the caller names, and blocks as long as the driver does: never under
// a lock that others wait on. Physical cards and MIG instances by UUID. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "gpu/nvml.h"

namespace egpu::gpu {

struct CardLook {
    std::string uuid;
    bool listed = false;  // the driver told which processes are there
    // All kinds together, one entry a PID. No bytes: the driver does not tell (of it).
    std::vector<ProcessMemory> processes;
    // Time samples of processes since the last look; none where the driver has none (MIG).
    std::optional<std::vector<ProcessSample>> samples;
    std::uint64_t samples_after_us = 0;  // they are newer than this
    std::uint64_t total_bytes = 0;       // of the card; 0: not known
};

class UsageReader {
  public:
    explicit UsageReader(const Nvml& nvml) : nvml_(nvml) {}

    // Cards that are not there (any more) are left out. kUnavailable when the driver as a whole
    // does not answer: open NVML anew. `memory`: with the lists of processes; false asks for
    // samples only, which is quicker.
    Result<std::vector<CardLook>> look(std::span<const std::string> cards, bool memory);

  private:
    struct Known {
        NvmlDevice* handle = nullptr;
        bool has_samples = true;
        std::uint64_t newest_us = 0;  // of the samples seen
    };
    Status find(std::span<const std::string> cards);
    void take_processes(const Known& card, CardLook& look) const;
    void take_samples(Known& card, CardLook& look);
    bool gone(nvml::Code code);

    const Nvml& nvml_;
    std::map<std::string, Known> cards_;
    bool gone_ = false;
};

}  // namespace egpu::gpu
