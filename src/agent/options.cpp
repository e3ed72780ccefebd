#include "agent/options.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <string_view>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include "agent/nvidia_options.h"
#include "flags/command_line.h"
#include "flags/log_flags.h"
#include "flags/values.h"

namespace egpu::agent {
namespace {

using flags::bad_value;
using flags::split_list;
using flags::value_of;

// The text of every flag before it is checked.
struct RawFlags {
    std::string node_name, nano_node_name, kubeconfig, kubelet_root, plugin_dir, pod_resources,
        state_dir, dbfile, guard_library;
    std::string isolation = "none", on_bypass = "report";
    std::string nvml_library, injection = "auto", capabilities, host_root, cdi_dir, driver_files;
    std::string resources = "whole,share", listen = "127.0.0.1:39998", xid_policy = "edge";
    flags::LogFlags log;
    NvidiaOptions nvidia;
};

constexpr const char* kFooter =
    "\nEnvironment: NODE_NAME, KUBECONFIG; of NVIDIA's device plugin the variables of its flags, "
    "DP_DISABLE_HEALTHCHECKS,\n"
    "DP_ENABLE_HEALTHCHECKS. All flags, variables and the configuration file of NVIDIA's plugin "
    "are "
    "read:\n"
    "docs/reference.md says which are honoured and which are refused.\n"
    "A flag wins over its variable. Flags may be written with one dash or two.\n"
    "Of nano-gpu-agent: -nodename is --node-name; -dbfile names where the state goes (its folder "
    "is used);\n"
    "-v 4 and above is --log-level debug; klog's output flags are accepted, the log goes to "
    "standard error.\n";

void declare_flags(CLI::App& app, RawFlags& raw, Options& options) {
    app.add_option(
        "--node-name", raw.node_name, "name of this Node; default: $NODE_NAME, else the host's name"
    );
    app.add_option("--nodename", raw.nano_node_name)->group("");
    app.add_option(
        "--kubeconfig",
        raw.kubeconfig,
        "kubeconfig file; default: $KUBECONFIG, else in-cluster, else without an API server"
    );
    app.add_option("--kubelet-root", raw.kubelet_root, "the kubelet's --root-dir")
        ->default_str("/var/lib/kubelet");
    app.add_option("--device-plugin-dir", raw.plugin_dir, "default: <kubelet root>/device-plugins");
    app.add_option(
        "--pod-resources-socket",
        raw.pod_resources,
        "default: <kubelet root>/pod-resources/kubelet.sock"
    );
    app.add_option("--state-dir", raw.state_dir, "where the agent keeps its state")
        ->default_str("/var/lib/edge-gpu");
    app.add_option("--dbfile", raw.dbfile)->group("");
    app.add_option("--nvml-library", raw.nvml_library, "soname or path of NVML")
        ->default_str("libnvidia-ml.so.1");
    app.add_option(
           "--injection",
           raw.injection,
           "how containers get their cards: auto, direct, cdi or nvidia (docs/injection.md)"
    )
        ->default_str(raw.injection);
    app.add_option(
           "--isolation",
           raw.isolation,
           "what keeps a share of a card to its size: none, guard, mig, or auto (docs/guard.md)"
    )
        ->default_str(raw.isolation);
    app.add_option(
           "--on-bypass",
           raw.on_bypass,
           "what is done about a process that gets past the guard: report (event, metric, log), or "
           "kill, after a grace of ten seconds (docs/security.md)"
    )
        ->default_str(raw.on_bypass);
    app.add_option("--guard-library", raw.guard_library, "the guard that containers load")
        ->default_str("libedge-gpu-guard.so in ../lib or ../lib/edge-gpu of the program");
    app.add_option(
           "--driver-capabilities",
           raw.capabilities,
           "of direct and cdi: which of the driver's files containers get"
    )
        ->default_str("compute,utility,video");
    app.add_option("--host-root", raw.host_root, "where the agent sees the host's root")
        ->default_str("/");
    app.add_option(
           "--cdi-spec-dir",
           raw.cdi_dir,
           "where CDI specifications are written; same path on the host"
    )
        ->default_str("/var/run/cdi");
    app.add_option(
        "--driver-files-dir",
        raw.driver_files,
        "of direct: where the driver's files are kept for containers; same path on the host; "
        "default: "
        "<state dir>/driver"
    );
    raw.nvidia.declare(app);
    app.add_option(
           "--resources",
           raw.resources,
           "what to offer: whole (nvidia.com/gpu), share (nano-gpu/gpu-percent)"
    )
        ->default_str(raw.resources);
    app.add_option("--listen", raw.listen, "address of /metrics, /healthz, /readyz; \"\" for none")
        ->default_str(raw.listen);
    app.add_option(
           "--xid-policy", raw.xid_policy, "which XIDs make a card unhealthy: edge or nvidia"
    )
        ->default_str(raw.xid_policy);
    raw.log.declare(app);
    app.add_flag(
        "--print-config", options.print_config, "print the effective configuration and exit"
    );
}

Status apply_node_name(const RawFlags& raw, const Environment& environment, Options& options) {
    options.node_name = !raw.node_name.empty() ? raw.node_name : raw.nano_node_name;
    if (options.node_name.empty()) options.node_name = value_of(environment, "NODE_NAME");
    if (options.node_name.empty()) {
        char host[256] = {};
        if (::gethostname(host, sizeof host - 1) == 0) options.node_name = host;
    }
    if (flags::is_node_name(options.node_name)) return ok_status();
    return bad_value("node-name", options.node_name, flags::kNodeName);
}

// nano-gpu-agent's -dbfile is a bolt file; it stays as it is. Ours lies beside it.
void apply_state_dir(const RawFlags& raw, Options& options) {
    if (!raw.state_dir.empty()) {
        options.state_dir = raw.state_dir;
        return;
    }
    if (raw.dbfile.empty()) return;
    const std::filesystem::path file = raw.dbfile;
    std::error_code ignored;
    if (std::filesystem::is_directory(file, ignored) || !file.has_filename()) {
        options.state_dir = file;
        return;
    }
    options.state_dir = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
    options.notes.push_back("--dbfile: the state is kept in " + options.state_dir.string());
    if (std::filesystem::exists(file, ignored)) {
        options.notes.push_back(
            "--dbfile: " + file.string() + " is nano-gpu's database; it is left alone and not read"
        );
    }
}

Status apply_paths(const RawFlags& raw, Options& options) {
    const auto absolute = [](std::string_view flag, const std::filesystem::path& path) -> Status {
        if (path.is_absolute()) return ok_status();
        return bad_value(flag, path.string(), "an absolute path");
    };
    if (!raw.kubelet_root.empty()) options.kubelet_root = raw.kubelet_root;
    EG_TRY_VOID(absolute("kubelet-root", options.kubelet_root));
    if (!raw.plugin_dir.empty()) {
        options.device_plugin_dir = raw.plugin_dir;
    } else if (options.device_plugin_dir.empty()) {  // else NVIDIA's --kubelet-socket named it
        options.device_plugin_dir = options.kubelet_root / "device-plugins";
    }
    EG_TRY_VOID(absolute("device-plugin-dir", options.device_plugin_dir));
    options.pod_resources_socket = raw.pod_resources.empty()
                                       ? options.kubelet_root / "pod-resources" / "kubelet.sock"
                                       : std::filesystem::path(raw.pod_resources);
    EG_TRY_VOID(absolute("pod-resources-socket", options.pod_resources_socket));
    apply_state_dir(raw, options);
    if (!raw.nvml_library.empty()) options.nvml_library = raw.nvml_library;
    options.inject.host_root = raw.host_root.empty() ? "/" : raw.host_root;
    EG_TRY_VOID(absolute("host-root", options.inject.host_root));
    if (!raw.cdi_dir.empty()) options.inject.cdi_spec_dir = raw.cdi_dir;
    EG_TRY_VOID(absolute("cdi-spec-dir", options.inject.cdi_spec_dir));
    options.inject.driver_files_dir = raw.driver_files.empty()
                                          ? std::filesystem::absolute(options.state_dir) / "driver"
                                          : std::filesystem::path(raw.driver_files);
    return absolute("driver-files-dir", options.inject.driver_files_dir);
}

Status apply_isolation(const RawFlags& raw, Options& options) {
    if (raw.isolation == "mps") {
        return Error{
            ErrorCode::kInvalid,
            "--isolation: mps is not built: NVIDIA's MPS limits processes, not containers, and one "
            "process's fault ends all others on its card; use guard, or mig on cards that have it "
            "(docs/decisions/0010)"};
    }
    constexpr std::string_view kPossible[] = {"auto", "guard", "mig", "none"};
    if (std::find(std::begin(kPossible), std::end(kPossible), raw.isolation) ==
        std::end(kPossible)) {
        return bad_value("isolation", raw.isolation, "auto, guard, mig or none");
    }
    if (raw.on_bypass != "report" && raw.on_bypass != "kill") {
        return bad_value("on-bypass", raw.on_bypass, "report or kill");
    }
    options.on_bypass = raw.on_bypass;
    if (raw.on_bypass == "kill" && raw.isolation == "none") {
        options.notes.push_back("--on-bypass: without effect, as --isolation is none");
    }
    options.isolation = raw.isolation;
    options.guard_library = raw.guard_library;
    if (!raw.guard_library.empty()) return ok_status();
    std::error_code error;
    const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
    const std::filesystem::path lib = self.parent_path().parent_path() / "lib";
    constexpr const char* kName = "libedge-gpu-guard.so";
    options.guard_library =
        std::filesystem::exists(lib / kName, error) ? lib / kName : lib / "edge-gpu" / kName;
    return ok_status();
}

Status apply_injection(RawFlags& raw, const Environment& environment, Options& options) {
    options.inject.strategy = raw.injection;
    EG_TRY_VOID(raw.nvidia.apply(environment, options));
    if (!raw.capabilities.empty()) {
        const auto capabilities = gpu::parse_capabilities(raw.capabilities);
        if (!capabilities) return capabilities.error().wrap("--driver-capabilities");
        options.inject.capabilities = *capabilities;
    }
    return inject::check_inject_options(options.inject);
}

Status apply_resources(const RawFlags& raw, Options& options) {
    std::set<Resource> chosen;
    for (const std::string& word : split_list(raw.resources)) {
        if (word == "whole") {
            chosen.insert(Resource::kWhole);
        } else if (word == "share") {
            chosen.insert(Resource::kPercent);
        } else {
            return bad_value("resources", raw.resources, "a comma list of whole, share");
        }
    }
    if (chosen.empty())
        return bad_value("resources", raw.resources, "a comma list of whole, share");
    options.resources.assign(chosen.begin(), chosen.end());
    return ok_status();
}

Status apply_listen(const RawFlags& raw, Options& options) {
    options.listen = raw.listen;
    if (options.listen.empty() || flags::is_address(options.listen)) return ok_status();
    return bad_value(
        "listen", options.listen, "an address such as 127.0.0.1:39998 or :39998, or \"\""
    );
}

Status apply_flags(RawFlags& raw, const Environment& environment, Options& options) {
    EG_TRY_VOID(raw.log.apply(options.log_level, options.log_format));
    EG_TRY_VOID(apply_node_name(raw, environment, options));
    options.kubeconfig =
        raw.kubeconfig.empty() ? value_of(environment, "KUBECONFIG") : raw.kubeconfig;
    EG_TRY_VOID(apply_injection(raw, environment, options));
    EG_TRY_VOID(apply_paths(raw, options));
    EG_TRY_VOID(apply_isolation(raw, options));
    EG_TRY_VOID(apply_resources(raw, options));
    EG_TRY_VOID(apply_listen(raw, options));
    if (raw.xid_policy != "edge" && raw.xid_policy != "nvidia") {
        return bad_value("xid-policy", raw.xid_policy, "edge or nvidia");
    }
    options.xid_policy = raw.xid_policy;
    options.disable_healthchecks = value_of(environment, "DP_DISABLE_HEALTHCHECKS");
    options.enable_healthchecks = value_of(environment, "DP_ENABLE_HEALTHCHECKS");
    return ok_status();
}

}  // namespace

Result<ParsedOptions> parse_options(
    const std::vector<std::string>& arguments, const Environment& environment
) {
    ParsedOptions parsed;
    RawFlags raw;
    CLI::App app{
        "Device plugins for nvidia.com/gpu and nano-gpu/gpu-percent on one node: finds the cards, "
        "serves the kubelet, places what it is asked to place, and tells the API server.",
        "edge-gpu agent"};
    app.footer(kFooter);
    declare_flags(app, raw, parsed.options);
    EG_TRY(parsed.text, flags::parse(app, arguments));
    if (!parsed.text.empty()) return parsed;
    raw.nvidia.remember_given(app);
    parsed.options.notes = raw.log.notes();
    EG_TRY_VOID(apply_flags(raw, environment, parsed.options));
    if (parsed.options.print_config) parsed.text = describe(parsed.options);
    return parsed;
}

std::string describe(const Options& options) {
    const auto text = [](const std::string& value) { return "\"" + value + "\""; };
    const auto list = [](const std::vector<std::string>& values) {
        std::string out;
        for (const std::string& value : values) out += (out.empty() ? "" : ", ") + value;
        return "[" + out + "]";
    };
    std::vector<std::string> resources;
    resources.reserve(options.resources.size());
    for (const Resource resource : options.resources)
        resources.emplace_back(resource_name(resource));
    constexpr const char* kLevels[] = {"debug", "info", "warn", "error", "off"};
    const std::pair<const char*, std::string> lines[] = {
        {"nodeName", text(options.node_name)},
        {"kubeconfig",
         options.kubeconfig.empty() ? "\"\"  # in-cluster, else none" : text(options.kubeconfig)},
        {"kubeletRoot", text(options.kubelet_root.string())},
        {"devicePluginDir", text(options.device_plugin_dir.string())},
        {"podResourcesSocket", text(options.pod_resources_socket.string())},
        {"stateDir", text(options.state_dir.string())},
        {"nvmlLibrary", text(options.nvml_library)},
        {"hostRoot", text(options.inject.host_root.string())},
        {"driverRoot", text(options.inject.driver_root)},
        {"devRoot", text(options.inject.dev_root)},
        {"injection", text(options.inject.strategy)},
        {"driverCapabilities", "[" + gpu::capabilities_text(options.inject.capabilities) + "]"},
        {"driverFilesDir", text(options.inject.driver_files_dir.string())},
        {"cdiSpecDir", text(options.inject.cdi_spec_dir.string())},
        {"deviceListStrategy", list(options.inject.device_list_strategy)},
        {"deviceIDStrategy", text(options.inject.device_id_strategy)},
        {"passDeviceSpecs", options.inject.pass_device_specs ? "true" : "false"},
        {"resources", list(resources)},
        {"isolation", text(options.isolation)},
        {"onBypass", text(options.on_bypass)},
        {"replicas", std::to_string(options.replicas)},
        {"listen", text(options.listen)},
        {"xidPolicy", text(options.xid_policy)},
        {"logLevel", kLevels[static_cast<int>(options.log_level)]},
        {"logFormat", options.log_format == log::Format::kJson ? "json" : "logfmt"},
    };
    std::string out;
    for (const auto& [key, value] : lines) out += std::string(key) + ": " + value + "\n";
    return out;
}

}  // namespace egpu::agent
