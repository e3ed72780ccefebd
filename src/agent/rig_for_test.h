// One node for tests: simulated cards, an embedded kubelet, an embedded API server and a real
// agent. Pods are created and bound at the API server (with or without a placement, as a scheduler
// would) and handed to the kubelet.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "agent/agent.h"
#include "core/placement.h"
#include "testing/apiserver/api_server.h"
#include "testing/kubelet/kubelet.h"
#include "testing/nvml/sim_state.h"
#include "testing/temp_folder.h"

namespace egpu::agent {

struct RigContainer {
    std::string name;
    int percent = 0;
    int whole = 0;
    testing::ContainerKind kind = testing::ContainerKind::kApp;
    std::vector<int> cards = {};  // of the placement
};

struct RigPod {
    std::string uid;
    std::string name;
    testing::Admission admission;
};

class AgentRig {
  public:
    static constexpr const char* kNode = "edge-1";
    static constexpr const char* kPercent = "nano-gpu/gpu-percent";
    static constexpr const char* kWhole = "nvidia.com/gpu";

    explicit AgentRig(
        testing::Dialect dialect = testing::Dialect::k1_34,
        const std::string& profile = "a10",
        std::function<void(testing::KubeletOptions&)> change = {}
    );

    // Everything but the agent.
    bool up_without_agent();
    // Starts everything; false (with a failure recorded) when it does not come up.
    bool up(bool with_api = true);
    bool start_agent(bool with_api = true);
    void stop_agent() { agent_.reset(); }

    // API object, binding (with the placement when containers name cards) and kubelet admission.
    RigPod run(const std::string& name, const std::vector<RigContainer>& containers);
    RigPod create(const std::string& name, const std::vector<RigContainer>& containers);
    void admit(RigPod& pod, const std::vector<RigContainer>& containers);
    void remove(const RigPod& pod);
    void set_phase(const RigPod& pod, const std::string& phase);

    // Waits for it: all app containers run, the init containers have.
    bool running(const RigPod& pod);
    // Indexes of the cards in the container's environment, sorted; empty when it was given none.
    std::vector<int> given(const RigPod& pod, const std::string& container);
    int used(int card);  // percent, by the agent's ledger
    int healthy(const std::string& resource);
    std::string annotation(const RigPod& pod, const std::string& key);
    std::string uuid(int card) const { return cards_.at(static_cast<std::size_t>(card)).uuid; }
    std::vector<std::string> violations();
    // No record that is not of a running pod, no card above 100.
    bool settled_empty();

    testing::Kubelet& kubelet() { return *kubelet_; }
    testing::ApiServer& api() { return *api_; }
    testing::SimGpus& gpus() { return *gpus_; }
    Agent& agent() { return *agent_; }
    void write_gpus();
    Options options(bool with_api = true) const;
    AgentTiming timing;
    std::function<void(Options&)> adjust;  // of each agent that is started
    const std::filesystem::path& folder() const { return folder_.path(); }

  private:
    testing::TempFolder folder_;
    std::optional<testing::SimGpus> gpus_;
    std::vector<core::Card> cards_;
    std::unique_ptr<testing::ApiServer> api_;
    std::unique_ptr<testing::Kubelet> kubelet_;
    std::unique_ptr<Agent> agent_;
};

bool eventually(const std::function<bool()>& done, Duration timeout = Seconds(15));

}  // namespace egpu::agent
