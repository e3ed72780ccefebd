// NodeNames of ExtenderArgs. Internal to the extender reader.
#pragma once

#include <cstdint>
#include <vector>

#include "k8s/body_cursor.h"
#include "k8s/name_list.h"

namespace egpu::k8s {

class NamesSection {
  public:
    // The next token of NodeNames. `left` is set when it was the last.
    bool take(
        JsonScanner::Token token,
        BodyCursor& cursor,
        std::size_t max_nodes,
        NameList& names,
        bool& left
    );
    // Reads all names that have arrived, but the last and those that are not plain or not in order:
    // these come as tokens. Many times faster than one by one.
    void pass_plain(BodyCursor& cursor, std::size_t max_nodes, NameList& names);
    // Does the same where the names go on as in `expected`, by comparing: faster again.
    static void pass_expected(
        BodyCursor& cursor, std::size_t max_nodes, const NameList& expected, NameList& names
    );

  private:
    std::vector<std::uint32_t> sizes_;
};

}  // namespace egpu::k8s
