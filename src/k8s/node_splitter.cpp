#include "k8s/node_splitter.h"

#include <algorithm>
#include <array>
#include <bit>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "http/message.h"

namespace egpu::k8s {

namespace {

// Outside of strings only these matter, inside only the quote and the backslash.
constexpr auto kOutside = [] {
    std::array<bool, 256> t{};
    for (const char c : {'"', '{', '}', '[', ']'}) t[static_cast<unsigned char>(c)] = true;
    return t;
}();
constexpr auto kInside = [] {
    std::array<bool, 256> t{};
    for (const char c : {'"', '\\'}) t[static_cast<unsigned char>(c)] = true;
    return t;
}();

bool in(const std::array<bool, 256>& set, char c) {
    return set[static_cast<unsigned char>(c)];
}

// Which of 64 bytes are what, one bit each.
struct BlockMasks {
    std::uint64_t quotes = 0;
    std::uint64_t backslashes = 0;
    std::uint64_t opens = 0;
    std::uint64_t closes = 0;
};

#if defined(__SSE2__)
constexpr std::size_t kBlock = 64;

BlockMasks masks_of(const char* bytes) {
    BlockMasks masks;
    for (int i = 0; i < 4; ++i) {
        const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + i * 16));
        const __m128i folded = _mm_or_si128(b, _mm_set1_epi8(0x20));  // [ is {, and ] is }
        const auto bits = [i](__m128i equal) {
            const auto mask = static_cast<std::uint32_t>(_mm_movemask_epi8(equal));
            return static_cast<std::uint64_t>(mask) << (i * 16);
        };
        masks.quotes |= bits(_mm_cmpeq_epi8(b, _mm_set1_epi8('"')));
        masks.backslashes |= bits(_mm_cmpeq_epi8(b, _mm_set1_epi8('\\')));
        masks.opens |= bits(_mm_cmpeq_epi8(folded, _mm_set1_epi8('{')));
        masks.closes |= bits(_mm_cmpeq_epi8(folded, _mm_set1_epi8('}')));
    }
    return masks;
}

// The bytes that follow a backslash which is not escaped itself. Backslashes are few.
std::uint64_t escaped_bits(std::uint64_t backslashes, bool first_is, bool& next_is) {
    std::uint64_t escaped = first_is ? 1 : 0;
    for (; backslashes != 0; backslashes &= backslashes - 1) {
        const std::uint64_t bit = backslashes & -backslashes;
        if ((escaped & bit) != 0) continue;
        if (bit >> 63 != 0) next_is = true;
        escaped |= bit << 1;
    }
    return escaped;
}

// Bit i of the answer: an odd number of bits is set in 0..i.
std::uint64_t parity_up_to(std::uint64_t bits) {
    for (int shift = 1; shift < 64; shift *= 2) bits ^= bits << shift;
    return bits;
}
#endif

}  // namespace

// Within a node nearly all bytes only have to be passed: 64 at a time, as long as the node cannot
// end in them. Returns the first byte that needs a closer look.
const char* NodeSplitter::pass_blocks(const char* at, const char* end) {
#if defined(__SSE2__)
    while (end - at >= static_cast<std::ptrdiff_t>(kBlock)) {
        const BlockMasks masks = masks_of(at);
        bool escape_next = false;
        const std::uint64_t escaped = escaped_bits(masks.backslashes, escaped_, escape_next);
        const std::uint64_t inside =
            parity_up_to(masks.quotes & ~escaped) ^ (in_string_ ? ~std::uint64_t{0} : 0);
        const int closes = std::popcount(masks.closes & ~inside);
        if (depth_ - closes < kNodeDepth) return at;
        depth_ += std::popcount(masks.opens & ~inside) - closes;
        in_string_ = (inside >> 63) != 0;
        escaped_ = escape_next;
        at += kBlock;
    }
#endif
    static_cast<void>(end);
    return at;
}

bool NodeSplitter::open(char bracket) {
    const bool anew = depth_ == 1 && bracket == '{' && http::equal_without_case(key_, "Nodes");
    if (anew) in_nodes_ = true;
    if (depth_ == 2 && in_nodes_ && bracket == '[' && key_ == "items") in_items_ = true;
    if (depth_ == 3 && in_items_ && bracket == '{') in_node_ = true;
    ++depth_;
    key_.clear();
    return anew;
}

bool NodeSplitter::close() {
    --depth_;
    if (depth_ == 3 && in_node_) {
        in_node_ = false;
        return true;
    }
    if (depth_ == 2) in_items_ = false;
    if (depth_ == 1) in_nodes_ = false;
    return false;
}

Status NodeSplitter::feed(
    std::span<const char> bytes,
    std::string& raw,
    std::vector<std::uint32_t>& ends,
    std::size_t max_raw
) {
    const char* at = bytes.data();
    const char* const end = at + bytes.size();
    const char* kept = at;  // bytes from here on belong to the current node and are not yet in raw
    const char* look_until = at;  // where passing in blocks is tried again
    while (at < end) {
        if (in_node_ && at >= look_until) {
            at = pass_blocks(at, end);
            if (at == end) break;
            look_until = at + std::min<std::ptrdiff_t>(64, end - at);
        }
        if (in_string_) {
            if (escaped_) {
                escaped_ = false;
                ++at;
                continue;
            }
            const char* from = at;
            const char* const limit = in_node_ ? std::min(end, look_until) : end;
            while (at < limit && !in(kInside, *at)) ++at;
            if (depth_ <= 2 && key_.size() < 16) {
                key_.append(from, std::min<std::size_t>(16, static_cast<std::size_t>(at - from)));
            }
            if (at == limit) continue;
            if (*at == '"') {
                in_string_ = false;
            } else {
                escaped_ = true;
            }
            ++at;
            continue;
        }
        const char* const limit = in_node_ ? std::min(end, look_until) : end;
        while (at < limit && !in(kOutside, *at)) ++at;
        if (at == limit) continue;
        const char c = *at++;
        if (c == '"') {
            in_string_ = true;
            if (depth_ <= 2) key_.clear();
        } else if (c == '{' || c == '[') {
            const bool before = in_node_;
            if (open(c)) {
                raw.clear();
                ends.clear();
            }
            if (in_node_ && !before) kept = at - 1;
        } else if (close()) {
            raw.append(kept, static_cast<std::size_t>(at - kept));
            ends.push_back(static_cast<std::uint32_t>(raw.size()));
        }
        if (raw.size() > max_raw) break;
    }
    if (in_node_) raw.append(kept, static_cast<std::size_t>(end - kept));
    if (raw.size() > max_raw) {
        return Error{
            ErrorCode::kExhausted,
            "the nodes are larger than " + std::to_string(max_raw) +
                " bytes; set nodeCacheCapable: true in the extender's config"};
    }
    return ok_status();
}

}  // namespace egpu::k8s
