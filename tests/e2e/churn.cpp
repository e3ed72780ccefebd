#include "churn.h"

#include "sim/kubelet_objects.h"

namespace egpu::e2e {

namespace {

json::value container(const std::string& name, const std::string& resource, int amount) {
    return json::object{
        {"name", name},
        {"image", "i"},
        {"resources", json::object{{"limits", json::object{{resource, std::to_string(amount)}}}}}};
}

}  // namespace

json::value random_pod(Random& random, const std::string& name) {
    const std::string share = "nano-gpu/gpu-percent";
    const std::string whole = "nvidia.com/gpu";
    json::array containers;
    json::array inits;
    json::object annotations;
    switch (random.below(10)) {
        case 0:
            containers.push_back(container("main", whole, random.between(1, 2)));
            break;
        case 1:
            containers.push_back(container("main", share, 100 * random.between(1, 2)));
            break;
        case 2:
            containers.push_back(container("front", share, random.between(5, 40)));
            containers.push_back(container("back", share, random.between(5, 40)));
            break;
        case 3: {
            const int percent = random.between(10, 50);
            inits.push_back(container("warm-up", share, percent));
            containers.push_back(container("main", share, percent));
            break;
        }
        case 4: {
            json::value side = container("side", share, random.between(5, 20));
            side.as_object()["restartPolicy"] = "Always";
            inits.push_back(std::move(side));
            containers.push_back(container("main", share, random.between(10, 50)));
            break;
        }
        case 5:
            annotations["edge-gpu.io/policy"] = "spread";
            containers.push_back(container("main", share, random.between(5, 60)));
            break;
        case 6:
            annotations[sim::kAnnotationRunFor] = std::to_string(random.between(50, 800)) + "ms";
            containers.push_back(container("main", share, random.between(5, 60)));
            break;
        default:
            containers.push_back(container("main", share, random.between(5, 60)));
    }
    json::object spec{{"containers", std::move(containers)}};
    if (!inits.empty()) spec["initContainers"] = std::move(inits);
    return json::object{
        {"apiVersion", "v1"},
        {"kind", "Pod"},
        {"metadata",
         json::object{
             {"name", name}, {"namespace", "default"}, {"annotations", std::move(annotations)}}},
        {"spec", std::move(spec)}};
}

Churn::Churn(sim::Cluster& cluster, std::uint64_t seed, std::size_t most)
    : cluster_(cluster), most_(most), random_(seed), thread_([this] { run(); }) {}

Churn::~Churn() {
    {
        const std::scoped_lock lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

void Churn::pause() {
    std::unique_lock lock(mutex_);
    paused_ = true;
    changed_.wait(lock, [this] { return !busy_; });
}

void Churn::resume() {
    {
        const std::scoped_lock lock(mutex_);
        paused_ = false;
    }
    changed_.notify_all();
}

std::uint64_t Churn::created() const {
    const std::scoped_lock lock(mutex_);
    return created_;
}

std::uint64_t Churn::deleted() const {
    const std::scoped_lock lock(mutex_);
    return deleted_;
}

void Churn::run() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        if (paused_) {
            changed_.wait(lock);
            continue;
        }
        busy_ = true;
        lock.unlock();
        step();
        const auto pause = Millis(random_.between(1, 25));
        lock.lock();
        busy_ = false;
        changed_.notify_all();
        changed_.wait_for(lock, pause, [this] { return stopping_ || paused_; });
    }
}

void Churn::step() {
    const auto pods = cluster_.api().list("pods");
    for (const json::value& pod : pods) {
        const auto phase = json::get_string(pod, {"status", "phase"});
        const bool over = phase == "Failed" || phase == "Succeeded";
        if (over && random_.chance(0.3)) {
            (void)cluster_.api().remove(
                {"pods", "default", std::string(json::get_string(pod, {"metadata", "name"}))}
            );
        }
    }
    // Grows when there are few, shrinks when there are many.
    const bool grow = random_.below(most_) >= pods.size() * 2 / 3;
    if (grow && pods.size() < most_) {
        create();
    } else if (!pods.empty()) {
        remove_one(pods);
    }
}

void Churn::create() {
    std::uint64_t number = 0;
    {
        const std::scoped_lock lock(mutex_);
        number = created_++;
    }
    // Names come again: a pod may have the name of one that was deleted a moment ago.
    const std::string name = "p" + std::to_string(number % (3 * most_));
    (void)cluster_.api().create(random_pod(random_, name));
}

void Churn::remove_one(const std::vector<json::value>& pods) {
    const json::value& pod = pods[random_.below(pods.size())];
    const std::string name(json::get_string(pod, {"metadata", "name"}));
    if (!json::get_string(pod, {"metadata", "deletionTimestamp"}).empty()) return;
    if (!cluster_.api().remove({"pods", "default", name}).ok()) return;
    const std::scoped_lock lock(mutex_);
    ++deleted_;
}

}  // namespace egpu::e2e
