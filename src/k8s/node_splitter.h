// Finds where each node of ExtenderArgs.Nodes.items begins and ends, and keeps its bytes. Only fed
// with bytes that a JSON parser has already accepted, so it only has to count brackets outside of
// strings. Internal to the extender reader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace egpu::k8s {

class NodeSplitter {
  public:
    // Appends to `raw` the texts of the nodes and to `ends` where each ends. kExhausted over
    // `max_raw` bytes.
    Status feed(
        std::span<const char> bytes,
        std::string& raw,
        std::vector<std::uint32_t>& ends,
        std::size_t max_raw
    );

  private:
    static constexpr int kNodeDepth = 4;  // open brackets within a node, its own included

    const char* pass_blocks(const char* at, const char* end);
    bool open(char bracket);  // true when a new list of nodes begins
    bool close();             // true when a node has just ended

    int depth_ = 0;
    bool in_string_ = false;
    bool escaped_ = false;
    bool in_nodes_ = false;
    bool in_items_ = false;
    bool in_node_ = false;
    std::string key_;  // the last string at depth 1 or 2, as far as it matters
};

}  // namespace egpu::k8s
