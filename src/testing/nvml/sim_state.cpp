#include "testing/nvml/sim_state.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "base/files.h"
#include "core/topology.h"
#include "gpu/inventory.h"
#include "gpu/nvml_abi.h"

namespace egpu::testing {
namespace {

constexpr std::size_t kKeptEvents = 64;

std::string pci_name(const SimGpu& gpu) {
    char name[32];
    std::snprintf(name, sizeof name, "0000:%02x:00.0", static_cast<unsigned>(gpu.pci_bus));
    return name;
}

core::Link expected_link(const SimNode& node, int a, int b) {
    const unsigned level = topology_level(node, a, b);  // 10, 20, … 50
    const auto path = static_cast<core::PciePath>(6 - level / 10);
    const bool down = node.gpus[static_cast<std::size_t>(a)].nvlink_down ||
                      node.gpus[static_cast<std::size_t>(b)].nvlink_down;
    return core::make_link(
        path, down ? 0 : nvlinks_between(node, a, b) + nvlinks_to_switches(node)
    );
}

}  // namespace

Result<SimGpus> SimGpus::make(std::string_view profile, std::string_view node) {
    SimNode made;
    if (node.empty() || node.find_first_of(" \t\n#") != std::string_view::npos) {
        return Error{ErrorCode::kInvalid, "a simulated node's name is one word"};
    }
    if (!make_profile(profile, node, made)) {
        return Error{
            ErrorCode::kNotFound,
            "no simulated GPU profile \"" + std::string(profile) + "\"; there are " +
                profile_names()};
    }
    return SimGpus(std::move(made));
}

std::vector<core::Card> SimGpus::expected_cards(bool numa) const {
    std::vector<core::Card> cards;
    std::vector<std::pair<int, int>> whole;  // position of the GPU, of its card
    int index = 0;
    for (int position = 0; position < static_cast<int>(node_.gpus.size()); ++position) {
        const SimGpu& gpu = node_.gpus[static_cast<std::size_t>(position)];
        if (gpu.removed) continue;
        if (node_.count >= 0 && index >= node_.count) break;
        core::Card card;
        card.numa = numa ? gpu.numa : -1;
        if (!gpu.mig) {
            card.uuid = gpu.uuid;
            card.index = index;
            card.model = node_.model;
            card.memory_mib = static_cast<std::int64_t>(node_.memory_mib);
            whole.emplace_back(position, static_cast<int>(cards.size()));
            cards.push_back(card);
        }
        for (int slot = 0; gpu.mig && slot < static_cast<int>(gpu.instances.size()); ++slot) {
            const auto& instance = gpu.instances[static_cast<std::size_t>(slot)];
            card.uuid = instance.uuid;
            card.index = gpu::mig_index(index, slot);
            card.model = node_.model + " MIG " + instance.profile;
            card.memory_mib = static_cast<std::int64_t>(instance.memory_mib);
            cards.push_back(card);
        }
        ++index;
    }
    for (const auto& [a, card_a] : whole) {
        for (const auto& [b, card_b] : whole) {
            if (a >= b) continue;
            core::Card& first = cards[static_cast<std::size_t>(card_a)];
            core::Card& second = cards[static_cast<std::size_t>(card_b)];
            core::set_link(first, second, expected_link(node_, a, b));
        }
    }
    std::sort(cards.begin(), cards.end(), [](auto& a, auto& b) { return a.index < b.index; });
    return cards;
}

std::vector<std::string> SimGpus::gpu_uuids() const {
    std::vector<std::string> uuids;
    for (const auto& gpu : node_.gpus) uuids.push_back(gpu.uuid);
    return uuids;
}

Result<SimGpu*> SimGpus::find(std::string_view gpu) {
    for (auto& candidate : node_.gpus) {
        if (candidate.uuid == gpu) return &candidate;
    }
    return Error{ErrorCode::kNotFound, "no simulated GPU " + std::string(gpu)};
}

template <class Value>
Status SimGpus::set(std::string_view gpu, Value SimGpu::*what, Value value) {
    EG_TRY(SimGpu * found, find(gpu));
    found->*what = value;
    return {};
}

Status SimGpus::set_lost(std::string_view gpu, bool lost) {
    return set(gpu, &SimGpu::lost, lost);
}

Status SimGpus::set_fallen_off_bus(std::string_view gpu, bool fallen) {
    return set(gpu, &SimGpu::fallen, fallen);
}

Status SimGpus::set_nvlink_down(std::string_view gpu, bool down) {
    return set(gpu, &SimGpu::nvlink_down, down);
}

Status SimGpus::set_removed(std::string_view gpu, bool removed) {
    return set(gpu, &SimGpu::removed, removed);
}

Status SimGpus::set_failing(std::string_view gpu, bool failing) {
    return set(gpu, &SimGpu::failing, failing);
}

Status SimGpus::set_uncorrected_ecc(std::string_view gpu, std::uint64_t total) {
    return set(gpu, &SimGpu::uncorrected_ecc, total);
}

Status SimGpus::set_remap_failed(std::string_view gpu, bool failed) {
    return set(gpu, &SimGpu::remap_failed, failed);
}

Status SimGpus::set_recovery_action(std::string_view gpu, unsigned action) {
    EG_TRY(SimGpu * found, find(gpu));
    found->recovery_action = action;
    push(
        static_cast<int>(found - node_.gpus.data()),
        nvml::kEventGpuRecoveryAction,
        action,
        nvml::kNotMig,
        nvml::kNotMig
    );
    return {};
}

Status SimGpus::set_fabric_state(std::string_view gpu, unsigned state) {
    return set(gpu, &SimGpu::fabric_state, state);
}

Status SimGpus::set_slow(std::string_view gpu, unsigned milliseconds) {
    return set(gpu, &SimGpu::slow_ms, milliseconds);
}

Status SimGpus::set_mig(std::string_view gpu, bool on, std::vector<std::string> profiles) {
    EG_TRY(SimGpu * found, find(gpu));
    const int position = static_cast<int>(found - node_.gpus.data());
    if (on && !set_instances(node_, position, profiles)) {
        return Error{ErrorCode::kInvalid, "this GPU cannot have these MIG instances"};
    }
    if (!on) found->instances.clear();
    found->mig = on;
    push(position, nvml::kEventMigConfigChange, 0, nvml::kNotMig, nvml::kNotMig);
    return {};
}

void SimGpus::push(
    int position, std::uint64_t type, std::uint64_t data, std::uint32_t gi, std::uint32_t ci
) {
    // From the clock, so that the events of a later writer of the same file count as new, too.
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const auto stamp = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
    last_serial_ = std::max(last_serial_ + 1, static_cast<std::uint64_t>(stamp));
    node_.events.push_back({last_serial_, position, type, data, gi, ci});
    if (node_.events.size() > kKeptEvents) node_.events.erase(node_.events.begin());
}

Status SimGpus::push_xid(
    std::string_view gpu,
    std::uint64_t xid,
    std::uint32_t gpu_instance,
    std::uint32_t compute_instance
) {
    EG_TRY(SimGpu * found, find(gpu));
    push(
        static_cast<int>(found - node_.gpus.data()),
        nvml::kEventXid,
        xid,
        gpu_instance,
        compute_instance
    );
    return {};
}

void SimGpus::set_driver_loaded(bool loaded) {
    node_.driver_loaded = loaded;
}

void SimGpus::set_driver_version(std::string version) {
    node_.driver_version = std::move(version);
}

void SimGpus::set_driver_450(bool on) {
    node_.driver_version = on ? "450.102.04" : "535.161.08";
    node_.hidden = on ? symbols_after_450() : std::vector<std::string>{};
}

void SimGpus::hide_symbol(std::string symbol) {
    node_.hidden.push_back(std::move(symbol));
}

void SimGpus::set_count(int count) {
    node_.count = count;
}

void SimGpus::set_slow_calls(unsigned milliseconds) {
    node_.slow_ms = milliseconds;
}

Status SimGpus::write(const std::filesystem::path& path) const {
    return write_file_atomically(path, write_state(node_), 0644);
}

Status SimGpus::write_sysfs(const std::filesystem::path& root) const {
    for (const auto& gpu : node_.gpus) {
        const auto folder = root / "bus/pci/devices" / pci_name(gpu);
        EG_TRY_VOID(make_directories(folder));
        EG_TRY_VOID(
            write_file_atomically(folder / "numa_node", std::to_string(gpu.numa) + "\n", 0644)
        );
    }
    return {};
}

Status SimGpus::write_proc(const std::filesystem::path& root) const {
    std::string text = "config 1\nmonitor 2\n";
    int minor = 3;
    for (const auto& gpu : node_.gpus) {
        for (const auto& instance : gpu.instances) {
            const std::string name =
                "gpu" + std::to_string(gpu.minor) + "/gi" + std::to_string(instance.gpu_instance);
            text += name + "/access " + std::to_string(minor++) + "\n";
            text += name + "/ci" + std::to_string(instance.compute_instance) + "/access " +
                    std::to_string(minor++) + "\n";
        }
    }
    const auto folder = root / "driver/nvidia-caps";
    EG_TRY_VOID(make_directories(folder));
    return write_file_atomically(folder / "mig-minors", text, 0644);
}

}  // namespace egpu::testing
