// NodeNames of ExtenderArgs. Internal to the extender reader.
#pragma once

#include <cstdint>
#include <vector>

#include "k8s/body_cursor.h"
#include "k8s/known_names.h"
#include "k8s/name_list.h"

namespace egpu::k8s {

class NamesSection {
  public:
    // `expected` may be null. `runs`: where names of it were found.
    void begin(const KnownNames* expected, NameList& names, std::vector<KnownRun>& runs);
    // The next token of NodeNames. `left` is set when it was the last.
    bool take(JsonScanner::Token token, BodyCursor& cursor, std::size_t max_nodes, bool& left);
    // Passes the names that have arrived as far as they are those of the expected list, by
    // comparing.
    void pass_expected(BodyCursor& cursor, std::size_t max_nodes);
    // Without such a list, or when it has turned out to be of no use: reads all names that have
    // arrived, but the last and those that are not plain: these come as tokens. Many times faster
    // than one by one.
    void pass_plain(BodyCursor& cursor, std::size_t max_nodes);

  private:
    bool jump(BodyCursor& cursor, const char* from);
    void give_up();
    void add_run(std::size_t count);

    const KnownNames* expected_ = nullptr;
    NameList* names_ = nullptr;
    std::vector<KnownRun>* runs_ = nullptr;
    std::size_t next_ = 0;  // which name of the expected list is guessed to come
    std::size_t jumps_ = 0;
    std::size_t passed_ = 0;  // names of the expected list that came where they were guessed
    std::vector<std::uint32_t> sizes_;
};

}  // namespace egpu::k8s
