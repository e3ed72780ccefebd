// `--injection auto`: what this node can do, and what follows from it. Pure over a file view.
#pragma once

#include <string>
#include <string_view>

#include "base/file_view.h"
#include "gpu/driver.h"

namespace egpu::inject {

enum class RuntimeKind { kUnknown, kContainerd, kCrio, kDocker };
enum class Tri { kUnknown, kNo, kYes };

struct RuntimeFacts {
    RuntimeKind kind = RuntimeKind::kUnknown;
    Tri cdi = Tri::kUnknown;         // are CDI devices injected for pods?
    bool nvidia_is_default = false;  // NVIDIA's runtime runs every container
    std::string config;              // the file that said so, "" for none
};

// The container runtime the kubelet of this node uses, by its configuration below the host's root.
RuntimeFacts look_at_runtime(const FileView& host);

struct NodeFacts {
    RuntimeFacts runtime;
    bool driver_usable = false;
    std::string driver;  // "driver 535.161.08", for the reason
    bool nvidia_configured = false;
};

struct Choice {
    std::string_view strategy;  // "direct", "cdi", "nvidia"
    std::string why;            // one sentence
};

Choice choose_injection(const NodeFacts& facts);

}  // namespace egpu::inject
