// The victims of ExtenderPreemptionArgs, in either form. Internal to the extender reader.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "k8s/body_cursor.h"
#include "k8s/extender.h"

namespace egpu::k8s {

class VictimsSection {
  public:
    // `full`: NodeNameToVictims, with whole pods; else NodeNameToMetaVictims.
    void begin(bool full, std::size_t max_nodes, std::vector<ExtenderVictims>& into);
    // The next token of the map. `left` is set when it was the last.
    bool take(JsonScanner::Token token, BodyCursor& cursor, bool& left);
    // Where the pod begins that is being read, or nullopt.
    std::optional<std::uint64_t> pod_from() const { return pod_from_; }
    void clear();

  private:
    enum class At { kMap, kVictims, kPods, kMetaPod };
    enum class Field { kPods, kViolations };

    bool in_map(JsonScanner::Token token, BodyCursor& cursor, bool& left);
    bool in_victims(JsonScanner::Token token, BodyCursor& cursor);
    bool in_pods(JsonScanner::Token token, BodyCursor& cursor);
    bool in_meta_pod(JsonScanner::Token token, BodyCursor& cursor);
    bool add_node(BodyCursor& cursor);
    bool add_victim(BodyCursor& cursor, std::string uid);

    At at_ = At::kMap;
    Field field_ = Field::kPods;
    bool full_ = false;
    std::size_t max_nodes_ = 0;
    std::size_t count_ = 0;
    std::string node_;
    std::optional<std::uint64_t> pod_from_;
    std::vector<ExtenderVictims>* victims_ = nullptr;
};

}  // namespace egpu::k8s
