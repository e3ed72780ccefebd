// Slots with real processes that exit, are killed, and exec; and the death of a process at every
// instruction that changes the ledger.
#include "guard/process_slot.h"

#include <chrono>
#include <cstring>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guard/memory_stock.h"
#include "guard/shared_ledger_for_test.h"

namespace egpu::guard {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

// Runs `body` in a child and returns its pid; the child waits to be killed after it wrote to the
// pipe.
template <class Body>
pid_t child_that(Body body) {
    int pipe_ends[2];
    if (pipe(pipe_ends) != 0) return -1;
    const pid_t pid = fork();
    if (pid == 0) {
        body();
        const char done = 1;
        if (write(pipe_ends[1], &done, 1) != 1) _exit(1);
        for (;;) pause();
    }
    close(pipe_ends[1]);  // so that a child that exits instead is noticed
    char got = 0;
    EXPECT_EQ(read(pipe_ends[0], &got, 1), 1);
    close(pipe_ends[0]);
    return pid;
}

void kill_and_reap(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
}

// Claims and waits until the helper thread has taken the slot over; false after 10 s.
bool claim_by_thread(Ledger& ledger, SlotClaim& claim) {
    claim = claim_slot(ledger);
    for (int i = 0; i < 1000 && claim.by_thread; ++i) {
        const ProcessSlot& slot = ledger.slots[claim.slot];
        if ((slot.live & kHeldByPid) == 0 && slot.holder >> 32U == slot.live) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
}

TEST(ProcessSlot, IsHeldByAThreadAndFreeAfterSigkill) {
    SharedLedger ledger;
    const pid_t pid = child_that([&] {
        SlotClaim claim;
        if (!claim_by_thread(*ledger, claim) || claim.slot != 0) _exit(1);
        if (!reserve(*ledger, claim.slot, 0, 6 * kMiB, 10 * kMiB, holder_is_gone)) _exit(2);
    });
    EXPECT_EQ(ledger->slots[0].holder & 0xffffffffU, static_cast<std::uint64_t>(pid));
    EXPECT_FALSE(holds_nothing(ledger->slots[0].live));
    EXPECT_FALSE(holder_is_gone(ledger->slots[0]));
    kill_and_reap(pid);
    EXPECT_TRUE(ledger->slots[0].live & kOwnerDied);
    ledger->slots[1].live = 1;
    EXPECT_TRUE(reserve(*ledger, 1, 0, 10 * kMiB, 10 * kMiB, holder_is_gone));
}

TEST(ProcessSlot, IsFreeAfterExec) {
    SharedLedger ledger;
    const pid_t pid = child_that([&] {
        SlotClaim claim;
        if (!claim_by_thread(*ledger, claim)) _exit(1);
    });
    ASSERT_FALSE(holds_nothing(ledger->slots[0].live));
    kill_and_reap(pid);
    const pid_t other = fork();
    if (other == 0) {
        SlotClaim claim;
        if (!claim_by_thread(*ledger, claim)) _exit(1);
        execl("/bin/sleep", "sleep", "30", nullptr);
        _exit(2);
    }
    for (int i = 0; i < 500 && (ledger->slots[0].live & kOwnerDied) == 0; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_TRUE(ledger->slots[0].live & kOwnerDied)
        << "the program was replaced, its memory is gone";
    EXPECT_EQ(waitpid(other, nullptr, WNOHANG), 0) << "while the process lives on";
    kill_and_reap(other);
}

TEST(ProcessSlot, IsUsedAgainWithNothingLeftInIt) {
    SharedLedger ledger;
    kill_and_reap(child_that([&] {
        SlotClaim claim;
        if (!claim_by_thread(*ledger, claim)) _exit(1);
        reserve(*ledger, claim.slot, 5, kMiB, 10 * kMiB, holder_is_gone);
        reserve(*ledger, claim.slot, 5, kMiB, 10 * kMiB, holder_is_gone);
        move_to_stock(*ledger, claim.slot, 1, 5, kMiB);
        ledger->slots[claim.slot].stats.refused = 9;
    }));
    EXPECT_EQ(ledger->slots[0].used[5], kMiB);
    EXPECT_EQ(stocked_units(ledger->stocks[0], 5), kMiB / kUnitBytes);
    kill_and_reap(child_that([&] {
        if (claim_slot(*ledger).slot != 0) _exit(1);
        if (ledger->slots[0].used[5] != 0 || ledger->slots[0].stats.refused != 0) _exit(2);
        if (stocked_units(ledger->stocks[0], 5) != 0) _exit(3);
    }));
    EXPECT_EQ(ledger->slots[0].claims, 2U);
}

TEST(ProcessSlot, ManyProcessesGetDifferentSlotsAndTheLastOnesShareOne) {
    SharedLedger ledger;
    for (unsigned i = 3; i < kSpillSlot; ++i)
        ledger->slots[i].live = kHeldByPid | static_cast<std::uint32_t>(getpid());
    std::vector<pid_t> children;
    children.reserve(5);
    for (int i = 0; i < 5; ++i) children.push_back(child_that([&] { claim_slot(*ledger); }));
    std::set<std::uint32_t> holders;
    for (int i = 0; i < 3; ++i) holders.insert(ledger->slots[i].live);
    EXPECT_EQ(holders.size(), 3U);
    EXPECT_EQ(ledger->spilled, 2U);
    EXPECT_FALSE(holds_nothing(ledger->slots[kSpillSlot].live));
    for (const pid_t pid : children) kill_and_reap(pid);
    EXPECT_FALSE(holder_is_gone(ledger->slots[kSpillSlot]));
}

TEST(ProcessSlot, HeldByPidIsJudgedByStartTimeWhateverTheName) {
    SharedLedger ledger;
    const pid_t pid = child_that([] { prctl(PR_SET_NAME, "a Z) Z 1"); });
    ProcessSlot& slot = ledger->slots[0];
    slot.live = kHeldByPid | static_cast<std::uint32_t>(pid);
    EXPECT_FALSE(holder_is_gone(slot)) << "a name with spaces and brackets is a name";
    char path[64];
    std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
    char text[1024] = {};
    FILE* file = std::fopen(path, "r");
    ASSERT_NE(file, nullptr);
    ASSERT_NE(std::fgets(text, sizeof text, file), nullptr);
    std::fclose(file);
    char state = 0;
    std::uint64_t threads = 0;
    const std::uint64_t start = parse_stat(text, state, threads);
    ASSERT_NE(start, 0U);
    // With the texts of this claim the start time counts: another one is another process with the
    // same number.
    SharedLedger own;
    SlotClaim claim;
    ASSERT_TRUE(claim_by_thread(*own, claim));
    slot.pid_namespace = own->slots[claim.slot].pid_namespace.load();
    slot.start_time = start;
    slot.holder = std::uint64_t{slot.live} << 32U | static_cast<std::uint32_t>(pid);
    EXPECT_FALSE(holder_is_gone(slot));
    slot.start_time = start + 1;
    EXPECT_TRUE(holder_is_gone(slot));
    slot.start_time = start;
    slot.pid_namespace = 1;
    kill_and_reap(pid);
    EXPECT_FALSE(holder_is_gone(slot)) << "of another pid namespace nothing is known";
    slot.pid_namespace = own->slots[claim.slot].pid_namespace.load();
    EXPECT_TRUE(holder_is_gone(slot));
}

// Where the kernel has no robust futexes (a seccomp profile, gVisor), nobody would mark the slot of
// a thread: it stays held by pid. Else what a dead process had spare could be taken for living.
TEST(ProcessSlot, StaysHeldByPidWhereTheKernelWouldNotMarkIt) {
    SharedLedger ledger;
    const pid_t pid = child_that([&] {
        sock_filter program[] = {
            {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
            {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_set_robust_list},
            {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOSYS},
            {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
        const sock_fprog filter{4, program};
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) _exit(1);
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) _exit(2);
        const SlotClaim claim = claim_slot(*ledger);
        ProcessSlot& slot = ledger->slots[claim.slot];
        for (int ms = 0; slot.start_time == 0 && ms < 5'000; ++ms)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        if (!reserve(*ledger, claim.slot, 0, 6 * kMiB, 10 * kMiB, holder_is_gone)) _exit(3);
    });
    ProcessSlot& slot = ledger->slots[0];
    EXPECT_EQ(slot.live, kHeldByPid | static_cast<std::uint32_t>(pid));
    EXPECT_NE(slot.start_time, 0U);
    EXPECT_FALSE(holder_is_gone(slot));
    kill_and_reap(pid);
    EXPECT_TRUE(holder_is_gone(slot));
    ledger->slots[1].live = 1;
    EXPECT_TRUE(reserve(*ledger, 1, 0, 10 * kMiB, 10 * kMiB, holder_is_gone));
}

// Without /proc the thread's word alone says all that matters.
TEST(ProcessSlot, IsFreeAfterSigkillWithoutProc) {
    if (geteuid() != 0) GTEST_SKIP() << "chroot needs privileges";
    SharedLedger ledger;
    const pid_t pid = child_that([&] {
        if (chroot("/sys") != 0 || chdir("/") != 0) _exit(1);  // has no folder proc
        SlotClaim claim = claim_slot(*ledger);
        for (int ms = 0; (ledger->slots[0].live & kHeldByPid) != 0 && ms < 5'000; ++ms)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        if (!reserve(*ledger, claim.slot, 0, 6 * kMiB, 10 * kMiB, holder_is_gone)) _exit(2);
    });
    EXPECT_EQ(ledger->slots[0].pid_namespace, 0U);
    EXPECT_FALSE(holder_is_gone(ledger->slots[0]));
    kill_and_reap(pid);
    ledger->slots[1].live = 1;
    EXPECT_TRUE(reserve(*ledger, 1, 0, 10 * kMiB, 10 * kMiB, holder_is_gone));
}

// A process of another user may be neither signalled nor, with hidepid, looked at: it lives.
TEST(ProcessSlot, OfAnotherUserIsNotTakenForDead) {
    if (geteuid() != 0) GTEST_SKIP() << "another user needs privileges";
    SharedLedger ledger;
    const pid_t pid = child_that([&] {
        claim_slot(*ledger);
        ledger->slots[0].live = kHeldByPid | static_cast<std::uint32_t>(getpid());
    });
    const pid_t other = fork();
    if (other == 0) {
        if (setgid(65534) != 0 || setuid(65534) != 0) _exit(1);
        _exit(holder_is_gone(ledger->slots[0]) ? 2 : 0);
    }
    int status = -1;
    ASSERT_EQ(waitpid(other, &status, 0), other);
    EXPECT_EQ(status, 0);
    kill_and_reap(pid);
}

// Killed at random moments from before the claim to behind it: no slot is lost, and none has two
// holders.
TEST(ProcessSlot, AKillDuringTheClaimLosesNothing) {
    SharedLedger ledger;
    const auto claimed = [&ledger] {
        std::uint32_t claims = 0;
        for (const ProcessSlot& slot : ledger->slots) claims += slot.claims;
        return claims;
    };
    pid_t pid = -1;
    for (int i = 0; i < 300; ++i) {
        const std::uint32_t before = claimed();
        pid = fork();
        if (pid == 0) {
            const SlotClaim claim = claim_slot(*ledger);
            reserve(*ledger, claim.slot, 0, kMiB, 10 * kMiB, nullptr);
            for (;;) pause();
        }
        // On a busy machine most would be killed before their claim: every fifth has begun it.
        for (int ms = 0; i % 5 == 0 && claimed() == before && ms < 5'000; ++ms)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(i * 5);
        while (std::chrono::steady_clock::now() < until) {
        }
        kill_and_reap(pid);
        for (ProcessSlot& slot : ledger->slots)
            ASSERT_TRUE(holds_nothing(slot.live) || holder_is_gone(slot));
        ASSERT_TRUE(audit(*ledger, 0, holder_is_gone));
        ASSERT_EQ(used_bytes(*ledger, 0), 0U);
    }
    // Those killed before their thread ran left slots that only /proc knows to be free; one there
    // is whatever the moments were.
    ledger->slots[kSpillSlot - 1].live = kHeldByPid | static_cast<std::uint32_t>(pid);
    for (ProcessSlot& slot : ledger->slots) {
        if (slot.live == 0) slot.live = kHeldByPid | static_cast<std::uint32_t>(getpid());
    }
    SlotClaim claim;
    EXPECT_TRUE(claim_by_thread(*ledger, claim));
    EXPECT_LT(claim.slot, kSpillSlot);
    EXPECT_EQ(ledger->spilled, 0U);
    EXPECT_GT(claimed(), 50U);
}

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
// Steps a child through reserve, a refused reserve with its audit, and refund, one instruction at a
// time. Whenever an instruction changed the ledger, the state is what a SIGKILL at that point would
// leave: a copy is judged with the process dead, as the next process would find it.
TEST(ProcessSlot, ACrashAtEveryStoreLeavesNothingButTheDeadOnesShare) {
    SharedLedger ledger;
    ledger->slots[0].live = 100;  // the survivor, with 3 MiB
    ASSERT_TRUE(reserve(*ledger, 0, 0, 4 * kMiB, 10 * kMiB, nullptr));
    move_to_stock(*ledger, 0, 1, 0, kMiB);  // and one that is spare
    ASSERT_TRUE(keep_spare(*ledger, 0, 1, 0, kMiB));
    ledger->slots[1].live = 101;
    ledger->slots[2].live = 102 | kOwnerDied;  // died earlier, its 2 MiB are still in the total
    ledger->slots[2].used[0] = 2 * kMiB;
    add_unconditionally(*ledger, 2, 0, 2 * kMiB);
    const pid_t pid = fork();
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        raise(SIGSTOP);
        bool right = reserve(*ledger, 1, 0, 4 * kMiB, 10 * kMiB, nullptr);
        right = right && !reserve(*ledger, 1, 0, 9 * kMiB, 10 * kMiB, nullptr);  // audits
        right = right &&
                reserve(*ledger, 1, 0, 3 * kMiB, 10 * kMiB, nullptr);  // fits thanks to the audit
        refund(*ledger, 1, 0, 4 * kMiB);
        refund(*ledger, 1, 0, 3 * kMiB);
        // The stock: into it, free, and out of it; the survivor's spare MiB; a refusal that finds
        // spare memory and gives it back.
        right = right && try_reserve(*ledger, 1, 0, 2 * kMiB, 10 * kMiB);
        move_to_stock(*ledger, 1, 3, 0, 2 * kMiB);
        right = right && keep_spare(*ledger, 1, 3, 0, 2 * kMiB);
        right = right && take_spare(*ledger, 1, 3, 0, kMiB);
        right = right && reserve_with_spare(*ledger, 1, 0, 6 * kMiB, 10 * kMiB);
        refund(*ledger, 1, 0, 6 * kMiB);
        refund_stocked(*ledger, 1, 3, 0, kMiB / 2);
        right = right && keep_spare(*ledger, 1, 3, 0, kMiB / 2);
        right = right && !reserve(*ledger, 1, 0, 8 * kMiB, 10 * kMiB, nullptr);
        _exit(right ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFSTOPPED(status));
    // Only these pages change; comparing them is what each of some ten thousand steps costs.
    const auto relevant = [&] {
        std::vector<std::uint64_t> words;
        words.push_back(ledger->totals[0].word);
        words.push_back(ledger->totals[0].peak_units);
        words.push_back(ledger->totals[0].refused);
        words.push_back(ledger->totals[0].audit_repairs);
        for (int i = 0; i < 3; ++i) {
            words.push_back(ledger->slots[i].used[0]);
            words.push_back(ledger->slots[i].live);
            words.push_back(ledger->slots[i].stats.refused);
            for (const ProcessStock::Shard& shard : ledger->stocks[i].shards)
                words.push_back(shard.word[0]);
        }
        return words;
    };
    std::vector<std::uint64_t> before = relevant();
    int stores = 0;
    long steps = 0;
    while (true) {
        ASSERT_EQ(ptrace(PTRACE_SINGLESTEP, pid, nullptr, nullptr), 0);
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status)) break;
        ASSERT_TRUE(WIFSTOPPED(status));
        ASSERT_LT(++steps, 2'000'000);
        const std::vector<std::uint64_t> now = relevant();
        if (now == before) continue;
        before = now;
        ++stores;
        // At every instant the total is at least what live slots' owners were granted, and never
        // beyond the limit.
        EXPECT_LE(used_bytes(*ledger, 0), 10 * kMiB);
        SharedLedger copy;
        std::memcpy(static_cast<void*>(&*copy), &*ledger, sizeof(Ledger));
        copy->slots[1].live = 101 | kOwnerDied;
        EXPECT_TRUE(reserve(*copy, 0, 0, 7 * kMiB, 10 * kMiB, nullptr)) << "after store " << stores;
        EXPECT_FALSE(reserve(*copy, 0, 0, 512, 10 * kMiB, nullptr)) << "after store " << stores;
        EXPECT_EQ(used_bytes(*copy, 0), 10 * kMiB);
    }
    EXPECT_EQ(WEXITSTATUS(status), 0);
    // 5 operations: slot and total each, peaks, the refusal's counters, the audit's repair; and
    // those of the stock.
    EXPECT_GE(stores, 30);
    EXPECT_TRUE(audit(*ledger, 0, nullptr));
    EXPECT_EQ(used_bytes(*ledger, 0), 3 * kMiB);
}
#endif

}  // namespace
}  // namespace egpu::guard
