#include "simulate/departures.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <queue>
#include <unordered_map>
#include <utility>

#include "simulate/cpu_clock.h"
#include "simulate/machine_room.h"

namespace egpu::simulate {
namespace {

constexpr int kPoints = 100;
constexpr int kPointsPerCause = 5;
constexpr double kWarmUp = 1.0 / 3;

struct Departure {
    double time = 0;
    std::uint64_t order = 0;  // of placement: equal times leave in this order
    Held held;

    bool operator>(const Departure& other) const {
        return std::pair(time, order) > std::pair(other.time, other.order);
    }
};

struct Waiting {
    double since = 0;
    std::uint64_t order = 0;  // of arrival
    double lifetime = 0;
};

class Run {
  public:
    Run(const RunInput& input, const core::FleetOptions& fleet)
        : workload_(input.workload),
          longest_(input.options.longest),
          demand_(demand_of(input.workload)),
          room_(input.cluster, input.scorer, fleet) {
        if (input.scorer.potential == core::Potential::kFragmentation) {
            room_.fleet().know_demand(demand_);
        }
    }

    void run(const std::vector<TimedArrival>& order, RunResult& out, std::atomic<int>& progress) {
        end_ = order.back().time;
        begin_ = end_ * kWarmUp;
        double begin = thread_cpu_seconds();
        int next_point = 0;
        for (const TimedArrival& arrival : order) {
            while (!running_.empty() && running_.top().time <= arrival.time) depart();
            advance(arrival.time);
            arrive(arrival, out);
            if (now_ < next_point * end_ / kPoints) continue;
            out.seconds += thread_cpu_seconds() - begin;
            sample(next_point % kPointsPerCause == 0, out);
            progress = static_cast<int>(1000 * now_ / end_);
            next_point = static_cast<int>(kPoints * now_ / end_) + 1;
            begin = thread_cpu_seconds();
        }
        out.seconds += thread_cpu_seconds() - begin;
        sample(true, out);
        report(out);
    }

  private:
    // Adds up what is allocated and who waits until `time`.
    void advance(double time) {
        const double measured = std::max(0.0, time - std::max(now_, begin_));
        card_seconds_ += measured * room_.allocated_cards();
        waiting_seconds_ += measured * static_cast<double>(waiting_count_);
        now_ = time;
    }

    void arrive(const TimedArrival& arrival, RunResult& out) {
        const TracePod& pod = workload_.pods[arrival.pod];
        const double lifetime = std::min(static_cast<double>(*pod.lifetime), longest_);
        room_.fleet().arrived(pod.shape);
        room_.fleet().refresh_if_due();
        if (now_ >= begin_) ++out.classes[static_cast<std::size_t>(class_of(pod.shape))].arrived;
        const Waiting who{now_, ++arrivals_, lifetime};
        // Like ones that wait already have been tried since anything left.
        auto& line = queue_[pod.shape];
        if (!line.empty() || !start(pod.shape, who)) {
            line.push_back(who);
            ++waiting_count_;
        }
    }

    bool start(const core::Shape& shape, const Waiting& who) {
        const auto held = room_.place(shape, who.order);
        if (!held) return false;
        running_.push({now_ + who.lifetime, ++placements_, *held});
        if (who.since >= begin_) {
            waits_[static_cast<std::size_t>(class_of(shape))].push_back(now_ - who.since);
        }
        return true;
    }

    // Nothing but this node has got more room, so only what fits there has to be tried.
    void depart() {
        const Departure departure = running_.top();
        running_.pop();
        advance(departure.time);
        room_.release(departure.held);
        while (true) {
            const core::Room& here = *room_.fleet().room(departure.held.node);
            std::deque<Waiting>* first = nullptr;
            const core::Shape* shape = nullptr;
            for (auto& [each, line] : queue_) {
                if (line.empty() || !core::fits(here, each)) continue;
                if (first != nullptr && first->front().order < line.front().order) continue;
                first = &line;
                shape = &each;
            }
            if (first == nullptr || !start(*shape, first->front())) return;
            first->pop_front();
            --waiting_count_;
        }
    }

