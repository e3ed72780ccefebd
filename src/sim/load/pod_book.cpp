#include "sim/load/pod_book.h"

#include <algorithm>
#include <utility>

#include "base/json.h"

namespace egpu::sim::load {

namespace {

constexpr int kMostTries = 10;
constexpr std::size_t kMostQueued = 1000;  // those that fit nowhere for now included
constexpr Duration kBackOff = Millis(100);

constexpr std::size_t kOpenNodes = 8;

// "2,3": the first cards that can take it; "" when they cannot.
std::string take_cards(std::vector<int>& free, int percent) {
    const int each = std::min(percent, 100);
    std::vector<std::size_t> chosen;
    for (std::size_t c = 0; c < free.size() && static_cast<int>(chosen.size()) * each < percent;
         ++c) {
        if (free[c] >= each) chosen.push_back(c);
    }
    if (static_cast<int>(chosen.size()) * each < percent) return "";
    std::string out;
    for (const std::size_t c : chosen) {
        free[c] -= each;
        out += (out.empty() ? "" : ",") + std::to_string(c);
    }
    return out;
}

testing::ObjectRef pod_ref(const std::string& pod) {
    return {"pods", "default", pod};
}

}  // namespace

PodBook::PodBook(const Settings& settings, testing::ApiServer& api)
    : settings_(settings), api_(api), random_(settings.seed) {}

// First fit, so that some nodes are full, some are empty and one is in between.
void PodBook::fill() {
    const std::int64_t all = std::int64_t{100} * settings_.nodes * settings_.cards;
    std::vector<std::vector<int>> free(
        static_cast<std::size_t>(settings_.nodes),
        std::vector<int>(static_cast<std::size_t>(settings_.cards), 100)
    );
    std::size_t first = 0;  // all before it are full, or nearly
    for (int misses = 0; used_percent_ * 100 < all * settings_.fill && misses < 1000; ++made_) {
        PodPlan plan = draw_pod(made_, random_);
        plan.name = "filled-" + std::to_string(made_);
        std::string cards;
        std::size_t at = first;
        for (; at < std::min(free.size(), first + kOpenNodes) && cards.empty(); ++at) {
            cards = take_cards(free[at], plan.percent);
        }
        if (cards.empty()) {
            ++misses;
            if (first + kOpenNodes < free.size()) ++first;
            continue;
        }
        json::value pod = pod_object(plan);
        pod.at("spec").as_object()["nodeName"] = node_name(static_cast<int>(at) - 1);
        pod.at("metadata").as_object()["annotations"] =
            json::object{{"nano-gpu/assume", "true"}, {"nano-gpu/container-main", cards}};
        pod.as_object()["status"] = json::object{{"phase", "Running"}};
        EG_CHECK(api_.load(std::move(pod)).ok());
        used_percent_ += plan.percent;
        running_.push_back({plan.name, plan.percent});
    }
}

void PodBook::make(TimePoint due) {
    PodPlan plan = draw_pod(made_++, random_);
    auto made = api_.create(pod_object(plan));
    EG_CHECK(made.ok());
    Waiting pod;
    pod.uid = json::get_string(*made, {"metadata", "uid"});
    pod.text = json::to_text(*made);
    pod.plan = std::move(plan);
    pod.arrived = due;
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(pod));
    ++open_;
}

void PodBook::live(TimePoint now, bool last) {
    if (!last && settings_.rate > 0) {
        if (next_arrival_ == TimePoint{}) next_arrival_ = now;
        const auto gap =
            std::chrono::duration_cast<Duration>(std::chrono::duration<double>(1 / settings_.rate));
        for (; next_arrival_ <= now; next_arrival_ += gap) make(next_arrival_);
    } else if (!last) {
        std::size_t there = 0;
        {
            const std::lock_guard lock(mutex_);
            for (const Waiting& pod : queue_) there += pod.not_before <= now ? 1 : 0;
            if (queue_.size() > kMostQueued) there = queue_.size();
        }
        for (; there < static_cast<std::size_t>(settings_.waiting); ++there) make(now);
    }
    end_some();
}

// Half of them complete, half are deleted while they run.
void PodBook::end_some() {
    std::vector<Running> ending;
    {
        const std::lock_guard lock(mutex_);
        const std::int64_t all = std::int64_t{100} * settings_.nodes * settings_.cards;
        while (used_percent_ * 100 > all * settings_.fill && !running_.empty()) {
            std::swap(running_[random_.below(running_.size())], running_.back());
            used_percent_ -= running_.back().percent;
            ending.push_back(std::move(running_.back()));
            running_.pop_back();
        }
    }
    for (const Running& pod : ending) {
        if (random_.chance(0.5)) {
            static_cast<void>(api_.patch(
                pod_ref(pod.name), json::object{{"status", {{"phase", "Succeeded"}}}}, "status"
            ));
        }
        static_cast<void>(api_.remove(pod_ref(pod.name), 0));
    }
}

std::optional<Waiting> PodBook::next(TimePoint now) {
    const std::lock_guard lock(mutex_);
    for (std::size_t tried = 0; tried < queue_.size(); ++tried) {
        Waiting pod = std::move(queue_.front());
        queue_.pop_front();
        if (pod.not_before <= now) return pod;
        queue_.push_back(std::move(pod));
    }
    return std::nullopt;
}

void PodBook::bound(Waiting pod) {
    const std::lock_guard lock(mutex_);
    --open_;
    used_percent_ += pod.plan.percent;
    running_.push_back({std::move(pod.plan.name), pod.plan.percent});
}

void PodBook::failed(Waiting pod, TimePoint now) {
    {
        const std::lock_guard lock(mutex_);
        if (++pod.tries < kMostTries) {
            pod.not_before = now + kBackOff * pod.tries;
            queue_.push_back(std::move(pod));
            return;
        }
        ++given_up_;
        --open_;
    }
    static_cast<void>(api_.remove(pod_ref(pod.plan.name), 0));
}

std::size_t PodBook::running() const {
    const std::lock_guard lock(mutex_);
    return running_.size();
}

std::size_t PodBook::waiting() const {
    const std::lock_guard lock(mutex_);
    return open_;
}

std::uint64_t PodBook::given_up() const {
    const std::lock_guard lock(mutex_);
    return given_up_;
}

}  // namespace egpu::sim::load
