// The driver from the bus to its libraries.
#include <algorithm>

#include "doctor/check.h"
#include "gpu/nvml.h"

namespace egpu::doctor {
namespace {

using nvml::Code;

std::string list_of(const std::vector<std::string>& items) {
    std::string out;
    for (const std::string& item : items) out += (out.empty() ? "" : ", ") + item;
    return out;
}

constexpr const char* kPci = "/sys/bus/pci/devices";

}  // namespace

void check_pci(const CheckContext& context, Findings& out) {
    const NodeModel& node = context.node;
    if (node.gpus.empty()) {
        if (node.wsl || node.tegra) {
            out.ok(
                "gpu-present",
                node.wsl ? "/dev/dxg" : "/etc/nv_tegra_release",
                node.wsl ? "GPU of the Windows host (WSL)" : "integrated GPU (Jetson)"
            );
            return;
        }
        Finding& finding = out.info("no-gpu", kPci, "no NVIDIA GPU");
        finding.meaning = "there is nothing for edge-gpu to do on this machine";
        finding.fix =
            "if there should be one: lspci -nn -d 10de: ; check seating, power, the firmware's "
            "\"above 4G "
            "decoding\", a virtual machine's pass-through";
        return;
    }
    std::vector<std::string> nouveau, vfio, unbound;
    for (const PciGpu& gpu : node.gpus) {
        if (gpu.driver == "nouveau") nouveau.push_back(gpu.address);
        if (gpu.driver == "vfio-pci") vfio.push_back(gpu.address);
        if (gpu.driver.empty()) unbound.push_back(gpu.address);
    }
    if (!nouveau.empty()) {
        Finding& finding =
            out.error("nouveau-bound", kPci, "held by the driver nouveau: " + list_of(nouveau));
        finding.meaning = "NVIDIA's driver cannot take a GPU that nouveau holds";
        finding.fix =
            "printf 'blacklist nouveau\\noptions nouveau modeset=0\\n' > "
            "/etc/modprobe.d/blacklist-nouveau.conf\n"
            "update-initramfs -u   (dracut --force on Red Hat's)\nreboot";
    }
    if (vfio.size() == node.gpus.size()) {
        Finding& finding =
            out.error("vfio-bound", kPci, "every GPU is held by vfio-pci: " + list_of(vfio));
        finding.meaning =
            "the GPUs are passed through to virtual machines; containers cannot use them";
        finding.fix =
            "to take one back: driverctl unset-override ADDRESS, or remove it from vfio-pci.ids in "
            "the "
            "kernel's command line, and reboot";
    } else if (!vfio.empty()) {
        out.info("vfio-some", kPci, "passed through to virtual machines: " + list_of(vfio));
    }
    if (!unbound.empty() && node.module_loaded("nvidia")) {
        Finding& finding = out.error(
            "gpu-unbound", kPci, "no driver holds " + list_of(unbound) + ", though nvidia is loaded"
        );
        finding.meaning =
            "the driver refused the GPU: it is too old or too new for this driver, or it does not "
            "start";
        finding.fix = "dmesg | grep -i -e nvrm -e " + unbound.front() +
                      "\nthen install a driver that supports " + node.gpus.front().device;
    }
    if (!out.empty()) return;
    out.ok(
        "gpu-present",
        kPci,
        std::to_string(node.gpus.size()) + " GPU(s), " + node.gpus.front().device
    );
}

void check_libraries(const CheckContext& context, Findings& out) {
    const NodeModel& node = context.node;
    if (node.gpus.empty()) return out.skip("not laid out as on a PC");
    const FileView& files = *context.facts.files;
    const std::string where = "library folders below " + node.driver_root;
    const std::string nvml = library_version(files, node.driver_root, "libnvidia-ml.so.1");
    const std::string cuda = library_version(files, node.driver_root, "libcuda.so.1");
    const std::string branch = node.loaded_version.substr(0, node.loaded_version.find('.'));
    if (nvml.empty()) {
        Finding& finding = out.error("nvml-missing", where, "no libnvidia-ml.so.1");
        finding.meaning = "the kernel module is there without the driver's libraries";
        finding.fix = "Ubuntu: apt-get install libnvidia-compute-" + branch +
                      "-server\nor reinstall driver " + node.loaded_version +
                      "\nin a driver container: --driver-root /run/nvidia/driver";
        return;
    }
    if (nvml != "?" && nvml.find('.') != std::string::npos && !node.loaded_version.empty() &&
        nvml != node.loaded_version) {
        Finding& finding = out.error(
            "driver-library-mismatch",
            "/proc/driver/nvidia/version, libnvidia-ml.so.1",
            "the kernel module is " + node.loaded_version + ", the libraries are " + nvml
        );
        finding.meaning =
            "the driver was upgraded and the old module still runs: NVML and CUDA refuse to start "
            "(NVML "
            "code 18)";
        finding.fix =
            "reboot\n"
            "or, with nothing on the GPUs: rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia && "
            "modprobe "
            "nvidia_uvm";
        return;
    }
    if (cuda.empty()) {
        Finding& finding = out.error("libcuda-missing", where, "no libcuda.so.1");
        finding.meaning = "nvidia-smi works, but no CUDA program can run in a container";
        finding.fix = "Ubuntu: apt-get install libnvidia-compute-" + branch +
                      "-server\nDebian: apt-get install libcuda1\nor reinstall driver " +
                      node.loaded_version;
        return;
    }
    if (cuda != nvml) {
        Finding& finding = out.error(
            "driver-libraries-mixed",
            where,
            "libcuda.so.1 is " + cuda + ", libnvidia-ml.so.1 is " + nvml
        );
        finding.meaning = "two drivers are mixed: CUDA programs fail at cuInit";
        finding.fix =
            "remove one of the two installations, then reinstall driver " + node.loaded_version;
        return;
    }
    out.ok("driver-libraries", where, "libcuda and libnvidia-ml " + nvml);
}

void check_nvml(const CheckContext& context, Findings& out) {
    const NvmlFacts& nvml = context.facts.nvml;
    const NodeModel& node = context.node;
    if (node.gpus.empty() && nvml.state != NvmlFacts::State::kAnswers) {
        return out.skip("no NVML on this kind of machine");
    }
    const std::string looked = nvml.library.empty() ? "libnvidia-ml.so.1" : nvml.library;
    switch (nvml.state) {
        case NvmlFacts::State::kAnswers:
            break;
        case NvmlFacts::State::kNoLibrary: {
            Finding& finding = out.error("nvml-not-loadable", looked, nvml.message);
            finding.meaning =
                "the library is there and the loader refuses it: another architecture or C "
                "library?";
            finding.fix = "file -L " + looked + " ; ldd " + looked;
            return;
        }
        case NvmlFacts::State::kHangs: {
            Finding& finding = out.error("nvml-hangs", looked, "no answer: " + nvml.message);
            finding.meaning = "a GPU or the driver is stuck; everything that asks it will hang too";
            finding.fix = "dmesg | grep -i -e nvrm -e xid\nreboot the node";
            return;
        }
        case NvmlFacts::State::kCrashed: {
            Finding& finding = out.error("nvml-crashes", looked, nvml.message);
            finding.meaning =
                "the library is damaged, or from another driver than the kernel module";
            finding.fix = "reinstall driver " + node.loaded_version;
            return;
        }
        case NvmlFacts::State::kInitError: {
            const std::string found = "nvmlInit: " + gpu::nvml_code_text(nvml.code);
            if (nvml.code == Code::kVersionMismatch) {
                Finding& finding = out.error("nvml-version-mismatch", looked, found);
                finding.meaning = "the driver was upgraded and the old kernel module still runs";
                finding.fix = "reboot";
            } else if (nvml.code == Code::kDriverNotLoaded) {
                Finding& finding = out.error("nvml-driver-not-loaded", looked, found);
                finding.meaning =
                    "the module is loaded, but the library cannot reach it through /dev/nvidiactl";
                finding.fix = "ls -l /dev/nvidiactl; nvidia-modprobe -c 0 -u; dmesg | grep -i nvrm";
            } else if (nvml.code == Code::kNoPermission) {
                Finding& finding = out.error("nvml-no-permission", looked, found);
                finding.meaning = "this user may not open /dev/nvidiactl";
                finding.fix = "run the doctor as root; in a pod: privileged";
            } else if (nvml.code == Code::kGpuIsLost) {
                Finding& finding = out.error("gpu-lost", looked, found);
                finding.meaning = "a GPU fell off the bus";
                finding.fix =
                    "dmesg | grep -i xid\nreboot; if it comes back, check power and seating";
            } else {
                Finding& finding = out.error("nvml-fails", looked, found);
                finding.meaning = "the driver does not start";
                finding.fix = "dmesg | grep -i nvrm";
            }
            return;
        }
    }
    std::vector<std::string> missing;
    for (const PciGpu& gpu : node.gpus) {
        const bool known =
            std::any_of(nvml.gpus.begin(), nvml.gpus.end(), [&gpu](const GpuFacts& each) {
                return each.pci == gpu.address || each.pci.empty();
            });
        if (gpu.driver == "nvidia" && !known) missing.push_back(gpu.address);
    }
    if (!missing.empty()) {
        Finding& finding = out.error(
            "gpu-not-in-nvml",
            looked,
            std::to_string(nvml.gpus.size()) + " GPU(s) answer; missing: " + list_of(missing)
        );
        finding.meaning = "the GPU is on the bus but the driver could not start it";
        finding.fix = "dmesg | grep -i nvrm\ncheck its power cables; reboot";
        return;
    }
    out.ok(
        "nvml-answers",
        looked,
        "driver " + nvml.driver_version + ", " + std::to_string(nvml.gpus.size()) + " GPU(s)"
    );
}

void check_cuda(const CheckContext& context, Findings& out) {
    const NvmlFacts& nvml = context.facts.nvml;
    if (nvml.cuda_version <= 0) return out.skip("this driver does not say");
    Finding& finding = out.ok(
        "cuda-version",
        "nvmlSystemGetCudaDriverVersion",
        "CUDA up to " + std::to_string(nvml.cuda_version / 1000) + "." +
            std::to_string(nvml.cuda_version % 1000 / 10)
    );
    finding.meaning =
        "images built for a newer CUDA need a newer driver or NVIDIA's compat package";
}

}  // namespace egpu::doctor
