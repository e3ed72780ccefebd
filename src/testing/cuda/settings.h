// What can be set on the simulated driver. Read at cuInit from the lines `cuda ...` of the node's
// state file, then from the environment variable EDGE_GPU_SIM_CUDA (the same lines without `cuda`,
// separated by ';'), which wins:
//
//   context_mib N     memory a context takes, 300
//   context_ms N      time to create one, 0
//   init_ms N         of cuInit, 0
//   launch_ns N       host time of a launch, 0
//   event_ns N        of an event record or query, 0
//   alloc_ns N        of an allocation, 0
//   copy_gbps N       copies between host and card take time at this rate; 0: none
//   kernel_ns N       a kernel whose name says nothing (modules.h), 1000
//   loop_ns N         one iteration of the kernel spin_loop, 4
//   slice_us N        time slice of a process, 2000; 0: all progress at equal speed
//   switch_ns N       lost when the card changes hands, 0
//   spatial N         1: processes run beside each other, as under MPS
//   pool_grain_mib N  what a memory pool grows by, 32
//   fail CALL CODE [AFTER [COUNT]]
//                     CALL (an exported name, cuMemAlloc_v2) answers CODE; the first
//                     AFTER calls do not (0), then COUNT calls do (1; 0: all)
//
// The card's model (slice, switch, spatial) is made by the first process that computes.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace egpu::testing::cuda {

struct Fault {
    std::string call;
    int code = 0;
    std::uint64_t after = 0;
    std::uint64_t count = 1;
    std::atomic<std::uint64_t> calls{0};
};

struct Settings {
    std::uint64_t context_mib = 300;
    std::uint64_t context_ms = 0;
    std::uint64_t init_ms = 0;
    std::uint64_t launch_ns = 0;
    std::uint64_t event_ns = 0;
    std::uint64_t alloc_ns = 0;
    std::uint64_t copy_gbps = 0;
    std::uint64_t kernel_ns = 1000;
    std::uint64_t loop_ns = 4;
    std::uint64_t slice_us = 2000;
    std::uint64_t switch_ns = 0;
    std::uint64_t spatial = 0;
    std::uint64_t pool_grain_mib = 32;
    std::vector<std::unique_ptr<Fault>> faults;

    // One line; false when it is not understood.
    bool apply(std::string_view line);
    // Several, separated by ';'. False and the line in `wrong`.
    bool apply_all(std::string_view lines, std::string& wrong);
    // The code that this call shall answer, 0: do the work. Thread-safe.
    int fault(const char* call) const;
};

}  // namespace egpu::testing::cuda
