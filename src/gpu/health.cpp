#include "gpu/health.h"

#include <algorithm>
#include <charconv>

namespace egpu::gpu {
namespace {

struct XidRow {
    std::uint64_t xid;
    XidAction action;
};

// From NVIDIA's public XID catalogue. Not listed: fatal.
constexpr XidRow kXids[] = {
    {13, XidAction::kApplication},  // graphics engine exception
    {31, XidAction::kApplication},  // MMU fault
    {43, XidAction::kApplication},  // channel reset by the application's fault
    {45, XidAction::kApplication},  // preemptive cleanup after an earlier error
    {68, XidAction::kApplication},  // video processor exception
    {69, XidAction::kApplication},  // graphics engine class error
    {94, XidAction::kApplication},  // contained ECC error
    {63, XidAction::kInform},       // row remap or page retirement recorded
    {92, XidAction::kInform},       // high rate of single-bit errors
    {48, XidAction::kReset},        // double-bit ECC error
    {61, XidAction::kReset},        // microcontroller breakpoint
    {62, XidAction::kReset},        // microcontroller halt
    {64, XidAction::kReset},        // row remap or page retirement failed
    {74, XidAction::kReset},        // NVLink error
    {95, XidAction::kReset},        // uncontained ECC error
    {109, XidAction::kReset},       // context switch timeout
    {119, XidAction::kReset},       // GSP RPC timeout
    {120, XidAction::kReset},       // GSP error
    {79, XidAction::kNode},         // fell off the bus
};
constexpr std::uint64_t kNvidiaIgnores[] = {13, 31, 43, 45, 68, 109};

constexpr std::uint64_t kXidDoubleBit = 48;

struct XidList {
    bool all = false;
    std::vector<std::uint64_t> xids;
};

// Case and white space do not matter; "all" or "xids" anywhere means all.
XidList parse_xids(std::string_view text, const char* what, std::vector<std::string>& warnings) {
    XidList list;
    while (!text.empty()) {
        const auto comma = text.find(',');
        std::string word(text.substr(0, comma));
        text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
        std::erase_if(word, [](unsigned char c) { return c <= ' '; });
        for (char& c : word) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        if (word.empty()) continue;
        if (word == "all" || word == "xids") {
            list.all = true;
            continue;
        }
        std::uint64_t xid = 0;
        const auto [end, code] = std::from_chars(word.data(), word.data() + word.size(), xid);
        if (code != std::errc() || end != word.data() + word.size()) {
            warnings.push_back(
                std::string(what) + ": \"" + word.substr(0, 64) +
                "\" is not an XID number; it is skipped"
            );
            continue;
        }
        list.xids.push_back(xid);
    }
    return list;
}

const char* recovery_text(unsigned action) {
    switch (action) {
        case 1:
            return "driver asks for a GPU reset";
        case 2:
            return "driver asks for a node reboot";
        case 3:
            return "driver asks to drain the GPU's peer-to-peer traffic";
        case 4:
            return "driver asks to drain and reset the GPU";
        default:
            return "driver asks for a recovery action";
    }
}

// 5 (recover the IMEX domain) concerns the rack, not this card.
bool blocks(unsigned recovery_action) {
    return recovery_action != 0 && recovery_action != 5;
}

}  // namespace

Result<XidPolicy> XidPolicy::make(
    std::string_view base, std::string_view disable, std::string_view enable
) {
    XidPolicy policy;
    if (base != "edge" && base != "nvidia" && !base.empty()) {
        return Error{
            ErrorCode::kInvalid,
            "XID policy \"" + std::string(base.substr(0, 64)) +
                "\" is unknown; use edge or nvidia"};
    }
    policy.nvidia_ = base == "nvidia";
    const XidList off = parse_xids(disable, "DP_DISABLE_HEALTHCHECKS", policy.warnings_);
    const XidList on = parse_xids(enable, "DP_ENABLE_HEALTHCHECKS", policy.warnings_);
    if (off.all) policy.all_ = false;
    for (const auto xid : off.xids) policy.xids_[xid] = false;
    if (on.all) {
        policy.all_ = true;
        policy.xids_.clear();
    }
    for (const auto xid : on.xids) policy.xids_[xid] = true;
    return policy;
}

XidAction XidPolicy::action(std::uint64_t xid) const {
    const auto* row = std::find_if(std::begin(kXids), std::end(kXids), [&](const XidRow& r) {
        return r.xid == xid;
    });
    const XidAction table = row == std::end(kXids) ? XidAction::kReset : row->action;
    const XidAction fatal = table == XidAction::kNode ? XidAction::kNode : XidAction::kReset;
    const auto single = xids_.find(xid);
    if (single != xids_.end()) return single->second ? fatal : XidAction::kInform;
    if (all_) return *all_ ? fatal : XidAction::kInform;
    if (!nvidia_) return table;
    const bool ignored = std::find(std::begin(kNvidiaIgnores), std::end(kNvidiaIgnores), xid) !=
                         std::end(kNvidiaIgnores);
    return ignored ? XidAction::kApplication : fatal;
}

void CardHealth::fail(
    Cause cause, std::string reason, const HealthOptions& options, TimePoint now
) {
    ok_since_.reset();
    failed_at_ = now;
    if (healthy_) {
        const bool again = recovered_at_ && now - *recovered_at_ < options.relapse_window;
        relapses_ = again ? relapses_ + 1 : 0;
        cause_ = cause;
        reason_ = std::move(reason);
        reset_seen_ = false;
    } else if (cause == Cause::kEvent || cause_ == Cause::kPoll) {
        // An XID explains more than the failing polls that follow it.
        cause_ = cause;
        reason_ = std::move(reason);
    }
    healthy_ = false;
}

Duration CardHealth::quiet(const HealthOptions& options) const {
    Duration time = options.quiet_after_failure;
    if (cause_ == Cause::kEvent) {
        time = recovery_action_ || reset_seen_ ? options.quiet_after_reset
                                               : options.quiet_without_action;
    }
    for (int i = 0; i < relapses_ && time < options.quiet_most; ++i) time *= 2;
    return std::min(time, options.quiet_most);
}

void CardHealth::on_xid(
    std::uint64_t xid, XidAction action, const HealthOptions& options, TimePoint now
) {
    last_xid_ = xid;
    if (action == XidAction::kApplication || action == XidAction::kInform) return;
    const char* what =
        action == XidAction::kNode ? ": the node must be looked after" : ": the GPU needs a reset";
    reset_seen_ = false;
    fail(Cause::kEvent, "XID " + std::to_string(xid) + what, options, now);
}

void CardHealth::on_unavailable(const HealthOptions& options, TimePoint now) {
    fail(Cause::kEvent, "driver says the GPU is unavailable", options, now);
}

void CardHealth::on_poll(const Probe& probe, const HealthOptions& options, TimePoint now) {
    if (probe.recovery_action) recovery_action_ = probe.recovery_action;
    if (!probe.ok) {
        ++failures_;
        ok_since_.reset();
        if (!healthy_ && probe.certain) reset_seen_ = true;
        if (!healthy_ || probe.certain || failures_ >= options.failures) {
            fail(Cause::kPoll, probe.reason, options, now);
        }
        return;
    }
    failures_ = 0;
    if (recovery_action_ && blocks(*recovery_action_)) {
        fail(Cause::kEvent, recovery_text(*recovery_action_), options, now);
        return;
    }
    if (healthy_) return;
    if (!ok_since_) ok_since_ = now;
    if (now - *ok_since_ >= quiet(options)) {
        healthy_ = true;
        reason_.clear();
        recovered_at_ = now;
    }
}

Verdict CardHealth::verdict() const {
    return {healthy_, reason_};
}

HealthBoard::HealthBoard(HealthOptions options, XidPolicy policy)
    : options_(options), policy_(std::move(policy)) {}

void HealthBoard::on_round(
    std::span<const CardInfo> cards, std::span<const Probe> probes, TimePoint now
) {
    std::map<std::string, Entry, std::less<>> next;
    for (const auto& info : cards) {
        const auto before = cards_.find(info.card.uuid);
        Entry entry = before == cards_.end() ? Entry{} : std::move(before->second);
        entry.parent = info.parent_uuid.empty() ? info.card.uuid : info.parent_uuid;
        entry.gpu_instance = info.gpu_instance;
        entry.compute_instance = info.compute_instance;
        next.insert_or_assign(info.card.uuid, std::move(entry));
    }
    cards_ = std::move(next);
    for (const auto& probe : probes) {
        const auto found = cards_.find(probe.uuid);
        if (found == cards_.end()) continue;
        found->second.health.on_poll(probe, options_, now);
        watch_ecc(found->second, probe, now);
    }
}

void HealthBoard::watch_ecc(Entry& entry, const Probe& probe, TimePoint now) const {
    if (!probe.uncorrected_ecc) return;
    const bool grew = entry.uncorrected_ecc && *probe.uncorrected_ecc > *entry.uncorrected_ecc;
    entry.uncorrected_ecc = probe.uncorrected_ecc;
    if (events_ || !grew) return;
    entry.health.on_xid(kXidDoubleBit, policy_.action(kXidDoubleBit), options_, now);
}

void HealthBoard::on_driver_reload() {
    for (auto& [uuid, entry] : cards_) entry.health.on_driver_reload();
}

int HealthBoard::on_xid(
    std::string_view gpu,
    std::uint32_t gpu_instance,
    std::uint32_t compute_instance,
    std::uint64_t xid,
    TimePoint now
) {
    auto hits = [](std::uint32_t event, int card) {
        return event == kWholeGpu || card < 0 || event == static_cast<std::uint32_t>(card);
    };
    int turned = 0;
    for (auto& [uuid, entry] : cards_) {
        if (entry.parent != gpu || !hits(gpu_instance, entry.gpu_instance) ||
            !hits(compute_instance, entry.compute_instance)) {
            continue;
        }
        const bool before = entry.health.verdict().healthy;
        entry.health.on_xid(xid, policy_.action(xid), options_, now);
        if (before && !entry.health.verdict().healthy) ++turned;
    }
    return turned;
}

int HealthBoard::on_unavailable(std::string_view gpu, TimePoint now) {
    int turned = 0;
    for (auto& [uuid, entry] : cards_) {
        if (entry.parent != gpu) continue;
        if (entry.health.verdict().healthy) ++turned;
        entry.health.on_unavailable(options_, now);
    }
    return turned;
}

Verdict HealthBoard::verdict(std::string_view uuid) const {
    const auto found = cards_.find(uuid);
    return found == cards_.end() ? Verdict{} : found->second.health.verdict();
}

bool HealthBoard::unsettled() const {
    return std::any_of(cards_.begin(), cards_.end(), [](const auto& entry) {
        return entry.second.health.in_doubt() || entry.second.health.recovering();
    });
}

}  // namespace egpu::gpu
