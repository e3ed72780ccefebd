// Which processes use a card, and how much.
#include <algorithm>

#include "gpu/nvml.h"
#include "gpu/nvml_functions.h"

namespace egpu::gpu {
namespace {

using nvml::Code;
using nvml::Device;

// Lists grow between the call that asks for their size and the one that reads them.
constexpr int kListTries = 5;
constexpr unsigned kFirstRoom = 32;
constexpr unsigned kSpareRoom = 8;
constexpr unsigned kMostRoom = 1U << 16;

}  // namespace

template <class Info>
Answer<std::vector<ProcessMemory>> Nvml::list_processes(int function, Device device) const {
    // Filled with no process: a driver that says success and writes nothing is not believed.
    std::vector<Info> room(kFirstRoom);
    for (int attempt = 0; attempt < kListTries; ++attempt) {
        auto count = static_cast<unsigned>(room.size());
        const Code code = call(function, device, &count, room.data());
        if (code == Code::kInsufficientSize) {
            const auto had = static_cast<unsigned>(room.size());
            room.assign(std::min(std::max(count, had) + kSpareRoom, kMostRoom), Info{});
            continue;
        }
        if (code == Code::kNotFound) return {Code::kSuccess, {}};
        if (code != Code::kSuccess) return {code, {}};
        room.resize(std::min<std::size_t>(count, room.size()));
        std::vector<ProcessMemory> found;
        for (const Info& info : room) {
            if (info.pid == 0) continue;
            found.push_back({info.pid, std::nullopt});
            if (info.used_bytes != nvml::kNoValue) found.back().bytes = info.used_bytes;
        }
        return {code, std::move(found)};
    }
    return {Code::kInsufficientSize, {}};
}

Answer<std::vector<ProcessMemory>> Nvml::processes(Device device, ProcessKind kind) const {
    const int function = kComputeList + static_cast<int>(kind);
    const int without_instances = kComputeListV1 + static_cast<int>(kind);
    auto answer = list_processes<nvml::ProcessInfoV2>(function, device);
    if (answer.code != Code::kFunctionNotFound) return answer;
    return list_processes<nvml::ProcessInfoV1>(without_instances, device);
}

Answer<std::vector<ProcessSample>> Nvml::process_utilization(Device device, std::uint64_t after_us)
    const {
    std::vector<nvml::ProcessUtilization> room;
    for (int attempt = 0; attempt < kListTries; ++attempt) {
        auto count = static_cast<unsigned>(room.size());
        const Code code = call(
            kProcessUtilization,
            device,
            room.empty() ? nullptr : room.data(),
            &count,
            static_cast<unsigned long long>(after_us)
        );
        if (code == Code::kNotFound || (code == Code::kSuccess && room.empty())) {
            return {Code::kSuccess, {}};
        }
        if (code == Code::kInsufficientSize) {
            const auto had = static_cast<unsigned>(room.size());
            room.assign(std::min(std::max(count, had) + kSpareRoom, kMostRoom), {});
            continue;
        }
        if (code != Code::kSuccess) return {code, {}};
        std::vector<ProcessSample> found;
        // Drivers leave entries of processes that did nothing zeroed, and some percents nonsense.
        for (std::size_t i = 0; i < std::min<std::size_t>(count, room.size()); ++i) {
            if (room[i].pid == 0 || room[i].time_us <= after_us) continue;
            found.push_back({room[i].pid, room[i].time_us, std::min(room[i].sm, 100U)});
        }
        return {code, std::move(found)};
    }
    return {Code::kInsufficientSize, {}};
}

}  // namespace egpu::gpu
