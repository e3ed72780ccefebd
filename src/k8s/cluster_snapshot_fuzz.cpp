// Snapshots: whatever is accepted survives being written and read, and can be anonymized.
#include <string_view>

#include "base/check.h"
#include "k8s/cluster_snapshot.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    using namespace egpu;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto snapshot = k8s::decode_snapshot(text);
    if (!snapshot) return 0;
    const auto again = k8s::decode_snapshot(k8s::encode_snapshot(*snapshot));
    EG_CHECK(again.ok());
    EG_CHECK(*again == *snapshot);
    const auto hidden = k8s::anonymized(*snapshot);
    EG_CHECK(k8s::decode_snapshot(k8s::encode_snapshot(hidden)).ok());
    return 0;
}
