#include "agent/guard_keeper.h"

#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "base/metrics.h"
#include "k8s/codec.h"
#include "testing/temp_folder.h"

namespace egpu::agent {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr const char* kUuid = "GPU-00112233-4455-6677-8899-aabbccddeeff";
constexpr std::uint64_t kMib = 1U << 20;

class GuardKeeperTest : public ::testing::Test {
  protected:
    GuardKeeperTest() : pods_("n1", [] {}) {
        EXPECT_TRUE(write_file_atomically(folder_ / "guard.so", "the guard"));
        state_ = std::make_unique<StateFile>(folder_.path());
        inject::InjectOptions inject;
        inject.strategy = "nvidia";
        inject.driver_files_dir = folder_ / "driver";
        auto injector = inject::make_injector(inject);
        EXPECT_TRUE(injector);
        allocator_ = std::make_unique<Allocator>(*state_, std::move(*injector));
        allocator_->start({}, {});
        gpu::Inventory inventory;
        gpu::CardInfo info;
        info.card = {kUuid, 0, "Tesla T4", 10'000, -1, true};
        inventory.cards.push_back(std::move(info));
        allocator_->set_inventory(inventory);
        make_keeper();
    }
    void make_keeper() {
        GuardOptions options;
        options.folder = folder_ / "guard";
        options.library = folder_ / "guard.so";
        keeper_ = std::make_unique<GuardKeeper>(options, *allocator_, pods_);
    }
    Record hold(const std::string& token, const std::string& pod, int percent) {
        Record record;
        record.token = token;
        for (int i = 0; i < percent; ++i) record.ids.push_back(unit_id(kUuid, i));
        record.cards = {{kUuid, 0, percent, 0}};
        record.holder = {"uid-" + pod, "default", pod, "main", core::ContainerKind::kApp, true};
        allocator_->edit([&](NodeLedger& ledger) { return ledger.restore(record); });
        return record;
    }
    void show(const std::string& pod, int percent, const std::string& annotations) {
        const auto parsed = json::parse(
            R"({"metadata":{"name":")" + pod + R"(","namespace":"default","uid":"uid-)" + pod +
            R"(","annotations":{)" + annotations + R"(}},"spec":{"nodeName":"n1","containers":[)" +
            R"({"name":"main","resources":{"limits":{"nano-gpu/gpu-percent":")" +
            std::to_string(percent) + R"("}}}]}})"
        );
        ASSERT_TRUE(parsed.ok());
        const auto object = k8s::pod_from_json(*parsed);
        ASSERT_TRUE(object.ok());
        pods_.upsert(*object);
    }
    guard::DeviceLimits limits(const std::string& token) {
        auto file = isolation::LimitsFile::open(folder_ / "guard" / token / "limits");
        EXPECT_TRUE(file.ok());
        const auto body = file->body();
        return body ? body->devices[0] : guard::DeviceLimits{};
    }

    testing::TempFolder folder_;
    std::unique_ptr<StateFile> state_;
    std::unique_ptr<Allocator> allocator_;
    PodsView pods_;
    std::unique_ptr<GuardKeeper> keeper_;
    TimePoint now_ = MonoClock::now();
};

TEST_F(GuardKeeperTest, OnlySharesAreLimited) {
    Record record = hold("aa", "p", 25);
    inject::ContainerEdits edits;
    keeper_->add_mounts(record, edits);
    EXPECT_EQ(edits.mounts.size(), 4U);
    Record whole;
    whole.resource = Resource::kWhole;
    whole.cards = {{kUuid, 0, 100, 0}};
    inject::ContainerEdits none;
    keeper_->add_mounts(whole, none);
    EXPECT_THAT(none.mounts, IsEmpty());
    ASSERT_TRUE(keeper_->ensure(whole));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "guard"));
}

