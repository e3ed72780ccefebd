// Health of cards as a pure state machine: events and polls go in, healthy or unhealthy (with a
// reason) comes out.
//
// A card that recovers is trusted again only after a quiet time, doubled for each relapse within an
// hour: the kubelet fails containers whose device is unhealthy at admission, so flapping is
// expensive. Unlike NVIDIA's plugin every state has a way back, and a GPU-wide event hits all MIG
// instances of that GPU. No clock, no I/O; thread-compatible.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "gpu/inventory.h"

namespace egpu::gpu {

enum class XidAction {
    kApplication,  // the application's fault: count, stay healthy
    kInform,       // count, stay healthy, repair is pending
    kReset,        // unhealthy until the GPU was reset
    kNode,         // unhealthy until the GPU enumerates again (driver reload, node reboot)
};

// Which XIDs make a card unhealthy. `base` "edge" (default): the table of this product; "nvidia":
// exactly what NVIDIA's plugin does (13, 31, 43, 45, 68, 109 ignored, all others fatal). Unknown
// XIDs are fatal in both.
class XidPolicy {
  public:
    XidPolicy() = default;
    // `disable`, `enable`: the values of DP_DISABLE_HEALTHCHECKS ("all", "xids" or a comma list to
    // ignore) and DP_ENABLE_HEALTHCHECKS ("all" or a comma list to treat as fatal; wins over
    // `disable` and over the table). Malformed entries are skipped, as there, and listed in
    // warnings().
    static Result<XidPolicy> make(
        std::string_view base, std::string_view disable, std::string_view enable
    );

    XidAction action(std::uint64_t xid) const;
    const std::vector<std::string>& warnings() const { return warnings_; }

  private:
    bool nvidia_ = false;
    std::optional<bool> all_;             // true: all enabled, false: all disabled
    std::map<std::uint64_t, bool> xids_;  // explicitly enabled (true) or disabled (false)
    std::vector<std::string> warnings_;
};

struct HealthOptions {
    int failures = 2;  // failed polls in a row before an uncertain failure counts
    Duration quiet_after_failure =
        Seconds(30);  // polls ok for this long after lost or failed polls
    Duration quiet_after_reset =
        Seconds(60);  // after a reset, or while the driver asks for no recovery
    Duration quiet_without_action =
        std::chrono::minutes(10);  // the same where the driver cannot say (before r550)
    Duration quiet_most = std::chrono::hours(1);  // limit of the doubling
    Duration relapse_window = std::chrono::hours(1);
};

struct Verdict {
    bool healthy = true;
    std::string reason;

    bool operator==(const Verdict&) const = default;
};

inline constexpr std::uint32_t kWholeGpu = 0xFFFFFFFFU;  // NVML: the event is not of a MIG instance

class CardHealth {
  public:
    void on_xid(std::uint64_t xid, XidAction action, const HealthOptions& options, TimePoint now);
    void on_unavailable(const HealthOptions& options, TimePoint now);
    void on_driver_reload() {
        reset_seen_ = true;
        recovery_action_.reset();  // the new driver may not tell of one (before r550)
    }
    void on_poll(const Probe& probe, const HealthOptions& options, TimePoint now);

    Verdict verdict() const;
    bool in_doubt() const { return healthy_ && failures_ > 0; }
    bool recovering() const { return !healthy_ && ok_since_.has_value(); }
    std::uint64_t last_xid() const { return last_xid_; }

  private:
    enum class Cause { kPoll, kEvent };
    void fail(Cause cause, std::string reason, const HealthOptions& options, TimePoint now);
    Duration quiet(const HealthOptions& options) const;

    bool healthy_ = true;
    Cause cause_ = Cause::kPoll;
    std::string reason_;
    int failures_ = 0;
    int relapses_ = 0;
    std::uint64_t last_xid_ = 0;
    TimePoint failed_at_{};
    std::optional<TimePoint> ok_since_;  // first good poll since the last bad news
    std::optional<TimePoint> recovered_at_;
    std::optional<unsigned> recovery_action_;
    bool reset_seen_ = false;  // gone and back since the event: as good as a reset
};

// All cards of the node.
class HealthBoard {
  public:
    HealthBoard(HealthOptions options, XidPolicy policy);

    // One round: new cards start healthy, cards no longer listed are forgotten.
    void on_round(std::span<const CardInfo> cards, std::span<const Probe> probes, TimePoint now);
    // Marks every card of physical GPU `gpu` that the event concerns; the number of cards that
    // turned unhealthy.
    int on_xid(
        std::string_view gpu,
        std::uint32_t gpu_instance,
        std::uint32_t compute_instance,
        std::uint64_t xid,
        TimePoint now
    );
    int on_unavailable(std::string_view gpu, TimePoint now);
    // The driver was away and is back, which resets GPUs.
    void on_driver_reload();
    // Without XID events a growing count of uncorrectable memory errors stands in for XID 48.
    void set_events(bool available) { events_ = available; }

    Verdict verdict(std::string_view uuid) const;
    // Some card needs a second look soon: poll faster.
    bool unsettled() const;

  private:
    struct Entry {
        std::string parent;  // physical GPU; its own UUID when it is one
        int gpu_instance = -1;
        int compute_instance = -1;
        std::optional<std::uint64_t> uncorrected_ecc;
        CardHealth health;
    };
    void watch_ecc(Entry& entry, const Probe& probe, TimePoint now) const;

    HealthOptions options_;
    XidPolicy policy_;
    bool events_ = true;
    std::map<std::string, Entry, std::less<>> cards_;
};

}  // namespace egpu::gpu
