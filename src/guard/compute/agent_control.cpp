#include "guard/compute/agent_control.h"

#include <algorithm>
#include <cmath>

namespace egpu::guard {

namespace {

constexpr std::uint64_t kDemandNs =
    150'000'000;  // a container that wanted the card this lately wants it
constexpr std::uint64_t kLongestRunNs = 1'000'000'000;
constexpr std::uint64_t kSliceNs = 2'000'000;
constexpr double kSmoothNs = 1500e6;
constexpr double kTrimNs = 2e9;      // measurements of this long are enough for short kernels
constexpr double kEnoughNs = 450e6;  // three of NVML's samples
constexpr std::size_t kMeasurements = 120;  // about 20 s
constexpr double kFlightNs = 8e6;           // charged and not run yet
constexpr double kTrimFloor = 0.01;  // of the card: below it NVML's whole percents say nothing
constexpr double kLowestGain = 0.4;
constexpr double kHighestGain = 2.0;
constexpr std::uint64_t kDrainNs = 600'000'000;
constexpr double kRounding = 0.005;
constexpr double kTrimStep = 0.5;
constexpr double kAlone = static_cast<double>(kAlonePpm) / kWholePpm;
constexpr double kUntold = 0.03;
constexpr double kIdleActive = 0.002;
constexpr double kHeadroom =
    1.1;  // over the card, so that estimates a little high do not throttle a lone container

std::uint32_t ppm(double part) {
    return static_cast<std::uint32_t>(std::lround(std::clamp(part, 0.0, 4.0) * kWholePpm));
}

double grown(std::uint64_t now, std::uint64_t before) {
    return now >= before ? static_cast<double>(now - before) : 0;
}

}  // namespace

std::vector<double> weighted_split(
    double capacity, const std::vector<double>& wants, const std::vector<double>& weights
) {
    std::vector<double> got(wants.size(), 0);
    std::vector<bool> done(wants.size(), false);
    for (std::size_t round = 0; round < wants.size(); ++round) {
        double weight = 0;
        for (std::size_t i = 0; i < wants.size(); ++i) weight += done[i] ? 0 : weights[i];
        if (weight <= 0) break;
        bool changed = false;
        const double unit = std::max(0.0, capacity) / weight;
        for (std::size_t i = 0; i < wants.size(); ++i) {
            if (done[i] || wants[i] > unit * weights[i]) continue;
            got[i] = wants[i];
            capacity -= wants[i];
            done[i] = changed = true;
        }
        if (changed) continue;
        for (std::size_t i = 0; i < wants.size(); ++i) {
            if (!done[i]) got[i] = unit * weights[i];
        }
        break;
    }
    return got;
}

double part_of_active_time(const std::vector<double>& others_active) {
    // probability[n]: n of the others are active
    std::vector<double> probability{1.0};
    for (const double raw : others_active) {
        const double active = std::clamp(raw, 0.0, 1.0);
        if (active < kIdleActive) continue;
        probability.push_back(0);
        for (std::size_t n = probability.size() - 1; n > 0; --n) {
            probability[n] = probability[n] * (1 - active) + probability[n - 1] * active;
        }
        probability[0] *= 1 - active;
    }
    double part = 0;
    for (std::size_t n = 0; n < probability.size(); ++n) {
        part += probability[n] / static_cast<double>(n + 1);
    }
    return part;
}

// Charged and measured over the same time are one quotient: what the estimate is wrong by. Unlike
// the distance from the target it says nothing wrong about a container that wants less than its
// share, and cannot swing. What whole percents and kernels in flight explain is not corrected.
void AgentControl::trim(
    Container& state, const ContainerSample& sample, const Container::Totals& before
) {
    const Container::Totals& now = state.tick;
    if (!sample.measured || sample.mode == ComputeMode::kOff ||
        (!state.measurements.empty() &&
         sample.measured->busy_ns < state.measurements.back().measured_ns)) {
        state.measurements.clear();
        state.gain += (1 - state.gain) * kTrimStep;
        state.part_low = 0;
        state.part_high = 1;
        // Off charges nothing, so nothing can be compared until what was queued then has run.
        if (sample.mode == ComputeMode::kOff) state.compare_from_ns = now.at_ns + kDrainNs;
        if (!sample.measured || sample.mode == ComputeMode::kOff) return;
    }
    if (sample.measured->at_ns < state.compare_from_ns) return;
    // Charges as of the time of the measurement.
    const std::uint64_t at = std::clamp(sample.measured->at_ns, before.at_ns, now.at_ns);
    if (!state.measurements.empty() && at <= state.measurements.back().at_ns) return;
    const double way = grown(at, before.at_ns) / std::max(1.0, grown(now.at_ns, before.at_ns));
    state.measurements.push_back(
        {.at_ns = at,
         .charged_ns = std::lerp(before.charged_ns, now.charged_ns, way),
         .active_ns = std::lerp(before.active_ns, now.active_ns, way),
         .measured_ns = sample.measured->busy_ns}
    );
    if (state.measurements.size() > kMeasurements)
        state.measurements.erase(state.measurements.begin());

    // As far back as it takes for one kernel to weigh little.
    const Container::Totals& last = state.measurements.back();
    const double flight = kFlightNs + static_cast<double>(sample.largest_ns);
    std::size_t first = state.measurements.size() - 1;
    while (first > 0) {
        --first;
        const Container::Totals& from = state.measurements[first];
        if (grown(last.at_ns, from.at_ns) >= kTrimNs &&
            last.charged_ns - from.charged_ns > 20 * flight)
            break;
    }
    const Container::Totals& from = state.measurements[first];
    const double wall = grown(last.at_ns, from.at_ns);
    const double charged = last.charged_ns - from.charged_ns;
    const double active = last.active_ns - from.active_ns;
    const double measured = last.measured_ns - from.measured_ns;
    if (wall < kEnoughNs || charged < kTrimFloor * wall) return;
    const double doubt = kRounding * wall + flight;
    const double low = charged / std::max(measured + doubt, charged / 100);
    const double high = charged / std::max(measured - doubt, charged / 100);
    const double wanted = std::clamp(std::clamp(1.0, low, high), kLowestGain, kHighestGain);
    state.gain += (wanted - state.gain) * kTrimStep;
    if (active > 0) {
        state.part_low = std::clamp((measured - doubt) / active, 0.0, 1.0);
        state.part_high = std::clamp((measured + doubt) / active, 0.02, 1.0);
    }
}

void AgentControl::take(
    Container& state, const ContainerSample& sample, std::uint64_t now_ns, double dt_ns
) {
    const double weight = std::min(1.0, dt_ns / kSmoothNs);
    double charged = 0;
    double active = 0;
    for (const ProcessSample& now : sample.processes) {
        auto [at, fresh] = processes_.try_emplace(now.id);
        Process& process = at->second;
        process.seen = true;
        if (fresh) {
            // A newcomer charged all it has since the last tick; after the agent's own start nobody
            // is known to be new.
            process.last = ticks_ <= 1 ? now : ProcessSample{.id = now.id};
        }
        const double own = grown(now.charged_ns, process.last.charged_ns);
        const double span = grown(now.span_ns, process.last.span_ns);
        const double cost = grown(now.span_cost_ns, process.last.span_cost_ns);
        charged += own;
        // A newcomer's first ticks count more, so that its neighbours know of it at once.
        const double own_weight = std::max(weight, 1.0 / ++process.ticks);
        process.charge_rate += (own / dt_ns - process.charge_rate) * own_weight;
        if (cost > 0)
            process.stretch += (std::clamp(span / cost, 0.2, 20.0) - process.stretch) * own_weight;
        process.last = now;
        active += own * process.stretch;
    }
    state.quick_rate = charged / dt_ns;
    state.charge_rate += (state.quick_rate - state.charge_rate) * weight;
    state.throttled = sample.throttled_ns > state.throttled_ns &&
                      static_cast<double>(sample.throttled_ns - state.throttled_ns) > dt_ns / 50;
    state.throttled_ns = sample.throttled_ns;
    if (!sample.measured) {
        state.measured_rate = 0;
    } else if (sample.measured->at_ns > state.last_measured.at_ns) {
        const double busy = sample.measured->busy_ns - state.last_measured.busy_ns;
        const double time = grown(sample.measured->at_ns, state.last_measured.at_ns);
        state.measured_rate = std::clamp(busy / time, 0.0, 1.0);
        state.last_measured = *sample.measured;
    }
    const Container::Totals before = state.tick;
    state.tick.at_ns = now_ns;
    state.tick.charged_ns += charged;
    state.tick.active_ns += active;
    if (before.at_ns != 0) trim(state, sample, before);
}

std::vector<ContainerControl> AgentControl::tick(
    std::uint64_t now_ns, const std::vector<ContainerSample>& containers
) {
    const double dt = last_tick_ns_ == 0 ? 100e6 : std::max(1e6, grown(now_ns, last_tick_ns_));
    last_tick_ns_ = now_ns;
    ++ticks_;
    for (auto& [id, state] : containers_) state.seen = false;
    for (auto& [id, process] : processes_) process.seen = false;
    for (const ContainerSample& sample : containers) {
        Container& state = containers_[sample.id];
        state.seen = true;
        take(state, sample, now_ns, dt);
    }
    std::erase_if(containers_, [](const auto& entry) { return !entry.second.seen; });
    std::erase_if(processes_, [](const auto& entry) { return !entry.second.seen; });

    // Who is active how much, and who wants the card.
    std::vector<double> active;
    std::vector<std::size_t> owner;
    std::vector<bool> wants(containers.size());
    bool guaranteed_wants = false;
    for (std::size_t i = 0; i < containers.size(); ++i) {
        const ContainerSample& sample = containers[i];
        // Long kernels show no demand while they run, and among neighbours they run long.
        const std::uint64_t running = std::min(3 * sample.largest_ns, kLongestRunNs);
        wants[i] = sample.demand_ns != 0 && sample.demand_ns + kDemandNs + running >= now_ns;
        // What NVML sees and no ledger tells of: mode off, or work that the guard does not see.
        const Container& seen = containers_[sample.id];
        const double untold = seen.measured_rate - std::max(seen.charge_rate, seen.quick_rate);
        if (untold > kUntold && untold > seen.measured_rate / 2) {
            wants[i] = true;
            active.push_back(std::min(1.0, 2 * untold));
            owner.push_back(i);
        }
        guaranteed_wants = guaranteed_wants || (sample.guaranteed && wants[i]);
        for (const ProcessSample& process : sample.processes) {
            const Process& state = processes_[process.id];
            // Work shorter than a slice waits for its turn where no span shows it: beside somebody
            // who always has work it takes its own time from him, as one does who is active twice
            // as long.
            const double turns =
                sample.largest_ns < kSliceNs ? std::max(2.0, state.stretch) : state.stretch;
            active.push_back(wants[i] ? std::min(1.0, state.charge_rate * turns) : 0);
            owner.push_back(i);
        }
    }

    // Lending: promised shares first, then the rest by weight among the soft ones that are held
    // back. A container that is not held back gets some room to grow.
    std::vector<double> need(containers.size(), 0);
    std::vector<double> weights(containers.size(), 0);
    for (std::size_t i = 0; i < containers.size(); ++i) {
        const Container& state = containers_[containers[i].id];
        const double share = containers[i].share_ppm / static_cast<double>(kWholePpm);
        weights[i] = std::max(share, 0.001);
        if (!wants[i]) continue;
        const double growing =
            std::max({state.charge_rate, state.quick_rate, state.measured_rate}) * 1.25 + 0.02;
        need[i] = state.throttled ? 1.0 : growing;
        if (containers[i].mode != ComputeMode::kSoft && containers[i].mode != ComputeMode::kOff)
            need[i] = std::min(need[i], share);
    }
    const std::vector<double> part = weighted_split(1.0, need, weights);

    std::vector<ContainerControl> answers;
    for (std::size_t i = 0; i < containers.size(); ++i) {
        const ContainerSample& sample = containers[i];
        const Container& state = containers_[sample.id];
        ContainerControl answer{.id = sample.id};
        double weight = 0;
        double own_part = 0;
        for (std::size_t p = 0; p < active.size(); ++p) {
            if (owner[p] != i) continue;
            std::vector<double> others;
            for (std::size_t other = 0; other < active.size(); ++other) {
                if (other != p) others.push_back(active[other]);
            }
            const double of_process = std::max(active[p], 1e-6);
            own_part += of_process * part_of_active_time(others);
            weight += of_process;
        }
        std::uint32_t live = 0;
        for (std::size_t p = 0; p < active.size(); ++p) live += active[p] > kIdleActive ? 1 : 0;
        bool self_live = false;
        for (std::size_t p = 0; p < active.size(); ++p) {
            self_live = self_live || (owner[p] == i && active[p] > kIdleActive);
        }
        answer.neighbours = self_live ? live - 1 : live;
        double part_of_active = weight > 0 ? own_part / weight : 1.0;
        bool others_want = false;
        for (std::size_t other = 0; other < containers.size(); ++other) {
            others_want = others_want || (other != i && wants[other]);
        }
        if (others_want || answer.neighbours > 0) {
            // Neighbours that keep step with this container meet it more often than chance says:
            // where NVML measures, the measured part counts.
            part_of_active = std::clamp(part_of_active, state.part_low, state.part_high);
            part_of_active = std::min(part_of_active, kAlone - 0.01);
        }
        answer.contention_ppm = ppm(part_of_active);
        answer.gain_ppm = ppm(state.gain);
        const double share = sample.share_ppm / static_cast<double>(kWholePpm);
        double rate = share;
        if (sample.mode == ComputeMode::kSoft)
            rate = others_want ? std::max(share, part[i]) : kHeadroom;
        answer.rate_ppm = ppm(rate);
        answer.gated = sample.best_effort && guaranteed_wants && !sample.guaranteed;
        answers.push_back(answer);
    }
    return answers;
}

}  // namespace egpu::guard
