// The guard's hooks by name, and the real functions behind them. Made from hooks.def.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "guard/elf_lookup.h"

namespace egpu::guard {

enum class HookId : std::uint16_t {
#define EGPU_CUDA(spelling, base, since, stream) spelling,
#define EGPU_NVML(spelling) spelling,
#include "guard/hooks.def"
#undef EGPU_CUDA
#undef EGPU_NVML
    count_
};
inline constexpr unsigned kHooks = static_cast<unsigned>(HookId::count_);

enum class StreamFlavour : std::uint8_t { none, legacy, per_thread };
enum class DriverLibrary : std::uint8_t { cuda, nvml };

struct HookEntry {
    const char* spelling;
    const char* base;  // CUDA only, else nullptr
    int since;
    StreamFlavour stream;
    DriverLibrary library;
    void* hook;
};

const HookEntry& hook_entry(HookId id);

// The hook for an exported name, or kHooks-th id (HookId::count_) when the name is not covered. No
// I/O, no locks.
HookId find_hook(const char* spelling);

// The first part of the library's file name and DT_SONAME.
const char* library_name(DriverLibrary library);

// Of the driver's library, before anything in it is remembered: programs load and unload NVML again
// and again, and it may come to lie elsewhere.
void keep_driver(DriverLibrary library, const LoadedObject& object);

// The driver's own function behind a hook: remembered by learn_real(), else looked up in the loaded
// driver. nullptr when the driver does not have it. Any thread.
void learn_real(HookId id, void* real);
void* look_up_real(HookId id);
extern std::atomic<void*> real_functions[kHooks];
// Without looking it up: nullptr also when nobody has asked yet.
inline void* known_function(HookId id) {
    return real_functions[static_cast<unsigned>(id)].load(std::memory_order_acquire);
}
inline void* real_function(HookId id) {
    void* known = known_function(id);
    return known != nullptr ? known : look_up_real(id);
}

// The driver's function of that name for functions that have no hook; nullptr when there is none.
void* driver_function(DriverLibrary library, const char* name);

// What stands for a driver's function that is not there: its result code, whatever the arguments.
template <class F>
struct MissingFunction;
template <class... A>
struct MissingFunction<int (*)(A...)> {
    static int cuda(A...) { return 500; }  // CUDA_ERROR_NOT_FOUND
    static int nvml(A...) { return 13; }   // NVML_ERROR_FUNCTION_NOT_FOUND
};

template <class F>
F real_as(HookId id) {
    void* real = real_function(id);
    if (real != nullptr) [[likely]]
        return reinterpret_cast<F>(real);
    return hook_entry(id).library == DriverLibrary::cuda ? &MissingFunction<F>::cuda
                                                         : &MissingFunction<F>::nvml;
}

// The driver's function behind the hook `name`; callable, also when the driver does not have it.
#define EGPU_REAL(name) ::egpu::guard::real_as<decltype(&name)>(::egpu::guard::HookId::name)

}  // namespace egpu::guard

// A hook is exported under the driver's name; everything else in the library is hidden.
#define EGPU_EXPORT extern "C" __attribute__((visibility("default")))
