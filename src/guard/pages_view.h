// The two pages for a process that has no place in the ledger: one that only asks NVML
// (nvidia-smi). Both are mapped read-only; nothing is claimed or written, and no thread is made.
#pragma once

#include "guard/pages.h"

namespace egpu::guard {

struct PagesView {
    const LimitsPage* limits = nullptr;
    const Ledger* ledger = nullptr;  // may be missing beside limits
};

// Of this container, mapped at the first call; both null where there is none.
PagesView view_pages();

}  // namespace egpu::guard
