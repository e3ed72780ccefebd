#include "guard/limits.h"

#include <cstring>

namespace egpu::guard {
namespace {

// The words may change meanwhile; whether they did is asked afterwards.
void copy_words(void* to, const void* from, std::size_t bytes) {
    const auto* words = static_cast<const std::uint64_t*>(from);
    for (std::size_t i = 0; i < bytes / sizeof *words; ++i) {
        const std::uint64_t word = __atomic_load_n(&words[i], __ATOMIC_RELAXED);
        std::memcpy(static_cast<char*>(to) + i * sizeof word, &word, sizeof word);
    }
}

}  // namespace

const char* why_invalid(const LimitsPage& page, std::size_t file_size) {
    if (file_size < sizeof(LimitsPage)) return "it is shorter than the limits page of this guard";
    if (page.magic != kLimitsMagic) return "it does not begin with the limits page's mark";
    if (page.abi_major != kAbiMajor) return "it was written for another version of the guard";
    if (page.struct_size < sizeof(LimitsPage))
        return "its writer knows fewer fields than this guard needs";
    const LimitsBody& body = page.body[page.generation.load(std::memory_order_acquire) & 1U];
    if (body.device_count == 0 || body.device_count > kMaxDevices)
        return "its number of cards is not 1 to 16";
    return nullptr;
}

bool read_device(const LimitsPage& page, unsigned index, DeviceLimits& out) {
    for (int i = 0; i < kLimitsTries; ++i) {
        const std::uint32_t before = page.generation.load(std::memory_order_acquire);
        DeviceLimits copy;
        copy_words(&copy, &page.body[before & 1U].devices[index], sizeof copy);
        std::atomic_thread_fence(std::memory_order_acquire);
        if (page.generation.load(std::memory_order_relaxed) == before) {
            out = copy;
            return true;
        }
    }
    return false;
}

int find_device(const LimitsPage& page, const std::uint8_t (&uuid)[16]) {
    for (int i = 0; i < kLimitsTries; ++i) {
        const std::uint32_t before = page.generation.load(std::memory_order_acquire);
        const LimitsBody& body = page.body[before & 1U];
        const unsigned count = body.device_count <= kMaxDevices ? body.device_count : kMaxDevices;
        int found = -1;
        for (unsigned d = 0; d < count && found < 0; ++d) {
            if (std::memcmp(body.devices[d].uuid, uuid, sizeof uuid) == 0)
                found = static_cast<int>(d);
        }
        std::atomic_thread_fence(std::memory_order_acquire);
        if (page.generation.load(std::memory_order_relaxed) == before) return found;
    }
    return -1;
}

bool parse_size(const char* text, std::uint64_t& bytes) {
    std::uint64_t value = 0;
    const char* at = text;
    for (; *at >= '0' && *at <= '9'; ++at) {
        if (value > (kUnlimited - 9) / 10) return false;
        value = value * 10 + static_cast<std::uint64_t>(*at - '0');
    }
    if (at == text) return false;
    unsigned shift = 0;
    switch (*at) {
        case 'k':
        case 'K':
            shift = 10;
            break;
        case 'm':
        case 'M':
            shift = 20;
            break;
        case 'g':
        case 'G':
            shift = 30;
            break;
        default:
            break;
    }
    if (shift != 0) ++at;
    if (*at != '\0' || (value << shift) >> shift != value) return false;
    bytes = value << shift;
    return true;
}

}  // namespace egpu::guard
