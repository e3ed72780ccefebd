// How long a kernel runs: from its name, its parameters and the shape of its launch.
#include <algorithm>
#include <cctype>
#include <cstring>

#include "testing/cuda/modules.h"

namespace egpu::testing::cuda {
namespace {

// Of a launch's parameters.
constexpr auto kBufferPointer = std::uintptr_t{1};
constexpr auto kBufferSize = std::uintptr_t{2};

std::uint64_t first_parameter(const Launch& launch, std::uint64_t fallback) {
    std::uint64_t value = fallback;
    if (launch.parameters != nullptr && launch.parameters[0] != nullptr) {
        std::memcpy(&value, launch.parameters[0], sizeof value);
    } else if (launch.extra != nullptr) {
        const void* buffer = nullptr;
        std::size_t size = 0;
        for (void** at = launch.extra; *at != nullptr; at += 2) {
            const auto key = reinterpret_cast<std::uintptr_t>(*at);
            if (key == kBufferPointer) buffer = at[1];
            if (key == kBufferSize) size = *static_cast<const std::size_t*>(at[1]);
        }
        if (buffer != nullptr && size >= sizeof value) std::memcpy(&value, buffer, sizeof value);
    }
    return value;
}

}  // namespace

bool cost_in_name(std::string_view name, std::uint64_t& ns) {
    for (std::size_t at = name.find('_'); at != std::string_view::npos;
         at = name.find('_', at + 1)) {
        std::uint64_t value = 0;
        std::size_t digits = at + 1;
        while (digits < name.size() && digits < at + 13 &&
               std::isdigit(static_cast<unsigned char>(name[digits])) != 0) {
            value = value * 10 + static_cast<std::uint64_t>(name[digits++] - '0');
        }
        if (digits == at + 1) continue;
        const std::string_view unit = name.substr(digits, name.find('_', digits) - digits);
        const std::uint64_t scale = unit == "ns"   ? 1
                                    : unit == "us" ? 1000
                                    : unit == "ms" ? 1'000'000
                                                   : 0;
        if (scale == 0) continue;
        ns = value * scale;
        return true;
    }
    return false;
}

CUresult model_kernel(
    const Device& device, const Function& function, const Launch& launch, SmKernel& out
) {
    std::uint64_t blocks = 1;
    std::uint64_t threads = 1;
    for (int i = 0; i < 3; ++i) {
        REQUIRE(launch.grid[i] > 0 && launch.block[i] > 0 && launch.block[i] <= 1024);
        blocks *= launch.grid[i];
        threads *= launch.block[i];
    }
    REQUIRE(threads <= 1024 && launch.grid[1] <= 65535 && launch.grid[2] <= 65535);
    REQUIRE(launch.shared <= 233472);
    const std::uint64_t per_multiprocessor = std::clamp<std::uint64_t>(
        device.threads_per_multiprocessor / threads, 1, device.threads_per_multiprocessor / 64
    );
    const std::uint64_t at_once = per_multiprocessor * device.multiprocessors;
    if (launch.cooperative && blocks > at_once) return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
    const std::uint64_t turns = (blocks + at_once - 1) / at_once;
    const Settings& settings = driver().settings;
    switch (function.cost) {
        case Cost::kFixed:
            out.cost_ns = function.fixed_ns;
            break;
        case Cost::kSetting:
            out.cost_ns = settings.kernel_ns;
            break;
        case Cost::kSpinNs:
            out.cost_ns = first_parameter(launch, function.parameter) * turns;
            break;
        case Cost::kSpinLoop:
            out.cost_ns = first_parameter(launch, function.parameter) * settings.loop_ns * turns;
            break;
    }
    out.blocks = static_cast<std::uint32_t>(std::min<std::uint64_t>(blocks, 0xFFFFFFFFU));
    out.block_threads = static_cast<std::uint32_t>(threads);
    return CUDA_SUCCESS;
}

}  // namespace egpu::testing::cuda
