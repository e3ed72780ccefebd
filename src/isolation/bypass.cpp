#include "isolation/bypass.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "guard/pages.h"

namespace egpu::isolation {
namespace {

constexpr std::uint64_t kMib = 1U << 20;
constexpr std::uint64_t kLeastAllowance = 1024 * kMib;

std::string mib(std::uint64_t bytes) {
    return std::to_string(bytes / kMib) + " MiB";
}

// A process names itself: printable, and short.
std::string shown(const SeenProcess& process) {
    std::string name = process.command.substr(0, 32);
    for (char& c : name) {
        if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) c = '?';
    }
    return "process " + std::to_string(process.pid) + " (" + name + ")";
}

std::uint64_t beyond(const SeenProcess& process) {
    const std::uint64_t bytes = process.bytes.value_or(0);
    return bytes > process.claimed ? bytes - process.claimed : 0;
}

// Contexts come without being asked for, so a container may exceed its quota by some; by no more
// than a quarter, however many processes it has.
std::uint64_t allowance(const SeenCard& card) {
    const std::uint64_t wanted = card.processes.size() * kProcessOverhead;
    return std::min(wanted, std::max(kLeastAllowance, card.quota / 4));
}

}  // namespace

std::string_view bypass_name(BypassKind kind) {
    switch (kind) {
        case BypassKind::kNoSlot:
            return "no_slot";
        case BypassKind::kBeyondClaim:
            return "beyond_claim";
        case BypassKind::kOverQuota:
            return "over_quota";
        case BypassKind::kImpossible:
            return "impossible_ledger";
    }
    return "unknown";
}

std::vector<BypassJudge::Observation> BypassJudge::observe(const SeenContainer& seen) {
    std::vector<Observation> found;
    for (std::size_t c = 0; c < seen.cards.size(); ++c) {
        const SeenCard& card = seen.cards[c];
        const auto at = static_cast<int>(c);
        const std::string on = " of card " + std::to_string(card.index);
        for (const SeenProcess& process : card.processes) {
            if (!process.has_slot) {
                if (seen.spilled) continue;
                found.push_back(
                    {{BypassKind::kNoSlot, at, process.pid, process.start_time},
                     shown(process) + " uses " +
                         (process.bytes ? mib(*process.bytes) : "an unknown amount") + on +
                         " without the guard",
                     process.certain ? &process : nullptr}
                );
            } else if (beyond(process) > kProcessOverhead + process.claimed / 16) {
                found.push_back(
                    {{BypassKind::kBeyondClaim, at, process.pid, process.start_time},
                     shown(process) + " uses " + mib(*process.bytes) + on + " and claims " +
                         mib(process.claimed)}
                );
            }
        }
        const bool limited = card.quota != guard::kUnlimited;
        if (limited && card.bytes && *card.bytes > card.quota &&
            *card.bytes - card.quota > allowance(card)) {
            const auto worst = std::max_element(
                card.processes.begin(),
                card.processes.end(),
                [](const SeenProcess& a, const SeenProcess& b) { return beyond(a) < beyond(b); }
            );
            // That contexts are large is nobody's fault.
            const bool liar = worst != card.processes.end() && worst->certain &&
                              (worst->has_slot || !seen.spilled) &&
                              beyond(*worst) > kProcessOverhead;
            found.push_back(
                {{BypassKind::kOverQuota, at, 0, 0},
                 "the container uses " + mib(*card.bytes) + on + ", its quota is " +
                     mib(card.quota) + ", its ledger tells of " + mib(card.claimed),
                 liar ? &*worst : nullptr}
            );
        }
        if (card.total != 0 && card.claimed > card.total) {
            found.push_back(
                {{BypassKind::kImpossible, at, 0, 0},
                 "the ledger tells of " + mib(card.claimed) + on + ", which has " + mib(card.total)}
            );
        }
    }
    return found;
}

std::vector<BypassFinding> BypassJudge::judge(const SeenContainer& seen, TimePoint now) {
    for (auto& [key, suspect] : suspects_) suspect.now = false;
    std::vector<BypassFinding> findings;
    for (const Observation& observation : observe(seen)) {
        Suspect& suspect = suspects_[observation.key];
        suspect.now = true;
        suspect.missed = 0;
        if (++suspect.seen < rules_.confirm) continue;
        if (suspect.seen == rules_.confirm) suspect.since = now;
        BypassFinding finding;
        finding.kind = std::get<BypassKind>(observation.key);
        finding.card = std::get<int>(observation.key);
        finding.text = observation.text;
        finding.fresh = !std::exchange(suspect.said, true);
        if (observation.culprit != nullptr && now - suspect.since >= rules_.grace) {
            finding.end_pid = observation.culprit->pid;
            finding.end_start_time = observation.culprit->start_time;
        }
        findings.push_back(std::move(finding));
    }
    // A finding that is gone is forgotten after as many measurements as it took; a mere suspicion
    // has to begin anew.
    for (auto at = suspects_.begin(); at != suspects_.end();) {
        Suspect& suspect = at->second;
        const bool over = !suspect.now && (!suspect.said || ++suspect.missed >= rules_.confirm);
        at = over ? suspects_.erase(at) : std::next(at);
    }
    return findings;
}

}  // namespace egpu::isolation
