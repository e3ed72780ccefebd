// A ledger in memory that children of fork share.
#pragma once

#include <new>

#include <sys/mman.h>

#include "guard/pages.h"

namespace egpu::guard {

class SharedLedger {
  public:
    SharedLedger() {
        void* memory = mmap(
            nullptr, sizeof(Ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0
        );
        if (memory == MAP_FAILED) throw std::bad_alloc();
        ledger_ = static_cast<Ledger*>(memory);
        ledger_->slots_so_far = kSlots;  // tests take slots without claiming them
    }
    ~SharedLedger() { munmap(ledger_, sizeof(Ledger)); }
    SharedLedger(const SharedLedger&) = delete;
    SharedLedger& operator=(const SharedLedger&) = delete;
    Ledger& operator*() { return *ledger_; }
    Ledger* operator->() { return ledger_; }

  private:
    Ledger* ledger_;
};

}  // namespace egpu::guard
