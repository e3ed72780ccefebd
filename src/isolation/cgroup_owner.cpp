#include "isolation/cgroup_owner.h"

#include <algorithm>

namespace egpu::isolation {
namespace {

constexpr std::size_t kIdSize = 64;

bool is_hex(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    });
}

// With dashes or, as systemd wants it, underscores.
std::optional<std::string> pod_uid(std::string_view text) {
    constexpr std::size_t kStatic = 32;
    constexpr std::size_t kUuid = 36;
    if (text.size() == kStatic && is_hex(text)) return std::string(text);
    if (text.size() != kUuid) return std::nullopt;
    std::string uid(text);
    for (std::size_t i = 0; i < kUuid; ++i) {
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? (uid[i] != '-' && uid[i] != '_') : !is_hex(text.substr(i, 1))) {
            return std::nullopt;
        }
        if (dash) uid[i] = '-';
    }
    return uid;
}

// "pod<uid>", "kubepods-besteffort-pod<uid>.slice", "kubelet-kubepods-pod<uid>.slice"
std::optional<std::string> pod_of(std::string_view part) {
    constexpr std::string_view kSlice = ".slice";
    constexpr std::string_view kPod = "pod";
    const bool slice = part.ends_with(kSlice);
    if (slice) part.remove_suffix(kSlice.size());
    const std::size_t at = part.rfind(kPod);
    if (at == std::string_view::npos) return std::nullopt;
    // A name that merely ends like one is none.
    if (slice ? at == 0 || part[at - 1] != '-' : at != 0) return std::nullopt;
    return pod_uid(part.substr(at + kPod.size()));
}

// "<id>", "cri-containerd-<id>.scope", "crio-<id>", "docker-<id>.scope", "libpod-<id>.scope"
std::string container_of(std::string_view part) {
    constexpr std::string_view kScope = ".scope";
    if (part.ends_with(kScope)) part.remove_suffix(kScope.size());
    if (part.size() < kIdSize || !is_hex(part.substr(part.size() - kIdSize))) return "";
    const std::string_view before = part.substr(0, part.size() - kIdSize);
    if (!before.empty() && before.back() != '-') return "";
    // CRI-O's monitor of a container, not in it.
    if (before.ends_with("conmon-")) return "";
    return std::string(part.substr(part.size() - kIdSize));
}

std::string_view next_part(std::string_view& path, char separator) {
    const std::size_t end = path.find(separator);
    const std::string_view part = path.substr(0, end);
    path.remove_prefix(end == std::string_view::npos ? path.size() : end + 1);
    return part;
}

std::optional<CgroupOwner> owner_in(std::string_view path) {
    while (!path.empty()) {
        std::string_view part = next_part(path, '/');
        // containerd with the systemd driver, told a path of it and not using systemd:
        // "kubepods-burstable-pod<uid>.slice:cri-containerd:<id>"
        const std::string_view first = next_part(part, ':');
        auto uid = pod_of(first);
        if (!uid) continue;
        CgroupOwner owner{std::move(*uid), ""};
        if (!part.empty()) {
            next_part(part, ':');
            owner.container_id = container_of(part);
        } else {
            owner.container_id = container_of(next_part(path, '/'));
        }
        return owner;
    }
    return std::nullopt;
}

}  // namespace

std::optional<CgroupOwner> cgroup_owner(std::string_view text) {
    std::optional<CgroupOwner> pod;
    while (!text.empty()) {
        std::string_view line = next_part(text, '\n');
        // "<hierarchy>:<controllers>:<path>"; the path may hold colons
        next_part(line, ':');
        next_part(line, ':');
        auto owner = owner_in(line);
        if (!owner) continue;
        if (!owner->container_id.empty()) return owner;
        if (!pod) pod = std::move(owner);
    }
    return pod;
}

}  // namespace egpu::isolation
