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

struct Settings {
    bool envvar = false;
    bool volume_mounts = false;
    bool cdi_annotations = false;
    bool cdi_cri = false;
    bool by_index = false;

    bool cdi() const { return cdi_annotations || cdi_cri; }
};

class NvidiaInjector : public Injector {
  public:
    NvidiaInjector(Settings settings, std::shared_ptr<Artefacts> artefacts, std::string why)
        : settings_(settings),
          artefacts_(std::move(artefacts)),
          options_(artefacts_->options()),
          why_(std::move(why)) {}

    std::string_view name() const override { return "nvidia"; }
    std::string why() const override { return why_; }
    Status ensure(std::span<const GivenCard> cards, std::span<const GivenCard> starting) override {
        Artefacts::Need need;
        need.nvidia_cdi_spec = settings_.cdi();
        need.by_index = settings_.by_index;
        // Without CDI the nodes are NVIDIA's runtime's affair, or the administrator's.
        if (!settings_.cdi()) starting = {};
        return artefacts_->ensure(need, cards, starting);
    }
    Result<ContainerEdits> edits(std::span<const GivenCard> cards, std::string_view token)
        const override;

  private:
    Result<std::string> id_of(const GivenCard& card) const;
    Status add_devices(const std::vector<GivenCard>& cards, ContainerEdits& out) const;
    void add_cdi(const std::vector<std::string>& ids, std::string_view token, ContainerEdits& out)
        const;
    bool node_exists(const std::string& node) const;

    const Settings settings_;
    const std::shared_ptr<Artefacts> artefacts_;
    const InjectOptions& options_;  // the artefacts'
    const std::string why_;
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
        if (added.insert(node).second) {
            out.devices.push_back({without_slash(options_.dev_root) + node, node, "rw"});
        }
    };
    for (const char* node : kControlNodes) {
        if (node_exists(node)) add(node);
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

bool NvidiaInjector::node_exists(const std::string& node) const {
    if (options_.node_exists) return options_.node_exists(node);
    std::error_code ignored;
    const std::string root = without_slash(options_.host_root.string());
    return std::filesystem::exists(root + without_slash(options_.dev_root) + node, ignored);
}

// 32 hexadecimal digits in the form of a UUID, as NVIDIA's plugin names its annotation; any other
// token as it is.
std::string as_uuid(std::string_view token) {
    std::string out(token);
    if (out.size() != 32) return out;
    for (const std::size_t at : {8U, 13U, 18U, 23U}) out.insert(at, "-");
    return out;
}

void NvidiaInjector::add_cdi(
    const std::vector<std::string>& ids, std::string_view token, ContainerEdits& out
) const {
    std::string list;
    for (const std::string& id : ids) {
        std::string device = std::string(kNvidiaCdiKind) + "=" + cdi_device_name(id);
        list += (list.empty() ? "" : ",") + device;
        if (settings_.cdi_cri) out.cdi_devices.push_back(std::move(device));
    }
    if (settings_.cdi_annotations) {
        out.annotations[options_.cdi_annotation_prefix + "nvidia-device-plugin_" + as_uuid(token)] =
            list;
    }
}

Result<ContainerEdits> NvidiaInjector::edits(
    std::span<const GivenCard> cards, std::string_view token
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
    add_cdi(ids, token, out);
    // With CDI alone the specification brings the nodes.
    const bool only_cdi = !settings_.envvar && !settings_.volume_mounts;
    if (options_.pass_device_specs && !only_cdi) EG_TRY_VOID(add_devices(sorted, out));
    for (const std::string& name : options_.extra_envs) out.envs[name] = "enabled";
    return out;
}

Error not_available(const char* flag, const std::string& value, const char* available) {
    return Error{
        ErrorCode::kInvalid,
        std::string(flag) + "=" + value.substr(0, 64) + " is not possible; possible: " + available};
}

Result<Settings> settings_of(const InjectOptions& options) {
    Settings settings;
    for (const auto& strategy : options.device_list_strategy) {
        if (strategy == "envvar") {
            settings.envvar = true;
        } else if (strategy == "volume-mounts") {
            settings.volume_mounts = true;
        } else if (strategy == "cdi-annotations") {
            settings.cdi_annotations = true;
        } else if (strategy == "cdi-cri") {
            settings.cdi_cri = true;
        } else {
            return not_available(
                "--device-list-strategy",
                strategy,
                "envvar, volume-mounts, cdi-annotations, cdi-cri"
            );
        }
    }
    if (options.device_list_strategy.empty()) {
        return Error{ErrorCode::kInvalid, "--device-list-strategy is empty; use envvar"};
    }
    if (options.device_id_strategy != "uuid" && options.device_id_strategy != "index") {
        return not_available("--device-id-strategy", options.device_id_strategy, "uuid, index");
    }
    settings.by_index = options.device_id_strategy == "index";
    if (settings.cdi() && !options.extra_envs.empty()) {
        return Error{
            ErrorCode::kInvalid,
            "--gdrcopy-enabled, --gds-enabled and --mofed-enabled go with the device list "
            "strategies envvar and volume-mounts only"};
    }
    return settings;
}

}  // namespace

Status check_nvidia_options(const InjectOptions& options) {
    const auto settings = settings_of(options);
    return settings ? ok_status() : Status(settings.error());
}

std::unique_ptr<Injector> make_nvidia_injector(
    std::shared_ptr<Artefacts> artefacts, std::string why
) {
    const auto settings = settings_of(artefacts->options());
    return std::make_unique<NvidiaInjector>(settings.value(), std::move(artefacts), std::move(why));
}

}  // namespace egpu::inject
