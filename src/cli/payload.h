// What install puts below the prefix: the program and the shared libraries it carries along.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/node_files.h"

namespace egpu::cli {

struct PayloadFile {
    std::filesystem::path path;  // on the node
    std::string content;
    unsigned mode;
};

struct Payload {
    std::filesystem::path source;    // the program as it is on this machine
    std::filesystem::path prefix;    // the program is <prefix>/bin/edge-gpu
    std::vector<PayloadFile> files;  // in the order to write them; none when all is there already
    std::string checksum;            // of the program, and of the libraries of a self-contained one
    // The program of the archive for nodes: it has its own loader and C library and runs from one
    // place only, which may be where it was unpacked.
    bool self_contained = false;
};

// Of `binary` ("": the running program). A self-contained one has its prefix built in: another
// `prefix` is an error. For all others the default is /usr/local, and what they carry along is
// every library that not each Debian or Ubuntu node has.
Result<Payload> payload_of(
    const std::filesystem::path& binary,
    const std::optional<std::filesystem::path>& prefix,
    const NodeFiles& files
);

// After writing: does the program find each library that was carried along where it was put?
Status check_payload(const Payload& payload, const NodeFiles& files);

}  // namespace egpu::cli
