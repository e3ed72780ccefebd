#include "testing/kubelet/pod_life.h"

#include <algorithm>
#include <set>
#include <utility>

namespace egpu::testing {
namespace {

using std::chrono::system_clock;

constexpr int kTerminated = 143;  // 128 + SIGTERM
constexpr int kKilled = 137;      // 128 + SIGKILL

void sooner(std::optional<TimePoint>& wake, TimePoint at) {
    wake = wake ? std::min(*wake, at) : at;
}

class Stepper {
  public:
    Stepper(PodLife& pod, const KubeletOptions& options, TimePoint now)
        : pod_(pod), options_(options), now_(now) {}

    LifeStep run() {
        step_.changed = std::exchange(pod_.dirty, false);
        end_what_is_due();
        if (pod_.status.terminating) {
            terminate();
        } else if (!terminal(pod_) && pod_.admission && pod_.admission->admitted) {
            initialize();
            if (!terminal(pod_) && pod_.initialized) run_apps();
            set_phase();
        }
        for (std::size_t i = 0; i < pod_.containers.size(); ++i) {
            if (running(i) && pod_.containers[i].ends) sooner(step_.wake, *pod_.containers[i].ends);
        }
        return step_;
    }

  private:
    ContainerState state(std::size_t i) const { return pod_.status.containers[i].state; }
    bool running(std::size_t i) const { return state(i) == ContainerState::kRunning; }
    bool succeeded(std::size_t i) const {
        return state(i) == ContainerState::kTerminated && pod_.status.containers[i].exit_code == 0;
    }
    ContainerKind kind(std::size_t i) const { return pod_.spec.containers[i].kind; }

    void end(std::size_t i, int exit_code) {
        end_container(pod_, i, exit_code, options_.restart_delay, now_);
        step_.changed = true;
    }

    void end_all(int exit_code) {
        for (std::size_t i = 0; i < pod_.containers.size(); ++i) {
            if (running(i)) end(i, exit_code);
        }
    }

    void end_what_is_due() {
        for (std::size_t i = 0; i < pod_.containers.size(); ++i) {
            const auto& ends = pod_.containers[i].ends;
            if (running(i) && ends && *ends <= now_) end(i, pod_.spec.containers[i].exit_code);
        }
    }

    void finish(PodPhase phase) {
        end_all(kKilled);
        pod_.status.phase = phase;
        step_.changed = true;
    }

    void terminate() {
        if (pod_.status.gone) return;
        if (!pod_.kill_at) {
            bool any = false;
            for (std::size_t i = 0; i < pod_.containers.size(); ++i) any = any || running(i);
            pod_.kill_at = any ? now_ + pod_.spec.termination : now_;
            step_.changed = true;
        }
        if (now_ < *pod_.kill_at) {
            sooner(step_.wake, *pod_.kill_at);
            return;
        }
        end_all(kTerminated);
        if (!terminal(pod_)) pod_.status.phase = PodPhase::kFailed;
        pod_.status.gone = true;
        step_.changed = true;
        step_.gone = true;
    }

    void start(std::size_t i) {
        if (step_.start) return;
        if (now_ >= pod_.containers[i].start_after) {
            step_.start = i;
        } else {
            sooner(step_.wake, pod_.containers[i].start_after);
        }
    }

    void initialize() {
        for (std::size_t i = 0; i < pod_.containers.size() && kind(i) != ContainerKind::kApp; ++i) {
            if (kind(i) == ContainerKind::kSidecar) {
                if (running(i)) continue;
                start(i);
                if (pod_.initialized) continue;
                return;
            }
            if (pod_.initialized || succeeded(i)) continue;
            if (state(i) == ContainerState::kTerminated &&
                pod_.spec.restart == RestartPolicy::kNever) {
                finish(PodPhase::kFailed);
                return;
            }
            if (!running(i)) start(i);
            return;
        }
        pod_.initialized = true;
    }

    void run_apps() {
        bool all_done = true;
        bool all_well = true;
        for (std::size_t i = 0; i < pod_.containers.size(); ++i) {
            if (kind(i) != ContainerKind::kApp) continue;
            const bool ended = state(i) == ContainerState::kTerminated;
            const bool well = succeeded(i);
            const bool restart = pod_.spec.restart == RestartPolicy::kAlways ||
                                 (pod_.spec.restart == RestartPolicy::kOnFailure && !well);
            if (ended && !restart) {
                all_well = all_well && well;
                continue;
            }
            all_done = false;
            if (!running(i)) start(i);
        }
        if (all_done) finish(all_well ? PodPhase::kSucceeded : PodPhase::kFailed);
    }

    void set_phase() {
        if (terminal(pod_) || pod_.status.phase == PodPhase::kRunning || !pod_.initialized) return;
        for (std::size_t i = 0; i < pod_.containers.size(); ++i) {
            if (kind(i) != ContainerKind::kApp || !pod_.containers[i].started_once) continue;
            pod_.status.phase = PodPhase::kRunning;
            step_.changed = true;
            return;
        }
    }

