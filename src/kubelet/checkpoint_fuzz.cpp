// The checkpoint parser against arbitrary bytes: no crash, and what it accepts is well formed.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "kubelet/checkpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto parsed =
        egpu::kubelet::parse_checkpoint({reinterpret_cast<const char*>(data), size});
    if (!parsed) {
        EG_CHECK(parsed.error().code == egpu::ErrorCode::kCorrupt);
        return 0;
    }
    for (const auto& entry : parsed->entries) {
        EG_CHECK(!entry.pod_uid.empty() && !entry.container.empty() && !entry.resource.empty());
        for (std::size_t i = 1; i < entry.device_ids.size(); ++i) {
            EG_CHECK(entry.device_ids[i - 1] < entry.device_ids[i]);
        }
        static_cast<void>(egpu::kubelet::decode_allocate_response(entry.allocate_response).ok());
    }
    return 0;
}
