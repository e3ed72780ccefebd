#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "inject/nvidia_config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto config = egpu::inject::parse_nvidia_config(
        std::string_view(reinterpret_cast<const char*>(data), size)
    );
    if (!config) {
        EG_CHECK(!config.error().message.empty());
        return 0;
    }
    for (const auto& shared : config->time_slicing) EG_CHECK(shared.replicas >= 2);
    return 0;
}
