// CDI specifications (tags.cncf.io/container-device-interface): what a container runtime does for a
// device named "vendor/class=name". Data, its text, and the lowest version that can express it:
// older runtimes refuse a version they do not know. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace egpu::inject {

struct CdiNode {
    std::string path;       // in the container
    std::string host_path;  // "" when equal
    std::optional<unsigned> major;
    std::optional<unsigned> minor;
    std::string permissions = "rw";

    bool operator==(const CdiNode&) const = default;
};

struct CdiMount {
    std::string host_path;
    std::string container_path;
    std::vector<std::string> options;

    bool operator==(const CdiMount&) const = default;
};

struct CdiEdits {
    std::vector<std::string> env;
    std::vector<CdiNode> nodes;
    std::vector<CdiMount> mounts;

    bool operator==(const CdiEdits&) const = default;
};

struct CdiDevice {
    std::string name;
    CdiEdits edits;

    bool operator==(const CdiDevice&) const = default;
};

struct CdiSpec {
    std::string kind;
    std::vector<CdiDevice> devices;
    CdiEdits edits;  // for every container with any of the devices

    bool operator==(const CdiSpec&) const = default;
};

std::string lowest_version(const CdiSpec& spec);
// JSON, indented.
std::string to_text(const CdiSpec& spec);

// What a UUID or index becomes as a device's name ("MIG-GPU-…/7/0" of old drivers has slashes).
std::string cdi_device_name(std::string_view id);

// "edge-gpu.io-gpu.json" for "edge-gpu.io/gpu".
std::string cdi_file_name(std::string_view kind);

}  // namespace egpu::inject
