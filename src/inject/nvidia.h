// NVIDIA's device-list strategies envvar and volume-mounts, with pass-device-specs: for nodes whose
// container runtime is NVIDIA's (nvidia-docker2, nvidia-container-toolkit). Answers equal those of
// NVIDIA's device plugin.
#pragma once

#include <memory>

#include "base/result.h"
#include "inject/injector.h"

namespace egpu::inject {

Result<std::unique_ptr<Injector>> make_nvidia_injector(InjectOptions options);

}  // namespace egpu::inject
