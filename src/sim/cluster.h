// A whole cluster on this machine: an embedded API server, kubelets and a small kube-scheduler in
// this process, and the real `edge-gpu scheduler` and `edge-gpu agent` as child processes with
// simulated cards. For the demo and the end-to-end tests.
//
// Everything lives in one folder; stop() (or a start() that fails half-way) ends every process and
// removes what it made. Not thread-safe: one thread drives it, and it must outlive the children it
// started (see process.h). The accessors' objects are thread-safe themselves.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/stop.h"
#include "k8s/client.h"
#include "k8s/kubeconfig.h"
#include "sim/kube_scheduler.h"
#include "sim/kubelet_sync.h"
#include "sim/process.h"
#include "testing/apiserver/api_server.h"
#include "testing/kubelet/kubelet.h"
#include "testing/nvml/sim_state.h"

namespace egpu::sim {

struct NodeSpec {
    std::string name;
    std::string profile;  // of the simulated cards: "t4", "a10", "h100", …
    testing::Dialect dialect = testing::Dialect::k1_34;
    std::map<std::string, std::string> labels = {};
};

struct ClusterOptions {
    std::vector<NodeSpec> nodes;
    std::filesystem::path executable;    // edge-gpu; "": this program
    std::filesystem::path nvml_library;  // "": ../lib/sim/libnvidia-ml.so.1 beside the executable
    std::filesystem::path folder;        // "": a fresh one in $TMPDIR or /tmp; removed by stop()
    bool keep_folder = false;
    std::filesystem::path log_folder;  // "": <folder>/log
    int api_port = 0;                  // 0: the kernel picks one
    bool tls = false;
    bool node_cache_capable = true;
    std::string policy = "binpack";
    std::string log_level = "info";
    QueueTimes queue{Millis(200), Seconds(2), Seconds(30)};
    Duration kubelet_tick = Millis(200);
    Duration kubelet_sources_ready = Millis(100);
    Duration start_timeout = Seconds(30);
    std::uint64_t seed = 1;
    std::vector<std::string> scheduler_arguments;  // added to its command line
    std::vector<std::string> agent_arguments;
};

// One simulated node.
class SimulatedNode {
  public:
    const NodeSpec& spec() const { return spec_; }
    testing::Kubelet& kubelet() { return *kubelet_; }
    const testing::Kubelet& kubelet() const { return *kubelet_; }
    Process& agent() { return agent_; }
    // Change them, then write_gpus(): the agent's NVML follows at once.
    testing::SimGpus& gpus() { return *gpus_; }
    const testing::SimGpus& gpus() const { return *gpus_; }
    Status write_gpus() { return gpus_->write(gpu_file_); }

    // stop() and start() of the kubelet; containers go on.
    Status restart_kubelet();

  private:
    friend class Cluster;
    NodeSpec spec_;
    std::filesystem::path gpu_file_;
    std::filesystem::path state_folder_;
    int metrics_port_ = 0;
    std::optional<testing::SimGpus> gpus_;
    std::unique_ptr<testing::Kubelet> kubelet_;
    std::unique_ptr<KubeletSync> sync_;
    Process agent_;
    bool agent_expected_ = false;
};

class Cluster {
  public:
    // Ready when it returns: all nodes registered with all their devices, the extender serves.
    // `stop`: gives up early (kStopped).
    static Result<std::unique_ptr<Cluster>> start(ClusterOptions options, StopToken stop);
    ~Cluster();  // stop() without its verdict
    Cluster(const Cluster&) = delete;
    Cluster& operator=(const Cluster&) = delete;

    // Ends the processes (SIGTERM, then SIGKILL) and removes the folder. An error when one of them
    // did not end in order (crashed, sanitizer report, had to be killed). Idempotent.
    Status stop();
    // The folder stays, to find out what went wrong.
    void keep_folder() { options_.keep_folder = true; }

    testing::ApiServer& api() { return *api_; }
    const testing::ApiServer& api() const { return *api_; }
    KubeScheduler& kube_scheduler() { return *kube_scheduler_; }
    std::vector<std::unique_ptr<SimulatedNode>>& nodes() { return nodes_; }
    const std::vector<std::unique_ptr<SimulatedNode>>& nodes() const { return nodes_; }
    SimulatedNode& node(const std::string& name);

    const std::filesystem::path& folder() const { return folder_; }
    const std::filesystem::path& log_folder() const { return log_folder_; }
    std::filesystem::path kubeconfig() const { return folder_ / "kubeconfig"; }
    std::string scheduler_url() const;
    std::string agent_url(const SimulatedNode& node) const;

    Process& scheduler() { return scheduler_; }
    // SIGKILL; start_…() brings it back with the same command line.
    void kill_scheduler();
    Status start_scheduler();
    void kill_agent(SimulatedNode& node);
    Status start_agent(SimulatedNode& node);

    // All processes up, extender ready, every node's healthy devices offered where nothing holds
    // them. The error says what is missing.
    Status wait_ready(Duration timeout, StopToken stop);
    // Processes that ended without being told to, with the end of their logs.
    std::vector<std::string> crashed();

    // GET of a URL of one of the processes: the body of a 200.
    static Result<std::string> fetch(const std::string& url, Duration deadline);

  private:
    explicit Cluster(ClusterOptions options) : options_(std::move(options)) {}
    Status set_up(const StopToken& stop);
    Status make_folder();
    Status start_api();
    Status make_node(const NodeSpec& spec, int number);
    std::string missing();
    Result<k8s::Client> client() const;

    ClusterOptions options_;
    std::filesystem::path folder_;
    std::filesystem::path log_folder_;
    bool made_folder_ = false;
    std::unique_ptr<testing::ApiServer> api_;
    std::vector<std::unique_ptr<SimulatedNode>> nodes_;
    std::unique_ptr<KubeScheduler> kube_scheduler_;
    Process scheduler_;
    bool scheduler_expected_ = false;
    int scheduler_port_ = 0;
};

// <executable's folder>/../lib/sim/libnvidia-ml.so.1; kNotFound says how to build it.
Result<std::filesystem::path> find_sim_nvml(const std::filesystem::path& executable);

}  // namespace egpu::sim
