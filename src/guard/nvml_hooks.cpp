// What NVML programs (nvidia-smi) are told: the container's share of a card, and its own processes
// only. Cards are known by UUID, whatever their order.
#include <ctime>

#include <unistd.h>

#include "guard/guard.h"
#include "guard/hook_table.h"
#include "guard/limits.h"
#include "guard/memory_stock.h"
#include "guard/nvml_abi.h"
#include "guard/pages_view.h"
#include "guard/process_slot.h"
#include "guard/uuid_text.h"

namespace egpu::guard {
namespace {

using namespace egpu::nvml;

struct Card {
    PagesView pages;
    unsigned index = 0;
    DeviceLimits limits{};
};

// False: this container has no limits, or none on that card.
bool find_card(nvmlDevice_t device, Card& card) {
    card.pages = view_pages();
    if (card.pages.limits == nullptr) return false;
    using GetUuid = nvmlReturn_t (*)(nvmlDevice_t, char*, unsigned);
    static std::atomic<void*> known{nullptr};
    void* get = known.load(std::memory_order_acquire);
    if (get == nullptr) {
        get = driver_function(DriverLibrary::nvml, "nvmlDeviceGetUUID");
        known.store(get, std::memory_order_release);
    }
    char text[NVML_DEVICE_UUID_BUFFER] = {};
    if (get == nullptr || reinterpret_cast<GetUuid>(get)(device, text, sizeof text) != NVML_SUCCESS)
        return false;
    std::uint8_t uuid[16] = {};
    if (!parse_uuid(text, uuid)) return false;
    const int index = find_device(*card.pages.limits, uuid);
    if (index < 0) return false;
    card.index = static_cast<unsigned>(index);
    return read_device(*card.pages.limits, card.index, card.limits);
}

// Total and used as the container sees them, from the card's own numbers.
struct Seen {
    unsigned long long total;
    unsigned long long free;
};

Seen as_seen(const Card& card, unsigned long long total, unsigned long long free) {
    const std::uint64_t quota = card.limits.mem_hard;
    std::uint64_t taken = 0;
    if (card.pages.ledger != nullptr) {
        const std::uint64_t spare = spare_bytes(*card.pages.ledger, card.index);
        taken = used_bytes(*card.pages.ledger, card.index);
        taken = taken > spare ? taken - spare : 0;
    }
    if ((card.limits.flags & kChargeOverhead) != 0) taken += card.limits.overhead_bytes;
    const std::uint64_t left = quota > taken ? quota - taken : 0;
    return Seen{quota < total ? quota : total, left < free ? left : free};
}

// Whether a process holds a slot of this container's ledger, in this process's pid namespace: NVML
// tells pids as the caller's namespace knows them, or as the host does; those of the host match
// none here.
bool is_ours(const Card& card, unsigned pid) {
    if (card.pages.ledger == nullptr) return false;
    for (const ProcessSlot& slot : card.pages.ledger->slots) {
        const std::uint32_t live = slot.live.load(std::memory_order_acquire);
        const std::uint64_t holder = slot.holder.load(std::memory_order_acquire);
        if (!holds_nothing(live) && holder >> 32U == live && (holder & 0xffffffffU) == pid)
            return true;
    }
    return false;
}

// Keeps the container's own entries. `count` was set by the driver; entries may be null when only
// it was asked for.
template <class T>
void filter(nvmlDevice_t device, unsigned* count, T* entries) {
    Card card;
    if (count == nullptr || entries == nullptr || !find_card(device, card)) return;
    unsigned kept = 0;
    for (unsigned i = 0; i < *count; ++i) {
        if (is_ours(card, entries[i].pid)) entries[kept++] = entries[i];
    }
    *count = kept;
}

// GPU time that the container's processes were charged for on a card, ever.
std::uint64_t charged_ns(const Card& card) {
    std::uint64_t sum = 0;
    for (const ProcessSlot& slot : card.pages.ledger->slots) {
        if (holds_nothing(slot.live.load(std::memory_order_acquire))) continue;
        sum += slot.compute[card.index].charged_ns.load(std::memory_order_relaxed);
    }
    return sum;
}

std::uint64_t monotonic_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(now.tv_nsec);
}

// The container's own utilisation, over the time since it was last asked for, and at least 20 ms.
unsigned own_utilisation(const Card& card) {
    struct Last {
        std::uint64_t at_ns = 0;
        std::uint64_t charged = 0;
        unsigned percent = 0;
    };
    static constinit Lock lock;
    static constinit Last last[kMaxDevices] = {};
    constexpr std::uint64_t kWindow = 20'000'000;
    const Held held(lock);
    Last& mine = last[card.index];
    if (mine.at_ns == 0) {
        mine = Last{monotonic_ns(), charged_ns(card), 0};
        const timespec wait{0, static_cast<long>(kWindow)};
        nanosleep(&wait, nullptr);
    }
    const std::uint64_t now = monotonic_ns();
    if (now - mine.at_ns < kWindow) return mine.percent;
    const std::uint64_t charged = charged_ns(card);
    const std::uint64_t busy = charged > mine.charged ? charged - mine.charged : 0;
    const std::uint64_t percent = busy * 100 / (now - mine.at_ns);
    mine = Last{now, charged, percent < 100 ? static_cast<unsigned>(percent) : 100U};
    return mine.percent;
}

}  // namespace
}  // namespace egpu::guard

