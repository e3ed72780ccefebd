// The outermost object of an extender's request: which field is read by whom, and what of the bytes
// has to be kept. Internal to the extender reader.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "k8s/body_cursor.h"
#include "k8s/extender.h"
#include "k8s/extender_names.h"
#include "k8s/extender_nodes.h"
#include "k8s/extender_victims.h"

namespace egpu::k8s {

class ExtenderBody {
  public:
    explicit ExtenderBody(ExtenderLimits l) : limits(l) {}

    void reset();
    // Reads what has arrived in the window. False: cursor.error is set.
    bool advance();

    const ExtenderLimits limits;
    BodyCursor cursor;
    NodesSection nodes;
    std::shared_ptr<const KnownNames> expected;  // not cleared by reset()

    // What was read.
    ExtenderArgs args;
    ExtenderBindingArgs binding;
    ExtenderPreemptionArgs preemption;
    bool saw_nodes = false;
    bool saw_names = false;
    bool saw_victims = false;

  private:
    // Whose the next token is.
    enum class Section { kRoot, kTop, kPod, kNodes, kNames, kVictims };
    enum class Field {
        kUnknown,
        kPod,
        kNodes,
        kNodeNames,
        kVictims,
        kMetaVictims,
        kPodName,
        kPodNamespace,
        kPodUid,
        kNode
    };
    struct FieldName;
    static const FieldName kFields[];

    bool run();
    bool take(JsonScanner::Token token);
    bool in_top(JsonScanner::Token token);
    bool read_key();
    bool begin_value(JsonScanner::Token token);
    bool begin_nodes();
    bool binding_field(JsonScanner::Token token);
    bool finish_pod();
    bool check_waiting();
    std::uint64_t needed_from() const;

    std::uint64_t scanned_ = 0;  // position in the body
    Section section_ = Section::kRoot;
    Field field_ = Field::kUnknown;
    std::optional<std::uint64_t> pod_from_;  // while Pod is being read
    NamesSection names_;
    VictimsSection victims_;
};

}  // namespace egpu::k8s
