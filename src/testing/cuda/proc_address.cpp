// Functions by name, CUDA version and flavour of the default stream. What there is, is listed in
// entry_points.inc; a test holds that list against the library's exports.
#include "testing/cuda/driver.h"
#include "testing/cuda/proc_table.h"

extern "C" int cuDriverGetVersion(int* version);

namespace egpu::testing::cuda {
namespace {

// A newer driver's functions are not in an older one.
int driver_version() {
    int version = 0;
    return cuDriverGetVersion(&version) == CUDA_SUCCESS && version != 0 ? version : 13000;
}

CUresult look(const char* name, void** out, int version, std::uint64_t flags, int* status) {
    REQUIRE(name != nullptr && out != nullptr && flags <= 2);
    *out = nullptr;
    // The thread's default stream came with CUDA 7.
    const bool per_thread =
        flags == CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM && version >= 7000;
    const int newest = driver_version();
    bool exists = false;
    const Entry* best = nullptr;
    for (const Entry& entry : entries_of(name)) {
        if (entry.since > newest) continue;
        exists = true;
        if (entry.since <= version && (best == nullptr || entry.since > best->since)) best = &entry;
    }
    if (best != nullptr) *out = per_thread ? best->per_thread : best->legacy;
    if (status != nullptr) {
        *status = best != nullptr ? CU_GET_PROC_ADDRESS_SUCCESS
                  : exists        ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
                                  : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    }
    return best != nullptr || status != nullptr ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

}  // namespace
}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

CU(cuGetProcAddress)(const char* name, void** out, int version, std::uint64_t flags) {
    return look(name, out, version, flags, nullptr);
}
CU(cuGetProcAddress_v2)
(const char* name, void** out, int version, std::uint64_t flags, int* status) {
    return look(name, out, version, flags, status);
}

// The runtime library asks for tables of functions that are not public; there are none here.
CU(cuGetExportTable)(const void** out, const CUuuid* id) {
    REQUIRE(out != nullptr && id != nullptr);
    *out = nullptr;
    return CUDA_ERROR_NOT_FOUND;
}
