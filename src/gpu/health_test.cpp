#include "gpu/health.h"

#include <gtest/gtest.h>

namespace egpu::gpu {
namespace {

using namespace std::chrono_literals;

Probe good(std::optional<unsigned> action = {}) {
    Probe probe;
    probe.uuid = "GPU-1";
    probe.recovery_action = action;
    return probe;
}
Probe bad(bool certain, std::string reason = "memory: UNKNOWN (999)") {
    Probe probe = good();
    probe.ok = false;
    probe.certain = certain;
    probe.reason = std::move(reason);
    return probe;
}

class HealthTest : public ::testing::Test {
  protected:
    void poll(const Probe& probe) { card_.on_poll(probe, options_, now_); }
    // Polls every second for `time`.
    void pass(Duration time, std::optional<unsigned> action = {}) {
        for (Duration t{}; t < time; t += 1s) {
            now_ += 1s;
            poll(good(action));
        }
    }
    void xid(std::uint64_t number) {
        card_.on_xid(number, XidPolicy().action(number), options_, now_);
    }
    bool healthy() const { return card_.verdict().healthy; }

    HealthOptions options_;
    CardHealth card_;
    TimePoint now_{1h};
};

TEST_F(HealthTest, uncertain_failures_need_a_second_look) {
    poll(bad(false));
    EXPECT_TRUE(healthy());
    EXPECT_TRUE(card_.in_doubt());
    poll(good());
    EXPECT_FALSE(card_.in_doubt());
    poll(bad(false));
    EXPECT_TRUE(healthy());
    poll(bad(false));
    EXPECT_FALSE(healthy());
    EXPECT_EQ(card_.verdict().reason, "memory: UNKNOWN (999)");
}

TEST_F(HealthTest, lost_acts_at_once_and_recovers_after_quiet) {
    poll(bad(true, "lost"));
    EXPECT_FALSE(healthy());
    pass(30s);
    EXPECT_FALSE(healthy());
    EXPECT_TRUE(card_.recovering());
    pass(1s);
    EXPECT_TRUE(healthy());
    EXPECT_EQ(card_.verdict().reason, "");
}

TEST_F(HealthTest, a_failure_during_recovery_starts_the_wait_anew) {
    poll(bad(true));
    pass(29s);
    poll(bad(false));
    pass(30s);
    EXPECT_FALSE(healthy());
    pass(1s);
    EXPECT_TRUE(healthy());
}

TEST_F(HealthTest, relapses_double_the_wait_up_to_the_limit) {
    auto time_to_recover = [&] {
        poll(bad(true));
        Duration waited{};
        while (!healthy() && waited < 3h) {
            pass(1s);
            waited += 1s;
        }
        return waited;
    };
    EXPECT_EQ(time_to_recover(), 31s);
    EXPECT_EQ(time_to_recover(), 61s);
    EXPECT_EQ(time_to_recover(), 121s);
    for (int i = 0; i < 10; ++i) time_to_recover();
    EXPECT_EQ(time_to_recover(), 1h + 1s);
    pass(2h);  // long without trouble: trusted again
    EXPECT_EQ(time_to_recover(), 31s);
}

TEST_F(HealthTest, application_errors_stay_healthy) {
    for (const auto number : {13, 31, 43, 45, 68, 69, 94, 63, 92}) xid(number);
    EXPECT_TRUE(healthy());
    EXPECT_EQ(card_.last_xid(), 92U);
}

TEST_F(HealthTest, reset_xid_waits_long_when_the_driver_cannot_say) {
    poll(good());
    xid(48);
    EXPECT_EQ(card_.verdict().reason, "XID 48: the GPU needs a reset");
    pass(10min);
    EXPECT_FALSE(healthy());
    pass(1s);
    EXPECT_TRUE(healthy());
}

TEST_F(HealthTest, reset_xid_follows_the_recovery_action) {
    poll(good(0));
    xid(119);
    pass(1h, 1);  // the driver still asks for a reset
    EXPECT_FALSE(healthy());
    pass(60s, 0);
    EXPECT_FALSE(healthy());
    pass(1s, 0);
    EXPECT_TRUE(healthy());
}

TEST_F(HealthTest, recovery_action_alone_is_enough) {
    poll(good(2));
    EXPECT_EQ(card_.verdict().reason, "driver asks for a node reboot");
    CardHealth other;
    other.on_poll(good(5), options_, now_);  // the rack's affair
    EXPECT_TRUE(other.verdict().healthy);
}

TEST_F(HealthTest, gone_and_back_counts_as_a_reset) {
    poll(good());
    xid(79);
    poll(bad(true, "GPU does not answer"));
    EXPECT_EQ(card_.verdict().reason, "XID 79: the node must be looked after");
    pass(61s);
    EXPECT_TRUE(healthy());
}

TEST_F(HealthTest, new_xid_starts_the_wait_anew) {
    poll(good(0));
    xid(95);
    pass(50s, 0);
    xid(95);
    pass(50s, 0);
    EXPECT_FALSE(healthy());
    pass(11s, 0);
    EXPECT_TRUE(healthy());
}

TEST(XidPolicyTest, table) {
    const XidPolicy policy;
    for (const auto x : {13, 31, 43, 45, 68, 69, 94}) {
        EXPECT_EQ(policy.action(x), XidAction::kApplication) << x;
    }
    for (const auto x : {63, 92}) EXPECT_EQ(policy.action(x), XidAction::kInform) << x;
    for (const auto x : {48, 61, 62, 64, 74, 95, 109, 119, 120}) {
        EXPECT_EQ(policy.action(x), XidAction::kReset) << x;
    }
    EXPECT_EQ(policy.action(79), XidAction::kNode);
    EXPECT_EQ(policy.action(9999), XidAction::kReset);
}

bool fatal(const Result<XidPolicy>& policy, std::uint64_t xid) {
    const auto action = policy->action(xid);
    return action == XidAction::kReset || action == XidAction::kNode;
}

TEST(XidPolicyTest, nvidia_ignores_exactly_its_six) {
    const auto policy = XidPolicy::make("nvidia", "", "");
    for (std::uint64_t x = 1; x < 200; ++x) {
        const bool ignored = x == 13 || x == 31 || x == 43 || x == 45 || x == 68 || x == 109;
        EXPECT_EQ(fatal(policy, x), !ignored) << x;
    }
}

TEST(XidPolicyTest, disable_and_enable_as_nvidia) {
    for (const char* all : {"all", "xids", " XIDS , 3"}) {
        EXPECT_FALSE(fatal(XidPolicy::make("edge", all, ""), 79)) << all;
    }
    const auto list = XidPolicy::make("nvidia", "48, 79", "");
    EXPECT_FALSE(fatal(list, 48));
    EXPECT_FALSE(fatal(list, 79));
    EXPECT_TRUE(fatal(list, 95));
    const auto only = XidPolicy::make("nvidia", "all", "48");
    EXPECT_TRUE(fatal(only, 48));
    EXPECT_FALSE(fatal(only, 95));
    const auto builtin = XidPolicy::make("nvidia", "", "13");
    EXPECT_TRUE(fatal(builtin, 13));
    EXPECT_FALSE(fatal(builtin, 31));
    EXPECT_TRUE(fatal(XidPolicy::make("edge", "48,79", "all"), 48));
    EXPECT_TRUE(fatal(XidPolicy::make("edge", "", "all"), 13));
}

TEST(XidPolicyTest, malformed_entries_are_named_and_skipped) {
    const auto policy = XidPolicy::make("edge", "48,x7,,-1", "");
    ASSERT_TRUE(policy.ok());
    EXPECT_EQ(policy->warnings().size(), 2U);
    EXPECT_FALSE(fatal(policy, 48));
    EXPECT_FALSE(XidPolicy::make("strict", "", "").ok());
}

class BoardTest : public ::testing::Test {
  protected:
    BoardTest() {
        add("GPU-0", "", -1);
        add("MIG-1", "GPU-1", 7);
        add("MIG-2", "GPU-1", 8);
        round();
    }
    void add(const char* uuid, const char* parent, int gi) {
        CardInfo info;
        info.card.uuid = uuid;
        info.parent_uuid = parent;
        info.gpu_instance = gi;
        info.compute_instance = gi < 0 ? -1 : 0;
        cards_.push_back(info);
        Probe probe;
        probe.uuid = uuid;
        probe.uncorrected_ecc = 0;
        probes_.push_back(probe);
    }
    void round() { board_.on_round(cards_, probes_, now_); }
    bool healthy(const char* uuid) const { return board_.verdict(uuid).healthy; }

