#include "guard/process_slot.h"

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <new>

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guard/elf_lookup.h"
#include "guard/memory_account.h"

namespace egpu::guard {
namespace {

constexpr std::uint64_t kExitNs =
    2'000'000'000;  // how long a process may take to end, or has become another program
constexpr std::size_t kStackBytes = 128 * 1024;  // the least that aarch64 takes
constexpr long kFutexOffset =
    static_cast<long>(offsetof(ProcessSlot, live)) -
    static_cast<long>(offsetof(ProcessSlot, robust) + offsetof(RobustList, node_next));

// What the helper thread is given, and its stack. Lives as long as the process: mapped, never
// freed.
struct Task {
    Ledger* ledger = nullptr;
    unsigned slot = kSpillSlot;
    std::uint32_t word = 0;  // by which the slot is held until the thread has it
    std::atomic<std::uint32_t> never{0};
    RobustList
        list{};  // covers the moment between the claim and the move of the list into the slot
    alignas(64) unsigned char stack[kStackBytes];
};

Task* new_task() {
    void* memory =
        mmap(nullptr, sizeof(Task), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? nullptr : new (memory) Task;
}

std::size_t read_file(const char* path, char* buffer, std::size_t size) {
    const int fd = static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0));
    if (fd < 0) return 0;
    const long got = syscall(SYS_read, fd, buffer, size - 1);
    syscall(SYS_close, fd);
    buffer[got > 0 ? got : 0] = '\0';
    return got > 0 ? static_cast<std::size_t>(got) : 0;
}

void stat_path(char* to, std::uint64_t pid) {
    char digits[20];
    int count = 0;
    do {
        digits[count++] = static_cast<char>('0' + pid % 10);
        pid /= 10;
    } while (pid != 0);
    std::memcpy(to, "/proc/", 6);
    to += 6;
    while (count > 0) *to++ = digits[--count];
    std::memcpy(to, "/stat", 6);
}

std::uint64_t own_start_time() {
    char line[1024];
    char state = 0;
    std::uint64_t threads = 0;
    return read_file("/proc/self/stat", line, sizeof line) > 0 ? parse_stat(line, state, threads)
                                                               : 0;
}

// "pid:[4026531836]" -> the number; 0 when it cannot be read.
std::uint64_t own_pid_namespace() {
    char link[64];
    const long length =
        syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/ns/pid", link, sizeof link - 1);
    if (length <= 0) return 0;
    link[length] = '\0';
    std::uint64_t value = 0;
    for (const char* c = link; *c != '\0'; ++c) {
        if (*c >= '0' && *c <= '9') value = value * 10 + static_cast<std::uint64_t>(*c - '0');
    }
    return value;
}

// The caller owns the slot already. Everything a dead holder left is zeroed before the new holder's
// name is set: until then its bytes still count, which is too much and never too little.
void settle(Ledger& ledger, unsigned index) {
    ProcessSlot& slot = ledger.slots[index];
    if (slot.claims++ == 0) return;  // a new file is all zero, and its pages are not there yet
    for (ProcessStock::Shard& shard : ledger.stocks[index].shards) {
        for (Word64& stocked : shard.word) {
            if (stocked.load(std::memory_order_relaxed) != 0)
                stocked.store(0, std::memory_order_seq_cst);
        }
    }
    for (Word64& used : slot.used) used.store(0, std::memory_order_seq_cst);
    std::memset(static_cast<void*>(&slot.stats), 0, sizeof slot.stats + sizeof slot.compute);
    slot.died_ns.store(0, std::memory_order_relaxed);
}

// Who this process is, for others to compare with /proc. Its start time comes later: to read it
// takes as long as all else that cuInit does with files.
void name_holder(ProcessSlot& slot, std::uint32_t word, std::uint64_t pid_namespace) {
    slot.start_time.store(0, std::memory_order_relaxed);
    slot.pid_namespace.store(pid_namespace, std::memory_order_relaxed);
    const auto pid = static_cast<std::uint32_t>(getpid());
    slot.holder.store(std::uint64_t{word} << 32U | pid, std::memory_order_release);
}

enum class Process { gone, there, unknown };

// A process by its pid, and by its start time and pid namespace where they are known (0: not).
Process look_at(std::uint64_t pid, std::uint64_t start, std::uint64_t there) {
    if (pid == 0) return Process::unknown;
    if (pid == static_cast<std::uint64_t>(getpid())) return Process::there;
    const std::uint64_t here = own_pid_namespace();
    if (here == 0 || (there != 0 && there != here)) return Process::unknown;
    if (syscall(SYS_kill, static_cast<long>(pid), 0) != 0 && errno == ESRCH) return Process::gone;
    char path[40];
    stat_path(path, pid);
    char line[1024];
    char state = 0;
    std::uint64_t threads = 0;
    if (read_file(path, line, sizeof line) == 0) return Process::unknown;
    const std::uint64_t now = parse_stat(line, state, threads);
    if (now == 0) return Process::unknown;
    if (start != 0 && now != start) return Process::gone;
    // A zombie whose other threads live is a process whose first thread ended early.
    return (state == 'Z' || state == 'X') && threads < 2 ? Process::gone : Process::there;
}

void reach(Word32& highest, std::uint32_t count) {
    std::uint32_t seen = highest.load(std::memory_order_relaxed);
    while (seen < count && !highest.compare_exchange_weak(seen, count, std::memory_order_acq_rel)) {
    }
}

bool claim_as(Ledger& ledger, std::uint32_t word, unsigned& claimed) {
    // By the robust words first: they cost nothing. /proc is asked only when all slots look taken.
    for (const bool ask_proc : {false, true}) {
        for (unsigned i = 0; i < kSpillSlot; ++i) {
            ProcessSlot& slot = ledger.slots[i];
            std::uint32_t live = slot.live.load(std::memory_order_acquire);
            if (live != 0 && (ask_proc || holds_nothing(live)) && holder_is_gone(slot)) {
                live = slot.live.load(std::memory_order_acquire);
            } else if (live != 0) {
                continue;
            }
            // Before anything can be reserved there: whoever adds up must not stop before it.
            reach(ledger.slots_so_far, i + 1);
            if (slot.live.compare_exchange_strong(live, word, std::memory_order_acq_rel)) {
                claimed = i;
                return true;
            }
        }
    }
    return false;
}

// Takes the slot over from the process's pid: from then on the kernel marks it.
void* hold(void* argument) {
    auto& task = *static_cast<Task*>(argument);
    ProcessSlot& slot = task.ledger->slots[task.slot];
    // The slot is named as pending, so that the kernel marks it even when the process dies between
    // the exchange and the move of the list into the shared page. There it moves because private
    // memory may be gone before the kernel looks (OOM reaper).
    task.list = RobustList{&task.list.head_next, kFutexOffset, &slot.robust.node_next, nullptr};
    const bool marks = syscall(SYS_set_robust_list, &task.list, 3 * sizeof(void*)) == 0;
    const std::uint32_t tid = static_cast<std::uint32_t>(syscall(SYS_gettid)) & kTidMask;
    std::uint32_t by_pid = task.word;
    if (!marks) {
        // Nobody would mark the word of this thread (seccomp, gVisor): the pid stays.
        slot.start_time.store(own_start_time(), std::memory_order_relaxed);
    } else if (slot.live.compare_exchange_strong(by_pid, tid, std::memory_order_acq_rel)) {
        slot.robust =
            RobustList{&slot.robust.node_next, kFutexOffset, nullptr, &slot.robust.head_next};
        std::atomic_signal_fence(std::memory_order_seq_cst);
        syscall(SYS_set_robust_list, &slot.robust, 3 * sizeof(void*));
        slot.start_time.store(own_start_time(), std::memory_order_relaxed);
        // The texts stay; from here on they are those of this word.
        const std::uint64_t pid = slot.holder.load(std::memory_order_relaxed) & 0xffffffffU;
        slot.holder.store(std::uint64_t{tid} << 32U | pid, std::memory_order_release);
    }
    for (;;) syscall(SYS_futex, &task.never, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
}

template <class F>
F libc_as(const char* name) {
    return reinterpret_cast<F>(libc_function(name));
}

using CreateThread = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);

CreateThread thread_maker() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return &pthread_create;  // in unit tests: a sanitizer must see its threads made
#else
    return libc_as<CreateThread>("pthread_create");
#endif
}

