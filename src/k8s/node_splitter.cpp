#include "k8s/node_splitter.h"

#include <algorithm>
#include <array>

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

}  // namespace

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
    while (at < end) {
        if (in_string_) {
            if (escaped_) {
                escaped_ = false;
                ++at;
                continue;
            }
            const char* from = at;
            while (at < end && !in(kInside, *at)) ++at;
            if (depth_ <= 2 && key_.size() < 16) {
                key_.append(from, std::min<std::size_t>(16, static_cast<std::size_t>(at - from)));
            }
            if (at == end) break;
            if (*at == '"') {
                in_string_ = false;
            } else {
                escaped_ = true;
            }
            ++at;
            continue;
        }
        while (at < end && !in(kOutside, *at)) ++at;
        if (at == end) break;
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
