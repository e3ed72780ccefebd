// What one run of the load generator does. Flags: load_bench.cpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/clock.h"

namespace egpu::sim::load {

struct Settings {
    int nodes = 1000;
    int cards = 8;
    bool names = true;  // nodeCacheCapable; false: whole Node objects travel
    std::string policy = "binpack";
    Duration api_latency{};
    double rate = 0;   // pods a second, whatever the scheduler can do; 0: always some waiting
    int waiting = 32;  // with rate 0: how many
    int binds = 240;   // binds in flight at most: fewer than --max-connections
    int fill = 60;     // percent of all cards at which pods begin to leave
    Millis warm_up{2000};
    Millis duration{10000};
    bool chaos = false;      // failing writes and breaking watches
    Millis report_every{0};  // a line about memory and progress; 0: none
    std::uint64_t seed = 1;
    std::filesystem::path executable;  // edge-gpu
    std::filesystem::path folder;      // for the scheduler's log and kubeconfig
};

}  // namespace egpu::sim::load
