// Opening the two files. No state.
#pragma once

#include <cstddef>

#include "guard/pages.h"

namespace egpu::guard {

enum class Folder { there, absent, forbidden };

// The folder of this container's files, opened for openat(); -1 unless `there`.
Folder open_folder(int& fd);
void close_fd(int fd);
// For log lines.
const char* folder_path();

// Maps `limits` read-only. nullptr, with the reason in `wrong`, when it is not there or cannot be
// used.
const LimitsPage* map_limits(int folder, const char*& wrong);
void unmap(const LimitsPage* limits);

// Maps `ledger`; writes its header when it is new and `writable`. nullptr when it cannot be used.
Ledger* map_ledger(int folder, bool writable);
void unmap(Ledger* ledger);

// A ledger of this process's own, for when there is none. nullptr when there is no memory.
Ledger* private_ledger();

}  // namespace egpu::guard
