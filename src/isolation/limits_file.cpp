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
    // Whatever the umask: every user of the container reads it, nobody but the agent writes it.
    if (::fchmod(file.get(), 0644) != 0) return errno_error("chmod " + path.string(), errno);
    if (::ftruncate(file.get(), guard::kLimitsFileSize) != 0) {
        return errno_error("size " + path.string(), errno);
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
    return LimitsFile(page);
}

LimitsFile::LimitsFile(LimitsFile&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}

LimitsFile& LimitsFile::operator=(LimitsFile&& other) noexcept {
    std::swap(page_, other.page_);
    return *this;
}

LimitsFile::~LimitsFile() {
    if (page_ != nullptr) ::munmap(page_, guard::kLimitsFileSize);
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
