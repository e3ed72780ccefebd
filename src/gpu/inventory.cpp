#include "gpu/inventory.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/files.h"
#include "gpu/card_links.h"
#include "gpu/mig_caps.h"
#include "gpu/nvml.h"

namespace egpu::gpu {
namespace {

using nvml::Code;
using nvml::Device;

constexpr std::int64_t kMib = std::int64_t{1} << 20;
constexpr unsigned kMostDevices = 1024;  // a count beyond is a broken library

// The driver as a whole is gone, not one card.
bool driver_gone(Code code) {
    return code == Code::kUninitialized || code == Code::kDriverNotLoaded ||
           code == Code::kVersionMismatch || code == Code::kLibraryNotFound;
}

int read_numa(const std::string& sysfs_root, const std::string& pci) {
    const auto text = read_file(sysfs_root + "/bus/pci/devices/" + pci + "/numa_node", 64);
    if (!text) return -1;
    int numa = -1;
    std::from_chars(text->data(), text->data() + text->size(), numa);
    return std::max(numa, -1);
}

// Asks one physical GPU everything; a bad answer is noted in the probe, and a lost GPU is asked no
// further.
class Questions {
  public:
    Questions(Probe& probe) : probe_(probe) {}

    // True (and the value taken) when the answer is good. NOT_SUPPORTED and missing functions are
    // no faults.
    template <class T, class To>
    bool take(const Answer<T>& answer, const char* what, To& to) {
        if (answer.ok()) {
            to = answer.value;
            return true;
        }
        const bool absent = answer.code == Code::kNotSupported ||
                            answer.code == Code::kFunctionNotFound ||
                            answer.code == Code::kNoPermission;
        if (!absent && probe_.ok) {
            probe_.ok = false;
            probe_.certain = answer.code == Code::kGpuIsLost || answer.code == Code::kResetRequired;
            probe_.reason = std::string(what) + ": " + nvml_code_text(answer.code);
        }
        gone_ = gone_ || driver_gone(answer.code);
        return false;
    }
    bool usable() const { return !(probe_.certain && !probe_.ok) && !gone_; }
    bool gone() const { return gone_; }

  private:
    Probe& probe_;
    bool gone_ = false;
};

class Round {
  public:
    Round(const Nvml& nvml, const EnumerateOptions& options, std::span<const CardInfo> known)
        : nvml_(nvml), options_(options), known_(known), caps_(read_mig_caps(options.proc_root)) {}

    Result<Enumeration> run();

  private:
    Status look_at(unsigned index);
    void look_at_health(Device device, Probe& probe, Questions& questions) const;
    void describe(Device device, CardInfo& info, Questions& questions) const;
    // False when the MIG devices could not be listed in full.
    bool look_at_instances(Device device, const CardInfo& gpu, const Probe& probe, Questions& q);
    void keep_details(CardInfo& info) const;
    void remember_absent();
    int free_index(int wanted) const;
    void look_at_links();
    const CardInfo* known_card(std::string_view uuid) const;

