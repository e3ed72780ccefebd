#include "gpu/monitor.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "testing/nvml/sim_fixture.h"

namespace egpu::gpu {
namespace {

using namespace std::chrono_literals;

class MonitorTest : public testing::SimTest {
  protected:
    MonitorTest() {
        options_.library = kLibrary;
        options_.poll = 50ms;
        options_.poll_unsettled = 20ms;
        options_.wait_slice = 50ms;
        options_.retry_first = 5ms;
        options_.retry_most = 20ms;
        options_.health.quiet_after_failure = 60ms;
        options_.health.quiet_after_reset = 100ms;
        options_.health.quiet_without_action = 400ms;
    }
    ~MonitorTest() override {
        if (monitor_) monitor_->stop();
    }
    void start() {
        monitor_.emplace(options_, [this](const Inventory& inventory) {
            const std::lock_guard lock(mutex_);
            reports_.push_back(inventory);
            changed_.notify_all();
        });
        monitor_->start();
    }
    // Waits until some report, from the latest already there on, satisfies `wanted`.
    ::testing::AssertionResult reported(std::function<bool(const Inventory&)> wanted) {
        std::unique_lock lock(mutex_);
        const bool met = changed_.wait_for(lock, 10s, [&] {
            for (; next_ < reports_.size(); ++next_) {
                if (!wanted(reports_[next_])) continue;
                matched_ = reports_[next_];
                return true;
            }
            return false;
        });
        if (met) return ::testing::AssertionSuccess();
        auto failure = ::testing::AssertionFailure() << "never reported; last: ";
        if (reports_.empty()) return failure << "nothing";
        failure << reports_.back().error;
        for (const auto& c : reports_.back().cards) {
            failure << "\n" << c.card.uuid << " " << c.card.healthy << " " << c.reason;
        }
        return failure;
    }
    static auto cards(std::size_t total, std::size_t healthy) {
        return [=](const Inventory& inventory) {
            const auto good =
                std::count_if(inventory.cards.begin(), inventory.cards.end(), [](auto& c) {
                    return c.card.healthy;
                });
            return inventory.cards.size() == total && static_cast<std::size_t>(good) == healthy;
        };
    }
    static auto reason(std::string uuid, std::string text) {
        return [=](const Inventory& inventory) {
            for (const auto& c : inventory.cards) {
                if (c.card.uuid == uuid) return c.reason.find(text) != std::string::npos;
            }
            return false;
        };
    }
    std::size_t report_count() {
        const std::lock_guard lock(mutex_);
        return reports_.size();
    }

