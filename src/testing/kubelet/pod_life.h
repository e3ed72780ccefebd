// The life of one pod on the simulated runtime as a state machine: what has to be started next,
// what ended by itself, the phase. Pure: time comes in as a value, the owner of the lock calls it.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "testing/kubelet/device_state.h"
#include "testing/kubelet/kubelet.h"

namespace egpu::testing {

struct PodLife {
    struct Container {
        std::optional<TimePoint> ends;
        TimePoint start_after{};  // back-off
        bool started_once = false;
        bool was_running = false;  // when the kubelet started
    };

    PodSpec spec;
    PodStatus status;
    std::optional<Admission> admission;  // none: not decided yet
    std::vector<Container> containers;   // as in spec
    bool initialized = false;            // init containers are through
    bool dirty = false;                  // changed from outside advance(), not reported yet
    std::optional<TimePoint> kill_at;
};

struct LifeStep {
    bool changed = false;              // the status is worth reporting
    std::optional<std::size_t> start;  // this container has to be started now
    std::optional<TimePoint> wake;     // nothing changes before
    bool gone = false;
};

PodLife new_life(PodSpec spec);
// kInvalid for specs that no API server would have let through.
Status check_spec(const PodSpec& spec);
bool terminal(const PodLife& pod);

LifeStep advance(PodLife& pod, const KubeletOptions& options, TimePoint now);
void started(PodLife& pod, std::size_t index, DeviceState::Given given, TimePoint now);
// False when it changed nothing that shows.
bool start_failed(
    PodLife& pod,
    std::size_t index,
    const std::string& message,
    const KubeletOptions& options,
    TimePoint now
);
void end_container(
    PodLife& pod, std::size_t index, int exit_code, Duration restart_after, TimePoint now
);
// Failed for good; its containers are killed.
void reject(PodLife& pod, Admission admission, TimePoint now);
// The machine went down: nothing runs, init containers have to run again.
void lose_power(PodLife& pod, TimePoint now);

}  // namespace egpu::testing
