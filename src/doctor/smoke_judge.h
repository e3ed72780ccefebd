// From what came out of the smoke test's container to findings. Pure.
#pragma once

#include <string>

#include "base/child.h"
#include "doctor/finding.h"

namespace egpu::doctor {

struct SmokeRun {
    std::string launcher;  // "containerd (ctr)", "runc"
    std::string command;   // for a person to repeat
    std::string card;      // "GPU-… (/dev/nvidia0)"
    ChildResult result;
};

void judge_smoke(const SmokeRun& run, CheckResult& out);

}  // namespace egpu::doctor
