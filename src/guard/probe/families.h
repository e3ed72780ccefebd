// Test only: every way to get memory of the card, with the way to give it back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "guard/probe/probe.h"

namespace probe {

struct Family {
    const char* name;
    std::function<int(std::size_t, std::uint64_t&)> allocate;
    std::function<void(std::uint64_t)> release;
};

const std::vector<Family>& families();
// The pool that the family "pool" takes from.
CUmemoryPool own_pool();

}  // namespace probe
