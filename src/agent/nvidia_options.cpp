#include "agent/nvidia_options.h"

#include <algorithm>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/files.h"
#include "core/card.h"
#include "core/request.h"
#include "flags/values.h"
#include "inject/nvidia_config.h"

namespace egpu::agent {
namespace {

constexpr std::size_t kMostConfig = 1U << 20;

struct Flag {
    const char* name;
    const char* declared;  // with aliases, as CLI11 wants it
    const char* variables[2];
    const char* help;  // nullptr: accepted, not listed
};

constexpr Flag kFlags[] = {
    {"config-file",
     "--config-file",
     {"CONFIG_FILE"},
     "configuration file of NVIDIA's device plugin"},
    {"driver-root",
     "--driver-root,--nvidia-driver-root",
     {"NVIDIA_DRIVER_ROOT"},
     "root of the NVIDIA driver's files on the host [/]"},
    {"dev-root",
     "--dev-root,--nvidia-dev-root",
     {"NVIDIA_DEV_ROOT"},
     "host path that holds /dev [the driver root]"},
    {"driver-root-ctr-path",
     "--driver-root-ctr-path,--container-driver-root",
     {"DRIVER_ROOT_CTR_PATH", "CONTAINER_DRIVER_ROOT"},
     "where the agent itself sees the driver root [<host root>/<driver root>]"},
    {"device-list-strategy",
     "--device-list-strategy",
     {"DEVICE_LIST_STRATEGY"},
     "of --injection nvidia: a comma list of envvar, volume-mounts, cdi-annotations, cdi-cri "
     "[envvar]"},
    {"device-id-strategy",
     "--device-id-strategy",
     {"DEVICE_ID_STRATEGY"},
     "of --injection nvidia: uuid or index [uuid]"},
    {"pass-device-specs",
     "--pass-device-specs{true}",
     {"PASS_DEVICE_SPECS"},
     "of --injection nvidia: also name the device nodes in the answer"},
    {"cdi-annotation-prefix", "--cdi-annotation-prefix", {"CDI_ANNOTATION_PREFIX"}, nullptr},
    {"nvidia-cdi-hook-path",
     "--nvidia-cdi-hook-path,--nvidia-ctk-path",
     {"NVIDIA_CDI_HOOK_PATH", "NVIDIA_CTK_PATH"},
     nullptr},
    {"mig-strategy", "--mig-strategy", {"MIG_STRATEGY"}, nullptr},
    {"fail-on-init-error", "--fail-on-init-error{true}", {"FAIL_ON_INIT_ERROR"}, nullptr},
    {"gdrcopy-enabled", "--gdrcopy-enabled{true}", {"GDRCOPY_ENABLED"}, nullptr},
    {"gds-enabled", "--gds-enabled{true}", {"GDS_ENABLED"}, nullptr},
    {"mofed-enabled", "--mofed-enabled{true}", {"MOFED_ENABLED"}, nullptr},
    {"mps-root", "--mps-root", {"MPS_ROOT"}, nullptr},
    {"shared-devices-allocation-policy",
     "--shared-devices-allocation-policy",
     {"SHARED_DEVICES_ALLOCATION_POLICY"},
     nullptr},
    {"device-discovery-strategy",
     "--device-discovery-strategy",
     {"DEVICE_DISCOVERY_STRATEGY"},
     nullptr},
    {"imex-channel-ids", "--imex-channel-ids", {"IMEX_CHANNEL_IDS"}, nullptr},
    {"imex-required", "--imex-required{true}", {"IMEX_REQUIRED"}, nullptr},
    {"kubelet-socket", "--kubelet-socket", {"KUBELET_SOCKET"}, nullptr},
    {"cdi-feature-flags", "--cdi-feature-flags", {"CDI_FEATURE_FLAGS"}, nullptr},
    // There are no hooks to disable.
    {"cdi-disable-hooks", "--cdi-disable-hooks", {"CDI_DISABLE_HOOKS"}, nullptr},
};

Error bad_value(const std::string& flag, const std::string& value, const std::string& what) {
    return Error{ErrorCode::kInvalid, "--" + flag + ": \"" + value.substr(0, 128) + "\" " + what};
}

}  // namespace

void NvidiaOptions::declare(CLI::App& app) {
    for (const Flag& flag : kFlags) {
        std::string& value = raw_[flag.name];
        const std::string declared = flag.declared;
        CLI::Option* option =
            declared.ends_with("{true}")
                ? app.add_flag(declared, value, flag.help == nullptr ? "" : flag.help)
                : app.add_option(declared, value, flag.help == nullptr ? "" : flag.help);
        if (flag.help == nullptr) option->group("");
    }
}

void NvidiaOptions::remember_given(const CLI::App& app) {
    for (const Flag& flag : kFlags) {
        if (app.count(std::string("--") + flag.name) > 0) on_command_line_.insert(flag.name);
    }
}

std::optional<std::string> NvidiaOptions::given(const std::string& name) const {
    if (on_command_line_.contains(name)) return raw_.at(name);
    for (const Flag& flag : kFlags) {
        if (flag.name != name) continue;
        for (const char* variable : flag.variables) {
            if (variable == nullptr) continue;
            const auto found = environment_.find(variable);
            if (found != environment_.end() && !found->second.empty()) return found->second;
        }
    }
    const auto found = from_file_.find(name);
    if (found != from_file_.end()) return found->second;
    return std::nullopt;
}

std::string NvidiaOptions::value(const std::string& flag, const std::string& otherwise) const {
    const auto found = given(flag);
    return !found || found->empty() ? otherwise : *found;
}

Result<bool> NvidiaOptions::boolean(const std::string& flag, bool otherwise) const {
    const std::string text = value(flag, otherwise ? "true" : "false");
    if (text == "true" || text == "1") return true;
    if (text == "false" || text == "0") return false;
    return bad_value(flag, text, "is not true or false");
}

Status NvidiaOptions::apply(const Environment& environment, Options& options) {
    environment_ = environment;
    EG_TRY_VOID(read_config_file(options));
    EG_TRY_VOID(apply_paths(options));
    EG_TRY_VOID(apply_strategies(options));
    EG_TRY_VOID(apply_hardware(options));
    return apply_without_effect(options);
}

Status NvidiaOptions::read_config_file(Options& options) {
    const std::string file = value("config-file", "");
    if (file.empty()) return ok_status();
    const auto text = read_file(file, kMostConfig);
    if (!text) return text.error().wrap("--config-file");
    auto config = inject::parse_nvidia_config(*text);
    if (!config) return config.error().wrap("--config-file " + file);
    from_file_ = std::move(config->flags);
    for (const std::string& note : config->notes) options.notes.push_back(file + ": " + note);
    for (const auto& shared : config->time_slicing) {
        const std::string where = "--config-file " + file + ": sharing.timeSlicing: ";
        if (shared.resource != core::kResourceWhole) {
            return Error{
                ErrorCode::kInvalid, where + shared.resource + " is not a resource of this agent"};
        }
        if (shared.replicas > core::kCardUnits) {
            return Error{
                ErrorCode::kInvalid,
                where + std::to_string(shared.replicas) + " replicas: 100 are the most"};
        }
        options.replicas = shared.replicas;
        options.one_replica_a_container = config->fail_requests_greater_than_one;
    }
    for (const auto& shared : config->mps) {
        return Error{
            ErrorCode::kInvalid,
            "--config-file " + file + ": sharing.mps: MPS replicas of " + shared.resource +
                " are not offered; shares are: remove the section and let pods ask for "
                "nano-gpu/gpu-percent: " +
                std::to_string(std::max(1, 100 / shared.replicas))};
    }
    return ok_status();
}

Status NvidiaOptions::apply_paths(Options& options) const {
    options.inject.driver_root = value("driver-root", "/");
    options.inject.dev_root = value("dev-root", options.inject.driver_root);
    options.inject.driver_root_here = value("driver-root-ctr-path", "");
    for (const auto& [flag, path] :
         {std::pair<std::string, std::string>{"driver-root", options.inject.driver_root},
          {"dev-root", options.inject.dev_root}}) {
        if (!path.starts_with('/')) return bad_value(flag, path, "is not an absolute path");
    }
    const auto socket = given("kubelet-socket");
    if (!socket) return ok_status();
    const std::filesystem::path path = *socket;
    if (!path.is_absolute() || path.filename() != "kubelet.sock") {
        return bad_value(
            "kubelet-socket",
            *socket,
            "is not an absolute path of a kubelet.sock (the agent always registers)"
        );
    }
    options.device_plugin_dir = path.parent_path();
    return ok_status();
}

Status NvidiaOptions::apply_strategies(Options& options) const {
    options.inject.device_list_strategy =
        flags::split_list(value("device-list-strategy", "envvar"));
    options.inject.device_id_strategy = value("device-id-strategy", "uuid");
    EG_TRY(options.inject.pass_device_specs, boolean("pass-device-specs", false));
    options.inject.cdi_annotation_prefix = value("cdi-annotation-prefix", "cdi.k8s.io/");
    options.inject.nvidia_configured =
        given("device-list-strategy") || given("device-id-strategy") || given("pass-device-specs");
    if (given("nvidia-cdi-hook-path")) {
        options.notes.emplace_back(
            "--nvidia-cdi-hook-path has no effect: CDI specifications are written without hooks"
        );
    }
    return ok_status();
}

Status NvidiaOptions::apply_hardware(Options& options) const {
    const std::string mig = value("mig-strategy", "none");
    if (mig == "mixed") {
        return bad_value(
            "mig-strategy",
            mig,
            "is not possible: MIG instances are offered as nvidia.com/gpu, as with single"
        );
    }
    if (mig != "none" && mig != "single") {
        return bad_value("mig-strategy", mig, "is not none or single");
    }
    const std::string discovery = value("device-discovery-strategy", "auto");
    if (discovery != "auto" && discovery != "nvml") {
        return bad_value(
            "device-discovery-strategy", discovery, "is not possible: cards are found by NVML"
        );
    }
    const std::pair<const char*, const char*> switches[] = {
        {"gdrcopy-enabled", "NVIDIA_GDRCOPY"},
        {"gds-enabled", "NVIDIA_GDS"},
        {"mofed-enabled", "NVIDIA_MOFED"},
    };
    for (const auto& [flag, variable] : switches) {
        EG_TRY(const bool on, boolean(flag, false));
        if (on) options.inject.extra_envs.emplace_back(variable);
    }
    const std::string channels = value("imex-channel-ids", "");
    if (!channels.empty()) {
        return bad_value(
            "imex-channel-ids", channels, "is not possible: IMEX channels are not given"
        );
    }
    EG_TRY(const bool required, boolean("imex-required", false));
    if (required) {
        return bad_value("imex-required", "true", "is not possible: IMEX channels are not given");
    }
    return ok_status();
}

Status NvidiaOptions::apply_without_effect(Options& options) const {
    EG_TRY(const bool fail, boolean("fail-on-init-error", false));
    if (fail) {
        options.notes.emplace_back(
            "--fail-on-init-error has no effect: the agent waits for the driver and never gives up"
        );
    }
    const std::string policy = value("shared-devices-allocation-policy", "distributed");
    if (policy != "distributed" && policy != "packed") {
        return bad_value(
            "shared-devices-allocation-policy", policy, "is not distributed or packed"
        );
    }
    options.distribute_replicas = policy == "distributed";
    if (given("cdi-feature-flags")) {
        options.notes.emplace_back(
            "--cdi-feature-flags has no effect: they are switches of NVIDIA's CDI library"
        );
    }
    return ok_status();
}

}  // namespace egpu::agent
