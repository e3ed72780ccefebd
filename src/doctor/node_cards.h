// Work that must happen inside the node's root with its cards at hand, in a child process: NVML's
// library and what the injection code makes then have the same paths here and there.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "base/result.h"
#include "doctor/nvml_probe.h"
#include "inject/injector.h"

namespace egpu::doctor {

using CardWork = std::function<Result<std::string>(std::span<const inject::GivenCard> cards)>;

// Enumerates the cards (MIG instances where MIG is on) and hands back what `work` made of them.
// kDeadline after probe.limit.
Result<std::string> with_node_cards(
    const FileView& files, const NvmlProbe& probe, const CardWork& work
);

}  // namespace egpu::doctor
