#include "inject/nvidia.h"

#include <algorithm>
#include <filesystem>
#include <set>

namespace egpu::inject {
namespace {

constexpr const char* kVisibleDevices = "NVIDIA_VISIBLE_DEVICES";
constexpr const char* kVolumeMountsRoot = "/var/run/nvidia-container-devices";
// Needed by every container with a GPU; those that do not exist here are left out, as NVIDIA's
// plugin does.
constexpr const char* kControlNodes[] = {
    "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset"};

std::string without_slash(std::string root) {
    while (!root.empty() && root.back() == '/') root.pop_back();
    return root;
}

class NvidiaInjector : public Injector {
  public:
    struct Settings {
        bool envvar = false;
        bool volume_mounts = false;
        bool by_index = false;
        bool device_specs = false;
        std::string dev_root;
        std::function<bool(const std::string&)> node_exists;
    };
    explicit NvidiaInjector(Settings settings) : settings_(std::move(settings)) {}

    std::string_view name() const override { return "nvidia"; }
    Result<ContainerEdits> edits(std::span<const GivenCard> cards, std::string_view token)
        const override;

  private:
    Result<std::string> id_of(const GivenCard& card) const;
    Status add_devices(const std::vector<GivenCard>& cards, ContainerEdits& out) const;

    const Settings settings_;
};

Result<std::string> NvidiaInjector::id_of(const GivenCard& card) const {
    if (settings_.by_index) {
        return card.index_text.empty() ? std::to_string(card.index) : card.index_text;
    }
    if (card.uuid.empty()) {
        return Error{
            ErrorCode::kInvalid,
            "card " + std::to_string(card.index) + " has no UUID; use --device-id-strategy=index"};
    }
    return card.uuid;
}

Status NvidiaInjector::add_devices(const std::vector<GivenCard>& cards, ContainerEdits& out) const {
    std::set<std::string> added;
    auto add = [&](const std::string& node) {
        if (added.insert(node).second)
            out.devices.push_back({settings_.dev_root + node, node, "rw"});
    };
    for (const char* node : kControlNodes) {
        if (settings_.node_exists(node)) add(node);
    }
    for (const auto& card : cards) {
        if (card.device_nodes.empty()) {
            return Error{
                ErrorCode::kInvalid,
                "device nodes of card " +
                    (card.uuid.empty() ? std::to_string(card.index) : card.uuid) +
                    " are not known, --pass-device-specs needs them: the driver did not tell its "
                    "minor"};
        }
        for (const auto& node : card.device_nodes) add(node);
    }
    return {};
}

// `token` is not used: nothing here is per allocation, the answer names only cards.
Result<ContainerEdits> NvidiaInjector::edits(
    std::span<const GivenCard> cards, std::string_view /*token*/
) const {
    if (cards.empty()) return Error{ErrorCode::kInvalid, "no card to inject"};
    std::vector<GivenCard> sorted(cards.begin(), cards.end());
    std::stable_sort(sorted.begin(), sorted.end(), [](const GivenCard& a, const GivenCard& b) {
        return a.index < b.index;
    });
    std::vector<std::string> ids;
    for (const auto& card : sorted) {
        EG_TRY(auto id, id_of(card));
        if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(std::move(id));
    }
    ContainerEdits out;
    std::string list;
    for (const auto& id : ids) list += (list.empty() ? "" : ",") + id;
    if (settings_.envvar) out.envs[kVisibleDevices] = list;
    if (settings_.volume_mounts) {
        // Where both are asked for, the volumes win, as in NVIDIA's plugin: it fills them in last.
        out.envs[kVisibleDevices] = kVolumeMountsRoot;
        for (const auto& id : ids) {
            out.mounts.push_back({"/dev/null", std::string(kVolumeMountsRoot) + "/" + id, false});
        }
    }
    if (settings_.device_specs) EG_TRY_VOID(add_devices(sorted, out));
    return out;
}

Error not_available(const char* flag, const std::string& value, const char* available) {
    return Error{
        ErrorCode::kInvalid,
        std::string(flag) + "=" + value.substr(0, 64) +
            " is not available in this version; available: " + available};
}

}  // namespace

Result<std::unique_ptr<Injector>> make_nvidia_injector(InjectOptions options) {
    NvidiaInjector::Settings settings;
    for (const auto& strategy : options.device_list_strategy) {
        if (strategy == "envvar") {
            settings.envvar = true;
        } else if (strategy == "volume-mounts") {
            settings.volume_mounts = true;
        } else {
            return not_available("--device-list-strategy", strategy, "envvar, volume-mounts");
        }
    }
    if (!settings.envvar && !settings.volume_mounts) {
        return Error{ErrorCode::kInvalid, "--device-list-strategy is empty; use envvar"};
    }
    if (options.device_id_strategy != "uuid" && options.device_id_strategy != "index") {
        return not_available("--device-id-strategy", options.device_id_strategy, "uuid, index");
    }
    settings.by_index = options.device_id_strategy == "index";
    settings.device_specs = options.pass_device_specs;
    settings.dev_root = without_slash(options.dev_root);
    settings.node_exists = std::move(options.node_exists);
    if (!settings.node_exists) {
        settings.node_exists = [root =
                                    without_slash(options.dev_root_here)](const std::string& node) {
            std::error_code ignored;
            return std::filesystem::exists(root + node, ignored);
        };
    }
    return std::unique_ptr<Injector>(new NvidiaInjector(std::move(settings)));
}

}  // namespace egpu::inject
