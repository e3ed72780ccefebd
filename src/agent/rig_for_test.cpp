#include "agent/rig_for_test.h"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "base/json.h"
#include "k8s/placement_annotations.h"

namespace egpu::agent {

bool eventually(const std::function<bool()>& done, Duration timeout) {
    const TimePoint until = MonoClock::now() + timeout;
    while (!done()) {
        if (MonoClock::now() >= until) return false;
        std::this_thread::sleep_for(Millis(2));
    }
    return true;
}

AgentRig::AgentRig(
    testing::Dialect dialect,
    const std::string& profile,
    std::function<void(testing::KubeletOptions&)> change
) {
    auto gpus = testing::SimGpus::make(profile, kNode);
    EXPECT_TRUE(gpus);
    gpus_.emplace(std::move(*gpus));
    cards_ = gpus_->expected_cards();
    ::setenv(testing::kSimNvmlEnv, (folder_ / "nvml").c_str(), 1);
    write_gpus();

    testing::KubeletOptions kubelet;
    kubelet.root = folder_ / "k";
    kubelet.dialect = dialect;
    kubelet.sources_ready = Millis(100);
    kubelet.sync_retry = Millis(50);
    kubelet.restart_delay = Millis(5);
    if (change) change(kubelet);
    kubelet_ = std::make_unique<testing::Kubelet>(kubelet);

    timing.reconcile.settle = Millis(150);
    timing.reconcile.quiet = Millis(30);
    timing.reconcile.fallback = Millis(500);
    timing.wait_for_cards =
        Seconds(5);  // sanitizers are slow; the tests of a late driver set their own
    timing.health.quiet_after_failure = Millis(200);
    timing.health.quiet_after_reset = Millis(200);
    timing.health.quiet_without_action = Millis(200);
    timing.poll_cards = Millis(200);
    timing.poll_unsettled = Millis(50);
}

void AgentRig::write_gpus() {
    ASSERT_TRUE(gpus_->write(folder_ / "nvml"));
}

Options AgentRig::options(bool with_api) const {
    Options options;
    options.node_name = kNode;
    options.kubeconfig = with_api ? (folder_ / "kubeconfig").string() : "";
    options.device_plugin_dir = kubelet_->plugin_folder();
    options.pod_resources_socket = kubelet_->pod_resources_socket();
    options.state_dir = folder_ / "state";
    options.nvml_library = EDGE_GPU_SIM_LIBRARY;
    // By name in the environment: what a pod got can be read from its answer, whatever machine this
    // is.
    options.inject.strategy = "nvidia";
    options.inject.driver_files_dir = options.state_dir / "driver";
    options.listen = "127.0.0.1:0";
    if (adjust) adjust(options);
    return options;
}

bool AgentRig::start_agent(bool with_api) {
    auto agent = Agent::start(options(with_api), timing);
    EXPECT_TRUE(agent) << (agent ? "" : agent.error().message);
    if (!agent) return false;
    agent_ = std::move(*agent);
    return true;
}

bool AgentRig::up_without_agent() {
    auto api = testing::ApiServer::start();
    EXPECT_TRUE(api);
    if (!api) return false;
    api_ = std::move(*api);
    EXPECT_TRUE(api_->write_kubeconfig(folder_ / "kubeconfig"));
    EXPECT_TRUE(api_->create(R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"edge-1"}})"));
    const Status started = kubelet_->start();
    EXPECT_TRUE(started);
    return started.ok();
}

bool AgentRig::up(bool with_api) {
    if (!up_without_agent() || !start_agent(with_api)) return false;
    const auto count = static_cast<std::int64_t>(cards_.size());
    const bool offered = kubelet_->wait_allocatable(kPercent, 100 * count, Seconds(20)) &&
                         kubelet_->wait_allocatable(kWhole, count, Seconds(20));
    EXPECT_TRUE(offered);
    if (!with_api || !offered) return offered;
    const bool synced = eventually([&] { return agent_->pods().connected(); });
    EXPECT_TRUE(synced);
    return synced;
}

