// Test only: the workloads and tenants that the tests and the report run on a virtual card.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "guard/compute/virtual_card_for_test.h"

namespace egpu::guard {

struct Workload {
    std::string name;
    std::vector<Shape> shapes;  // drawn at random when there are several
    int sync_every = 0;         // launches between synchronisations; 0: never
    double jitter = 0;          // the cost of each launch varies by this part, up and down
    int streams = 1;
    std::uint64_t launch_ns = 3'000;  // host time of a launch
    std::uint64_t idle_ns = 0;        // host work after each synchronisation
};

struct Tenant {
    double share = 1;
    Workload work;
    ComputeMode mode = ComputeMode::kHard;
    int processes = 1;
    int threads = 1;  // of each process
};

struct Scenario {
    std::string name;
    std::vector<Tenant> tenants;
    std::uint64_t seconds = 10;
    testing::SmConfig card{};
    bool nvml = true;
    bool agent = true;
    HostCosts host{};
};

struct Outcome {
    std::vector<double> achieved;  // of each tenant, from convergence to the end
    std::vector<double> worst;     // largest distance from the share over windows in that time
    std::vector<double> sm_share;  // part of the SMs' time, from the start
    std::uint64_t window_ns = 0;   // their length
};

ComputePolicy policy_of(double share, ComputeMode mode);
// Runs the workload for ever; to be a body of VirtualCard::add_app.
std::function<void(App&)> body_of(const Workload& workload, std::uint64_t seed);
// Convergence is 1 s alone and 3 s among several tenants.
Outcome run(const Scenario& scenario, std::uint64_t seed);

std::vector<Workload> workloads();
// 10, 30 and 50 percent alone, for every workload.
std::vector<Scenario> alone();
// 30/70, 20/20, 4 x 25 and 10/90, for every workload and for unequal neighbours.
std::vector<Scenario> contended();

}  // namespace egpu::guard
