// The scheduler extender's wire format (kube-scheduler extender/v1 types; no JSON tags, so keys are
// the Go names): a streaming reader, fed as the body arrives, and writers with exact keys and
// order.
//
// 5,000 names go into one arena, not into strings; with nodeCacheCapable false the raw text of each
// node is kept (one buffer, bounded) so that the survivors can be echoed unchanged. Only the first
// JSON value counts; outer keys compare without case; unknown keys are skipped. Untrusted input.
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
#include "k8s/objects.h"

namespace egpu::k8s {

// A list of strings in one allocation.
class NameList {
  public:
    std::size_t size() const { return ends_.size(); }
    bool empty() const { return ends_.empty(); }
    std::string_view operator[](std::size_t i) const {
        const std::size_t from = i == 0 ? 0 : ends_[i - 1];
        return std::string_view(bytes_).substr(from, ends_[i] - from);
    }
    void add(std::string_view name) {
        bytes_ += name;
        ends_.push_back(static_cast<std::uint32_t>(bytes_.size()));
    }
    void clear() {
        bytes_.clear();
        ends_.clear();
    }

  private:
    std::string bytes_;
    std::vector<std::uint32_t> ends_;
};

// filter and priorities.
struct ExtenderArgs {
    std::optional<Pod> pod = {};
    // true: nodeCacheCapable, the answer is names; false: the answer is nodes.
    bool names_mode = true;
    NameList nodes = {};         // candidate names, in either mode
    std::string raw_nodes = {};  // nodes mode: the nodes' JSON texts, one after the other
    std::vector<std::uint32_t> raw_ends = {};  // end of each in raw_nodes; empty when not kept

    std::string_view raw_node(std::size_t i) const {
        const std::size_t from = i == 0 ? 0 : raw_ends[i - 1];
        return std::string_view(raw_nodes).substr(from, raw_ends[i] - from);
    }
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

// Feed, then take one of the typed results. Reusable after reset(); keeps its buffers.
class ExtenderReader {
  public:
    explicit ExtenderReader(ExtenderLimits limits = {});
    ~ExtenderReader();
    ExtenderReader(ExtenderReader&&) noexcept;
    ExtenderReader& operator=(ExtenderReader&&) noexcept;

    void reset();
    // kInvalid for bad JSON or wrong types, kExhausted over a limit. Bytes after the first value
    // are ignored.
    Status feed(std::span<const char> bytes);
    bool done() const;  // the value is complete

    // kInvalid when the body ended early or what is needed is missing, saying what. The references
    // live until the next reset().
    Result<const ExtenderArgs*> args();
    Result<ExtenderBindingArgs> binding_args();
    Result<const ExtenderPreemptionArgs*> preemption_args();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// The answers. `message` texts become pod events.
struct FailedNode {
    std::uint32_t node = 0;  // position in args.nodes
    std::string_view message = {};
    bool unresolvable = false;  // preemption cannot help: FailedAndUnresolvableNodes
};

// ExtenderFilterResult: NodeNames (never null) or Nodes as the request's mode wants, FailedNodes,
// FailedAndUnresolvableNodes, Error.
std::string write_filter_result(
    const ExtenderArgs& args,
    std::span<const std::uint32_t> fitting,
    std::span<const FailedNode> failed
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
