// Faults of kube-scheduler's configuration in what concerns the extender. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace egpu::doctor {

struct ExtenderFault {
    std::string id;
    bool fatal = true;
    std::string found;
    std::string meaning;
    std::string fix;
};

// `text`: a KubeSchedulerConfiguration (YAML) or a Policy (JSON, YAML). Empty: an extender for our
// resources is there and nothing is wrong with it.
std::vector<ExtenderFault> extender_faults(std::string_view text);

}  // namespace egpu::doctor
