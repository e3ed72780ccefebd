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
constexpr std::size_t kStackBytes = 64 * 1024;
constexpr long kFutexOffset =
    static_cast<long>(offsetof(ProcessSlot, live)) -
    static_cast<long>(offsetof(ProcessSlot, robust) + offsetof(RobustList, node_next));

struct Handshake {
    Ledger* ledger = nullptr;
    // 0: the thread has not begun; 1: it claimed `slot`; 2: no slot was free; 3: the waiting side
    // gave up.
    std::atomic<std::uint32_t> state{0};
    unsigned slot = kSpillSlot;
    RobustList
        list{};  // covers the moment between the claim and the move of the list into the slot
};

// Lives as long as the process: the helper thread reads it. One per claim, mapped, never freed.
Handshake* new_handshake() {
    void* memory = mmap(
        nullptr, sizeof(Handshake), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0
    );
    return memory == MAP_FAILED ? nullptr : new (memory) Handshake;
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
void settle(ProcessSlot& slot, std::uint32_t word) {
    for (Word64& used : slot.used) used.store(0, std::memory_order_seq_cst);
    std::memset(static_cast<void*>(&slot.stats), 0, sizeof slot.stats + sizeof slot.compute);
    slot.died_ns.store(0, std::memory_order_relaxed);
    ++slot.claims;
    slot.start_time.store(own_start_time(), std::memory_order_relaxed);
    slot.pid_namespace.store(own_pid_namespace(), std::memory_order_relaxed);
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

bool claim_as(Ledger& ledger, std::uint32_t word, RobustList* list, unsigned& claimed) {
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
            if (list != nullptr) list->pending = &slot.robust.node_next;
            std::atomic_signal_fence(std::memory_order_seq_cst);
            if (slot.live.compare_exchange_strong(live, word, std::memory_order_acq_rel)) {
                claimed = i;
                return true;
            }
        }
    }
    if (list != nullptr) list->pending = nullptr;
    return false;
}

void* hold(void* argument) {
    auto& hand = *static_cast<Handshake*>(argument);
    // An empty list that points to itself; a slot under claim is named as pending, so that the
    // kernel marks it even when the process dies in the middle.
    hand.list = RobustList{&hand.list.head_next, kFutexOffset, nullptr, nullptr};
    syscall(SYS_set_robust_list, &hand.list, 3 * sizeof(void*));
    const auto tid = static_cast<std::uint32_t>(syscall(SYS_gettid));
    std::uint32_t result = 2;
    if (claim_as(*hand.ledger, tid & kTidMask, &hand.list, hand.slot)) {
        ProcessSlot& slot = hand.ledger->slots[hand.slot];
        // The list moves into the shared page: private memory may be gone before the kernel looks
        // (OOM reaper).
        slot.robust =
            RobustList{&slot.robust.node_next, kFutexOffset, nullptr, &slot.robust.head_next};
        std::atomic_signal_fence(std::memory_order_seq_cst);
        syscall(SYS_set_robust_list, &slot.robust, 3 * sizeof(void*));
        settle(slot, tid & kTidMask);
        result = 1;
    }
    std::uint32_t expected = 0;
    if (!hand.state.compare_exchange_strong(expected, result, std::memory_order_acq_rel)) {
        // The waiting side gave up meanwhile: the slot is given back.
        if (result == 1) hand.ledger->slots[hand.slot].live.store(0, std::memory_order_release);
        return nullptr;
    }
    syscall(SYS_futex, &hand.state, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
    if (result != 1) return nullptr;
    for (;;) syscall(SYS_futex, &hand.state, FUTEX_WAIT_PRIVATE, 1, nullptr, nullptr, 0);
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
bool start_thread(Handshake& hand) {
    const CreateThread create = thread_maker();
    const auto attr_init = libc_as<int (*)(pthread_attr_t*)>("pthread_attr_init");
    const auto set_stack =
        libc_as<int (*)(pthread_attr_t*, std::size_t)>("pthread_attr_setstacksize");
    const auto set_detached = libc_as<int (*)(pthread_attr_t*, int)>("pthread_attr_setdetachstate");
    const auto attr_destroy = libc_as<int (*)(pthread_attr_t*)>("pthread_attr_destroy");
    if (create == nullptr || attr_init == nullptr || set_stack == nullptr ||
        set_detached == nullptr || attr_destroy == nullptr) {
        return false;
    }
    pthread_attr_t attributes;
    if (attr_init(&attributes) != 0) return false;
    set_stack(&attributes, kStackBytes);
    set_detached(&attributes, PTHREAD_CREATE_DETACHED);
    std::uint64_t all = ~std::uint64_t{0};
    std::uint64_t before = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    pthread_t thread{};
    const int error = create(&thread, &attributes, hold, &hand);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, nullptr, sizeof before);
    attr_destroy(&attributes);
    return error == 0;
}

std::uint64_t monotonic_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(now.tv_nsec);
}

// The helper thread's result; 0 when it did not come within a second.
std::uint32_t wait_for(Handshake& hand) {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    const std::int64_t deadline = now.tv_sec * 1000 + now.tv_nsec / 1000000 + 1000;
    for (;;) {
        const std::uint32_t state = hand.state.load(std::memory_order_acquire);
        if (state != 0) return state;
        clock_gettime(CLOCK_MONOTONIC, &now);
        const std::int64_t left = deadline - (now.tv_sec * 1000 + now.tv_nsec / 1000000);
        if (left <= 0) break;
        const timespec wait{left / 1000, (left % 1000) * 1000000};
        syscall(SYS_futex, &hand.state, FUTEX_WAIT_PRIVATE, 0, &wait, nullptr, 0);
    }
    std::uint32_t expected = 0;
    return hand.state.compare_exchange_strong(expected, 3, std::memory_order_acq_rel) ? 0
                                                                                      : expected;
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

SlotClaim claim_slot(Ledger& ledger) {
    SlotClaim claim;
    Handshake* hand = new_handshake();
    if (hand != nullptr) {
        hand->ledger = &ledger;
        if (start_thread(*hand)) {
            const std::uint32_t result = wait_for(*hand);
            if (result == 1) {
                claim.slot = hand->slot;
                claim.by_thread = true;
                return claim;
            }
        }
    }
    const std::uint32_t word =
        kHeldByPid | (static_cast<std::uint32_t>(getpid()) & (kHeldByPid - 1));
    if (claim_as(ledger, word, nullptr, claim.slot)) {
        settle(ledger.slots[claim.slot], word);
        return claim;
    }
    ledger.slots[kSpillSlot].live.store(kHeldByPid, std::memory_order_release);
    ledger.spilled.fetch_add(1, std::memory_order_relaxed);
    claim.slot = kSpillSlot;
    claim.spilled = true;
    return claim;
}

}  // namespace egpu::guard
