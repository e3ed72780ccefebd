// What is found in any text is a pod's UID and a container's ID of the right form.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "isolation/cgroup_owner.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto owner = egpu::isolation::cgroup_owner({reinterpret_cast<const char*>(data), size});
    if (!owner) return 0;
    EG_CHECK(owner->pod_uid.size() == 36 || owner->pod_uid.size() == 32);
    EG_CHECK(owner->container_id.empty() || owner->container_id.size() == 64);
    for (const std::string& text : {owner->pod_uid, owner->container_id}) {
        EG_CHECK(text.find_first_not_of("0123456789abcdef-") == std::string::npos);
    }
    return 0;
}
