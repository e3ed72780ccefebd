#include "gpu/device_nodes.h"

#include <charconv>
#include <optional>
#include <sstream>

namespace egpu::gpu {
namespace {

constexpr std::size_t kMostText = 1U << 20;
constexpr unsigned kControlMinor = 255;
constexpr unsigned kModesetMinor = 254;

struct Params {  // of /proc/driver/nvidia/params
    bool modify = true;
    unsigned mode = 0666;
    unsigned uid = 0;
    unsigned gid = 0;
};

Params read_params(const FileView& host) {
    Params params;
    const auto text = host.read("/proc/driver/nvidia/params", kMostText);
    if (!text) return params;
    std::istringstream lines(*text);
    for (std::string line; std::getline(lines, line);) {
        const std::size_t colon = line.find(": ");
        if (colon == std::string::npos) continue;
        const std::string_view value = std::string_view(line).substr(colon + 2);
        unsigned number = 0;
        if (std::from_chars(value.data(), value.data() + value.size(), number).ec != std::errc{}) {
            continue;
        }
        const std::string_view key = std::string_view(line).substr(0, colon);
        if (key == "ModifyDeviceFiles") params.modify = number != 0;
        if (key == "DeviceFileMode") params.mode = number & 07777U;
        if (key == "DeviceFileUID") params.uid = number;
        if (key == "DeviceFileGID") params.gid = number;
    }
    return params;
}

std::optional<unsigned> number_behind(std::string_view path, std::string_view prefix) {
    if (!path.starts_with(prefix)) return std::nullopt;
    unsigned value = 0;
    const char* end = path.data() + path.size();
    const auto parsed = std::from_chars(path.data() + prefix.size(), end, value);
    if (parsed.ec != std::errc{} || parsed.ptr != end) return std::nullopt;
    return value;
}

class Planner {
  public:
    Planner(const FileView& host, const FileView& dev_root)
        : dev_root_(dev_root), params_(read_params(host)) {
        if (const auto text = host.read("/proc/devices", kMostText)) majors_ = parse_majors(*text);
    }

    bool has(const std::string& name) const { return majors_.contains(name); }

    void want(const std::string& path, const std::string& device, unsigned minor, unsigned mode) {
        const auto major = majors_.find(device);
        if (major == majors_.end()) return;
        const auto info = dev_root_.look(path);
        const bool there = info && info->type == FileType::kChar && info->major == major->second &&
                           info->minor == minor;
        if (!there) {
            if (!params_.modify) {
                plan.notes.push_back(
                    path +
                    " is missing and the driver's option NVreg_ModifyDeviceFiles=0 forbids "
                    "to create it"
                );
                return;
            }
            plan.nodes.push_back({path, major->second, minor, mode, params_.uid, params_.gid});
        }
        const std::string link =
            "/dev/char/" + std::to_string(major->second) + ":" + std::to_string(minor);
        if (!dev_root_.look_at_link(link)) plan.links.push_back({link, ".." + path.substr(4)});
    }
    unsigned mode() const { return params_.mode; }

    DeviceNodePlan plan;

  private:
    const FileView& dev_root_;
    const Params params_;
    std::map<std::string, unsigned> majors_;
};

}  // namespace

std::map<std::string, unsigned> parse_majors(std::string_view proc_devices) {
    std::map<std::string, unsigned> majors;
    std::istringstream lines{std::string(proc_devices)};
    bool character = false;
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("Character devices")) {
            character = true;
        } else if (line.starts_with("Block devices")) {
            character = false;
        } else if (character) {
            std::istringstream words(line);
            unsigned major = 0;
            std::string name;
            if (!(words >> major >> name)) continue;
            majors.try_emplace(name == "nvidia-frontend" ? "nvidia" : name, major);
        }
    }
    return majors;
}

DeviceNodePlan plan_device_nodes(
    const FileView& host, const FileView& dev_root, std::span<const std::string> wanted
) {
    Planner planner(host, dev_root);
    if (!planner.has("nvidia")) return {};
    planner.want("/dev/nvidiactl", "nvidia", kControlMinor, planner.mode());
    if (planner.has("nvidia-modeset") || host.exists("/sys/module/nvidia_modeset")) {
        planner.want("/dev/nvidia-modeset", "nvidia", kModesetMinor, planner.mode());
    }
    if (planner.has("nvidia-uvm")) {
        planner.want("/dev/nvidia-uvm", "nvidia-uvm", 0, planner.mode());
        planner.want("/dev/nvidia-uvm-tools", "nvidia-uvm", 1, planner.mode());
    } else {
        planner.plan.load_uvm = true;
    }
    for (const std::string& path : wanted) {
        if (const auto cap = number_behind(path, "/dev/nvidia-caps/nvidia-cap")) {
            planner.want(path, "nvidia-caps", *cap, 0444);
        } else if (const auto minor = number_behind(path, "/dev/nvidia")) {
            planner.want(path, "nvidia", *minor, planner.mode());
        }
    }
    return std::move(planner.plan);
}

std::vector<std::string> control_nodes(const FileView& dev_root, bool display) {
    std::vector<std::string> nodes;
    for (const char* path : {"/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"}) {
        if (dev_root.exists(path)) nodes.emplace_back(path);
    }
    if (display && dev_root.exists("/dev/nvidia-modeset")) {
        nodes.emplace_back("/dev/nvidia-modeset");
    }
    return nodes;
}

}  // namespace egpu::gpu
