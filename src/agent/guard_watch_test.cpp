// Processes on simulated cards, and a /proc that says whose they are.
#include "agent/guard_watch.h"

#include <fstream>
#include <memory>
#include <thread>

#include <gmock/gmock.h>

#include "base/metrics.h"
#include "isolation/ledger_copy.h"
#include "testing/cuda/process_for_test.h"

namespace egpu::agent {
namespace {

namespace fs = std::filesystem;
using testing::Child;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr std::uint64_t kMib = 1U << 20;
const std::string kPod = "0a1b2c3d-1111-2222-3333-444455556666";

class GuardWatchTest : public testing::SimDriver {
  protected:
    GuardWatchTest() : files_(folder_ / "guard", folder_ / "guard.so") {
        fs::create_directories(folder_ / "proc");
        for (const char* token : {"aa", "bb"}) {
            EXPECT_TRUE(files_.prepare(token));
            const fs::path mount = folder_ / "root" / token / "run/edge-gpu";
            fs::create_directories(mount);
            fs::create_hard_link(files_.limits(token), mount / "limits");
            ledgers_[token] = std::make_unique<guard::Ledger>();
            ledgers_[token]->magic = guard::kLedgerMagic;
            ledgers_[token]->abi_major = guard::kAbiMajor;
        }
    }
    ~GuardWatchTest() override { watch_.reset(); }

    // A process with `mib` of memory on card 0, in the container of `token`.
    std::unique_ptr<Child> process(const std::string& token, std::size_t mib, bool spin = false) {
        auto child = testing::cuda_process(mib, spin);
        const fs::path of = folder_ / "proc" / std::to_string(child->pid());
        fs::create_directories(of);
        std::ofstream(of / "stat")
            << child->pid() << " (train) S 1 1 1 0 -1 0 1 0 0 0 0 0 0 0 20 0 1 0 500 1\n";
        std::ofstream(of / "status") << "Name:\ttrain\nNSpid:\t" << child->pid() << "\t7\n";
        std::ofstream(of / "cgroup")
            << "0::/kubepods/pod" << kPod << "/" << std::string(64, token.front()) << "\n";
        fs::create_symlink(folder_ / "root" / token, of / "root");
        std::ofstream(of / "mountinfo") << "24 1 0:30 / / rw - overlay overlay rw\n";
        return child;
    }
    void claim(const std::string& token, std::uint64_t mib) {
        guard::Ledger& ledger = *ledgers_[token];
        ledger.slots[0].live = 99;
        ledger.slots[0].holder = std::uint64_t{99} << 32 | 7;
        ledger.slots[0].start_time = 500;
        ledger.slots[0].used[0] = mib * kMib;
        ledger.totals[0].word = mib * kMib / guard::kUnitBytes;
        write(token);
    }
    void write(const std::string& token) {
        std::ofstream out(files_.ledger(token), std::ios::binary | std::ios::trunc);
        out.write(reinterpret_cast<const char*>(ledgers_[token].get()), sizeof(guard::Ledger));
    }
    WatchedAllocation allocation(const std::string& token, bool guarded = true) {
        WatchedAllocation made;
        made.record.token = token;
        made.record.guarded = guarded;
        made.record.cards = {{node_.gpu_uuids()[0], 0, 20, 0}};
        made.record.holder = {kPod, "default", "pod-" + token, "main", {}, true};
        isolation::CardQuota quota;
        quota.memory_bytes = 3072 * kMib;
        made.quota.cards.push_back(quota);
        return made;
    }
    void start(bool kill, std::vector<WatchedAllocation> allocations) {
        GuardWatchOptions options;
        options.nvml.library = EDGE_GPU_SIM_LIBRARY;
        options.end_bypassing = kill;
        options.rules.grace = Millis(100);
        options.memory_every = Millis(30);
        options.idle_every = Millis(60);
        options.samples_every = Millis(100);
        options.stale_after = Millis(200);
        options.proc = folder_ / "proc";
        watch_ = std::make_unique<GuardWatch>(
            options,
            files_,
            [this](const Holder& holder, std::string_view reason, const std::string& message) {
                const std::lock_guard lock(mutex_);
                told_.push_back(holder.pod_name + " " + std::string(reason) + ": " + message);
            }
        );
        watch_->start();
        watch_->watch(std::move(allocations));
    }
    std::vector<std::string> told() {
        const std::lock_guard lock(mutex_);
        return told_;
    }
    CardMeasure card(const std::string& token) {
        const ContainerMeasure measure = watch_->of(token);
        return measure.cards.empty() ? CardMeasure{} : measure.cards[0];
    }
    static bool eventually(const std::function<bool()>& done) {
        for (int i = 0; i < 1000; ++i) {
            if (done()) return true;
            std::this_thread::sleep_for(Millis(10));
        }
        return false;
    }

