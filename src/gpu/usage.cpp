#include "gpu/usage.h"

#include <algorithm>
#include <chrono>

namespace egpu::gpu {
namespace {

using nvml::Code;

constexpr unsigned kMostDevices = 1024;  // a count beyond is a broken library
constexpr unsigned kMostInstances = 64;
constexpr std::uint64_t kClockDoubtUs = 10'000'000;

std::uint64_t realtime_us() {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                          std::chrono::system_clock::now().time_since_epoch()
    )
                                          .count());
}

// A process with work of several kinds is in several lists, each time with all its memory; with
// some drivers twice in one. More than the card has is nonsense and counts as not told.
void merge(
    std::vector<ProcessMemory>& into, const std::vector<ProcessMemory>& from, std::uint64_t total
) {
    for (ProcessMemory process : from) {
        if (total != 0 && process.bytes && *process.bytes > total) process.bytes.reset();
        const auto known = std::find_if(into.begin(), into.end(), [&](const ProcessMemory& p) {
            return p.pid == process.pid;
        });
        if (known == into.end()) {
            into.push_back(process);
        } else if (process.bytes) {
            known->bytes = std::max(known->bytes.value_or(0), *process.bytes);
        }
    }
}

}  // namespace

// The driver as a whole, not one card.
bool UsageReader::gone(Code code) {
    gone_ = gone_ || code == Code::kUninitialized || code == Code::kDriverNotLoaded ||
            code == Code::kVersionMismatch;
    return gone_;
}

Status UsageReader::find(std::span<const std::string> cards) {
    const bool all_known = std::all_of(cards.begin(), cards.end(), [&](const std::string& uuid) {
        return cards_.contains(uuid);
    });
    if (all_known) return ok_status();
    const auto count = nvml_.device_count();
    if (!count.ok()) {
        return Error{ErrorCode::kUnavailable, "number of cards: " + nvml_code_text(count.code)};
    }
    const auto keep = [&](const std::string& uuid, nvml::Device handle) {
        if (std::find(cards.begin(), cards.end(), uuid) != cards.end()) {
            cards_[uuid].handle = handle;
        }
    };
    for (unsigned i = 0; i < std::min(count.value, kMostDevices); ++i) {
        const auto device = nvml_.device(i);
        if (!device.ok()) continue;
        if (const auto uuid = nvml_.uuid(device.value); uuid.ok()) keep(uuid.value, device.value);
        const auto mig = nvml_.mig_enabled(device.value);
        if (!mig.ok() || !mig.value) continue;
        const auto slots = nvml_.mig_slots(device.value);
        for (unsigned s = 0; slots.ok() && s < std::min(slots.value, kMostInstances); ++s) {
            const auto instance = nvml_.mig_device(device.value, s);
            if (!instance.ok()) continue;
            const auto uuid = nvml_.uuid(instance.value);
            if (uuid.ok()) keep(uuid.value, instance.value);
        }
    }
    return ok_status();
}

void UsageReader::take_processes(const Known& card, CardLook& look) const {
    const auto compute = nvml_.processes(card.handle, ProcessKind::kCudaWork);
    look.listed = compute.ok();
    if (!compute.ok()) return;
    if (const auto memory = nvml_.memory(card.handle); memory.ok()) {
        look.total_bytes = memory.value.total;
    }
    merge(look.processes, compute.value, look.total_bytes);
    // What has no such list has no such processes.
    for (const ProcessKind kind : {ProcessKind::kGraphicsWork, ProcessKind::kMpsClients}) {
        const auto more = nvml_.processes(card.handle, kind);
        if (more.ok()) merge(look.processes, more.value, look.total_bytes);
    }
}

void UsageReader::take_samples(Known& card, CardLook& look) {
    if (!card.has_samples) return;
    // Of what happened before the first look nothing is known that could be compared.
    if (card.newest_us == 0) card.newest_us = realtime_us();
    look.samples_after_us = card.newest_us;
    const auto samples = nvml_.process_utilization(card.handle, card.newest_us);
    if (!samples.ok()) {
        card.has_samples = samples.code != Code::kNotSupported &&
                           samples.code != Code::kFunctionNotFound &&
                           samples.code != Code::kNoPermission;
        gone(samples.code);
        return;
    }
    for (const ProcessSample& sample : samples.value) {
        card.newest_us = std::max(card.newest_us, sample.time_us);
    }
    // A clock that was set back: else nothing would be newer for as long.
    if (card.newest_us > realtime_us() + kClockDoubtUs) card.newest_us = realtime_us();
    look.samples = samples.value;
}

Result<std::vector<CardLook>> UsageReader::look(std::span<const std::string> cards, bool memory) {
    gone_ = false;
    EG_TRY_VOID(find(cards));
    std::vector<CardLook> looks;
    for (const std::string& uuid : cards) {
        const auto found = cards_.find(uuid);
        if (found == cards_.end()) continue;
        CardLook look;
        look.uuid = uuid;
        // Handles outlive what they name: a MIG instance that was made anew has another UUID.
        const auto now = nvml_.uuid(found->second.handle);
        if (!now.ok() || now.value != uuid) {
            cards_.erase(found);
            if (gone(now.code)) break;
            continue;
        }
        if (memory) take_processes(found->second, look);
        take_samples(found->second, look);
        looks.push_back(std::move(look));
    }
    if (gone_) return Error{ErrorCode::kUnavailable, "the driver does not answer any more"};
    return looks;
}

}  // namespace egpu::gpu
