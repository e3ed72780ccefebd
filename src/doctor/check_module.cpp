// The kernel modules: installed, built for this kernel, allowed, loaded.
#include <algorithm>

#include "doctor/check.h"

namespace egpu::doctor {
namespace {

// The kernel module's file for the running kernel; "" when there is none.
std::string module_file(const FileView& files, const std::string& kernel) {
    for (const char* folder :
         {"updates/dkms",
          "updates",
          "extra",
          "extra/nvidia",
          "kernel/drivers/video",
          "kernel/drivers/video/nvidia",
          "kernel/nvidia",
          "weak-updates/nvidia"}) {
        for (const char* name : {"nvidia.ko", "nvidia-current.ko"}) {
            for (const char* suffix : {"", ".xz", ".zst", ".gz"}) {
                const std::string path =
                    "/lib/modules/" + kernel + "/" + folder + "/" + name + suffix;
                if (files.exists(path)) return path;
            }
        }
    }
    const std::string kernel_folder = "/lib/modules/" + kernel + "/kernel";
    if (const auto names = files.list(kernel_folder)) {  // Ubuntu's signed modules
        for (const std::string& name : *names) {
            const std::string path = kernel_folder + "/" + name + "/bits/nvidia/nv.o";
            if (name.starts_with("nvidia-") && files.exists(path)) return path;
        }
    }
    return "";
}

bool secure_boot(const FileView& files) {
    const auto names = files.list("/sys/firmware/efi/efivars");
    if (!names) return false;
    for (const std::string& name : *names) {
        if (!name.starts_with("SecureBoot-")) continue;
        const auto content = files.read("/sys/firmware/efi/efivars/" + name, 64);
        return content && content->size() >= 5 && content->back() == 1;
    }
    return false;
}

// The file in modprobe.d that forbids the module; "".
std::string blacklist_file(const FileView& files) {
    for (const char* folder : {"/etc/modprobe.d", "/lib/modprobe.d", "/usr/lib/modprobe.d"}) {
        const auto names = files.list(folder);
        if (!names) continue;
        for (const std::string& name : *names) {
            if (!name.ends_with(".conf")) continue;
            const std::string path = std::string(folder) + "/" + name;
            const auto text = files.read(path);
            if (!text) continue;
            std::string_view rest = *text;
            while (!rest.empty()) {
                const std::size_t end = std::min(rest.find('\n'), rest.size());
                const std::string_view line = rest.substr(0, end);
                if (line == "blacklist nvidia" || line.starts_with("install nvidia /bin/")) {
                    return path;
                }
                rest.remove_prefix(std::min(end + 1, rest.size()));
            }
        }
    }
    return "";
}

void module_missing(const CheckContext& context, Findings& out) {
    const FileView& files = *context.facts.files;
    const std::string& kernel = context.node.kernel;
    const std::string file = module_file(files, kernel);
    const bool libraries =
        !library_version(files, context.node.driver_root, "libnvidia-ml.so.1").empty();
    if (file.empty() && !libraries) {
        Finding& finding = out.error(
            "driver-not-installed",
            "/lib/modules/" + kernel + ", library folders",
            "neither NVIDIA's kernel module nor its libraries"
        );
        finding.meaning =
            "the NVIDIA driver is not installed; edge-gpu needs nothing else of NVIDIA's";
        finding.fix =
            "Ubuntu: apt-get install nvidia-driver-535-server\n"
            "Debian: apt-get install nvidia-driver\n"
            "others: sh NVIDIA-Linux-*.run, then reboot";
        return;
    }
    if (file.empty()) {
        Finding& finding = out.error(
            "module-not-built", "/lib/modules/" + kernel, "no nvidia.ko for the running kernel"
        );
        finding.meaning = "the driver's libraries are installed, but the kernel was changed since";
        finding.fix = "apt-get install linux-headers-" + kernel + " && dkms autoinstall -k " +
                      kernel + " && modprobe nvidia\nor reinstall the driver";
        return;
    }
    if (const std::string blacklist = blacklist_file(files); !blacklist.empty()) {
        Finding& finding =
            out.error("module-blacklisted", blacklist, "it forbids the module nvidia");
        finding.meaning = "the driver is installed and the kernel is told not to load it";
        finding.fix =
            "remove the line from " + blacklist + ", then: update-initramfs -u; modprobe nvidia";
        return;
    }
    if (secure_boot(files)) {
        Finding& finding =
            out.error("module-not-signed", file, "not loaded, and Secure Boot is on");
        finding.meaning = "the kernel refuses modules that are not signed with an enrolled key";
        finding.fix =
            "mokutil --import /var/lib/shim-signed/mok/MOK.der, reboot, and enrol the key on the "
            "console\n"
            "or switch Secure Boot off in the firmware";
        return;
    }
    Finding& finding = out.error("module-not-loaded", "/proc/modules", "nvidia is not loaded");
    finding.meaning =
        "the driver is installed (" + file + ") but not in use: no program sees a GPU";
    finding.fix = "modprobe nvidia && modprobe nvidia_uvm\nif that fails: dmesg | grep -i nvrm";
}

}  // namespace

void check_module(const CheckContext& context, Findings& out) {
    const NodeModel& node = context.node;
    if (node.gpus.empty()) {
        return out.skip(
            node.wsl ? "the driver is Windows'" : "an integrated GPU has its own driver"
        );
    }
    if (!node.module_loaded("nvidia")) return module_missing(context, out);
    if (!node.module_loaded("nvidia_uvm")) {
        Finding& finding = out.error("uvm-not-loaded", "/proc/modules", "nvidia_uvm is not loaded");
        finding.meaning = "cuInit fails in every container (CUDA error 999 or 3)";
        finding.fix =
            "modprobe nvidia_uvm\n"
            "echo nvidia_uvm > /etc/modules-load.d/nvidia-uvm.conf   (for the next boot)";
        return;
    }
    out.ok("module-loaded", "/proc/driver/nvidia/version", "driver " + node.loaded_version);
}

}  // namespace egpu::doctor
