// The memory of a container on one card that nobody accounts for (contexts, modules, what libraries
// make the driver take), estimated from what NVML measures and what the ledger claims.
//
// The two are not read at the same instant, and what is charged wrongly makes an honest allocation
// fail. So the estimate rises to what each of the last three measurements exceeded the claims by,
// and falls at once. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace egpu::isolation {

class OverheadEstimate {
  public:
    // One measurement, about a second after the last: bytes in use by the container's processes
    // (none: the driver does not tell), and what its ledger claims, the higher of before and after.
    void add(std::optional<std::uint64_t> measured, std::uint64_t claimed);
    // No process of the container is on the card, or nothing could be measured for long.
    void clear();

    // In whole MiB; nullopt until enough is known.
    std::optional<std::uint64_t> bytes() const;

  private:
    static constexpr std::size_t kWindow = 3;
    static constexpr std::size_t kEnough = 2;
    std::deque<std::uint64_t> beyond_;
    bool none_ = false;
};

}  // namespace egpu::isolation
