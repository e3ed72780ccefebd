// NVIDIA's device-list strategies envvar, volume-mounts, cdi-annotations and cdi-cri, with
// pass-device-specs: for nodes whose container runtime is NVIDIA's (nvidia-docker2,
// nvidia-container-toolkit) or knows CDI. Answers equal those of NVIDIA's device plugin. The CDI
// specification that two of them name (k8s.device-plugin.nvidia.com/gpu) is written here, as
// NVIDIA's plugin does.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "inject/artefacts.h"
#include "inject/injector.h"

namespace egpu::inject {

Status check_nvidia_options(const InjectOptions& options);

// `options` must have passed the check.
std::unique_ptr<Injector> make_nvidia_injector(
    std::shared_ptr<Artefacts> artefacts, std::string why
);

}  // namespace egpu::inject
