// The configuration file of NVIDIA's device plugin (`version: v1`, YAML or JSON). Pure.
//
// What has a flag comes out under the flag's name; whether its value is possible is the flags'
// affair. Untrusted input.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace egpu::inject {

struct NvidiaConfig {
    // "device-list-strategy" -> "envvar,cdi-cri": as on NVIDIA's command line.
    std::map<std::string, std::string> flags;
    struct Replicas {
        std::string resource;
        int replicas = 0;

        bool operator==(const Replicas&) const = default;
    };
    std::vector<Replicas> time_slicing;
    std::vector<Replicas> mps;
    bool fail_requests_greater_than_one = false;  // of time_slicing
    std::vector<std::string> notes;               // read, and of no meaning to a device plugin

    bool operator==(const NvidiaConfig&) const = default;
};

// kInvalid names the field; an unknown one with the known one it may have meant. 1 MiB at most.
Result<NvidiaConfig> parse_nvidia_config(std::string_view text);

// Of `known` the word closest to `wrong`, "" when none is close.
std::string did_you_mean(std::string_view wrong, const std::vector<std::string>& known);

}  // namespace egpu::inject