    isolation::GuardFiles files_;
    std::map<std::string, std::unique_ptr<guard::Ledger>> ledgers_;
    std::mutex mutex_;
    std::vector<std::string> told_;
    std::unique_ptr<GuardWatch> watch_;
};

TEST_F(GuardWatchTest, ContextsAreOverheadAndGoWithTheirProcess) {
    auto child = process("aa", 64);
    claim("aa", 64);
    start(false, {allocation("aa"), allocation("bb")});
    ASSERT_TRUE(eventually([&] { return card("aa").overhead == 300 * kMib; }));
    EXPECT_EQ(card("aa").bytes, 364 * kMib);
    EXPECT_EQ(card("bb").overhead, 0U);
    std::this_thread::sleep_for(Millis(200));
    EXPECT_THAT(told(), IsEmpty());
    child.reset();
    EXPECT_TRUE(eventually([&] { return card("aa").overhead == 0U; }));
}

TEST_F(GuardWatchTest, WhoHasNoSlotIsReportedOnceAndLeftAlone) {
    const auto bypasser = process("bb", 64);
    const auto honest = process("aa", 64);
    claim("aa", 64);
    start(false, {allocation("aa"), allocation("bb")});
    ASSERT_TRUE(eventually([&] { return !told().empty(); }));
    std::this_thread::sleep_for(Millis(400));
    ASSERT_THAT(told(), SizeIs(1));
    EXPECT_THAT(
        told()[0],
        HasSubstr(
            "pod-bb GPUGuardBypassed: container main: process " + std::to_string(bypasser->pid()) +
            " (train) uses 364 MiB of card 0 without the guard"
        )
    );
    EXPECT_EQ(watch_->of("bb").findings, 1);
    EXPECT_EQ(watch_->of("aa").findings, 0);
    EXPECT_EQ(::kill(bypasser->pid(), 0), 0);
    EXPECT_THAT(
        metrics::render(),
        HasSubstr("edge_gpu_guard_bypass_total{container=\"main\",kind=\"no_slot\",namespace="
                  "\"default\",pod=\"pod-bb\"} 1")
    );
}

TEST_F(GuardWatchTest, WithKillItIsEndedAndNobodyElse) {
    const auto honest = process("aa", 64);
    claim("aa", 64);
    const auto neighbour = process("bb", 32);
    claim("bb", 32);
    // In the same container as the honest one, whose slot names another process.
    auto bypasser = process("aa", 16);
    std::ofstream(folder_ / "proc" / std::to_string(bypasser->pid()) / "status")
        << "Name:\ttrain\nNSpid:\t" << bypasser->pid() << "\t8\n";
    start(true, {allocation("aa"), allocation("bb")});
    siginfo_t ended{};
    ASSERT_TRUE(eventually([&] {
        ended = {};
        return ::waitid(P_PID, bypasser->pid(), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
               ended.si_pid != 0;
    }));
    EXPECT_EQ(ended.si_code, CLD_KILLED);
    EXPECT_EQ(ended.si_status, SIGKILL);
    ASSERT_TRUE(eventually([&] { return told().size() == 2; }));
    EXPECT_THAT(told()[1], HasSubstr("pod-aa GPUProcessKilled: container main: process "));
    std::this_thread::sleep_for(Millis(300));
    for (const auto* other : {&honest, &neighbour}) {
        siginfo_t none{};
        EXPECT_EQ(::waitid(P_PID, (*other)->pid(), &none, WEXITED | WNOHANG | WNOWAIT), 0);
        EXPECT_EQ(none.si_pid, 0);
    }
    EXPECT_THAT(told(), SizeIs(2));
}

TEST_F(GuardWatchTest, NobodyIsJudgedOrChargedByALedgerThatIsNotThere) {
    const auto honest = process("aa", 64);
    claim("aa", 64);
    start(true, {allocation("aa")});
    ASSERT_TRUE(eventually([&] { return card("aa").overhead == 300 * kMib; }));
    fs::remove(files_.ledger("aa"));
    std::this_thread::sleep_for(Millis(600));
    EXPECT_THAT(told(), IsEmpty());
    EXPECT_LE(card("aa").overhead.value_or(0), 300 * kMib);
    siginfo_t none{};
    EXPECT_EQ(::waitid(P_PID, honest->pid(), &none, WEXITED | WNOHANG | WNOWAIT), 0);
    EXPECT_EQ(none.si_pid, 0);
}

TEST_F(GuardWatchTest, WhoHadMoreBeforeTheQuotaWasLoweredGetsPastNothing) {
    const auto honest = process("aa", 2000);
    claim("aa", 2000);
    WatchedAllocation lowered = allocation("aa");
    start(true, {lowered});
    ASSERT_TRUE(eventually([&] { return card("aa").bytes == 2300 * kMib; }));
    lowered.quota.cards[0].memory_bytes = 256 * kMib;
    watch_->watch({lowered});
    std::this_thread::sleep_for(Millis(500));
    EXPECT_THAT(told(), IsEmpty());
    // What is given back is gone.
    claim("aa", 100);
    EXPECT_TRUE(eventually([&] { return !told().empty(); }));
}

TEST_F(GuardWatchTest, FilesMadeAnewAreKnownByTheirContainer) {
    const auto child = process("aa", 64);
    fs::remove(files_.limits("aa"));
    start(false, {allocation("aa")});
    ASSERT_TRUE(eventually([&] { return card("aa").bytes == 0U; }));
    fs::create_hard_link(folder_ / "root/aa/run/edge-gpu/limits", files_.limits("aa"));
    EXPECT_TRUE(eventually([&] { return card("aa").bytes == 364 * kMib; }));
}

TEST_F(GuardWatchTest, AContainerFromBeforeTheGuardIsNotJudged) {
    const auto old = process("bb", 64);
    start(true, {allocation("bb", false)});
    ASSERT_TRUE(eventually([&] { return card("bb").bytes == 364 * kMib; }));
    std::this_thread::sleep_for(Millis(400));
    EXPECT_THAT(told(), IsEmpty());
    EXPECT_EQ(::kill(old->pid(), 0), 0);
}

TEST_F(GuardWatchTest, TimeOnTheCardIsMeasured) {
    const auto child = process("aa", 1, true);
    claim("aa", 1);
    start(false, {allocation("aa"), allocation("bb")});
    watch_->set_computing(true);
    ASSERT_TRUE(eventually([&] {
        const auto busy = card("aa").busy;
        return busy && busy->busy_ns > 300e6;
    }));
    const auto first = *card("aa").busy;
    std::this_thread::sleep_for(Seconds(1));
    const auto second = *card("aa").busy;
    EXPECT_GT(second.at_ns, first.at_ns + 500'000'000);
    const double part =
        (second.busy_ns - first.busy_ns) / static_cast<double>(second.at_ns - first.at_ns);
    EXPECT_GT(part, 0.3);
    EXPECT_LT(part, 1.2);
    EXPECT_EQ(card("bb").busy->busy_ns, 0);
}

TEST_F(GuardWatchTest, WhatADriverNoLongerTellsIsNoLongerCharged) {
    const auto child = process("aa", 64);
    claim("aa", 64);
    start(false, {allocation("aa")});
    ASSERT_TRUE(eventually([&] { return card("aa").overhead == 300 * kMib; }));
    for (const char* version : {"", "_v2", "_v3"}) {
        node_.hide_symbol(std::string("nvmlDeviceGetComputeRunningProcesses") + version);
    }
    SimDriver::write();
    EXPECT_TRUE(eventually([&] { return card("aa").overhead == 0U && !card("aa").bytes; }));
}

}  // namespace
}  // namespace egpu::agent
