// The library as it is used: preloaded into programs that use the simulated driver, with the two
// files that an agent would have written.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <link.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guard/limits.h"
#include "guard/limits_writer.h"
#include "guard/memory_account.h"
#include "guard/pages.h"
#include "guard/process_slot.h"
#include "guard/uuid_text.h"
#include "testing/nvml/sim_state.h"

namespace egpu::guard {
namespace {

namespace fs = std::filesystem;
constexpr std::uint64_t kMiB = 1 << 20;

struct Ended {
    int status = 0;  // of waitpid
    std::string output;
};

// The simulated libraries stay loaded once they are; NVIDIA's need not.
void copy_that_can_be_unloaded(const fs::path& from, const fs::path& to) {
    std::ifstream in(from, std::ios::binary);
    std::string bytes(std::istreambuf_iterator<char>(in), {});
    ElfW(Ehdr) header{};
    ASSERT_GT(bytes.size(), sizeof header);
    std::memcpy(&header, bytes.data(), sizeof header);
    bool cleared = false;
    for (int i = 0; i < header.e_phnum; ++i) {
        ElfW(Phdr) segment{};
        std::memcpy(&segment, bytes.data() + header.e_phoff + i * sizeof segment, sizeof segment);
        if (segment.p_type != PT_DYNAMIC) continue;
        for (std::size_t at = segment.p_offset; at < segment.p_offset + segment.p_filesz;
             at += sizeof(ElfW(Dyn))) {
            ElfW(Dyn) entry{};
            std::memcpy(&entry, bytes.data() + at, sizeof entry);
            if (entry.d_tag != DT_FLAGS_1) continue;
            cleared = (entry.d_un.d_val & DF_1_NODELETE) != 0;
            entry.d_un.d_val &= ~ElfW(Xword){DF_1_NODELETE};
            std::memcpy(bytes.data() + at, &entry, sizeof entry);
        }
    }
    ASSERT_TRUE(cleared);
    std::ofstream(to, std::ios::binary) << bytes;
}

class GuardedProcess : public ::testing::Test {
  protected:
    GuardedProcess() {
        std::string pattern = ::testing::TempDir() + "guard.XXXXXX";
        folder_ = mkdtemp(pattern.data());
        auto made = testing::SimGpus::make("t4", "node-1");
        EXPECT_TRUE(made.ok());
        sim_ = std::make_unique<testing::SimGpus>(std::move(*made));
        sim_->set_cards(folder_ / "cards");
        sim_->add_cuda("context_mib 0");
        EXPECT_TRUE(sim_->write(folder_ / "node").ok());
    }
    ~GuardedProcess() override {
        if (limits_ != nullptr) munmap(limits_, kLimitsFileSize);
        if (ledger_ != nullptr) munmap(ledger_, sizeof(Ledger));
        std::error_code ignored;
        fs::remove_all(folder_, ignored);
    }

    // As the agent does it: both files, whole, before the container starts.
    void inject(std::uint64_t bytes, bool with_ledger = true) {
        fs::create_directory(folder_ / "guard-pages");
        limits_ = static_cast<LimitsPage*>(map_new(kLimitsFile, kLimitsFileSize));
        const auto uuids = sim_->gpu_uuids();
        for (LimitsBody& body : limits_->body) {
            body.device_count = static_cast<std::uint32_t>(uuids.size());
            for (std::size_t i = 0; i < uuids.size(); ++i) {
                ASSERT_TRUE(parse_uuid(uuids[i].c_str(), body.devices[i].uuid));
                body.devices[i].mem_hard = bytes;
            }
        }
        limits_->abi_major = kAbiMajor;
        limits_->struct_size = sizeof(LimitsPage);
        limits_->magic = kLimitsMagic;
        if (with_ledger) ledger_ = static_cast<Ledger*>(map_new(kLedgerFile, sizeof(Ledger)));
    }

    void change_quota(std::uint64_t bytes, std::uint64_t overhead = 0) {
        LimitsBody body = limits_->body[limits_->generation.load() & 1U];
        body.devices[0].mem_hard = bytes;
        body.devices[0].overhead_bytes = overhead;
        body.devices[0].flags = kChargeOverhead;
        publish(*limits_, body);
    }

