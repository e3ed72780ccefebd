// A folder for one test, removed with everything in it at the end.
#pragma once

#include <filesystem>
#include <system_error>

#include <stdlib.h>

#include "base/check.h"

namespace egpu::testing {

class TempFolder {
  public:
    TempFolder() {
        char pattern[] = "/tmp/egpu-XXXXXX";  // short, for the paths of sockets
        EG_CHECK(::mkdtemp(pattern) != nullptr);
        path_ = pattern;
    }
    ~TempFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TempFolder(const TempFolder&) = delete;
    TempFolder& operator=(const TempFolder&) = delete;

    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path operator/(const std::filesystem::path& below) const {
        return path_ / below;
    }

  private:
    std::filesystem::path path_;
};

}  // namespace egpu::testing