TEST_F(GuardKeeperTest, QuotaFollowsThePodsAnnotations) {
    const Record record = hold("aa", "p", 25);
    ASSERT_TRUE(keeper_->ensure(record));
    EXPECT_EQ(limits("aa").mem_hard, 2500 * kMib);
    EXPECT_EQ(limits("aa").share_ppm, 250'000U);
    EXPECT_EQ(limits("aa").mode, static_cast<std::uint32_t>(guard::ComputeMode::kHard));
    EXPECT_GT(
        std::filesystem::file_size(folder_ / "guard" / "aa" / "ledger"), guard::kLimitsFileSize
    );

    show("p", 25, R"("edge-gpu.io/memory":"4000Mi","edge-gpu.io/compute":"soft")");
    EXPECT_EQ(keeper_->round(now_), 1U);
    EXPECT_EQ(limits("aa").mem_hard, 4000 * kMib);
    EXPECT_EQ(limits("aa").mode, static_cast<std::uint32_t>(guard::ComputeMode::kSoft));
    // The cap is part of the record, and what an agent without an API server goes by.
    EXPECT_EQ(allocator_->records()[0].cards[0].memory_mib, 4000);
    pods_.remove("uid-p");
    make_keeper();
    keeper_->round(now_);
    EXPECT_EQ(limits("aa").mem_hard, 4000 * kMib);
    EXPECT_EQ(limits("aa").mode, static_cast<std::uint32_t>(guard::ComputeMode::kSoft));
}

TEST_F(GuardKeeperTest, ACapIsNotRaisedOverTheOthersOfTheCard) {
    hold("aa", "p", 25);
    hold("bb", "q", 50);
    show("p", 25, R"("edge-gpu.io/memory":"6000Mi")");
    keeper_->round(now_);
    EXPECT_EQ(limits("aa").mem_hard, 2500 * kMib);
    EXPECT_EQ(limits("bb").mem_hard, 5000 * kMib);
    show("p", 25, R"("edge-gpu.io/memory":"5000Mi")");
    keeper_->round(now_);
    EXPECT_EQ(limits("aa").mem_hard, 5000 * kMib);
    show("p", 25, R"("edge-gpu.io/memory":"1000Mi")");
    keeper_->round(now_);
    EXPECT_EQ(limits("aa").mem_hard, 1000 * kMib);
    show("p", 25, "");
    keeper_->round(now_);
    EXPECT_EQ(limits("aa").mem_hard, 2500 * kMib);
}

TEST_F(GuardKeeperTest, PriorityIsKeptWithoutTheApiServer) {
    hold("aa", "p", 25);
    show("p", 25, R"("edge-gpu.io/priority":"guaranteed")");
    keeper_->round(now_);
    const auto noted = [&] {
        return isolation::LimitsFile::open(folder_ / "guard" / "aa" / "limits")->body()->flags;
    };
    EXPECT_EQ(noted(), guard::kGuaranteed);
    pods_.remove("uid-p");
    make_keeper();
    keeper_->round(now_);
    EXPECT_EQ(noted(), guard::kGuaranteed);
    show("p", 25, R"("edge-gpu.io/priority":"best-effort")");
    keeper_->round(now_);
    EXPECT_EQ(noted(), guard::kBestEffort);
    show("p", 25, "");
    keeper_->round(now_);
    EXPECT_EQ(noted(), 0U);
}

TEST_F(GuardKeeperTest, FilesGoWithTheRecordAndStrangeOnesLater) {
    hold("aa", "goes", 25);
    keeper_->round(now_);
    EXPECT_THAT(metrics::render(), HasSubstr("pod=\"goes\""));
    ASSERT_TRUE(make_directories(folder_ / "guard" / "cc").ok());
    allocator_->edit([](NodeLedger& ledger) { return ledger.release("aa"); });
    EXPECT_EQ(keeper_->round(now_), 0U);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "guard" / "aa"));
    EXPECT_THAT(metrics::render(), Not(HasSubstr("pod=\"goes\"")));
    EXPECT_TRUE(std::filesystem::exists(folder_ / "guard" / "cc"));
    keeper_->round(now_ + std::chrono::minutes(6));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "guard" / "cc"));
}

// After a lost state file, with a kubelet that does not answer for long: the folder may be that of
// a container that runs.
TEST_F(GuardKeeperTest, StrangeFilesStayUntilTheKubeletsBooksWereRead) {
    bool read = false;
    GuardOptions options;
    options.folder = folder_ / "guard";
    options.library = folder_ / "guard.so";
    options.may_forget = [&] { return read; };
    keeper_ = std::make_unique<GuardKeeper>(options, *allocator_, pods_);
    ASSERT_TRUE(make_directories(folder_ / "guard" / "cc").ok());
    keeper_->round(now_);
    keeper_->round(now_ + std::chrono::hours(6));
    EXPECT_TRUE(std::filesystem::exists(folder_ / "guard" / "cc"));
    read = true;
    keeper_->round(now_ + std::chrono::hours(7));
    EXPECT_TRUE(std::filesystem::exists(folder_ / "guard" / "cc"));
    keeper_->round(now_ + std::chrono::hours(8));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "guard" / "cc"));
}

TEST_F(GuardKeeperTest, WhatWasRemovedIsMadeAgainBeforeAStart) {
    const Record record = hold("aa", "p", 25);
    ASSERT_TRUE(keeper_->ensure(record));
    std::filesystem::remove_all(folder_ / "guard");
    make_keeper();
    ASSERT_TRUE(keeper_->ensure(record));
    EXPECT_EQ(limits("aa").mem_hard, 2500 * kMib);
    EXPECT_TRUE(std::filesystem::exists(folder_ / "guard" / "ld.so.preload"));
    std::filesystem::remove(folder_ / "guard.so");
    EXPECT_FALSE(keeper_->ensure(record).ok());
}

