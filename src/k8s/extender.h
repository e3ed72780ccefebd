// The scheduler extender's wire format (kube-scheduler extender/v1 types; no JSON tags, so keys are
// the Go names): a streaming reader, fed as the body arrives, and writers with exact keys and
// order.
//
// 5,000 names go into one arena, not into strings; with nodeCacheCapable false the nodes stay where
// they were received (one buffer, bounded) and the survivors are echoed from there, unchanged. Only
// the first JSON value counts; outer keys compare without case; unknown keys are skipped. Untrusted
// input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "k8s/known_names.h"
#include "k8s/name_list.h"
#include "k8s/objects.h"

namespace egpu::k8s {

// filter and priorities.
struct ExtenderArgs {
    std::optional<Pod> pod = {};
    // true: nodeCacheCapable, the answer is names; false: the answer is nodes.
    bool names_mode = true;
    NameList nodes = {};  // candidate names, in either mode
    // Names mode: which of them were found in the list that was expected; ascending.
    std::vector<KnownRun> known_runs = {};
    // Nodes mode: each node's JSON text. They lie in the request's body one after the other, with
    // nothing but a comma and white space in between. Empty when not kept.
    std::vector<std::string_view> node_texts = {};
};

struct ExtenderBindingArgs {
    std::string pod_name = {};
    std::string pod_namespace = {};
    std::string pod_uid = {};
    std::string node = {};
};

struct ExtenderVictims {
    std::string node = {};
    std::vector<std::string> uids = {};  // in either mode
    std::vector<Pod> pods = {};          // only with nodeCacheCapable false
    std::int64_t pdb_violations = 0;
};

struct ExtenderPreemptionArgs {
    std::optional<Pod> pod = {};
    std::vector<ExtenderVictims> nodes = {};
};

struct ExtenderLimits {
    std::size_t max_nodes = 100'000;
    std::size_t max_raw = 128U << 20;  // bytes of kept nodes
    bool keep_nodes = true;            // false for priorities: only names are needed
};

// Receive the body into room(), or feed() it; then take one of the typed results. Reusable after
// reset(); keeps its buffers.
class ExtenderReader {
  public:
    explicit ExtenderReader(ExtenderLimits limits = {});
    ~ExtenderReader();
    ExtenderReader(ExtenderReader&&) noexcept;
    ExtenderReader& operator=(ExtenderReader&&) noexcept;

    void reset();
    // Names that the next request may well carry, in this order: where it does they are compared
    // instead of read. nullptr: nothing is known. Stays until it is set again; set it between
    // requests.
    void expect(std::shared_ptr<const KnownNames> names);
    // Where the next bytes of the body may be received; valid until received() or feed().
    std::span<char> room();
    // The first `size` bytes of room() are the next of the body. kInvalid for bad JSON or wrong
    // types, kExhausted over a limit. Bytes after the first value are ignored.
    Status received(std::size_t size);
    // The same for bytes that are somewhere else.
    Status feed(std::span<const char> bytes);
    bool done() const;         // the value is complete
    std::size_t kept() const;  // bytes of the body, for what is still to come

    // kInvalid when the body ended early or what is needed is missing, saying what. The references,
    // and the node texts, live until the next reset().
    Result<const ExtenderArgs*> args();
    Result<ExtenderBindingArgs> binding_args();
    Result<const ExtenderPreemptionArgs*> preemption_args();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// The answers. Thousands of nodes fail for few reasons.
struct FilterReason {
    std::string message = {};   // becomes a part of the pod's events
    bool unresolvable = false;  // preemption cannot help: FailedAndUnresolvableNodes
};
struct FailedNode {
    std::uint32_t node = 0;    // position in args.nodes
    std::uint32_t reason = 0;  // position in the list of reasons
};

// A text in the order it is sent: `before`, `slices` of the request's body (nodes; they live as
// long as ExtenderArgs), `after`. So 20 MB of nodes are answered without a copy of them.
struct SplicedText {
    SplicedText() = default;
    SplicedText(std::string text) : before(std::move(text)) {}

    std::string before = {};
    std::vector<std::string_view> slices = {};
    std::string after = {};

    std::vector<std::string_view> pieces() const;
    std::string text() &&;  // in one piece
};

// ExtenderFilterResult: NodeNames (never null) or Nodes as the request's mode wants, FailedNodes,
// FailedAndUnresolvableNodes, Error. `fitting` in ascending order.
SplicedText write_filter_result(
    const ExtenderArgs& args,
    std::span<const std::uint32_t> fitting,
    std::span<const FailedNode> failed,
    std::span<const FilterReason> reasons
);
// The same with only Error set, for any mode. Percent signs are replaced ("50% free" would be
// mangled by kube-scheduler 1.21).
std::string write_filter_error(std::string_view error);

// HostPriorityList, scores[i] (0..10) for args.nodes[i].
std::string write_priorities(const ExtenderArgs& args, std::span<const int> scores);

// ExtenderBindingResult; "" is success.
std::string write_binding_result(std::string_view error);

// ExtenderPreemptionResult: always MetaVictims.
std::string write_preemption_result(std::span<const ExtenderVictims> nodes);

}  // namespace egpu::k8s