    void sample(bool with_causes, RunResult& out) {
        Sample point{100 * now_ / end_, room_.allocated_pct(), waiting_count_, std::nullopt};
        if (with_causes) point.free_by_cause = room_.free_by_cause(demand_);
        out.curve.push_back(point);
    }

    void report(RunResult& out) {
        const double measured = end_ - begin_;
        out.card_hours = card_seconds_ / 3600;
        out.allocated_mean = 100 * card_seconds_ / (measured * room_.cards());
        out.waiting_mean = waiting_seconds_ / measured;
        out.allocated_at_end = room_.allocated_pct();
        std::array<double, 4> longest_waiting{};
        for (const auto& [shape, line] : queue_) {
            const auto which = static_cast<std::size_t>(class_of(shape));
            for (const Waiting& each : line) {
                if (each.since < begin_) continue;
                ++out.classes[which].waiting;
                longest_waiting[which] = std::max(longest_waiting[which], now_ - each.since);
            }
        }
        for (std::size_t i = 0; i < out.classes.size(); ++i) {
            ClassCount& count = out.classes[i];
            std::vector<double>& waits = waits_[i];
            count.placed = static_cast<std::int64_t>(waits.size());
            out.pods_placed += static_cast<double>(waits.size());
            count.wait_max = longest_waiting[i];
            if (waits.empty()) continue;
            std::sort(waits.begin(), waits.end());
            for (const double wait : waits) count.wait_mean += wait;
            const auto last = static_cast<double>(waits.size() - 1);
            count.wait_mean /= static_cast<double>(waits.size());
            count.wait_p50 = waits[static_cast<std::size_t>(last * 0.5)];
            count.wait_p99 = waits[static_cast<std::size_t>(last * 0.99)];
            count.wait_max = std::max(count.wait_max, waits.back());
        }
    }

    const Workload& workload_;
    double longest_;
    std::vector<core::ShapeWeight> demand_;
    MachineRoom room_;
    double now_ = 0;
    double begin_ = 0;  // of what is measured
    double end_ = 0;
    std::uint64_t arrivals_ = 0;
    std::uint64_t placements_ = 0;
    std::priority_queue<Departure, std::vector<Departure>, std::greater<>> running_;
    std::unordered_map<core::Shape, std::deque<Waiting>, core::ShapeHash> queue_;
    std::int64_t waiting_count_ = 0;
    double card_seconds_ = 0;
    double waiting_seconds_ = 0;
    std::array<std::vector<double>, 4> waits_;
};

}  // namespace

Result<RunResult> replay_with_departures(const RunInput& input) {
    const Workload& workload = input.workload;
    const RunOptions& options = input.options;
    double work = 0;  // card-seconds of one copy
    for (const TracePod& pod : workload.pods) {
        if (!pod.lifetime) {
            return Error{
                ErrorCode::kInvalid,
                "--departures: pod " + pod.name + " of " + workload.name +
                    " has no creation_time and deletion_time"};
        }
        work += pod.shape.gpu() * std::min(static_cast<double>(*pod.lifetime), options.longest);
    }
    if (work <= 0) {
        return Error{
            ErrorCode::kInvalid,
            "--departures: no pod of " + workload.name + " holds a card for a time"};
    }
    const double rate =
        options.inflate * input.cluster.cards() * static_cast<double>(workload.pods.size()) / work;
    EG_TRY(
        const auto order, timed_arrivals(workload, options.order, options.copies, rate, input.seed)
    );
    RunResult out;
    out.workload = workload.name;
    out.policy = input.scorer.name;
    out.seed = input.seed;
    out.allocated_at_100 = -1;
    core::FleetOptions fleet = options.fleet;
    fleet.seed = input.seed;
    Run(input, fleet).run(order, out, input.progress);
    return out;
}

}  // namespace egpu::simulate
