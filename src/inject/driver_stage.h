// The driver's files under names that never change, in a folder of the agent's.
//
// The kubelet replays an answer for a container's whole life, but /usr/lib/…/libcuda.so.535.161.08
// is gone after the next driver upgrade. So an answer names `<folder>/current/lib64/libcuda.so.1`,
// and `current` leads to a folder that is made anew for each driver: hard links where the file
// system allows (they cost nothing), else clones, else copies. Names that carried an older driver's
// version stay valid as further links.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "base/result.h"

namespace egpu::inject {

struct StagedFile {
    std::filesystem::path source;  // as seen here
    std::string name;              // "lib64/libcuda.so.1"
};

// Makes `<folder>/current` hold exactly these files (and the old names); nothing is written when it
// does already. `version` is part of the folder's name. The switch is atomic; the folder before the
// last is removed. One caller at a time.
Status stage_driver(
    const std::filesystem::path& folder,
    const std::string& version,
    std::span<const StagedFile> files
);

}  // namespace egpu::inject
