#include "gpu/usage.h"

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>

#include <gmock/gmock.h>

#include "gpu/usage_watch.h"
#include "testing/cuda/process_for_test.h"

namespace egpu::gpu {
namespace {

using testing::Child;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr std::uint64_t kMib = 1U << 20;

class Usage : public testing::SimDriver {
  protected:
    Usage() { open(); }
    void open() {
        const Status opened = nvml_.open(EDGE_GPU_SIM_LIBRARY, "/");
        ASSERT_TRUE(opened) << opened.error().message;
        device_ = nvml_.device(0).value;
    }

    // The first card, when the driver's lists of processes are odd in that way.
    Result<std::vector<CardLook>> look_with_lists(const char* how) {
        node_.set_lists(how);
        write();
        UsageReader reader(nvml_);
        const std::vector<std::string> cards{node_.gpu_uuids()[0]};
        return reader.look(cards, true);
    }

    Nvml nvml_;
    nvml::Device device_ = nullptr;
};

TEST_F(Usage, NvmlListsProcessesByWhateverVersionThereIs) {
    const auto child = testing::cuda_process(64);
    const auto check = [&] {
        const auto listed = nvml_.processes(device_, ProcessKind::kCudaWork);
        ASSERT_TRUE(listed.ok()) << nvml_code_text(listed.code);
        ASSERT_THAT(listed.value, SizeIs(1));
        EXPECT_EQ(listed.value[0].pid, static_cast<unsigned>(child->pid()));
        EXPECT_EQ(listed.value[0].bytes, 364 * kMib);
        EXPECT_THAT(nvml_.processes(device_, ProcessKind::kGraphicsWork).value, IsEmpty());
    };
    check();
    for (const char* hidden : {"_v3", "_v2"}) {
        node_.hide_symbol(std::string("nvmlDeviceGetComputeRunningProcesses") + hidden);
        write();
        check();
    }
    node_.hide_symbol("nvmlDeviceGetComputeRunningProcesses");
    write();
    EXPECT_EQ(nvml_.processes(device_, ProcessKind::kCudaWork).code, nvml::Code::kFunctionNotFound);
}

TEST_F(Usage, MoreProcessesThanRoomWasMadeFor) {
    std::vector<std::unique_ptr<Child>> children;
    for (int i = 0; i < 40; ++i) children.push_back(testing::cuda_process(0));
    EXPECT_THAT(nvml_.processes(device_, ProcessKind::kCudaWork).value, SizeIs(40));
}

TEST_F(Usage, ALookTellsProcessesMemoryAndTime) {
    const auto child = testing::cuda_process(64, true);
    UsageReader reader(nvml_);
    const std::vector<std::string> cards{node_.gpu_uuids()[0], "GPU-not-there"};
    ASSERT_TRUE(reader.look(cards, true));
    std::uint64_t last = 0;
    unsigned percent = 0;
    for (int i = 0; i < 20 && percent == 0; ++i) {
        std::this_thread::sleep_for(Millis(200));
        const auto looks = reader.look(cards, i % 2 == 0);
        ASSERT_TRUE(looks);
        ASSERT_THAT(*looks, SizeIs(1));
        const CardLook& look = looks->front();
        EXPECT_EQ(look.listed, i % 2 == 0);
        if (look.listed) {
            ASSERT_THAT(look.processes, SizeIs(1));
            EXPECT_EQ(look.processes[0].bytes, 364 * kMib);
            EXPECT_EQ(look.total_bytes, 15360 * kMib);
        }
        ASSERT_TRUE(look.samples.has_value());
        for (const ProcessSample& sample : *look.samples) {
            EXPECT_EQ(sample.pid, static_cast<unsigned>(child->pid()));
            EXPECT_GT(sample.time_us, last);
            last = sample.time_us;
            percent = sample.sm_percent;
        }
    }
    EXPECT_GT(percent, 0U);
}

TEST_F(Usage, AProcessThatAListHasTwiceCountsOnce) {
    const auto child = testing::cuda_process(64);
    const auto looks = look_with_lists("twice");
    ASSERT_TRUE(looks);
    ASSERT_THAT(looks->at(0).processes, SizeIs(1));
    EXPECT_EQ(looks->at(0).processes[0].bytes, 364 * kMib);
}

TEST_F(Usage, MoreMemoryThanTheCardHasIsNotBelieved) {
    const auto child = testing::cuda_process(64);
    const auto looks = look_with_lists("beyond");
    ASSERT_TRUE(looks);
    ASSERT_THAT(looks->at(0).processes, SizeIs(1));
    EXPECT_FALSE(looks->at(0).processes[0].bytes.has_value());
}

TEST_F(Usage, ADriverWithoutSamplesStillListsProcesses) {
    node_.hide_symbol("nvmlDeviceGetProcessUtilization");
    write();
    const auto child = testing::cuda_process(1);
    UsageReader reader(nvml_);
    const std::vector<std::string> cards{node_.gpu_uuids()[0]};
    const auto looks = reader.look(cards, true);
    ASSERT_TRUE(looks);
    EXPECT_THAT(looks->at(0).processes, SizeIs(1));
    EXPECT_FALSE(looks->at(0).samples.has_value());
}

TEST_F(Usage, ADriverThatWentAwayIsSaid) {
    UsageReader reader(nvml_);
    const std::vector<std::string> cards{node_.gpu_uuids()[0]};
    ASSERT_TRUE(reader.look(cards, true));
    node_.set_driver_loaded(false);
    write();
    const auto looks = reader.look(cards, true);
    ASSERT_FALSE(looks);
    EXPECT_EQ(looks.error().code, ErrorCode::kUnavailable);
}

TEST_F(Usage, InstancesOfACardAreLookedAtByThemselves) {
    nvml_.close();
    node_ = testing::SimGpus::make("a100-mig", "node-1").value();
    write();
    open();
    const auto cards = node_.expected_cards();
    const std::vector<std::string> wanted{cards[0].uuid, cards[1].uuid};
    const auto child =
        testing::cuda_process(8);  // on the first instance, as a process under MIG sees it
    UsageReader reader(nvml_);
    const auto looks = reader.look(wanted, true);
    ASSERT_TRUE(looks);
    ASSERT_THAT(*looks, SizeIs(2));
    EXPECT_THAT(looks->at(0).processes, SizeIs(1));
    EXPECT_THAT(looks->at(1).processes, IsEmpty());
    EXPECT_FALSE(looks->at(0).samples.has_value());
}

class Watch : public Usage {
  protected:
    UsageWatchOptions options() {
        UsageWatchOptions options;
        options.library = EDGE_GPU_SIM_LIBRARY;
        options.stop_deadline = Millis(300);
        options.retry_first = Millis(20);
        options.retry_most = Millis(100);
        return options;
    }
    UsageWatch::Callbacks callbacks() {
        return {
            [this] { ++befores_; },
            [this](const std::vector<CardLook>& looks, bool memory) {
                (memory ? full_ : quick_) += 1;
                seen_ = looks.size();
            }};
    }
    static bool eventually(const std::function<bool()>& done) {
        for (int i = 0; i < 400; ++i) {
            if (done()) return true;
            std::this_thread::sleep_for(Millis(10));
        }
        return false;
    }
    std::atomic<int> befores_{0};
    std::atomic<int> full_{0};
    std::atomic<int> quick_{0};
    std::atomic<std::size_t> seen_{0};
};

TEST_F(Watch, LooksOnlyWhileItIsToldTo) {
    UsageWatch watch(options(), callbacks());
    watch.start();
    std::this_thread::sleep_for(Millis(50));
    EXPECT_EQ(full_, 0);
    watch.want({{node_.gpu_uuids()[0]}, Millis(100), Millis(20)});
    EXPECT_TRUE(eventually([&] { return full_ >= 2 && quick_ >= 2; }));
    EXPECT_EQ(seen_, 1U);
    EXPECT_GE(befores_, full_);
    watch.want({});
    std::this_thread::sleep_for(Millis(100));
    const int after = full_ + quick_;
    std::this_thread::sleep_for(Millis(200));
    EXPECT_EQ(full_ + quick_, after);
}

TEST_F(Watch, ComesBackWithTheDriver) {
    node_.set_driver_loaded(false);
    write();
    UsageWatch watch(options(), callbacks());
    watch.start();
    watch.want({{node_.gpu_uuids()[0]}, Millis(20), {}});
    std::this_thread::sleep_for(Millis(100));
    EXPECT_EQ(full_, 0);
    node_.set_driver_loaded(true);
    write();
    EXPECT_TRUE(eventually([&] { return full_ > 0; }));
}

TEST_F(Watch, ADriverThatHangsHoldsNobodyUp) {
    nvml_.close();
    node_.set_slow_calls(3000);
    write();
    const TimePoint begin = MonoClock::now();
    {
        UsageWatch watch(options(), callbacks());
        watch.start();
        watch.want({{node_.gpu_uuids()[0]}, Millis(20), {}});
        EXPECT_TRUE(eventually([&] { return watch.busy_for() > Millis(100); }));
        watch.want({});
    }
    EXPECT_LT(MonoClock::now() - begin, Millis(2500));
    EXPECT_EQ(full_, 0);
}

}  // namespace
}  // namespace egpu::gpu
