// The `limits` page of one allocation, as its one writer sees it (guard/pages.h).
//
// The file keeps its inode for life, because containers have it mounted: it is changed in place,
// the new body first and then the word that makes it current. Not thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "base/result.h"
#include "guard/pages.h"

namespace egpu::isolation {

class LimitsFile {
  public:
    // Opens or makes it; what is there and is no page of this version is made empty (device_count
    // 0, which the guard takes for a refusal).
    static Result<LimitsFile> open(const std::filesystem::path& path);
    LimitsFile(LimitsFile&& other) noexcept;
    LimitsFile& operator=(LimitsFile&& other) noexcept;
    LimitsFile(const LimitsFile&) = delete;
    LimitsFile& operator=(const LimitsFile&) = delete;
    ~LimitsFile();

    // Is this the file that `path` names? Not after it was removed or made anew.
    bool is_at(const std::filesystem::path& path) const;
    // The current body; nullopt in a new file.
    std::optional<guard::LimitsBody> body() const;
    // Nothing is written when it is current already.
    void publish(const guard::LimitsBody& body);
    void heartbeat(std::uint64_t monotonic_ns);

  private:
    LimitsFile(guard::LimitsPage* page, std::uint64_t device, std::uint64_t inode)
        : page_(page), device_(device), inode_(inode) {}
    guard::LimitsPage* page_ = nullptr;
    std::uint64_t device_ = 0;
    std::uint64_t inode_ = 0;
};

}  // namespace egpu::isolation