    // Starts the probe with the guard preloaded; its output comes through the pipe, its input is
    // `input`.
    pid_t start(
        std::vector<std::string> arguments, int output, int input = -1, bool guarded = true
    ) {
        arguments.insert(arguments.begin(), {EDGE_GPU_TEST_PROBE, EDGE_GPU_TEST_LIBCUDA});
        const pid_t pid = fork();
        if (pid != 0) return pid;
        dup2(output, 1);
        dup2(output, 2);
        if (input >= 0) dup2(input, 0);
        if (chdir(folder_.c_str()) != 0) _exit(3);
        setenv(testing::kSimNvmlEnv, (folder_ / "node").c_str(), 1);
        if (guarded) setenv("LD_PRELOAD", EDGE_GPU_TEST_GUARD, 1);
        for (const auto& [name, value] : environment_) setenv(name.c_str(), value.c_str(), 1);
        std::vector<char*> raw;
        raw.reserve(arguments.size() + 1);
        for (std::string& argument : arguments) raw.push_back(argument.data());
        raw.push_back(nullptr);
        execv(raw[0], raw.data());
        _exit(4);
    }

    Ended run(const std::vector<std::string>& arguments) {
        int ends[2];
        EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
        const pid_t pid = start(arguments, ends[1]);
        close(ends[1]);
        Ended ended;
        char part[4096];
        for (ssize_t got = 0; (got = read(ends[0], part, sizeof part)) > 0;) {
            ended.output.append(part, static_cast<std::size_t>(got));
        }
        close(ends[0]);
        EXPECT_EQ(waitpid(pid, &ended.status, 0), pid);
        return ended;
    }

    void expect_scenario(const std::string& name) {
        const Ended ended = run({name});
        EXPECT_EQ(ended.status, 0) << ended.output;
    }

    // A probe that holds `mib` MiB.
    pid_t holder(std::uint64_t mib) {
        int ends[2];
        EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
        const pid_t pid = start({"hold", std::to_string(mib)}, ends[1]);
        close(ends[1]);
        char text[8] = {};
        EXPECT_EQ(read(ends[0], text, sizeof text), 5) << text;
        close(ends[0]);
        return pid;
    }

    fs::path folder_;
    std::unique_ptr<testing::SimGpus> sim_;
    std::vector<std::pair<std::string, std::string>> environment_;
    LimitsPage* limits_ = nullptr;
    Ledger* ledger_ = nullptr;

