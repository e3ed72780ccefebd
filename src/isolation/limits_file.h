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

    // The current body; nullopt in a new file.
    std::optional<guard::LimitsBody> body() const;
    // Nothing is written when it is current already.
    void publish(const guard::LimitsBody& body);
    void heartbeat(std::uint64_t monotonic_ns);

  private:
    explicit LimitsFile(guard::LimitsPage* page) : page_(page) {}
    guard::LimitsPage* page_ = nullptr;
};

}  // namespace egpu::isolation
