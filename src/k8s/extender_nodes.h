// Nodes of ExtenderArgs: each node's name, and where its text lies. Internal to the extender
// reader.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "k8s/body_cursor.h"
#include "k8s/name_list.h"

namespace egpu::k8s {

class NodesSection {
  public:
    struct Text {
        std::uint64_t from = 0;  // positions in the body
        std::uint64_t to = 0;
    };

    // `max_bytes`: of all nodes together.
    void begin(std::size_t max_nodes, std::size_t max_bytes);
    // The next token of Nodes. `left` is set when it was the last.
    bool take(JsonScanner::Token token, BodyCursor& cursor, NameList& names, bool& left);
    // Where the first node begins, when there is one.
    std::optional<std::uint64_t> first() const { return first_; }
    const std::vector<Text>& texts() const { return texts_; }
    // Called when the window has to keep all nodes, also in the middle of one.
    bool check_size(BodyCursor& cursor) const;
    void clear();

  private:
    enum class At { kList, kItems, kNode, kMeta };

    bool in_list(JsonScanner::Token token, BodyCursor& cursor, bool& left);
    bool in_items(JsonScanner::Token token, BodyCursor& cursor);
    bool in_node(JsonScanner::Token token, BodyCursor& cursor, NameList& names);
    bool in_meta(JsonScanner::Token token, BodyCursor& cursor);

    At at_ = At::kList;
    std::size_t max_nodes_ = 0;
    std::size_t max_bytes_ = 0;
    std::string name_;
    std::uint64_t node_from_ = 0;
    std::optional<std::uint64_t> first_;
    std::vector<Text> texts_;
};

}  // namespace egpu::k8s