    MonitorOptions options_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Inventory> reports_;
    std::size_t next_ = 0;
    Inventory matched_;  // by the last reported()
    std::optional<Monitor> monitor_;
};

TEST_F(MonitorTest, reports_once_and_then_on_change_only) {
    sim("h100");
    start();
    ASSERT_TRUE(monitor_->wait_for_cards(5s));
    EXPECT_EQ(monitor_->latest().cards.size(), 8U);
    EXPECT_EQ(monitor_->latest().driver_version, "535.161.08");
    std::this_thread::sleep_for(300ms);  // several polls
    EXPECT_EQ(report_count(), 1U);
}

TEST_F(MonitorTest, waits_for_a_driver_that_loads_late) {
    sim("t4").set_driver_loaded(false);
    save();
    start();
    ASSERT_TRUE(reported([](auto& i) { return i.error.find("DRIVER_NOT_LOADED") != i.error.npos; })
    );
    EXPECT_FALSE(monitor_->wait_for_cards(50ms));
    sim_->set_driver_loaded(true);
    save();
    ASSERT_TRUE(reported(cards(2, 2)));
    EXPECT_EQ(monitor_->latest().error, "");
}

TEST_F(MonitorTest, missing_library_is_retried_too) {
    sim("t4");
    options_.library = (folder_ / "libnvidia-ml.so.1").string();
    start();
    ASSERT_TRUE(reported([](auto& i) { return i.error.find("LIBRARY_NOT_FOUND") != i.error.npos; })
    );
    std::filesystem::copy_file(kLibrary, folder_ / "copy");
    std::filesystem::rename(folder_ / "copy", options_.library);
    ASSERT_TRUE(reported(cards(2, 2)));
}

TEST_F(MonitorTest, known_cards_are_reported_while_the_driver_is_away) {
    sim("t4").set_driver_loaded(false);
    save();
    CardInfo known;
    known.card = sim_->expected_cards()[0];
    options_.known = {known};
    start();
    ASSERT_TRUE(reported(cards(1, 0)));
    EXPECT_EQ(monitor_->latest().cards[0].card.uuid, known.card.uuid);
    sim_->set_driver_loaded(true);
    save();
    ASSERT_TRUE(reported(cards(2, 2)));  // at once: no hysteresis for a driver that had to load
}

TEST_F(MonitorTest, lost_card_recovers_by_itself) {
    auto& node = sim("a10");
    const auto gpu = node.gpu_uuids()[2];
    start();
    ASSERT_TRUE(reported(cards(4, 4)));
    ASSERT_TRUE(node.set_lost(gpu, true).ok());
    save();
    ASSERT_TRUE(reported(cards(4, 3)));
    EXPECT_TRUE(reason(gpu, "GPU_IS_LOST")(matched_));
    ASSERT_TRUE(node.set_lost(gpu, false).ok());
    save();
    ASSERT_TRUE(reported(cards(4, 4)));
}

TEST_F(MonitorTest, xid_is_reported_at_once_and_expires) {
    auto& node = sim("t4");
    options_.poll = 1h;  // only the event can tell
    const auto gpu = node.gpu_uuids()[0];
    start();
    ASSERT_TRUE(reported(cards(2, 2)));
    ASSERT_TRUE(node.push_xid(gpu, 31).ok());
    save();
    ASSERT_TRUE(node.push_xid(gpu, 48).ok());
    save();
    ASSERT_TRUE(reported(cards(2, 1)));
    EXPECT_TRUE(reason(gpu, "XID 48")(matched_));
    ASSERT_TRUE(reported(cards(2, 2)));
}

TEST_F(MonitorTest, xid_on_a_mig_instance_and_on_its_gpu) {
    auto& node = sim("a100-mig");
    options_.health.quiet_without_action = 1h;
    const auto gpu = node.gpu_uuids()[1];
    start();
    ASSERT_TRUE(reported(cards(11, 11)));
    ASSERT_TRUE(node.push_xid(gpu, 48, 9, 0).ok());
    save();
    ASSERT_TRUE(reported(cards(11, 10)));
    ASSERT_TRUE(node.push_xid(gpu, 48).ok());
    save();
    ASSERT_TRUE(reported(cards(11, 4)));
}

TEST_F(MonitorTest, recovery_action_of_new_drivers) {
    auto& node = sim("h100");
    node.set_driver_version("570.86.10");
    save();
    const auto gpu = node.gpu_uuids()[7];
    options_.poll = 1h;
    start();
    ASSERT_TRUE(reported(cards(8, 8)));
    ASSERT_TRUE(node.set_recovery_action(gpu, 1).ok());
    save();
    ASSERT_TRUE(reported(reason(gpu, "asks for a GPU reset")));
    ASSERT_TRUE(node.set_recovery_action(gpu, 0).ok());
    save();
    ASSERT_TRUE(reported(cards(8, 8)));
}

TEST_F(MonitorTest, count_and_mig_changes_are_noticed) {
    auto& node = sim("a100-mig");
    options_.poll = 1h;
    start();
    ASSERT_TRUE(reported(cards(11, 11)));
    ASSERT_TRUE(node.set_mig(node.gpu_uuids()[0], false).ok());  // event MigConfigChange
    save();
    ASSERT_TRUE(reported(cards(8, 8)));
    ASSERT_TRUE(node.set_removed(node.gpu_uuids()[1], true).ok());
    save();
    monitor_->refresh();
    ASSERT_TRUE(reported(cards(8, 1)));
    ASSERT_TRUE(node.set_removed(node.gpu_uuids()[1], false).ok());
    save();
    monitor_->refresh();
    ASSERT_TRUE(reported(cards(8, 8)));
}

TEST_F(MonitorTest, new_cards_are_noticed_by_polling) {
    auto& node = sim("sixteen");
    node.set_count(4);
    save();
    start();
    ASSERT_TRUE(reported(cards(4, 4)));
    node.set_count(-1);
    save();
    ASSERT_TRUE(reported(cards(16, 16)));
}

TEST_F(MonitorTest, driver_reload_and_upgrade) {
    auto& node = sim("t4");
    start();
    ASSERT_TRUE(reported(cards(2, 2)));
    node.set_driver_loaded(false);
    save();
    ASSERT_TRUE(reported(cards(2, 0)));
    EXPECT_NE(monitor_->latest().error, "");
    node.set_driver_loaded(true);
    node.set_driver_version("550.54.15");
    save();
    ASSERT_TRUE(reported(cards(2, 2)));
    EXPECT_EQ(monitor_->latest().driver_version, "550.54.15");
    node.set_driver_version("560.28.03");  // replaced between two polls
    save();
    ASSERT_TRUE(reported([](auto& i) { return i.driver_version == "560.28.03"; }));
    // Events work again with the new session; those before it are not for it.
    auto one_bad = [&] { return cards(2, 1)(monitor_->latest()); };
    for (int i = 0; i < 100 && !one_bad(); ++i) {
        ASSERT_TRUE(node.push_xid(node.gpu_uuids()[0], 62).ok());
        save();
        std::this_thread::sleep_for(50ms);
    }
    EXPECT_TRUE(one_bad());
}

TEST_F(MonitorTest, without_events_ecc_is_polled) {
    auto& node = sim("t4");
    node.hide_symbol("nvmlEventSetCreate");
    save();
    start();
    ASSERT_TRUE(reported(cards(2, 2)));
    ASSERT_TRUE(node.set_uncorrected_ecc(node.gpu_uuids()[1], 3).ok());
    save();
    ASSERT_TRUE(reported(reason(node.gpu_uuids()[1], "XID 48")));
}

TEST_F(MonitorTest, driver_450) {
    auto& node = sim("t4");
    node.set_driver_450(true);
    save();
    options_.library = kLibrary450;
    options_.poll = 1h;
    start();
    ASSERT_TRUE(reported(cards(2, 2)));
    ASSERT_TRUE(node.push_xid(node.gpu_uuids()[0], 79).ok());
    save();
    ASSERT_TRUE(reported(reason(node.gpu_uuids()[0], "XID 79")));
}

TEST_F(MonitorTest, broken_event_wait_does_not_spin) {
    auto& node = sim("t4");
    node.hide_symbol("nvmlEventSetWait_v2");
    node.hide_symbol("nvmlEventSetWait");
    save();
    options_.poll = 20ms;
    start();
    ASSERT_TRUE(reported(cards(2, 2)));
    ASSERT_TRUE(node.set_lost(node.gpu_uuids()[0], true).ok());
    save();
    ASSERT_TRUE(reported(cards(2, 1)));
}

TEST_F(MonitorTest, stop_is_quick_even_when_the_driver_hangs) {
    auto& node = sim("t4");
    options_.stop_deadline = 200ms;
    start();
    ASSERT_TRUE(reported(cards(2, 2)));
    ASSERT_TRUE(node.set_slow(node.gpu_uuids()[0], 1500).ok());
    save();
    std::this_thread::sleep_for(100ms);  // inside a slow call by now
    const auto before = MonoClock::now();
    monitor_->stop();
    EXPECT_LT(MonoClock::now() - before, 1200ms);
    const auto reports = report_count();
    ASSERT_TRUE(node.set_slow(node.gpu_uuids()[0], 0).ok());
    save();
    std::this_thread::sleep_for(2500ms);  // let the left-behind thread end
    EXPECT_EQ(report_count(), reports);
}

TEST_F(MonitorTest, stop_while_idle_takes_less_than_a_slice) {
    sim("t4");
    options_.poll = 1h;
    options_.wait_slice = 500ms;
    start();
    ASSERT_TRUE(reported(cards(2, 2)));
    const auto before = MonoClock::now();
    monitor_->stop();
    monitor_->stop();
    EXPECT_LT(MonoClock::now() - before, 1500ms);
}

TEST_F(MonitorTest, never_started) {
    Monitor monitor(options_, nullptr);
    EXPECT_TRUE(monitor.latest().cards.empty());
    monitor.stop();
    EXPECT_FALSE(monitor.wait_for_cards(1ms));
}

}  // namespace
}  // namespace egpu::gpu
