// Reads the kubelet's kubelet_internal_checkpoint: which container (by pod UID, init containers
// too) holds which device IDs. Read only: its checksum is over a Go dump, not reproducible here.
//
// Understands DeviceIDs as a map NUMA node -> IDs (1.20+) and as a flat list (before), and nulls.
// The kubelet replaces the file by rename: open it by path each time. Input is untrusted.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kubelet/types.h"

namespace egpu::kubelet {

inline constexpr std::string_view kCheckpointName = "kubelet_internal_checkpoint";

struct CheckpointEntry {
    std::string pod_uid{};
    std::string container{};
    std::string resource{};
    std::vector<std::string> device_ids{};  // sorted, unique
    std::string allocate_response{};        // protobuf bytes; see decode_allocate_response

    bool operator==(const CheckpointEntry&) const = default;
};

struct Checkpoint {
    std::vector<CheckpointEntry> entries{};
    std::map<std::string, std::vector<std::string>> registered{};  // resource -> device IDs

    bool operator==(const Checkpoint&) const = default;
};

// kCorrupt when it is not a checkpoint; the message names the field.
Result<Checkpoint> parse_checkpoint(std::string_view text);
// kNotFound when the file does not exist (a kubelet that never allocated).
Result<Checkpoint> read_checkpoint(const std::filesystem::path& path);

// The answer the plugin gave then (annotations, environment, mounts). kCorrupt for other bytes.
Result<AllocateResponse> decode_allocate_response(std::string_view bytes);

}  // namespace egpu::kubelet