// The thread functions moved from libpthread to libc in glibc 2.34 and got a new version there;
// found at run time they work on both sides, and programs without threads need no libpthread for
// the guard's sake.
bool start_thread(Task& task) {
    const CreateThread create = thread_maker();
    const auto attr_init = libc_as<int (*)(pthread_attr_t*)>("pthread_attr_init");
    const auto set_stack =
        libc_as<int (*)(pthread_attr_t*, void*, std::size_t)>("pthread_attr_setstack");
    if (create == nullptr || attr_init == nullptr || set_stack == nullptr) return false;
    // Attributes with a stack hold nothing that would have to be freed, and a thread that never
    // ends need not be detached.
    pthread_attr_t attributes;
    if (attr_init(&attributes) != 0 || set_stack(&attributes, task.stack, kStackBytes) != 0)
        return false;
    std::uint64_t all = ~std::uint64_t{0};
    std::uint64_t before = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    pthread_t thread{};
    const int error = create(&thread, &attributes, hold, &task);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, nullptr, sizeof before);
    return error == 0;
}

std::uint64_t monotonic_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

std::uint64_t parse_stat(const char* text, char& state, std::uint64_t& threads) {
    const char* at = std::strrchr(text, ')');
    if (at == nullptr || at[1] != ' ' || at[2] == '\0') return 0;
    state = at[2];
    at += 3;
    for (int field = 4; field <= 22; ++field) {
        if (*at != ' ') return 0;
        ++at;
        std::uint64_t value = 0;
        if (*at == '-') ++at;
        if (*at < '0' || *at > '9') return 0;
        for (; *at >= '0' && *at <= '9'; ++at)
            value = value * 10 + static_cast<std::uint64_t>(*at - '0');
        if (field == 20) threads = value;
        if (field == 22) return value;
    }
    return 0;
}

