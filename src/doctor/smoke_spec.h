// The OCI runtime configuration of the smoke test's container. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "inject/edits.h"

namespace egpu::doctor {

struct DeviceNumber {
    unsigned major = 0;
    unsigned minor = 0;
};

struct SmokeContainer {
    std::string rootfs;             // on the node
    std::vector<std::string> args;  // inside
    std::string cgroup;             // "/edge-gpu-smoke-1234"
    inject::ContainerEdits edits;
    std::map<std::string, DeviceNumber> numbers;  // of every host path in edits.devices
};

// No network, no capabilities, read-only, and no device but those of the edits.
json::value smoke_spec(const SmokeContainer& container);

}  // namespace egpu::doctor