    PodLife& pod_;
    const KubeletOptions& options_;
    const TimePoint now_;
    LifeStep step_;
};

}  // namespace

Status check_spec(const PodSpec& spec) {
    const auto invalid = [&](const std::string& what) {
        return Error{ErrorCode::kInvalid, "pod " + spec.ns + "/" + spec.name + ": " + what};
    };
    if (spec.uid.empty() || spec.ns.empty() || spec.name.empty()) {
        return invalid("uid, namespace and name must be set");
    }
    std::set<std::string> names;
    bool apps = false;
    for (const auto& container : spec.containers) {
        if (container.name.empty()) return invalid("a container has no name");
        if (!names.insert(container.name).second)
            return invalid("two containers " + container.name);
        if (container.kind == ContainerKind::kApp) {
            apps = true;
        } else if (apps) {
            return invalid("init container " + container.name + " comes after an app container");
        }
        for (const auto& [resource, count] : container.limits) {
            if (count < 0) return invalid("limit " + resource + " is negative");
        }
    }
    if (!apps) return invalid("no app container");
    return {};
}

PodLife new_life(PodSpec spec) {
    PodLife pod;
    pod.status.uid = spec.uid;
    pod.status.ns = spec.ns;
    pod.status.name = spec.name;
    pod.status.started = system_clock::now();
    bool inits = false;
    for (const auto& container : spec.containers) {
        auto& status = pod.status.containers.emplace_back();
        status.name = container.name;
        status.kind = container.kind;
        inits = inits || container.kind != ContainerKind::kApp;
        status.reason = inits ? "PodInitializing" : "ContainerCreating";
    }
    pod.containers.resize(spec.containers.size());
    pod.spec = std::move(spec);
    return pod;
}

bool terminal(const PodLife& pod) {
    return pod.status.phase == PodPhase::kSucceeded || pod.status.phase == PodPhase::kFailed;
}

LifeStep advance(PodLife& pod, const KubeletOptions& options, TimePoint now) {
    return Stepper(pod, options, now).run();
}

void started(PodLife& pod, std::size_t index, DeviceState::Given given, TimePoint now) {
    const auto& spec = pod.spec.containers[index];
    auto& life = pod.containers[index];
    auto& status = pod.status.containers[index];
    if (life.started_once) ++status.restarts;
    life.started_once = true;
    life.ends.reset();
    if (spec.run_for) life.ends = now + *spec.run_for;
    if (!spec.run_for && spec.kind == ContainerKind::kInit) life.ends = now;
    status.state = ContainerState::kRunning;
    status.reason.clear();
    status.message.clear();
    status.exit_code = 0;
    status.started = system_clock::now();
    status.finished = {};
    status.ids = std::move(given.ids);
    status.given = std::move(given.response);
    for (const auto& [key, value] : spec.env) status.given.envs[key] = value;
}

bool start_failed(
    PodLife& pod,
    std::size_t index,
    const std::string& message,
    const KubeletOptions& options,
    TimePoint now
) {
    auto& status = pod.status.containers[index];
    pod.containers[index].start_after = now + options.sync_retry;
    const bool changed = status.state != ContainerState::kWaiting || status.message != message;
    status.state = ContainerState::kWaiting;
    status.reason = "CreateContainerConfigError";
    status.message = message;
    return changed;
}

void end_container(
    PodLife& pod, std::size_t index, int exit_code, Duration restart_after, TimePoint now
) {
    auto& life = pod.containers[index];
    auto& status = pod.status.containers[index];
    life.ends.reset();
    life.start_after = now + restart_after;
    status.state = ContainerState::kTerminated;
    status.reason = exit_code == 0 ? "Completed" : "Error";
    status.exit_code = exit_code;
    status.finished = system_clock::now();
}

void reject(PodLife& pod, Admission admission, TimePoint now) {
    for (std::size_t i = 0; i < pod.containers.size(); ++i) {
        if (pod.status.containers[i].state == ContainerState::kRunning) {
            end_container(pod, i, kKilled, Duration::zero(), now);
        }
    }
    pod.status.phase = PodPhase::kFailed;
    pod.status.reason = admission.reason;
    pod.status.message = admission.message;
    pod.admission = std::move(admission);
}

void lose_power(PodLife& pod, TimePoint now) {
    if (terminal(pod)) return;
    pod.initialized = false;
    for (std::size_t i = 0; i < pod.containers.size(); ++i) {
        auto& status = pod.status.containers[i];
        if (status.state == ContainerState::kRunning) {
            end_container(pod, i, 255, Duration::zero(), now);
        }
        status.state = ContainerState::kWaiting;
        status.reason = "ContainerCreating";
        pod.containers[i].start_after = now;
    }
}

}  // namespace egpu::testing
