#include "testing/cuda/driver.h"

#include <algorithm>

#include <pthread.h>

#include "testing/cuda/engine.h"
#include "testing/cuda/node.h"

namespace egpu::testing::cuda {

Driver& driver() {
    static auto* instance = new Driver;  // never destroyed: threads may still be inside a call
    return *instance;
}

CUresult enter(const char* call) {
    Driver& d = driver();
    if (!d.ready.load(std::memory_order_acquire) || d.forked.load(std::memory_order_relaxed)) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    return d.settings.faults.empty() ? CUDA_SUCCESS : d.settings.fault(call);
}

void spend(std::uint64_t ns) {
    if (ns == 0) return;
    const std::uint64_t until = monotonic_ns() + ns;
    while (monotonic_ns() < until) {
    }
}

Device* device_of(CUdevice ordinal) {
    auto& devices = driver().devices;
    if (ordinal < 0 || ordinal >= static_cast<int>(devices.size())) return nullptr;
    return devices[static_cast<std::size_t>(ordinal)].get();
}

SmConfig card_config(const Device& device) {
    const Settings& settings = driver().settings;
    SmConfig config;
    config.sm_count = device.multiprocessors;
    config.threads_per_sm = device.threads_per_multiprocessor;
    config.blocks_per_sm = device.threads_per_multiprocessor / 64;
    config.slice_ns = settings.slice_us * 1000;
    config.switch_ns = settings.switch_ns;
    config.spatial = settings.spatial != 0;
    return config;
}

bool take(Device& device, std::uint64_t bytes) {
    return bytes == 0 || driver().shared->take(device.unit, bytes, device.bytes);
}

void give_back(Device& device, std::uint64_t bytes) {
    if (bytes != 0) driver().shared->give_back(device.unit, bytes);
}

std::map<std::uint64_t, Allocation>::iterator find_allocation(std::uint64_t address) {
    auto& all = driver().allocations;
    auto next = all.upper_bound(address);
    if (next == all.begin()) return all.end();
    const auto found = std::prev(next);
    return address - found->first < found->second.size ? found : all.end();
}

bool accessible(std::uint64_t address, std::uint64_t size) {
    Driver& d = driver();
    const std::lock_guard lock(d.mutex);
    const auto found = find_allocation(address);
    if (found == d.allocations.end()) return false;
    if (size > found->second.size - (address - found->first)) return false;
    if (found->second.kind != Kind::kReserved) return true;
    // Every byte must be mapped, and access allowed.
    while (size > 0) {
        auto next = d.mappings.upper_bound(address);
        if (next == d.mappings.begin()) return false;
        const auto& [start, mapping] = *std::prev(next);
        if (address - start >= mapping.size || !mapping.accessible) return false;
        const std::uint64_t here = std::min(size, mapping.size - (address - start));
        address += here;
        size -= here;
    }
    return true;
}

CUresult open_arena(Device& device) {
    // Twice the memory: freed pieces between used ones are addresses, not memory.
    return device.arena.open(2 * device.bytes) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult allocate_device_locked(Device& device, std::uint64_t size, std::uint64_t& address) {
    if (const CUresult result = open_arena(device); result != CUDA_SUCCESS) return result;
    const std::uint64_t charge = size > device.bytes ? size : device.arena.charge_of(size);
    if (!take(device, charge)) return CUDA_ERROR_OUT_OF_MEMORY;
    address = device.arena.allocate(size);
    if (address != 0) return CUDA_SUCCESS;
    give_back(device, charge);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

void release_device_locked(Device& device, std::uint64_t address, std::uint64_t size) {
    give_back(device, device.arena.release(address, size));
}

void give_addresses_back_locked(Device& device, std::uint64_t address, std::uint64_t size) {
    device.arena.release(address, size);
}

namespace {

// A child of fork() cannot use its parent's cards, as with the real driver.
void in_child() {
    Driver& d = driver();
    if (d.ready.load()) d.forked = true;
}

CUresult initialise() {
    Driver& d = driver();
    // Before the mutex, which a thread of the parent may have held.
    if (d.forked) return CUDA_ERROR_NOT_INITIALIZED;
    const std::lock_guard lock(d.mutex);
    if (d.initialised) return CUDA_SUCCESS;
    if (const CUresult result = read_node(d); result != CUDA_SUCCESS) return result;
    if (const int code = d.settings.fault("cuInit"); code != CUDA_SUCCESS) return code;
    spend(d.settings.init_ms * 1'000'000);
    if (!d.shared->join()) return CUDA_ERROR_OUT_OF_MEMORY;
    static const int registered = ::pthread_atfork(nullptr, nullptr, &in_child);
    (void)registered;
    d.initialised = true;
    d.ready.store(true, std::memory_order_release);
    return CUDA_SUCCESS;
}

}  // namespace
}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

CU(cuInit)(unsigned flags) {
    REQUIRE(flags == 0);
    return initialise();
}

// Works without cuInit, as in the real library.
CU(cuDriverGetVersion)(int* version) {
    REQUIRE(version != nullptr);
    Driver& d = driver();
    if (d.version == 0 && !d.forked) {
        const std::lock_guard lock(d.mutex);
        Driver looked;
        read_node(looked);
        d.version = looked.version.load();
    }
    *version = d.version;
    return CUDA_SUCCESS;
}
