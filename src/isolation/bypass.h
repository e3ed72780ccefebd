// Does a container use more of its cards than its ledger tells, or get past the guard? Pure.
//
// Each measurement compares what NVML sees of the container's processes with what they claim. One
// that does not fit may be a process that just starts or ends: only what several measurements in a
// row show is a finding.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/clock.h"

namespace egpu::isolation {

enum class BypassKind {
    kNoSlot,       // a process is on a card and has no place in the ledger
    kBeyondClaim,  // a process has much more memory than it claims
    kOverQuota,    // the container has more memory than its quota and what is allowed beside it
    kImpossible,   // the ledger says what cannot be
};
std::string_view bypass_name(BypassKind kind);  // "no_slot", ... for metrics

// What a process may have beside what it claims: its context, modules, local memory, tables. On an
// H200 a context is about 500 MiB.
inline constexpr std::uint64_t kProcessOverhead = 1536ULL << 20;

struct SeenProcess {
    unsigned pid = 0;
    std::uint64_t start_time = 0;
    std::string command;
    bool certain = false;  // it is known to be in this container
    bool has_slot = false;
    std::optional<std::uint64_t> bytes;  // as measured on the card; none: not told
    std::uint64_t claimed = 0;
};
// One of the container's cards.
struct SeenCard {
    int index = 0;                       // for people
    std::uint64_t quota = 0;             // ~0: none
    std::optional<std::uint64_t> bytes;  // of all its processes there
    std::uint64_t claimed = 0;           // by its ledger
    std::uint64_t total = 0;             // the card's memory; 0: not known
    std::vector<SeenProcess> processes;
};
struct SeenContainer {
    std::vector<SeenCard> cards;
    // Processes without a slot of their own share one: nothing can be said about single ones.
    bool spilled = false;
};

struct BypassFinding {
    BypassKind kind = BypassKind::kNoSlot;
    int card = 0;
    std::string text;    // what was measured
    bool fresh = false;  // not said before
    // Whom to end for it, now that the grace is over; 0: nobody (yet).
    unsigned end_pid = 0;
    std::uint64_t end_start_time = 0;
};

struct BypassRules {
    int confirm = 3;               // measurements in a row
    Duration grace = Seconds(10);  // from a finding until its process is ended
};

class BypassJudge {
  public:
    explicit BypassJudge(BypassRules rules) : rules_(rules) {}

    // The findings as of this measurement.
    std::vector<BypassFinding> judge(const SeenContainer& seen, TimePoint now);
    // Something does not fit, whether or not for long enough.
    bool suspicious() const { return !suspects_.empty(); }

  private:
    using Key = std::tuple<BypassKind, int, unsigned, std::uint64_t>;  // kind, card, process
    struct Suspect {
        int seen = 0;
        int missed = 0;
        bool said = false;
        TimePoint since{};  // when it became a finding
        bool now = false;   // in this measurement
    };
    struct Observation {
        Key key;
        std::string text;
        const SeenProcess* culprit = nullptr;  // who may be ended for it
    };
    static std::vector<Observation> observe(const SeenContainer& seen);

    const BypassRules rules_;
    std::map<Key, Suspect> suspects_;
};

}  // namespace egpu::isolation
