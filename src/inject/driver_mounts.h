// Where the driver's files are put inside a container. Pure.
//
// Two places, for two kinds of images. /usr/local/nvidia/{lib64,bin} is what NVIDIA's CUDA images
// have in LD_LIBRARY_PATH and PATH. And the folders that glibc searches whatever the environment
// says (/usr/lib64 in Red Hat's and SUSE's images, /usr/lib/<machine>-linux-gnu in Debian's): a
// program finds libcuda.so.1 although its image or its pod sets LD_LIBRARY_PATH, so that variable
// need not be set and nobody's own value is lost.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gpu/driver.h"

namespace egpu::inject {

inline constexpr std::string_view kContainerFolder = "/usr/local/nvidia";

struct DriverMount {
    std::string path;       // inside the driver root
    std::string container;  // in the container
    // Where the file lies in the staged folder (driver_stage.h), "lib64/libcuda.so.1"; "" for what
    // is not staged because its path on the host does not change with the driver's version.
    std::string staged;

    bool operator==(const DriverMount&) const = default;
};

// `machine`: "x86_64" or "aarch64". Sorted by path in the container, each of which comes once.
std::vector<DriverMount> driver_mounts(
    const gpu::Driver& driver, gpu::Capabilities capabilities, std::string_view machine
);

std::string_view this_machine();  // of this build

}  // namespace egpu::inject
