// Asks NVML in a child process: it may hang on a sick GPU, crash, or not load at all.
#pragma once

#include <string>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "doctor/facts.h"

namespace egpu::doctor {

struct NvmlProbe {
    std::string root = "/";         // the node's root
    std::string driver_root = "/";  // inside it
    std::string library = "libnvidia-ml.so.1";
    Duration limit = Seconds(20);
};

// Where the library lies inside the root, free of links; "" when it is not in the usual folders.
std::string locate_nvml(const FileView& files, const NvmlProbe& probe);

// In a child process: makes probe.root the root, with NVML's library loaded before, so that it uses
// this program's C library. Nothing to do when the root is "/".
Status enter_root(const NvmlProbe& probe, const std::string& located);

NvmlFacts probe_nvml(const FileView& files, const NvmlProbe& probe);

// The facts as the child hands them over, and as recorded nodes keep them.
json::value nvml_to_json(const NvmlFacts& facts);
Result<NvmlFacts> nvml_from_json(const json::value& from);

}  // namespace egpu::doctor
