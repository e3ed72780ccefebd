// `--fix`: what can be put right without risk, planned first, then carried out. Every repair may be
// repeated: one with nothing left to do plans nothing.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "doctor/facts.h"
#include "doctor/finding.h"

namespace egpu::doctor {

struct PlannedRepair {
    Repair kind = Repair::kDeviceNodes;
    std::string title;    // "make 3 device nodes"
    std::string preview;  // a diff, or a line per thing that is made
    std::string after;    // what is left to do by hand; "" nothing
    std::function<Status()> apply;
};

struct RepairPlan {
    std::vector<PlannedRepair> repairs;
    std::vector<std::string> notes;  // why something cannot be repaired here
};

struct RepairOptions {
    std::string backup_suffix;  // names the copy of a changed file: "before-20260102T030405Z"
    std::string nvml_library = "libnvidia-ml.so.1";
};

// For the findings of `report` that have a repair. The repairs work below `facts.root`, and refer
// to `facts`.
RepairPlan plan_repairs(const Report& report, const Facts& facts, const RepairOptions& options);

}  // namespace egpu::doctor
