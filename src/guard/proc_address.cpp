// cuInit and cuGetProcAddress. The driver is asked first, with the caller's version and flags; what
// it returns is then exchanged for the hook that has exactly that ABI, found by the pointer and not
// by the name.
#include <cstring>

#include "guard/guard.h"
#include "guard/hook_table.h"
#include "guard/place.h"

namespace egpu::guard {
namespace {

using namespace egpu::cuda;

constexpr unsigned kTable = 1024;
static_assert(kHooks * 3 < kTable * 2);

struct Learned {
    const void* real = nullptr;
    void* hook = nullptr;
};
constinit Learned learned[kTable] = {};
constinit std::atomic<bool> is_learned{false};
constinit Lock learning;

unsigned place_of(const void* real) {
    return static_cast<unsigned>(
        (reinterpret_cast<std::uintptr_t>(real) >> 4U) * 0x9e3779b97f4a7c15ULL >> 54U
    );
}

void* hook_for(const void* real) {
    for (unsigned at = place_of(real);; at = (at + 1) % kTable) {
        if (learned[at].real == nullptr) return nullptr;
        if (learned[at].real == real) return learned[at].hook;
    }
}

void teach(const void* real, void* hook) {
    if (real == nullptr || hook_for(real) != nullptr) return;
    unsigned at = place_of(real);
    while (learned[at].real != nullptr) at = (at + 1) % kTable;
    learned[at] = Learned{real, hook};
}

cuuint64_t flag_of(StreamFlavour stream) {
    return stream == StreamFlavour::per_thread ? CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM
                                               : CU_GET_PROC_ADDRESS_LEGACY_STREAM;
}

// Every exported spelling, then what the driver answers for each name at the version where this ABI
// begins: a driver may hand out other pointers than it exports.
void learn() {
    if (is_learned.load(std::memory_order_acquire)) return;
    const Held held(learning);
    if (is_learned.load(std::memory_order_relaxed)) return;
    for (unsigned i = 0; i < kHooks; ++i) {
        const HookEntry& entry = hook_entry(static_cast<HookId>(i));
        if (entry.library == DriverLibrary::cuda)
            teach(real_function(static_cast<HookId>(i)), entry.hook);
    }
    using Get = CUresult (*)(const char*, void**, int, cuuint64_t);
    const auto get = reinterpret_cast<Get>(real_function(HookId::cuGetProcAddress));
    for (unsigned i = 0; get != nullptr && i < kHooks; ++i) {
        const HookEntry& entry = hook_entry(static_cast<HookId>(i));
        if (entry.library != DriverLibrary::cuda) continue;
        void* real = nullptr;
        if (get(entry.base, &real, entry.since, flag_of(entry.stream)) != CUDA_SUCCESS ||
            real == nullptr)
            continue;
        teach(real, entry.hook);
    }
    // A name that later versions use for another function's ABI.
    void* renamed = nullptr;
    if (get != nullptr &&
        get("cuGraphInstantiate", &renamed, 12000, CU_GET_PROC_ADDRESS_DEFAULT) == CUDA_SUCCESS) {
        teach(renamed, hook_entry(HookId::cuGraphInstantiateWithFlags).hook);
    }
    is_learned.store(true, std::memory_order_release);
}

bool begins(const char* text, const char* with) {
    return std::strncmp(text, with, std::strlen(with)) == 0;
}

// Functions by whose names one would expect that they take memory of the card or start work on it.
bool looks_relevant(const char* name) {
    return begins(name, "cuLaunch") || begins(name, "cuGraphLaunch") ||
           begins(name, "cuGraphInstantiate") || begins(name, "cuMemAlloc") ||
           begins(name, "cuMemCreate") || begins(name, "cuMemMap") ||
           begins(name, "cuArrayCreate") || begins(name, "cuArray3DCreate") ||
           begins(name, "cuMipmappedArrayCreate");
}

bool is_host_memory(const char* name) {
    return begins(name, "cuMemAllocHost") || begins(name, "cuLaunchHostFunc");
}

void exchange(const char* name, void** function) {
    if (name == nullptr || function == nullptr || *function == nullptr) return;
    learn();
    if (void* hook = hook_for(*function); hook != nullptr) {
        *function = hook;
    } else if (looks_relevant(name) && !is_host_memory(name)) {
        guard.count_uncovered();
    }
}

}  // namespace
}  // namespace egpu::guard

using namespace egpu::guard;
using namespace egpu::cuda;

EGPU_EXPORT CUresult cuInit(unsigned flags) {
    const CUresult result = EGPU_REAL(cuInit)(flags);
    return result == CUDA_SUCCESS ? guard.on_init() : result;
}

// The runtime and NVIDIA's tools use some of these tables; launches and allocations of programs are
// not known to go through them.
EGPU_EXPORT CUresult cuGetExportTable(const void** table, const CUuuid* id) {
    const CUresult result = EGPU_REAL(cuGetExportTable)(table, id);
    if (result == CUDA_SUCCESS) guard.count_export_table();
    return result;
}

EGPU_EXPORT CUresult
cuGetProcAddress(const char* name, void** function, int version, cuuint64_t flags) {
    const CUresult result = EGPU_REAL(cuGetProcAddress)(name, function, version, flags);
    if (result == CUDA_SUCCESS) exchange(name, function);
    return result;
}

EGPU_EXPORT CUresult cuGetProcAddress_v2(
    const char* name,
    void** function,
    int version,
    cuuint64_t flags,
    CUdriverProcAddressQueryResult* status
) {
    const CUresult result = EGPU_REAL(cuGetProcAddress_v2)(name, function, version, flags, status);
    if (result == CUDA_SUCCESS) exchange(name, function);
    return result;
}