using namespace egpu::guard;
using namespace egpu::nvml;

// The pages are opened now: the program may give up its view of the file system before it asks.
#define EGPU_NVML_INIT(name, parameters, arguments)            \
    EGPU_EXPORT nvmlReturn_t name parameters {                 \
        const nvmlReturn_t result = EGPU_REAL(name) arguments; \
        if (result == NVML_SUCCESS) view_pages();              \
        return result;                                         \
    }
EGPU_NVML_INIT(nvmlInit, (), ())
EGPU_NVML_INIT(nvmlInit_v2, (), ())
EGPU_NVML_INIT(nvmlInitWithFlags, (unsigned flags), (flags))

EGPU_EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t* memory) {
    const nvmlReturn_t result = EGPU_REAL(nvmlDeviceGetMemoryInfo)(device, memory);
    Card card;
    if (result != NVML_SUCCESS || memory == nullptr || !find_card(device, card)) return result;
    const Seen seen = as_seen(card, memory->total, memory->free);
    *memory = nvmlMemory_t{seen.total, seen.free, seen.total - seen.free};
    return result;
}

EGPU_EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t* memory) {
    const nvmlReturn_t result = EGPU_REAL(nvmlDeviceGetMemoryInfo_v2)(device, memory);
    Card card;
    if (result != NVML_SUCCESS || memory == nullptr || !find_card(device, card)) return result;
    const Seen seen = as_seen(card, memory->total, memory->free);
    // What the driver keeps for itself is the card's, not the container's.
    *memory = nvmlMemory_v2_t{memory->version, seen.total, 0, seen.free, seen.total - seen.free};
    return result;
}

#define EGPU_PROCESS_LIST(name, type)                                                    \
    EGPU_EXPORT nvmlReturn_t name(nvmlDevice_t device, unsigned* count, type* entries) { \
        const nvmlReturn_t result = EGPU_REAL(name)(device, count, entries);             \
        if (result == NVML_SUCCESS) filter(device, count, entries);                      \
        return result;                                                                   \
    }
EGPU_PROCESS_LIST(nvmlDeviceGetComputeRunningProcesses, nvmlProcessInfo_v1_t)
EGPU_PROCESS_LIST(nvmlDeviceGetComputeRunningProcesses_v2, nvmlProcessInfo_v2_t)
EGPU_PROCESS_LIST(nvmlDeviceGetComputeRunningProcesses_v3, nvmlProcessInfo_v2_t)
EGPU_PROCESS_LIST(nvmlDeviceGetGraphicsRunningProcesses, nvmlProcessInfo_v1_t)
EGPU_PROCESS_LIST(nvmlDeviceGetGraphicsRunningProcesses_v2, nvmlProcessInfo_v2_t)
EGPU_PROCESS_LIST(nvmlDeviceGetGraphicsRunningProcesses_v3, nvmlProcessInfo_v2_t)

EGPU_EXPORT nvmlReturn_t nvmlDeviceGetProcessUtilization(
    nvmlDevice_t device,
    nvmlProcessUtilizationSample_t* samples,
    unsigned* count,
    unsigned long long since
) {
    const nvmlReturn_t result =
        EGPU_REAL(nvmlDeviceGetProcessUtilization)(device, samples, count, since);
    if (result == NVML_SUCCESS) filter(device, count, samples);
    return result;
}

// How busy the container keeps the card, where its compute is accounted for; the whole card's
// number elsewhere.
EGPU_EXPORT nvmlReturn_t
nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t* rates) {
    const nvmlReturn_t result = EGPU_REAL(nvmlDeviceGetUtilizationRates)(device, rates);
    Card card;
    if (result != NVML_SUCCESS || rates == nullptr || !find_card(device, card) ||
        card.pages.ledger == nullptr ||
        card.limits.mode == static_cast<std::uint32_t>(ComputeMode::kOff)) {
        return result;
    }
    const unsigned own = own_utilisation(card);
    if (own < rates->gpu) rates->gpu = own;
    return result;
}
