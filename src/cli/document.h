// A YAML or JSON file as a plain tree with line numbers. yaml-cpp's nodes may be shared and even
// contain themselves (anchors); this tree is finite, or the file is refused.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace egpu::cli {

struct Entry;

struct Node {
    enum class Kind { kNull, kScalar, kList, kMap };

    Kind kind = Kind::kNull;
    std::string text;            // of a scalar
    bool quoted = false;         // a quoted scalar is text whatever it looks like
    int line = 0;                // from 1
    std::vector<Node> items;     // of a list
    std::vector<Entry> entries;  // of a map, in the order of the file; keys may repeat

    bool is_map() const { return kind == Kind::kMap; }
    bool is_list() const { return kind == Kind::kList; }
    bool is_null() const { return kind == Kind::kNull; }
    // The first entry of that key that is not null, or nullptr.
    const Node* find(std::string_view key) const;
    // As kube-scheduler reads them: nothing for another type.
    std::optional<std::string> as_text() const;
    std::optional<std::int64_t> as_integer() const;
    std::optional<bool> as_bool() const;
};

struct Entry {
    std::string key;
    int line = 0;
    Node value;
};

struct Document {
    Node root;
    bool more_follow = false;  // there are further documents that are not empty
};

// kInvalid with the line when the text is no YAML, is nested deeper than 64, or has more than
// 50,000 values after its anchors are resolved.
Result<Document> read_document(const std::string& text);

}  // namespace egpu::cli