  private:
    void* map_new(const char* name, std::size_t bytes) {
        const std::string path = folder_ / "guard-pages" / name;
        const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        EXPECT_EQ(ftruncate(fd, static_cast<off_t>(bytes)), 0);
        void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        EXPECT_NE(memory, MAP_FAILED);
        close(fd);
        return memory;
    }
};

TEST_F(GuardedProcess, EveryFamilyIsLimitedAndGivenBack) {
    inject(1024 * kMiB);
    expect_scenario("families");
}
TEST_F(GuardedProcess, FreesGoToTheDriverWhateverTheyAre) {
    inject(1024 * kMiB);
    expect_scenario("frees");
}
TEST_F(GuardedProcess, MappedMemoryStaysCharged) {
    inject(1024 * kMiB);
    expect_scenario("vmm");
}
TEST_F(GuardedProcess, PoolsAreChargedByWhatTheyReserve) {
    inject(1024 * kMiB);
    expect_scenario("pools");
}
TEST_F(GuardedProcess, GraphMemoryIsChargedWhenItIsTaken) {
    inject(1024 * kMiB);
    expect_scenario("graph_memory");
}
TEST_F(GuardedProcess, WhatContextsHeldIsGivenBackWithThem) {
    inject(1024 * kMiB);
    expect_scenario("contexts");
}
TEST_F(GuardedProcess, AChildOfForkCannotTouchItsParentsAccount) {
    inject(1024 * kMiB);
    expect_scenario("fork");
    expect_scenario("fork_before_init");
}
TEST_F(GuardedProcess, MemoryOfOtherApisIsChargedWhileItIsImported) {
    inject(1024 * kMiB);
    expect_scenario("external");
}
TEST_F(GuardedProcess, GreenContextsAreLimited) {
    inject(1024 * kMiB);
    expect_scenario("green");
}
TEST_F(GuardedProcess, AllRoadsThroughLoaderAndDriverAreLimited) {
    inject(1024 * kMiB);
    expect_scenario("roads");
}
TEST_F(GuardedProcess, ImportedMemoryStaysItsExporters) {
    inject(1024 * kMiB);
    expect_scenario("ipc");
}
// Each kind of launch reaches the controller: with a hard share of 20 percent nobody gets half of
// the card. How exactly a share is met is measured elsewhere (docs/guard.md).
TEST_F(GuardedProcess, EveryKindOfLaunchIsPaced) {
    inject(1024 * kMiB);
    for (LimitsBody& body : limits_->body) {
        body.devices[0].mode = static_cast<std::uint32_t>(ComputeMode::kHard);
        body.devices[0].share_ppm = 200'000;
    }
    for (const char* kind : {"kernel", "ptsz", "cooperative", "ex", "graph"}) {
        const Ended ended = run({"spin", kind});
        ASSERT_EQ(ended.status, 0) << kind << ": " << ended.output;
        EXPECT_GT(std::stoi(ended.output), 0) << kind;
        EXPECT_LT(std::stoi(ended.output), 50) << kind;
    }
    std::uint64_t charged = 0;
    for (const ProcessSlot& slot : ledger_->slots) charged += slot.compute[0].charged_ns;
    EXPECT_GT(charged, 0U);
    for (LimitsBody& body : limits_->body) body.devices[0].share_ppm = 1'000'000;
    environment_ = {{"CUDA_DEVICE_SM_LIMIT", "20"}};
    EXPECT_LT(std::stoi(run({"spin", "kernel"}).output), 50) << "the environment may tighten";
}
TEST_F(GuardedProcess, CapturesAreNotBrokenByTheGuardsOwnCalls) {
    inject(1024 * kMiB);
    for (LimitsBody& body : limits_->body) {
        body.devices[0].mode = static_cast<std::uint32_t>(ComputeMode::kHard);
        body.devices[0].share_ppm = 300'000;
    }
    expect_scenario("capture_beside_launches");
    expect_scenario("capture_ends_elsewhere");
    expect_scenario("capture_beside_pools");
}
TEST_F(GuardedProcess, ContextsThatEndInOtherWaysGiveBackWhatTheyHeld) {
    inject(1024 * kMiB);
    expect_scenario("detach");
    expect_scenario("release");
    expect_scenario("context_handles");
    for (const ProcessSlot& slot : ledger_->slots) EXPECT_EQ(slot.stats.unknown_frees, 0U);
}
TEST_F(GuardedProcess, SmallStacksSignalsAndChildrenChangeNothing) {
    inject(1024 * kMiB);
    expect_scenario("small_stack");
    expect_scenario("signals");
    expect_scenario("children");
    expect_scenario("many_pools");
}
TEST_F(GuardedProcess, ADriverThatIsLoadedAgainIsTheSameDriver) {
    inject(1024 * kMiB);
    const fs::path copy = folder_ / fs::path(EDGE_GPU_TEST_LIBNVML).filename();
    ASSERT_NO_FATAL_FAILURE(copy_that_can_be_unloaded(EDGE_GPU_TEST_LIBNVML, copy));
    const Ended ended = run({"nvml_again", copy.string()});
    EXPECT_EQ(ended.status, 0) << ended.output;
}
TEST_F(GuardedProcess, EachCardHasItsOwnAccount) {
    inject(1024 * kMiB);
    for (LimitsBody& body : limits_->body) body.devices[1].mem_hard = 2048 * kMiB;
    expect_scenario("two_cards");
}
TEST_F(GuardedProcess, WhatTheDriverRefusesIsNotCharged) {
    inject(1'000'000 * kMiB);
    expect_scenario("driver_refuses");
    EXPECT_EQ(ledger_->totals[0].refused, 0U);
}
TEST_F(GuardedProcess, AProgramWithoutCudaIsLeftAlone) {
    inject(1024 * kMiB);
    expect_scenario("bystander");
}
TEST_F(GuardedProcess, SignalsStayTheProgramsOwn) {
    inject(1024 * kMiB);
    expect_scenario("after_init");
    const pid_t pid = holder(10);
    kill(pid, SIGUSR2);
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR2) << "as without the guard";
}

// Health checks and device listings come and go all day.
TEST_F(GuardedProcess, APlaceInTheAccountsIsClaimedWithTheFirstContext) {
    inject(1024 * kMiB);
    int out[2];
    int in[2];
    ASSERT_EQ(pipe2(out, O_CLOEXEC), 0);
    ASSERT_EQ(pipe2(in, O_CLOEXEC), 0);
    const pid_t pid = start({"looks"}, out[1], in[0]);
    close(out[1]);
    close(in[0]);
    const auto wait_for_it = [&] {
        char text[64] = {};
        EXPECT_GT(read(out[0], text, sizeof text - 1), 0);
        EXPECT_STREQ(text, "look\n");
    };
    wait_for_it();
    EXPECT_EQ(ledger_->slots[0].live, 0U);
    EXPECT_EQ(ledger_->slots_so_far, 0U);
    ASSERT_EQ(write(in[1], "?\n", 2), 2);
    wait_for_it();
    EXPECT_NE(ledger_->slots[0].live, 0U);
    EXPECT_EQ(ledger_->slots[0].holder & 0xffffffffU, static_cast<std::uint64_t>(pid));
    ASSERT_EQ(write(in[1], "?\n", 2), 2);
    close(in[1]);
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    close(out[0]);
}

TEST_F(GuardedProcess, WithoutAFolderNothingIsLimited) {
    expect_scenario("open");
}

TEST_F(GuardedProcess, LimitsThatCannotBeReadRefuseCuda) {
    inject(1024 * kMiB);
    limits_->magic = 1;
    Ended ended = run({"refused"});
    EXPECT_EQ(ended.status, 0) << ended.output;
    EXPECT_NE(
        ended.output.find("edge-gpu guard: this container's limits cannot be used"),
        std::string::npos
    );
    limits_->magic = kLimitsMagic;
    fs::resize_file(folder_ / "guard-pages" / kLimitsFile, 100);
    ended = run({"refused"});
    EXPECT_EQ(ended.status, 0) << ended.output;
    fs::remove(folder_ / "guard-pages" / kLimitsFile);
    ended = run({"refused"});
    EXPECT_EQ(ended.status, 0) << ended.output;
}

TEST_F(GuardedProcess, WithoutALedgerEachProcessIsStillLimited) {
    inject(1024 * kMiB, /*with_ledger=*/false);
    const Ended ended = run({"families"});
    EXPECT_EQ(ended.status, 0) << ended.output;
    EXPECT_NE(ended.output.find("common accounts cannot be used"), std::string::npos);
}

TEST_F(GuardedProcess, TheEnvironmentMayOnlyTighten) {
    inject(1024 * kMiB);
    environment_ = {{"CUDA_DEVICE_MEMORY_LIMIT", "8g"}, {"CUDA_DEVICE_MEMORY_LIMIT_0", "4096m"}};
    EXPECT_EQ(run({"sizes"}).output, "1024 1024 1024\n");
    environment_ = {{"CUDA_DEVICE_MEMORY_LIMIT_0", "512m"}};
    EXPECT_EQ(run({"sizes"}).output, "512 512 512\n");
    environment_ = {{"CUDA_DEVICE_MEMORY_LIMIT", "0"}};
    EXPECT_EQ(run({"sizes"}).output, "1024 1024 1024\n");
    // What other products take as a reason to stand aside, or to look elsewhere for the limits.
    environment_ = {
        {"CUDA_DISABLE_CONTROL", "true"},
        {"CUDA_DEVICE_MEMORY_SHARED_CACHE", "/tmp/elsewhere"},
        {"EDGE_GPU_GUARD_FOLDER", "/tmp/elsewhere"},
        {"LD_LIBRARY_PATH", "/tmp/elsewhere"}};
    EXPECT_EQ(run({"sizes"}).output, "1024 1024 1024\n");
}

// Limits go with the card, not with its number.
TEST_F(GuardedProcess, CardsAreKnownByUuid) {
    inject(1024 * kMiB);
    for (LimitsBody& body : limits_->body) body.devices[1].mem_hard = 2048 * kMiB;
    EXPECT_EQ(run({"sizes"}).output, "1024 1024 1024\n");
    environment_ = {{"CUDA_VISIBLE_DEVICES", "1"}};
    EXPECT_EQ(run({"sizes"}).output, "2048 2048 2048\n");
    environment_ = {{"CUDA_VISIBLE_DEVICES", "1,0"}};
    EXPECT_EQ(run({"sizes"}).output, "2048 2048 2048\n");
}

TEST_F(GuardedProcess, ACardThatWasNotGivenHasNoMemory) {
    inject(1024 * kMiB);
    for (LimitsBody& body : limits_->body) body.device_count = 1;
    environment_ = {{"CUDA_VISIBLE_DEVICES", "1"}};
    const Ended ended = run({"sizes"});
    EXPECT_NE(ended.status, 0);
    EXPECT_NE(ended.output.find("that this container was not given"), std::string::npos)
        << ended.output;
}

TEST_F(GuardedProcess, OverheadIsTakenOffWhatIsFree) {
    inject(1024 * kMiB);
    change_quota(1024 * kMiB, 24 * kMiB);
    EXPECT_EQ(run({"sizes"}).output, "1000 1024 1024\n");
    change_quota(1024 * kMiB, 4096 * kMiB);
    EXPECT_EQ(run({"sizes"}).output, "0 1024 1024\n");
}

TEST_F(GuardedProcess, AChangedLimitTakesEffectAtOnce) {
    inject(1024 * kMiB);
    int out[2];
    int in[2];
    ASSERT_EQ(pipe2(out, O_CLOEXEC), 0);
    ASSERT_EQ(pipe2(in, O_CLOEXEC), 0);
    const pid_t pid = start({"follow"}, out[1], in[0]);
    close(out[1]);
    const auto ask = [&] {
        EXPECT_EQ(write(in[1], "?\n", 2), 2);
        char text[64] = {};
        EXPECT_GT(read(out[0], text, sizeof text - 1), 0);
        return std::string(text);
    };
    EXPECT_EQ(ask(), "0 1024\n");
    change_quota(512 * kMiB);
    EXPECT_EQ(ask(), "2 512\n");
    change_quota(2048 * kMiB);
    EXPECT_EQ(ask(), "0 2048\n");
    close(in[1]);
    close(in[0]);
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    close(out[0]);
}

TEST_F(GuardedProcess, OneQuotaForAllProcessesAndBackWhenTheyAreKilled) {
    inject(1024 * kMiB);
    const pid_t first = holder(500);
    const pid_t second = holder(400);
    EXPECT_EQ(run({"sizes"}).output, "124 1024 1024\n");
    kill(first, SIGKILL);
    waitpid(first, nullptr, 0);
    // Found by the claim of the next process.
    EXPECT_EQ(run({"sizes"}).output, "624 1024 1024\n");
    kill(second, SIGKILL);
    waitpid(second, nullptr, 0);
    EXPECT_EQ(run({"sizes"}).output, "1024 1024 1024\n");
}

// NVML programs see the container's part of the card and its own processes.
TEST_F(GuardedProcess, NvmlTellsOfTheShareOnly) {
    inject(1024 * kMiB);
    EXPECT_EQ(run({"nvml", EDGE_GPU_TEST_LIBNVML}).output, "1024 0 1024\n");
    const pid_t pid = holder(500);
    const std::string mine = "1024 500 524 pid " + std::to_string(pid) + "\n";
    const std::string seen = run({"nvml", EDGE_GPU_TEST_LIBNVML}).output;
    EXPECT_TRUE(seen == mine || seen == "1024 500 524\n") << seen;
    // A neighbour on the same card, in another container, is not in the list.
    ledger_->slots[0].holder = 0;
    EXPECT_EQ(run({"nvml", EDGE_GPU_TEST_LIBNVML}).output, "1024 500 524\n");
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
}

// Not even a ledger full of nonsense lets anyone have more than the limit or stops anyone for good.
TEST_F(GuardedProcess, ATamperedLedgerHarmsOnlyItsOwnContainer) {
    inject(1024 * kMiB);
    std::mt19937_64 random(3);
    auto* words = reinterpret_cast<std::uint64_t*>(ledger_);
    for (std::size_t i = 0; i < sizeof(Ledger) / 8; ++i) words[i] = random();
    ledger_->magic = kLedgerMagic;
    const Ended ended = run({"sizes"});
    EXPECT_EQ(ended.status, 0) << ended.output;
    std::memset(static_cast<void*>(ledger_), 0, sizeof(Ledger));
    ledger_->magic = 77;  // not ours: each process is limited by itself
    EXPECT_NE(run({"families"}).output.find("common accounts"), std::string::npos);
}

// Processes with threads that allocate from all families at random, some of them killed at random:
// the container never has more than its quota, and all of it when they are gone.
// EDGE_GPU_RACE="processes seconds" for the long form.
TEST_F(GuardedProcess, NeverOneByteOverInARaceWithKills) {
    constexpr std::uint64_t kQuota = 1024 * kMiB;
    int processes = 8;
    int seconds = 2;
    if (const char* wanted = std::getenv("EDGE_GPU_RACE"); wanted != nullptr) {
        ASSERT_EQ(std::sscanf(wanted, "%d %d", &processes, &seconds), 2)
            << "EDGE_GPU_RACE=\"64 60\"";
    }
    inject(kQuota);
    std::mt19937 random(11);
    // What the card itself says, by a process that is not limited.
    int watch_out[2];
    int watch_in[2];
    ASSERT_EQ(pipe2(watch_out, O_CLOEXEC), 0);
    ASSERT_EQ(pipe2(watch_in, O_CLOEXEC), 0);
    const pid_t watcher = start({"watch"}, watch_out[1], watch_in[0], /*guarded=*/false);
    close(watch_out[1]);
    close(watch_in[0]);
    char text[64] = {};
    ASSERT_GT(read(watch_out[0], text, sizeof text - 1), 0);
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    const fs::path log = folder_ / "race.log";
    const int output = open(log.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    const auto begin = std::chrono::steady_clock::now();
    const auto passed = [&] {
        return std::chrono::duration_cast<std::chrono::milliseconds>(
                   std::chrono::steady_clock::now() - begin
        )
            .count();
    };
    std::vector<pid_t> running;
    int killed = 0;
    int failed = 0;
    const auto launch = [&] {
        const long left = seconds * 1000 - passed();
        running.push_back(start({"race", std::to_string(std::max(50L, left))}, output, null));
    };
    for (int i = 0; i < processes; ++i) launch();
    while (passed() < seconds * 1000) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        // A third of them over the whole run, each replaced; whom is left to chance.
        if (killed * 3L * seconds * 1000 < processes * passed()) {
            const std::size_t victim = random() % running.size();
            kill(running[victim], SIGKILL);
            int status = 0;
            waitpid(running[victim], &status, 0);
            if (WIFEXITED(status) && WEXITSTATUS(status) != 0) ++failed;
            running.erase(running.begin() + static_cast<std::ptrdiff_t>(victim));
            ++killed;
            launch();
        }
    }
    for (const pid_t pid : running) {
        int status = 0;
        waitpid(pid, &status, 0);
        if (status != 0) ++failed;
    }
    close(null);
    close(output);
    std::ifstream said(log);
    EXPECT_EQ(failed, 0) << std::string(std::istreambuf_iterator<char>(said), {});
    close(watch_in[1]);
    std::memset(text, 0, sizeof text);
    EXPECT_GT(read(watch_out[0], text, sizeof text - 1), 0);
    close(watch_out[0]);
    waitpid(watcher, nullptr, 0);
    const std::uint64_t most = std::strtoull(text, nullptr, 10);
    EXPECT_LE(most, kQuota) << "of the card's memory in use at once";
    EXPECT_GT(most, kQuota / 2);
    EXPECT_GT(ledger_->totals[0].refused.load(), 0U) << "the quota was never reached";
    EXPECT_LE(ledger_->totals[0].peak_units * kUnitBytes, kQuota);
    EXPECT_TRUE(audit(*ledger_, 0, holder_is_gone));
    EXPECT_EQ(used_bytes(*ledger_, 0), 0U);
    EXPECT_EQ(run({"sizes"}).output, "1024 1024 1024\n");
    std::printf(
        "%d processes, %d killed, %llu refusals, peak granted %llu, in use %llu of %llu MiB\n",
        processes,
        killed,
        static_cast<unsigned long long>(ledger_->totals[0].refused.load()),
        static_cast<unsigned long long>(ledger_->totals[0].peak_units.load() * kUnitBytes / kMiB),
        static_cast<unsigned long long>(most / kMiB),
        static_cast<unsigned long long>(kQuota / kMiB)
    );
}

}  // namespace
}  // namespace egpu::guard