TEST_F(GuardKeeperTest, WhatWasRemovedUnderARunningAgentIsMadeAgainBeforeAStart) {
    const Record record = hold("aa", "p", 25);
    ASSERT_TRUE(keeper_->ensure(record));
    keeper_->round(now_);
    std::filesystem::remove_all(folder_ / "guard");
    ASSERT_TRUE(keeper_->ensure(record));
    EXPECT_EQ(limits("aa").mem_hard, 2500 * kMib);
    // And what is changed later arrives there.
    show("p", 25, R"("edge-gpu.io/memory":"1000Mi")");
    keeper_->round(now_);
    EXPECT_EQ(limits("aa").mem_hard, 1000 * kMib);
}

TEST_F(GuardKeeperTest, ALostLedgerIsNotReplacedUnderItsContainer) {
    const Record record = hold("aa", "loses", 25);
    ASSERT_TRUE(keeper_->ensure(record));
    keeper_->round(now_);
    const auto ledger = folder_ / "guard" / "aa" / "ledger";
    std::filesystem::remove(ledger);
    keeper_->round(now_);
    make_keeper();
    keeper_->round(now_);
    // The container goes on with the one it has; a new one would show that none of its processes
    // is under the guard.
    EXPECT_FALSE(std::filesystem::exists(ledger));
    ASSERT_TRUE(keeper_->ensure(record));
    EXPECT_TRUE(isolation::read_ledger(ledger).ok());
}

TEST_F(GuardKeeperTest, MetricsFollowTheNameThatTurnsOutToBeRight) {
    hold("aa", "presumed", 25);
    keeper_->round(now_);
    EXPECT_THAT(metrics::render(), HasSubstr("pod=\"presumed\""));
    allocator_->edit([](NodeLedger& ledger) {
        return ledger.confirm(
            "aa", {"uid-real", "default", "real", "main", core::ContainerKind::kApp, true}
        );
    });
    keeper_->round(now_ + Seconds(1));
    EXPECT_THAT(metrics::render(), HasSubstr("pod=\"real\""));
    EXPECT_THAT(metrics::render(), Not(HasSubstr("pod=\"presumed\"")));
}

TEST_F(GuardKeeperTest, OverheadOfAnEarlierRunIsNotChargedForEver) {
    const Record record = hold("aa", "p", 25);
    ASSERT_TRUE(keeper_->ensure(record));
    {
        auto file = isolation::LimitsFile::open(folder_ / "guard" / "aa" / "limits");
        guard::LimitsBody body = *file->body();
        body.devices[0].overhead_bytes = 2000 * kMib;
        file->publish(body);
    }
    GuardOptions options;
    options.folder = folder_ / "guard";
    options.library = folder_ / "guard.so";
    options.watch.emplace();
    options.watch->nvml.library = "/nowhere/libnvidia-ml.so.1";
    keeper_ = std::make_unique<GuardKeeper>(options, *allocator_, pods_);
    keeper_->round(now_);
    EXPECT_EQ(limits("aa").overhead_bytes, 2000 * kMib);
    keeper_->round(now_ + Seconds(10));
    EXPECT_EQ(limits("aa").overhead_bytes, 2000 * kMib);
    keeper_->round(now_ + Seconds(21));
    EXPECT_EQ(limits("aa").overhead_bytes, 0U);
}

TEST_F(GuardKeeperTest, ACapMayGrowBesideTheInitContainerThatHadTheSameUnits) {
    hold("aa", "p", 60);
    Record init = allocator_->records()[0];
    init.token = "bb";
    init.holder.container = "prepare";
    init.holder.kind = core::ContainerKind::kInit;
    allocator_->edit([&](NodeLedger& ledger) { return ledger.restore(init); });
    show("p", 60, R"("edge-gpu.io/memory":"main=7000Mi")");
    keeper_->round(now_);
    EXPECT_EQ(limits("aa").mem_hard, 7000 * kMib);
}

TEST_F(GuardKeeperTest, ATruncatedLedgerIsCountedAndPutRight) {
    const Record record = hold("aa", "tampers", 25);
    ASSERT_TRUE(keeper_->ensure(record));
    std::filesystem::resize_file(folder_ / "guard" / "aa" / "ledger", 10);
    keeper_->round(now_);
    EXPECT_THAT(
        metrics::render(),
        HasSubstr("edge_gpu_guard_tampered_total{card=\"0\",container=\"main\",namespace="
                  "\"default\",pod=\"tampers\"} 1")
    );
    EXPECT_TRUE(isolation::read_ledger(folder_ / "guard" / "aa" / "ledger").ok());
}

}  // namespace
}  // namespace egpu::agent