RigPod AgentRig::create(const std::string& name, const std::vector<RigContainer>& containers) {
    json::array init;
    json::array app;
    core::Placement placement;
    for (const RigContainer& c : containers) {
        json::object limits;
        if (c.percent > 0) limits[kPercent] = std::to_string(c.percent);
        if (c.whole > 0) limits[kWhole] = std::to_string(c.whole);
        json::object container{
            {"name", c.name},
            {"image", "app"},
            {"resources", json::object{{"limits", std::move(limits)}}}};
        if (c.kind == testing::ContainerKind::kSidecar) container["restartPolicy"] = "Always";
        (c.kind == testing::ContainerKind::kApp ? app : init).push_back(std::move(container));
        if (c.cards.empty()) continue;
        core::ContainerPlacement placed{c.name, {}};
        for (const int card : c.cards) {
            placed.cards.push_back(
                {uuid(card), card, c.whole > 0 ? 100 : std::min(c.percent, 100), 0}
            );
        }
        placement.containers.push_back(std::move(placed));
    }
    json::object spec{{"containers", std::move(app)}};
    if (!init.empty()) spec["initContainers"] = std::move(init);
    const auto pod = api_->create(json::object{
        {"apiVersion", "v1"},
        {"kind", "Pod"},
        {"metadata", json::object{{"name", name}, {"namespace", "default"}}},
        {"spec", std::move(spec)}});
    EXPECT_TRUE(pod) << (pod ? "" : pod.error().message);
    std::map<std::string, std::string> annotations;
    if (!placement.containers.empty()) annotations = k8s::to_annotations(placement);
    EXPECT_TRUE(api_->bind({"pods", "default", name}, kNode, annotations));
    return {pod ? std::string(json::get_string(*pod, {"metadata", "uid"})) : "", name, {}};
}

void AgentRig::admit(RigPod& pod, const std::vector<RigContainer>& containers) {
    testing::PodSpec spec;
    spec.uid = pod.uid;
    spec.name = pod.name;
    for (const RigContainer& c : containers) {
        testing::ContainerSpec container;
        container.name = c.name;
        container.kind = c.kind;
        if (c.percent > 0) container.limits[kPercent] = c.percent;
        if (c.whole > 0) container.limits[kWhole] = c.whole;
        spec.containers.push_back(std::move(container));
    }
    const auto admission = kubelet_->add_pod(std::move(spec));
    EXPECT_TRUE(admission) << (admission ? "" : admission.error().message);
    if (admission) pod.admission = *admission;
}

RigPod AgentRig::run(const std::string& name, const std::vector<RigContainer>& containers) {
    RigPod pod = create(name, containers);
    admit(pod, containers);
    return pod;
}

void AgentRig::remove(const RigPod& pod) {
    EXPECT_TRUE(kubelet_->remove_pod(pod.uid));
    EXPECT_TRUE(api_->remove({"pods", "default", pod.name}, 0));
}

void AgentRig::set_phase(const RigPod& pod, const std::string& phase) {
    EXPECT_TRUE(api_->patch(
        {"pods", "default", pod.name},
        json::object{{"status", json::object{{"phase", phase}}}},
        "status"
    ));
}

bool AgentRig::running(const RigPod& pod) {
    return kubelet_->wait_pod(
        pod.uid,
        [](const testing::PodStatus& s) {
            return s.phase == testing::PodPhase::kRunning &&
                   std::none_of(s.containers.begin(), s.containers.end(), [](const auto& c) {
                       return c.state == testing::ContainerState::kWaiting;
                   });
        },
        Seconds(15)
    );
}

std::vector<int> AgentRig::given(const RigPod& pod, const std::string& container) {
    const auto status = kubelet_->container(pod.uid, container);
    std::vector<int> indexes;
    if (!status) return indexes;
    const auto env = status->given.envs.find("NVIDIA_VISIBLE_DEVICES");
    if (env == status->given.envs.end()) return indexes;
    for (const core::Card& card : cards_) {
        if (env->second.find(card.uuid) != std::string::npos) indexes.push_back(card.index);
    }
    return indexes;
}

int AgentRig::used(int card) {
    int percent = -1;
    agent_->allocator().look([&](const NodeLedger& ledger) {
        for (const CardUse& use : ledger.usage()) {
            if (use.card.index == card) percent = use.percent;
        }
    });
    return percent;
}

int AgentRig::healthy(const std::string& resource) {
    return static_cast<int>(kubelet_->allocatable()[resource]);
}

std::string AgentRig::annotation(const RigPod& pod, const std::string& key) {
    const auto object = api_->get({"pods", "default", pod.name});
    return object ? std::string(json::get_string(*object, {"metadata", "annotations", key})) : "";
}

std::vector<std::string> AgentRig::violations() {
    std::vector<std::string> found;
    agent_->allocator().look([&](const NodeLedger& ledger) { found = ledger.violations(); });
    return found;
}

bool AgentRig::settled_empty() {
    return eventually([&] { return agent_->allocator().records().empty(); });
}

}  // namespace egpu::agent