    const Nvml& nvml_;
    const EnumerateOptions& options_;
    std::span<const CardInfo> known_;
    MigCaps caps_;
    Enumeration out_;
    std::set<std::string> answered_;             // physical GPUs whose list of cards is complete
    std::map<int, std::string> silent_indexes_;  // index -> why its GPU has no handle or UUID
};

const CardInfo* Round::known_card(std::string_view uuid) const {
    for (const auto& info : known_) {
        if (info.card.uuid == uuid) return &info;
    }
    return nullptr;
}

// What a failing card would not tell this time is taken from what it told before.
void Round::keep_details(CardInfo& info) const {
    const CardInfo* before = known_card(info.card.uuid);
    if (before == nullptr) return;
    auto keep = [](auto& now, const auto& then, const auto& unknown) {
        if (now == unknown) now = then;
    };
    const std::string none;
    keep(info.card.model, before->card.model, none);
    keep(info.card.memory_mib, before->card.memory_mib, 0);
    keep(info.card.numa, before->card.numa, -1);
    if (info.card.index == before->card.index) info.card.links = before->card.links;
    keep(info.minor, before->minor, -1);
    keep(info.pci_bus_id, before->pci_bus_id, none);
    keep(info.brand, before->brand, none);
    keep(info.compute_capability, before->compute_capability, none);
    keep(info.device_nodes, before->device_nodes, std::vector<std::string>{});
}

void Round::describe(Device device, CardInfo& info, Questions& q) const {
    q.take(nvml_.name(device), "name", info.card.model);
    nvml::Memory memory{};
    if (q.usable() && q.take(nvml_.memory(device), "memory", memory)) {
        info.card.memory_mib = static_cast<std::int64_t>(memory.total) / kMib;
    }
    if (q.usable()) q.take(nvml_.pci_bus_id(device), "PCI bus id", info.pci_bus_id);
    if (q.usable()) q.take(nvml_.minor_number(device), "minor number", info.minor);
    if (q.usable()) q.take(nvml_.brand(device), "brand", info.brand);
    if (q.usable()) {
        q.take(nvml_.compute_capability(device), "compute capability", info.compute_capability);
    }
    if (!info.pci_bus_id.empty()) info.card.numa = read_numa(options_.sysfs_root, info.pci_bus_id);
    if (info.minor >= 0) info.device_nodes = {"/dev/nvidia" + std::to_string(info.minor)};
}

void Round::look_at_health(Device device, Probe& probe, Questions& q) const {
    auto fault = [&](const char* reason) {
        if (!probe.ok) return;
        probe.ok = false;
        probe.certain = true;
        probe.reason = reason;
    };
    if (!q.usable()) return;
    if (const auto rows = nvml_.remapped_rows(device); rows.ok() && rows.value.failed) {
        fault("row remapping failed: the GPU's memory has to be replaced");
    }
    if (const auto ecc = nvml_.uncorrected_ecc(device); ecc.ok()) probe.uncorrected_ecc = ecc.value;
    if (const auto action = nvml_.recovery_action(device); action.ok()) {
        probe.recovery_action = action.value;
    }
    if (const auto fabric = nvml_.fabric_state(device);
        fabric.ok() &&
        (fabric.value == nvml::kFabricNotStarted || fabric.value == nvml::kFabricInProgress)) {
        fault("NVSwitch fabric is not ready: is nvidia-fabricmanager running?");
    }
}

bool Round::look_at_instances(
    Device device, const CardInfo& gpu, const Probe& gpu_probe, Questions& q
) {
    unsigned slots = 0;
    if (!q.take(nvml_.mig_slots(device), "MIG device count", slots)) return false;
    bool complete = true;
    std::size_t found = 0;
    for (unsigned slot = 0; slot < std::min(slots, 64U); ++slot) {
        const auto mig = nvml_.mig_device(device, slot);
        if (mig.code == Code::kNotFound || mig.code == Code::kInvalidArgument) continue;  // empty
        CardInfo info = gpu;
        Probe probe = gpu_probe;
        Questions mine(probe);
        Device handle = nullptr;
        MigIds ids;
        info.card.model.clear();
        info.card.memory_mib = 0;
        if (!mine.take(mig, "MIG device", handle) ||
            !mine.take(nvml_.uuid(handle), "MIG UUID", info.card.uuid)) {
            complete = false;
            out_.warnings.push_back(
                "GPU " + std::to_string(gpu.card.index) + ": MIG device " + std::to_string(slot) +
                " cannot be read: " + nvml_code_text(mig.code) +
                " (MIG needs CAP_SYS_ADMIN or the MIG monitor capability)"
            );
            continue;
        }
        info.parent_uuid = gpu.card.uuid;
        info.card.index = mig_index(gpu.card.index, static_cast<int>(slot));
        info.index_text = std::to_string(gpu.card.index) + ":" + std::to_string(slot);
        mine.take(nvml_.name(handle), "name", info.card.model);
        nvml::Memory memory{};
        if (mine.take(nvml_.memory(handle), "memory", memory)) {
            info.card.memory_mib = static_cast<std::int64_t>(memory.total) / kMib;
        }
        if (mine.take(nvml_.mig_ids(handle), "MIG instance ids", ids)) {
            info.gpu_instance = static_cast<int>(ids.gpu_instance);
            info.compute_instance = static_cast<int>(ids.compute_instance);
            caps_.add_nodes(gpu.minor, info.gpu_instance, info.compute_instance, info.device_nodes);
        }
        keep_details(info);
        probe.uuid = info.card.uuid;
        out_.cards.push_back(std::move(info));
        out_.probes.push_back(std::move(probe));
        ++found;
    }
    if (found == 0 && complete) {
        out_.warnings.push_back(
            "GPU " + std::to_string(gpu.card.index) + " (" + gpu.card.uuid +
            ") has MIG on but no MIG instance: create instances, or turn MIG off"
        );
    }
    return complete;
}

Status Round::look_at(unsigned index) {
    const auto handle = nvml_.device(index);
    const auto uuid = handle.ok() ? nvml_.uuid(handle.value) : Answer<std::string>{handle.code, {}};
    if (driver_gone(uuid.code)) {
        return Error{ErrorCode::kUnavailable, "NVML: " + nvml_code_text(uuid.code)};
    }
    if (!uuid.ok() || uuid.value.empty()) {
        silent_indexes_[static_cast<int>(index)] = nvml_code_text(uuid.code);
        return {};
    }
    CardInfo info;
    info.card.uuid = uuid.value;
    info.card.index = static_cast<int>(index);
    info.index_text = std::to_string(index);
    Probe probe;
    probe.uuid = uuid.value;
    Questions q(probe);
    describe(handle.value, info, q);
    keep_details(info);
    look_at_health(handle.value, probe, q);
    out_.gpus.push_back({handle.value, uuid.value});
    // A workstation card's display adapter is no place for compute.
    if (info.card.model.ends_with("DGX Display")) return {};

    bool mig = false;
    bool complete = true;
    if (q.usable()) {
        const auto mode = nvml_.mig_enabled(handle.value);
        complete = q.take(mode, "MIG mode", mig) || mode.code == Code::kNotSupported ||
                   mode.code == Code::kFunctionNotFound;
    } else {
        complete = false;
    }
    if (mig) complete = look_at_instances(handle.value, info, probe, q);
    if (q.gone()) return Error{ErrorCode::kUnavailable, "NVML: the driver went away"};
    if (complete) answered_.insert(info.card.uuid);
    // When its MIG mode is unknown now, the GPU is what it was before: a card, or the parent of
    // known instances.
    const bool parent = std::any_of(known_.begin(), known_.end(), [&](const CardInfo& k) {
        return k.parent_uuid == info.card.uuid;
    });
    if (!mig && (complete || !parent)) {
        out_.cards.push_back(std::move(info));
        out_.probes.push_back(std::move(probe));
    }
    return {};
}

int Round::free_index(int wanted) const {
    auto taken = [&](int index) {
        return std::any_of(out_.cards.begin(), out_.cards.end(), [&](const CardInfo& c) {
            return c.card.index == index;
        });
    };
    while (taken(wanted)) ++wanted;
    return wanted;
}

void Round::remember_absent() {
    std::set<std::string> present;
    for (const auto& info : out_.cards) present.insert(info.card.uuid);
    for (const auto& before : known_) {
        const bool mig = !before.parent_uuid.empty();
        const std::string& gpu = mig ? before.parent_uuid : before.card.uuid;
        if (before.card.uuid.empty() || present.contains(before.card.uuid) ||
            answered_.contains(gpu)) {
            continue;  // there, or deliberately gone: its GPU answered and has other cards now
        }
        CardInfo info = before;
        info.seen = false;
        Probe probe;
        probe.uuid = info.card.uuid;
        probe.ok = false;
        probe.certain = true;
        const int gpu_index = mig ? before.card.index / 100 - 1 : before.card.index;
        const auto silent = silent_indexes_.find(gpu_index);
        probe.reason = silent != silent_indexes_.end()
                           ? "GPU does not answer: " + silent->second
                           : std::string("GPU is not listed by the driver any more");
        if (silent != silent_indexes_.end() && !mig) silent_indexes_.erase(silent);
        info.card.index = free_index(info.card.index);
        out_.cards.push_back(std::move(info));
        out_.probes.push_back(std::move(probe));
    }
}

// They do not change while the cards are the same, and asking costs hundreds of calls: only when a
// card is new, has moved, or did not answer before.
void Round::look_at_links() {
    std::vector<LinkedGpu> gpus;
    bool same = true;
    for (std::size_t i = 0; i < out_.cards.size(); ++i) {
        CardInfo& info = out_.cards[i];
        if (!info.parent_uuid.empty() || !info.seen || !out_.probes[i].ok) continue;
        for (const PhysicalGpu& gpu : out_.gpus) {
            if (gpu.uuid == info.card.uuid) gpus.push_back({gpu.handle, &info});
        }
        const CardInfo* before = known_card(info.card.uuid);
        same = same && before != nullptr && before->card.index == info.card.index &&
               !before->card.links.empty();
    }
    if (gpus.size() < 2) return;
    if (!same) {
        for (CardInfo& info : out_.cards) info.card.links.clear();
        read_links(nvml_, gpus, known_);
        return;
    }
    for (const LinkedGpu& gpu : gpus) {
        gpu.card->card.links = known_card(gpu.card->card.uuid)->card.links;
    }
}

Result<Enumeration> Round::run() {
    const auto count = nvml_.device_count();
    if (!count.ok()) {
        return Error{ErrorCode::kUnavailable, "nvmlDeviceGetCount: " + nvml_code_text(count.code)};
    }
    if (count.value > kMostDevices) {
        return Error{
            ErrorCode::kUnavailable,
            "nvmlDeviceGetCount says " + std::to_string(count.value) + " GPUs: not believable"};
    }
    out_.driver_version = nvml_.driver_version().value;
    for (unsigned index = 0; index < count.value; ++index) EG_TRY_VOID(look_at(index));
    remember_absent();
    look_at_links();
    for (const auto& [index, why] : silent_indexes_) {
        const bool explained = std::any_of(known_.begin(), known_.end(), [&, i = index](auto& k) {
            return !k.parent_uuid.empty() && k.card.index / 100 - 1 == i;
        });
        if (explained) continue;
        out_.warnings.push_back(
            "GPU " + std::to_string(index) + " does not answer and its UUID is not known: " + why
        );
    }
    for (std::size_t i = 0; i < out_.cards.size(); ++i) {
        out_.cards[i].card.healthy = out_.probes[i].ok;
        out_.cards[i].reason = out_.probes[i].reason;
    }
    std::sort(out_.cards.begin(), out_.cards.end(), [](const CardInfo& a, const CardInfo& b) {
        return a.card.index < b.card.index;
    });
    return std::move(out_);
}

}  // namespace

Result<Enumeration> enumerate(
    const Nvml& nvml, const EnumerateOptions& options, std::span<const CardInfo> known
) {
    return Round(nvml, options, known).run();
}

}  // namespace egpu::gpu