bool holder_is_gone(ProcessSlot& slot) {
    std::uint32_t live = slot.live.load(std::memory_order_acquire);
    if (live == 0) return true;
    const bool died = (live & kOwnerDied) != 0;
    const std::uint64_t holder = slot.holder.load(std::memory_order_acquire);
    // Texts of an earlier holder say nothing about a living one; a word with a pid speaks for
    // itself.
    const bool settled = died || holder >> 32U == live;
    const bool by_pid = !died && (live & kHeldByPid) != 0;
    if (!settled && !by_pid) return false;
    const Process process = look_at(
        by_pid ? live & ~kHeldByPid : holder & 0xffffffffU,
        settled ? slot.start_time.load(std::memory_order_relaxed) : 0,
        settled ? slot.pid_namespace.load(std::memory_order_relaxed) : 0
    );
    if (!died) return process == Process::gone && slot.live.load(std::memory_order_acquire) == live;
    if (process == Process::there) {
        const std::uint64_t now = monotonic_ns();
        std::uint64_t since = 0;
        if (slot.died_ns.compare_exchange_strong(since, now)) since = now;
        if (now - since < kExitNs) return false;
    }
    // Free from now on: nobody has to ask again.
    slot.live.compare_exchange_strong(live, 0, std::memory_order_acq_rel);
    return true;
}

bool marked_holder_is_gone(ProcessSlot& slot) {
    return holds_nothing(slot.live.load(std::memory_order_acquire)) && holder_is_gone(slot);
}

SlotClaim claim_slot(Ledger& ledger) {
    SlotClaim claim;
    // Asked for first: the slot is without a name for a moment only.
    const std::uint64_t pid_namespace = own_pid_namespace();
    const std::uint32_t word =
        kHeldByPid | (static_cast<std::uint32_t>(getpid()) & (kHeldByPid - 1));
    if (!claim_as(ledger, word, claim.slot)) {
        reach(ledger.slots_so_far, kSlots);
        ledger.slots[kSpillSlot].live.store(kHeldByPid, std::memory_order_release);
        ledger.spilled.fetch_add(1, std::memory_order_relaxed);
        claim.slot = kSpillSlot;
        claim.spilled = true;
        return claim;
    }
    settle(ledger, claim.slot);
    name_holder(ledger.slots[claim.slot], word, pid_namespace);
    if (Task* task = new_task(); task != nullptr) {
        task->ledger = &ledger;
        task->slot = claim.slot;
        task->word = word;
        claim.by_thread = start_thread(*task);
    }
    if (!claim.by_thread) {
        ledger.slots[claim.slot].start_time.store(own_start_time(), std::memory_order_relaxed);
    }
    return claim;
}

}  // namespace egpu::guard
