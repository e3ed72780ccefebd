#include "isolation/limits_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "guard/limits_writer.h"

namespace egpu::isolation {

Result<LimitsFile> LimitsFile::open(const std::filesystem::path& path) {
    const Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (!file.valid()) return errno_error("open " + path.string(), errno);
    struct stat info {};
    if (::fstat(file.get(), &info) != 0) return errno_error("stat " + path.string(), errno);
    // Whatever the umask: every user of the container reads it, nobody but the agent writes it.
    if (::fchmod(file.get(), 0644) != 0) return errno_error("chmod " + path.string(), errno);
    if (::ftruncate(file.get(), guard::kLimitsFileSize) != 0) {
        return errno_error("size " + path.string(), errno);
    }
    // A hole for which the disk has no room later would be SIGBUS for whoever writes it.
    if (const int error = ::posix_fallocate(file.get(), 0, guard::kLimitsFileSize); error != 0) {
        return errno_error("make room for " + path.string(), error);
    }
    void* memory =
        ::mmap(nullptr, guard::kLimitsFileSize, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    if (memory == MAP_FAILED) return errno_error("map " + path.string(), errno);
    auto* page = static_cast<guard::LimitsPage*>(memory);
    if (page->magic != guard::kLimitsMagic || page->abi_major != guard::kAbiMajor) {
        std::memset(memory, 0, guard::kLimitsFileSize);
        page->abi_major = guard::kAbiMajor;
        page->struct_size = sizeof(guard::LimitsPage);
        page->magic = guard::kLimitsMagic;
    }
    return LimitsFile(page, info.st_dev, info.st_ino);
}

LimitsFile::LimitsFile(LimitsFile&& other) noexcept
    : page_(std::exchange(other.page_, nullptr)), device_(other.device_), inode_(other.inode_) {}

LimitsFile& LimitsFile::operator=(LimitsFile&& other) noexcept {
    std::swap(page_, other.page_);
    std::swap(device_, other.device_);
    std::swap(inode_, other.inode_);
    return *this;
}

LimitsFile::~LimitsFile() {
    if (page_ != nullptr) ::munmap(page_, guard::kLimitsFileSize);
}

bool LimitsFile::is_at(const std::filesystem::path& path) const {
    struct stat info {};
    return ::lstat(path.c_str(), &info) == 0 && info.st_dev == device_ && info.st_ino == inode_;
}

std::optional<guard::LimitsBody> LimitsFile::body() const {
    const guard::LimitsBody& current = page_->body[page_->generation.load() & 1U];
    if (current.device_count == 0) return std::nullopt;
    return current;
}

void LimitsFile::publish(const guard::LimitsBody& body) {
    const std::uint32_t generation = page_->generation.load();
    if (std::memcmp(&page_->body[generation & 1U], &body, sizeof body) == 0) return;
    guard::publish(*page_, body);
}

void LimitsFile::heartbeat(std::uint64_t monotonic_ns) {
    page_->heartbeat_ns.store(monotonic_ns);
}

}  // namespace egpu::isolation
