#include "gpu/ld_cache.h"

#include <cstdint>
#include <cstring>

namespace egpu::gpu {
namespace {

constexpr std::string_view kOldMagic = "ld.so-1.7.0";
constexpr std::string_view kMagic = "glibc-ld.so.cache1.1";
constexpr std::size_t kOldHeader = 16;
constexpr std::size_t kOldEntry = 12;
constexpr std::size_t kHeader = 48;
constexpr std::size_t kEntry = 24;
constexpr std::uint32_t kMostEntries = 65'536;
constexpr std::size_t kMostText = 4096;
// The architecture in an entry's flags: 0 is 32-bit on x86.
constexpr std::uint32_t kArchMask = 0xff00;
constexpr std::uint32_t kX8664 = 0x0300;
constexpr std::uint32_t kAarch64 = 0x0a00;

Error bad(const char* what) {
    return Error{ErrorCode::kInvalid, std::string("ld.so.cache: ") + what};
}

std::uint32_t word(std::string_view bytes, std::size_t at) {  // little-endian, as the machines are
    std::uint32_t value = 0;
    for (std::size_t i = 4; i-- > 0;) {
        value = value << 8U | static_cast<unsigned char>(bytes[at + i]);
    }
    return value;
}

bool text_at(std::string_view bytes, std::uint32_t at, std::string& out) {
    if (at >= bytes.size()) return false;
    const std::string_view rest = bytes.substr(at, kMostText);
    const std::size_t end = rest.find('\0');
    if (end == std::string_view::npos) return false;
    out = rest.substr(0, end);
    return true;
}

}  // namespace

Result<std::vector<LdCacheEntry>> parse_ld_cache(std::string_view bytes) {
    if (bytes.starts_with(kOldMagic)) {
        if (bytes.size() < kOldHeader) return bad("cut off in its header");
        const std::uint32_t count = word(bytes, 12);
        if (count > kMostEntries) return bad("too many entries");
        const std::size_t skip = (kOldHeader + count * kOldEntry + 7) / 8 * 8;
        if (skip > bytes.size()) return bad("cut off in its old part");
        bytes.remove_prefix(skip);
    }
    if (!bytes.starts_with(kMagic)) return bad("not a cache of glibc");
    if (bytes.size() < kHeader) return bad("cut off in its header");
    const std::uint32_t count = word(bytes, kMagic.size());
    if (count > kMostEntries) return bad("too many entries");
    if (kHeader + count * kEntry > bytes.size()) return bad("cut off in its entries");
    std::vector<LdCacheEntry> entries;
    entries.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t at = kHeader + i * kEntry;
        LdCacheEntry entry;
        const std::uint32_t arch = word(bytes, at) & kArchMask;
        entry.is_64bit = arch == kX8664 || arch == kAarch64;
        if (!text_at(bytes, word(bytes, at + 4), entry.name) ||
            !text_at(bytes, word(bytes, at + 8), entry.path)) {
            return bad("an entry leads outside of it");
        }
        entries.push_back(std::move(entry));
    }
    return entries;
}

}  // namespace egpu::gpu
