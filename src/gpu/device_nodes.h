// The device nodes of NVIDIA's driver: which there are to be, by the kernel's tables, and which are
// missing. nvidia-modprobe creates them when a program of the host uses a card; on a node whose
// cards are used by containers only, nobody does. Pure, over file views.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/file_view.h"

namespace egpu::gpu {

// Names of the character section of /proc/devices and their majors ("nvidia-frontend" of drivers
// before r525 comes as "nvidia").
std::map<std::string, unsigned> parse_majors(std::string_view proc_devices);

struct DeviceNodePlan {
    struct Node {
        std::string path;  // "/dev/nvidia0"
        unsigned major = 0;
        unsigned minor = 0;
        unsigned mode = 0666;
        unsigned uid = 0;
        unsigned gid = 0;

        bool operator==(const Node&) const = default;
    };
    // /dev/char/MAJOR:MINOR. systemd finds devices there when it writes a container's device rules
    // again (daemon-reload); without the link the container loses the device.
    struct Link {
        std::string path;
        std::string target;

        bool operator==(const Link&) const = default;
    };
    std::vector<Node> nodes;  // missing, or there with other numbers
    std::vector<Link> links;
    bool load_uvm = false;           // the module nvidia-uvm is needed and not loaded
    std::vector<std::string> notes;  // why something cannot be had, one sentence each

    bool nothing_to_do() const { return nodes.empty() && links.empty() && !load_uvm; }
    bool operator==(const DeviceNodePlan&) const = default;
};

// `host`: the root with /proc; `dev_root`: the root with /dev. `wanted`: nodes of the cards; the
// driver's control nodes are always wanted. Empty when the driver is not loaded.
DeviceNodePlan plan_device_nodes(
    const FileView& host, const FileView& dev_root, std::span<const std::string> wanted
);

// The control nodes that exist: those every container with a card needs, with `display` also
// nvidia-modeset.
std::vector<std::string> control_nodes(const FileView& dev_root, bool display);

}  // namespace egpu::gpu
