// Device numbers, device nodes and the links systemd needs.
#include <algorithm>
#include <cstdio>
#include <optional>

#include "doctor/check.h"
#include "doctor/proc_tables.h"
#include "gpu/device_nodes.h"

namespace egpu::doctor {
namespace {

constexpr unsigned kNvidiaMajor = 195;
constexpr unsigned kControlMinor = 255;
constexpr unsigned kModesetMinor = 254;
constexpr unsigned kDefaultMode = 0666;

struct Wanted {
    std::string path;
    unsigned major = 0;
    unsigned minor = 0;
    bool needed = true;  // without it nothing works
};

std::vector<Wanted> wanted_nodes(const CheckContext& context) {
    const FileView& files = *context.facts.files;
    std::vector<Wanted> wanted{{"/dev/nvidiactl", kNvidiaMajor, kControlMinor, true}};
    for (const KernelGpu& gpu : kernel_gpus(files)) {
        if (!gpu.minor) continue;
        wanted.push_back(
            {"/dev/nvidia" + std::to_string(*gpu.minor),
             kNvidiaMajor,
             static_cast<unsigned>(*gpu.minor),
             true}
        );
    }
    const auto table = files.read("/proc/devices");
    const auto majors = gpu::parse_majors(table ? *table : "");
    if (const auto uvm = majors.find("nvidia-uvm"); uvm != majors.end()) {
        wanted.push_back({"/dev/nvidia-uvm", uvm->second, 0, true});
        wanted.push_back({"/dev/nvidia-uvm-tools", uvm->second, 1, false});
    }
    if (files.exists("/sys/module/nvidia_modeset")) {
        wanted.push_back({"/dev/nvidia-modeset", kNvidiaMajor, kModesetMinor, false});
    }
    return wanted;
}

std::string number(unsigned major, unsigned minor) {
    return std::to_string(major) + ":" + std::to_string(minor);
}

void append(std::string& list, const std::string& item) {
    list += (list.empty() ? "" : ", ") + item;
}

// The mode the driver itself gives nodes (DeviceFileMode, in decimal); nullopt when it leaves them
// to somebody else (ModifyDeviceFiles: 0), whose mode may be meant.
std::optional<unsigned> driver_mode(const FileView& files) {
    const auto params = files.read("/proc/driver/nvidia/params", 64U << 10);
    if (!params) return kDefaultMode;
    if (table_value(*params, "ModifyDeviceFiles") == "0") return std::nullopt;
    unsigned mode = 0;
    const std::string text = table_value(*params, "DeviceFileMode");
    return std::sscanf(text.c_str(), "%u", &mode) == 1 && mode != 0 ? mode : kDefaultMode;
}

std::string octal(unsigned mode) {
    char text[16];
    std::snprintf(text, sizeof text, "%04o", mode);
    return text;
}

}  // namespace

void check_majors(const CheckContext& context, Findings& out) {
    if (context.node.gpus.empty()) return out.skip("not on this kind of machine");
    const auto table = context.facts.files->read("/proc/devices");
    if (!table) {
        out.warning("proc-devices-unreadable", "/proc/devices", table.error().message).fix =
            "run the doctor as root, with the host's /proc";
        return;
    }
    const auto majors = gpu::parse_majors(*table);
    const auto has = [&majors](const char* name) { return majors.find(name) != majors.end(); };
    std::string missing;
    if (!has("nvidia")) append(missing, "nvidia (195)");
    if (!has("nvidia-uvm")) append(missing, "nvidia-uvm");
    if (!missing.empty()) {
        Finding& finding = out.error("majors-missing", "/proc/devices", "no entry for " + missing);
        finding.meaning = "the modules are loaded but did not start; no device node can work";
        finding.fix = "dmesg | grep -i nvrm\nrmmod nvidia_uvm; modprobe nvidia_uvm";
        return;
    }
    out.ok(
        "majors",
        "/proc/devices",
        "nvidia 195, nvidia-uvm " + std::to_string(majors.at("nvidia-uvm"))
    );
}

void check_device_nodes(const CheckContext& context, Findings& out) {
    if (context.node.gpus.empty()) return out.skip("not on this kind of machine");
    const FileView& files = *context.facts.files;
    std::string missing, optional, wrong, wrong_mode;
    const std::optional<unsigned> driver = driver_mode(files);
    const unsigned mode = driver.value_or(kDefaultMode);
    int good = 0;
    for (const Wanted& node : wanted_nodes(context)) {
        const auto info = files.look(node.path);
        if (!info) {
            append(node.needed ? missing : optional, node.path);
            continue;
        }
        const bool same =
            info->type == FileType::kChar && info->major == node.major && info->minor == node.minor;
        if (!same) {
            append(
                wrong,
                node.path +
                    (info->type == FileType::kChar ? " is " + number(info->major, info->minor)
                                                   : " is no device") +
                    " instead of " + number(node.major, node.minor)
            );
        } else if (driver && (info->mode & 0666U) != (mode & 0666U)) {
            append(
                wrong_mode, node.path + " is " + octal(info->mode) + " instead of " + octal(mode)
            );
        } else {
            ++good;
        }
    }
    if (!missing.empty()) {
        Finding& finding = out.error("device-nodes-missing", "/dev", "missing: " + missing);
        finding.meaning =
            "the driver is loaded, but programs have nothing to open; nodes are not made by udev";
        finding.fix = "edge-gpu doctor --fix\nor: nvidia-modprobe -c 0 -u";
        finding.repair = Repair::kDeviceNodes;
    }
    if (!wrong.empty()) {
        Finding& finding = out.error("device-nodes-wrong", "/dev", wrong);
        finding.meaning =
            "left from an earlier boot or driver: opening it reaches another driver or none";
        finding.fix = "edge-gpu doctor --fix\nor: rm the node, then nvidia-modprobe -c 0 -u";
        finding.repair = Repair::kDeviceNodes;
    }
    if (!wrong_mode.empty()) {
        Finding& finding = out.warning("device-nodes-mode", "/dev", wrong_mode);
        finding.meaning = "containers that do not run as root may not open the GPU";
        finding.fix =
            "chmod " + octal(mode) +
            " /dev/nvidia*\nto keep it: options nvidia NVreg_DeviceFileMode=" + octal(mode) +
            " in /etc/modprobe.d/nvidia.conf";
    }
    if (!optional.empty()) {
        out.info("device-nodes-optional", "/dev", "not there: " + optional).meaning =
            "only profilers and displays need it";
    }
    if (missing.empty() && wrong.empty() && wrong_mode.empty()) {
        out.ok(
            "device-nodes",
            "/dev",
            std::to_string(good) + " nodes, numbers and modes as they should be"
        );
    }
}

void check_dev_char(const CheckContext& context, Findings& out) {
    const NodeModel& node = context.node;
    if (node.gpus.empty()) return out.skip("not on this kind of machine");
    const FileView& files = *context.facts.files;
    std::string missing;
    for (const Wanted& wanted : wanted_nodes(context)) {
        if (!files.exists(wanted.path)) continue;
        const std::string link = "/dev/char/" + number(wanted.major, wanted.minor);
        const auto info = files.look_at_link(link);
        if (!info || info->type != FileType::kLink || !files.exists(link)) append(missing, link);
    }
    if (missing.empty()) {
        out.ok("dev-char-links", "/dev/char", "every device node has its link");
        return;
    }
    const ContainerdRuntime* runtime = node.containerd.runtime(node.containerd.default_runtime);
    const bool systemd =
        node.kubelet.cgroup_driver == "systemd" || (runtime != nullptr && runtime->systemd_cgroup);
    Finding& finding =
        systemd ? out.warning("dev-char-links-missing", "/dev/char", "missing: " + missing)
                : out.info("dev-char-links-missing", "/dev/char", "missing: " + missing);
    finding.meaning =
        systemd ? "with systemd's cgroup driver running containers lose their GPU at the next "
                  "`systemctl daemon-reload` (\"Failed to initialize NVML: Unknown Error\")"
                : "harmless while the cgroup driver is cgroupfs";
    finding.fix =
        "edge-gpu doctor --fix\nor: nvidia-ctk system create-dev-char-symlinks --create-all";
    finding.repair = Repair::kDevCharLinks;
}

}  // namespace egpu::doctor
