// Which allocation a process of the node belongs to, by what /proc tells of it.
//
// Its cgroup names pod and container; which allocation a container has is learned from the file
// that only this container has mounted (the inode of <its root>/run/edge-gpu/limits), of the
// process itself or, where that one hides it (chroot, umount), of another in the same container.
// Needs the host's PID namespace. A process is known by PID and start time. Not thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "isolation/cgroup_owner.h"

namespace egpu::isolation {

struct OwnedProcess {
    std::string token;
    // False: it is in a pod with this one limited container, but which container is not known.
    bool certain = false;
    unsigned pid = 0;                 // the host's
    std::uint64_t start_time = 0;     // field 22 of /proc/PID/stat
    unsigned inner_pid = 0;           // in its own PID namespace; 0: not known
    std::uint64_t pid_namespace = 0;  // inode; 0: not known
    std::string command;              // as the process calls itself; for people
    std::string container_id;         // ""; not known
};

class ProcessOwners {
  public:
    struct Allocation {
        std::string token;
        std::string pod_uid;           // "" while it is not known
        std::filesystem::path limits;  // the file on the host

        bool operator==(const Allocation&) const = default;
    };

    // `proc`: of the host's PID namespace. `scan_again`: a container about which nothing could be
    // learned is not looked for more often.
    explicit ProcessOwners(std::filesystem::path proc = "/proc", Duration scan_again = Seconds(10));

    void set_allocations(std::vector<Allocation> allocations);

    // nullopt: in no limited container, gone or about to be, or not found out before `deadline`.
    std::optional<OwnedProcess> owner(unsigned pid, TimePoint deadline);
    // The same, from /proc and not from memory: before somebody acts on it.
    std::optional<OwnedProcess> owner_now(unsigned pid, TimePoint deadline);
    // Forgets processes that were not asked for since the last call.
    void sweep();

  private:
    struct File {
        std::uint64_t device = 0;
        std::uint64_t inode = 0;

        auto operator<=>(const File&) const = default;
    };
    struct Known {
        std::uint64_t start_time = 0;
        std::optional<OwnedProcess> owned;
        bool asked = true;
    };
    std::optional<OwnedProcess> find(unsigned pid, std::uint64_t start_time, TimePoint deadline);
    std::optional<CgroupOwner> cgroup_of(unsigned pid) const;
    bool may_look_inside(unsigned pid) const;
    // By the file that the process sees; "" when it sees none of ours.
    std::string token_seen_by(unsigned pid) const;
    std::string token_of_container(const std::string& container_id, TimePoint deadline);
    std::filesystem::path of(unsigned pid) const;

    const std::filesystem::path proc_;
    const Duration scan_again_;
    std::vector<Allocation> allocations_;
    std::map<File, std::string> files_;
    std::map<std::string, std::string> containers_;  // ID -> token
    std::map<std::string, TimePoint> scanned_;       // IDs without a token, when looked for
    std::map<unsigned, Known> known_;
};

// "name" and start time of /proc/PID/stat; the name may hold anything. Pure.
struct StatLine {
    std::string command;
    bool ending = false;  // has no thread left that could do anything
    std::uint64_t start_time = 0;
};
std::optional<StatLine> parse_stat(const std::string& text);

// Can the folders down to the guard's files be opened, by /proc/PID/mountinfo, without a program
// (FUSE) answering for them? Pure.
bool mounts_are_safe(const std::string& mountinfo);

}  // namespace egpu::isolation
