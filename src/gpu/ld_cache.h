// /etc/ld.so.cache, glibc's index of libraries: tells where the driver's libraries lie when that is
// none of the usual folders. Pure; the file is untrusted input.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace egpu::gpu {

struct LdCacheEntry {
    std::string name;  // SONAME, "libcuda.so.1"
    std::string path;
    bool is_64bit = false;

    bool operator==(const LdCacheEntry&) const = default;
};

// Both forms of the file: the one since glibc 2.32, and that form embedded in the older one.
// kInvalid when it is something else, or an offset leads outside of it. 65,536 entries at most.
Result<std::vector<LdCacheEntry>> parse_ld_cache(std::string_view bytes);

}  // namespace egpu::gpu
