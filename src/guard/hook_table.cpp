#include "guard/hook_table.h"

#include <cstring>

#include "guard/elf_lookup.h"

// The hooks themselves, declared without their types: here only their addresses matter.
#define EGPU_CUDA(spelling, base, since, stream) extern "C" void spelling();
#define EGPU_NVML(spelling) extern "C" void spelling();
#include "guard/hooks.def"
#undef EGPU_CUDA
#undef EGPU_NVML

namespace egpu::guard {
namespace {

#define EGPU_CUDA(spelling, base, since, stream) \
    HookEntry{                                   \
        #spelling,                               \
        #base,                                   \
        since,                                   \
        StreamFlavour::stream,                   \
        DriverLibrary::cuda,                     \
        reinterpret_cast<void*>(&::spelling)},
#define EGPU_NVML(spelling)  \
    HookEntry{               \
        #spelling,           \
        nullptr,             \
        0,                   \
        StreamFlavour::none, \
        DriverLibrary::nvml, \
        reinterpret_cast<void*>(&::spelling)},
const HookEntry kEntries[] = {
#include "guard/hooks.def"
};
#undef EGPU_CUDA
#undef EGPU_NVML
static_assert(sizeof kEntries / sizeof *kEntries == kHooks);

constexpr const char* kNames[] = {
#define EGPU_CUDA(spelling, base, since, stream) #spelling,
#define EGPU_NVML(spelling) #spelling,
#include "guard/hooks.def"
#undef EGPU_CUDA
#undef EGPU_NVML
};

constexpr std::uint32_t hash_of(const char* text) {
    std::uint32_t hash = 2166136261U;
    for (; *text != '\0'; ++text) hash = (hash ^ static_cast<unsigned char>(*text)) * 16777619U;
    return hash;
}

constexpr unsigned kTable = 512;
static_assert(kHooks * 3 < kTable);

struct NameTable {
    std::uint16_t at[kTable] = {};
};

constexpr NameTable make_names() {
    NameTable table;
    for (std::uint16_t& entry : table.at) entry = kHooks;
    for (unsigned i = 0; i < kHooks; ++i) {
        unsigned to = hash_of(kNames[i]) % kTable;
        while (table.at[to] != kHooks) to = (to + 1) % kTable;
        table.at[to] = static_cast<std::uint16_t>(i);
    }
    return table;
}
constexpr NameTable kByName = make_names();

}  // namespace

constinit std::atomic<void*> real_functions[kHooks] = {};

const HookEntry& hook_entry(HookId id) {
    return kEntries[static_cast<unsigned>(id)];
}

HookId find_hook(const char* spelling) {
    unsigned at = hash_of(spelling) % kTable;
    while (kByName.at[at] != kHooks) {
        if (std::strcmp(kNames[kByName.at[at]], spelling) == 0)
            return static_cast<HookId>(kByName.at[at]);
        at = (at + 1) % kTable;
    }
    return HookId::count_;
}

void keep_driver(DriverLibrary library, const LoadedObject& object) {
    static constinit std::atomic<bool> kept[2] = {};
    if (!kept[static_cast<unsigned>(library)].exchange(true)) keep_loaded(object);
}

const char* library_name(DriverLibrary library) {
    return library == DriverLibrary::cuda ? "libcuda.so" : "libnvidia-ml.so";
}

void learn_real(HookId id, void* real) {
    void* none = nullptr;
    real_functions[static_cast<unsigned>(id)].compare_exchange_strong(
        none, real, std::memory_order_acq_rel
    );
}

void* look_up_real(HookId id) {
    const HookEntry& entry = hook_entry(id);
    if (void* found = driver_function(entry.library, entry.spelling); found != nullptr)
        learn_real(id, found);
    return real_functions[static_cast<unsigned>(id)].load(std::memory_order_acquire);
}

void* driver_function(DriverLibrary library, const char* name) {
    const LoadedObject object = object_named(library_name(library));
    void* function = function_in(object, name);
    if (function != nullptr) keep_driver(library, object);
    return function;
}

}  // namespace egpu::guard