    std::vector<CardInfo> cards_;
    std::vector<Probe> probes_;
    HealthBoard board_{{}, {}};
    TimePoint now_{1h};
};

TEST_F(BoardTest, gpu_wide_event_hits_all_instances) {
    EXPECT_EQ(board_.on_xid("GPU-1", kWholeGpu, kWholeGpu, 48, now_), 2);
    EXPECT_TRUE(healthy("GPU-0"));
    EXPECT_FALSE(healthy("MIG-1"));
    EXPECT_FALSE(healthy("MIG-2"));
    EXPECT_EQ(board_.on_xid("GPU-1", kWholeGpu, kWholeGpu, 48, now_), 0);
}

TEST_F(BoardTest, event_of_one_instance_hits_that_one) {
    EXPECT_EQ(board_.on_xid("GPU-1", 8, 0, 48, now_), 1);
    EXPECT_TRUE(healthy("MIG-1"));
    EXPECT_FALSE(healthy("MIG-2"));
    EXPECT_EQ(board_.on_xid("GPU-9", kWholeGpu, kWholeGpu, 48, now_), 0);
}

TEST_F(BoardTest, growing_ecc_count_counts_only_without_events) {
    probes_[0].uncorrected_ecc = 1;
    round();
    EXPECT_TRUE(healthy("GPU-0"));
    board_.set_events(false);
    round();
    EXPECT_TRUE(healthy("GPU-0"));
    probes_[0].uncorrected_ecc = 2;
    round();
    EXPECT_FALSE(healthy("GPU-0"));
}

TEST_F(BoardTest, driver_reload_shortens_the_wait) {
    board_.on_xid("GPU-0", kWholeGpu, kWholeGpu, 79, now_);
    board_.on_driver_reload();
    round();
    EXPECT_TRUE(board_.unsettled());
    now_ += 60s;
    round();
    EXPECT_TRUE(healthy("GPU-0"));
    EXPECT_FALSE(board_.unsettled());
}

// A driver before r550 does not tell what the one before it asked for.
TEST_F(BoardTest, what_a_replaced_driver_asked_for_does_not_last) {
    probes_[0].recovery_action = 1;
    round();
    EXPECT_FALSE(healthy("GPU-0"));
    board_.on_driver_reload();
    probes_[0].recovery_action.reset();
    for (int minute = 0; minute < 120; ++minute) {
        now_ += 60s;
        round();
    }
    EXPECT_TRUE(healthy("GPU-0"));
}

TEST_F(BoardTest, forgotten_cards_start_afresh) {
    board_.on_xid("GPU-0", kWholeGpu, kWholeGpu, 79, now_);
    const auto kept = cards_;
    cards_.erase(cards_.begin());
    round();
    cards_ = kept;
    round();
    EXPECT_TRUE(healthy("GPU-0"));
}

}  // namespace
}  // namespace egpu::gpu
