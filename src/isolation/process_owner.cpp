#include "isolation/process_owner.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include <fcntl.h>
#include <sys/stat.h>

#include "base/files.h"
#include "guard/pages.h"

namespace egpu::isolation {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostText = 64U << 10;
constexpr std::size_t kMostMounts = 4U << 20;

std::uint64_t number(std::string_view text) {
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

// The last of the PIDs in "NSpid:\t1234\t7": the one in the process's own namespace.
unsigned inner_pid(const std::string& status) {
    constexpr std::string_view kField = "\nNSpid:";
    const std::size_t at = status.find(kField);
    if (at == std::string::npos) return 0;
    const std::size_t end = status.find('\n', at + 1);
    const std::size_t last = status.find_last_of("\t ", end);
    if (last == std::string::npos || last < at) return 0;
    return static_cast<unsigned>(number(std::string_view(status).substr(last + 1)));
}

// The inode in the link "pid:[4026531836]".
std::uint64_t namespace_inode(const fs::path& link) {
    std::error_code error;
    const std::string text = fs::read_symlink(link, error).string();
    const std::size_t open = text.find('[');
    return error || open == std::string::npos ? 0 : number(std::string_view(text).substr(open + 1));
}

}  // namespace

std::optional<StatLine> parse_stat(const std::string& text) {
    constexpr int kState = 3;
    constexpr int kFlags = 9;
    constexpr int kThreads = 20;
    constexpr int kStartTime = 22;
    constexpr std::uint64_t kExiting = 4;  // the kernel's PF_EXITING
    const std::size_t open = text.find('(');
    const std::size_t close = text.rfind(')');
    if (open == std::string::npos || close == std::string::npos || close < open) {
        return std::nullopt;
    }
    StatLine line;
    line.command = text.substr(open + 1, close - open - 1);
    std::istringstream fields(text.substr(close + 1));
    std::string field;
    bool ending = false;
    for (int n = 3; n <= kStartTime; ++n) {
        if (!(fields >> field)) return std::nullopt;
        if (n == kState) ending = field == "Z" || field == "X";
        if (n == kFlags) ending = ending || (number(field) & kExiting) != 0;
        // The first thread may have ended and left others.
        if (n == kThreads) line.ending = ending && number(field) <= 1;
    }
    line.start_time = number(field);
    return line;
}

bool mounts_are_safe(const std::string& mountinfo) {
    constexpr std::size_t kPoint = 4;
    std::istringstream lines(mountinfo);
    bool rooted = false;
    for (std::string line; std::getline(lines, line);) {
        std::istringstream fields(line);
        std::string field;
        std::string point;
        for (std::size_t i = 0; fields >> field && field != "-"; ++i) {
            if (i == kPoint) point = field;
        }
        std::string type;
        fields >> type;
        const bool on_the_way =
            point == "/" || point == "/run" || point == guard::kFolderInContainer ||
            point == std::string(guard::kFolderInContainer) + "/" + guard::kLimitsFile;
        if (!on_the_way) continue;
        if (type.empty() || type.starts_with("fuse")) return false;
        rooted = rooted || point == "/";
    }
    return rooted;
}

ProcessOwners::ProcessOwners(fs::path proc, Duration scan_again)
    : proc_(std::move(proc)), scan_again_(scan_again) {}

fs::path ProcessOwners::of(unsigned pid) const {
    return proc_ / std::to_string(pid);
}

void ProcessOwners::set_allocations(std::vector<Allocation> allocations) {
    // A file that was made anew is another one.
    std::map<File, std::string> files;
    for (const Allocation& allocation : allocations) {
        struct stat info {};
        if (::stat(allocation.limits.c_str(), &info) != 0) continue;
        files[{info.st_dev, info.st_ino}] = allocation.token;
    }
    if (allocations == allocations_ && files == files_) return;
    allocations_ = std::move(allocations);
    files_ = std::move(files);
    std::erase_if(containers_, [&](const auto& entry) {
        return std::none_of(allocations_.begin(), allocations_.end(), [&](const Allocation& a) {
            return a.token == entry.second;
        });
    });
    scanned_.clear();
    known_.clear();
}

std::optional<CgroupOwner> ProcessOwners::cgroup_of(unsigned pid) const {
    const auto text = read_file(of(pid) / "cgroup", kMostText);
    return text ? cgroup_owner(*text) : std::nullopt;
}

// A file system of the process's own making may let the reader wait for ever. What is mounted where
// is asked of the kernel; a process whose root is no mount shows none there.
bool ProcessOwners::may_look_inside(unsigned pid) const {
    const auto text = read_file(of(pid) / "mountinfo", kMostMounts);
    return text && mounts_are_safe(*text);
}

// One name after the other and never through a link: the process may have made its root to mislead
// the reader.
std::string ProcessOwners::token_seen_by(unsigned pid) const {
    if (!may_look_inside(pid)) return "";
    Fd at(::open((of(pid) / "root").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    const fs::path inside = fs::path(guard::kFolderInContainer).relative_path();
    for (const fs::path& part : inside) {
        if (!at.valid()) return "";
        at = Fd(::openat(at.get(), part.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    }
    struct stat info {};
    if (!at.valid() || ::fstatat(at.get(), guard::kLimitsFile, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        return "";
    }
    const auto found = files_.find({info.st_dev, info.st_ino});
    return found == files_.end() ? "" : found->second;
}

std::string ProcessOwners::token_of_container(const std::string& id, TimePoint deadline) {
    if (const auto known = containers_.find(id); known != containers_.end()) return known->second;
    const auto before = scanned_.find(id);
    const TimePoint now = MonoClock::now();
    if (before != scanned_.end() && now - before->second < scan_again_) return "";
    scanned_[id] = now;
    std::error_code error;
    for (fs::directory_iterator at(proc_, error), end; !error && at != end; at.increment(error)) {
        if (MonoClock::now() >= deadline) {
            scanned_.erase(id);
            return "";
        }
        const auto pid = static_cast<unsigned>(number(at->path().filename().string()));
        if (pid == 0) continue;
        const auto owner = cgroup_of(pid);
        if (!owner || owner->container_id != id) continue;
        if (std::string token = token_seen_by(pid); !token.empty()) {
            containers_[id] = token;
            return token;
        }
    }
    return "";
}

std::optional<OwnedProcess> ProcessOwners::find(
    unsigned pid, std::uint64_t start_time, TimePoint deadline
) {
    const auto cgroup = cgroup_of(pid);
    OwnedProcess owned;
    std::vector<const Allocation*> of_pod;
    if (cgroup) {
        owned.container_id = cgroup->container_id;
        for (const Allocation& allocation : allocations_) {
            if (allocation.pod_uid == cgroup->pod_uid) of_pod.push_back(&allocation);
        }
        // Of a pod that has nothing to do with us; unless some allocation's pod is not known yet.
        const bool all_named =
            std::all_of(allocations_.begin(), allocations_.end(), [](const Allocation& a) {
                return !a.pod_uid.empty();
            });
        if (of_pod.empty() && all_named) return std::nullopt;
        if (!cgroup->container_id.empty()) {
            const auto known = containers_.find(cgroup->container_id);
            if (known != containers_.end()) owned.token = known->second;
        }
    }
    if (owned.token.empty()) owned.token = token_seen_by(pid);
    if (owned.token.empty() && !owned.container_id.empty()) {
        owned.token = token_of_container(owned.container_id, deadline);
    }
    owned.certain = !owned.token.empty();
    if (owned.certain && !owned.container_id.empty()) {
        containers_[owned.container_id] = owned.token;
    }
    if (!owned.certain) {
        if (of_pod.size() != 1) return std::nullopt;
        owned.token = of_pod.front()->token;
    }
    owned.pid = pid;
    owned.start_time = start_time;
    if (const auto status = read_file(of(pid) / "status", kMostText)) {
        owned.inner_pid = inner_pid(*status);
    }
    owned.pid_namespace = namespace_inode(of(pid) / "ns" / "pid");
    return owned;
}

std::optional<OwnedProcess> ProcessOwners::owner(unsigned pid, TimePoint deadline) {
    const auto before = read_file(of(pid) / "stat", kMostText);
    const auto line = before ? parse_stat(*before) : std::nullopt;
    if (!line || line->ending) {
        known_.erase(pid);
        return std::nullopt;
    }
    if (const auto known = known_.find(pid);
        known != known_.end() && known->second.start_time == line->start_time) {
        known->second.asked = true;
        if (!known->second.owned || known->second.owned->certain) return known->second.owned;
    }
    if (MonoClock::now() >= deadline) return std::nullopt;
    auto owned = find(pid, line->start_time, deadline);
    // Not found out in time: the next look may have more.
    if (!owned && MonoClock::now() >= deadline) return std::nullopt;
    // Was it this process all the time?
    const auto after = read_file(of(pid) / "stat", kMostText);
    const auto again = after ? parse_stat(*after) : std::nullopt;
    if (!again || again->start_time != line->start_time) return std::nullopt;
    if (owned) owned->command = again->command;
    known_[pid] = {line->start_time, owned, true};
    return owned;
}

std::optional<OwnedProcess> ProcessOwners::owner_now(unsigned pid, TimePoint deadline) {
    known_.erase(pid);
    return owner(pid, deadline);
}

void ProcessOwners::sweep() {
    std::erase_if(known_, [](const auto& entry) { return !entry.second.asked; });
    for (auto& [pid, known] : known_) known.asked = false;
}

}  // namespace egpu::isolation
