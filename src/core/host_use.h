// CPU and memory beside the cards: what the pods of each node have asked for. A free card on a node
// whose CPU is gone is of no use to anybody, and only policies look at it: kube-scheduler itself
// keeps pods away from nodes that lack CPU or memory.
//
// A pure function of the last word on each pod, whatever the order. Pods without a card count, too;
// they are kept by a 64-bit key of their UID, some 60 bytes each. NOT thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/host_amounts.h"

namespace egpu::core {

class HostUse {
  public:
    // The pod asks for this on that node; replaces what it asked for before, there or elsewhere.
    // Amounts below zero count as zero, those above 2^32 - 1 as that.
    void put(std::string_view uid, std::string_view node, HostAmounts amounts);
    void remove(std::string_view uid);
    // Where this pod is counted, "" when it is not. Valid until the next change.
    std::string_view node_of(std::string_view uid) const;

    HostAmounts on(std::string_view node) const;
    std::size_t pods() const { return pods_.size(); }

  private:
    struct Total {
        HostAmounts sum;
        std::size_t pods = 0;
    };
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const;
    };
    using Nodes = std::unordered_map<std::string, Total, Hash, std::equal_to<>>;
    struct Entry {
        Nodes::value_type* node = nullptr;  // stays where it is as long as it has pods
        std::uint32_t cpu_milli = 0;
        std::uint32_t memory_mib = 0;
    };

    Nodes nodes_;
    std::unordered_map<std::uint64_t, Entry> pods_;  // by stable_key of the UID
};

}  // namespace egpu::core
