// A process's place in the ledger: claimed once, held until the process ends however it ends, and
// seen to be free by everyone else without asking anyone.
//
// The holder is a helper thread (128 KiB of stack, all signals blocked) that sleeps for the rest of
// the process's life: the kernel marks the slot's robust futex word when the thread ends, by exit,
// by SIGKILL or by execve, across pid namespaces and without /proc. Until that thread has run, and
// where threads cannot be made, the slot is held by pid: nobody waits for the thread to be
// scheduled.
#pragma once

#include <cstdint>

#include "guard/pages.h"

namespace egpu::guard {

struct SlotClaim {
    unsigned slot = kSpillSlot;
    bool by_thread = false;  // a thread will hold it from some moment on
    bool spilled =
        false;  // no slot was free: kSpillSlot is shared, and what a dead process held there stays
};

// Claims a slot of `ledger` for this process without waiting for anyone. Zeroes what a dead holder
// left, so the caller should audit the totals afterwards.
SlotClaim claim_slot(Ledger& ledger);

// A SlotIsDead for memory_account.h. A holder that died still counts while its process exits (at
// most 2 s after that was first seen): the driver has not given its memory back yet. A holder whose
// robust word says that it lives is compared with /proc by pid and start time, where this process
// can tell (same pid namespace); anything doubtful counts as alive.
bool holder_is_gone(ProcessSlot& slot);
// The same without asking /proc about those that the kernel has not marked.
bool marked_holder_is_gone(ProcessSlot& slot);

// Field 22 (start time) of a /proc/<pid>/stat line, parsed after the last ')': a command name may
// hold anything. 0 when the line is not one. `state` and `threads` get fields 3 and 20.
std::uint64_t parse_stat(const char* text, char& state, std::uint64_t& threads);

}  // namespace egpu::guard
