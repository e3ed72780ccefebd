#include "sim/cluster.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <system_error>
#include <thread>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/files.h"
#include "base/log.h"
#include "core/request.h"
#include "gpu/cards_annotation.h"
#include "http/client.h"

namespace egpu::sim {

namespace {

namespace fs = std::filesystem;

// Unix socket paths end at 107 bytes: what is left for a kubelet's root beside its sockets' names.
constexpr std::size_t kLongestRoot = 48;
constexpr Duration kStopGrace = Seconds(10);
constexpr int kTerminated = 128 + SIGTERM;  // told to end before it could listen to signals

// A port that was free a moment ago: restarts have to come back on the same one, so the kernel's
// choice at bind time is no use.
Result<int> pick_port() {
    const Fd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (!probe.valid() || ::bind(probe.get(), generic, size) != 0 ||
        ::getsockname(probe.get(), generic, &size) != 0) {
        return errno_error("look for a free port on 127.0.0.1", errno);
    }
    return static_cast<int>(ntohs(address.sin_port));
}

std::string random_token() {
    std::uint8_t bytes[16] = {};
    EG_CHECK(::getrandom(bytes, sizeof bytes, 0) == sizeof bytes);
    std::string out;
    for (const std::uint8_t b : bytes) {
        out += "0123456789abcdef"[b >> 4];
        out += "0123456789abcdef"[b & 15];
    }
    return out;
}

std::string version_of(testing::Dialect dialect) {
    return dialect == testing::Dialect::k1_21 ? "v1.21.2" : "v1.34.9";
}

}  // namespace

Result<fs::path> find_sim_nvml(const fs::path& executable) {
    const fs::path path =
        (executable.parent_path() / ".." / "lib" / "sim" / "libnvidia-ml.so.1").lexically_normal();
    std::error_code failure;
    if (fs::exists(path, failure)) return path;
    return Error{
        ErrorCode::kNotFound,
        "the simulated NVML library is not at " + path.string() +
            "; build the target egpu_sim_nvml, or name it with --sim-nvml"};
}

Status SimulatedNode::restart_kubelet() {
    kubelet_->stop();
    return kubelet_->start();
}

Result<std::unique_ptr<Cluster>> Cluster::start(ClusterOptions options, StopToken stop) {
    std::unique_ptr<Cluster> cluster(new Cluster(std::move(options)));
    Status done = cluster->set_up(stop);
    if (!done) {
        (void)cluster->stop();
        return done.error();
    }
    return cluster;
}

Cluster::~Cluster() {
    (void)stop();
}

Status Cluster::make_folder() {
    std::size_t longest_name = 0;
    for (const NodeSpec& node : options_.nodes) {
        longest_name = std::max(longest_name, node.name.size());
    }
    const std::size_t longest = kLongestRoot - std::min(kLongestRoot, longest_name + 1);
    folder_ = options_.folder;
    if (folder_.empty()) {
        const char* base = ::getenv("TMPDIR");
        std::string pattern = base != nullptr && *base != '\0' ? base : "/tmp";
        pattern += "/edge-gpu-XXXXXX";
        if (pattern.size() > longest) pattern = "/tmp/edge-gpu-XXXXXX";
        if (::mkdtemp(pattern.data()) == nullptr) return errno_error("make " + pattern, errno);
        folder_ = pattern;
    } else {
        if (folder_.string().size() > longest) {
            return Error{
                ErrorCode::kInvalid,
                "the path of the folder " + folder_.string() +
                    " is too long for unix sockets; use one of " + std::to_string(longest) +
                    " characters at most"};
        }
        EG_TRY_VOID(make_directories(folder_, 0700));
    }
    made_folder_ = true;
    log_folder_ = options_.log_folder.empty() ? folder_ / "log" : options_.log_folder;
    return make_directories(log_folder_);
}

Status Cluster::start_api() {
    testing::ApiServerOptions api;
    api.listen = "127.0.0.1:" + std::to_string(options_.api_port);
    api.bearer_token = random_token();
    if (options_.tls) {
        EG_TRY_VOID(make_directories(folder_ / "tls", 0700));
        EG_TRY(const testing::TlsFiles files, testing::make_tls_files(folder_ / "tls"));
        api.tls_cert_file = files.cert_file;
        api.tls_key_file = files.key_file;
        api.ca_file = files.ca_file;
    }
    EG_TRY(api_, testing::ApiServer::start(std::move(api)));
    return api_->write_kubeconfig(kubeconfig());
}

Result<k8s::Client> Cluster::client() const {
    EG_TRY(const k8s::Config config, k8s::load_kubeconfig(kubeconfig()));
    k8s::ApiClientOptions options;
    options.max_idle = 16;
    return k8s::Client::open(config, options);
}

Status Cluster::make_node(const NodeSpec& spec, int number) {
    auto node = std::make_unique<SimulatedNode>();
    node->spec_ = spec;
    const fs::path folder = folder_ / spec.name;
    node->state_folder_ = folder / "state";
    node->gpu_file_ = folder / "gpus.json";
    EG_TRY_VOID(make_directories(node->state_folder_));
    EG_TRY(node->gpus_, testing::SimGpus::make(spec.profile, spec.name));
    EG_TRY_VOID(node->write_gpus());
    EG_TRY(node->metrics_port_, pick_port());

    testing::KubeletOptions kubelet;
    kubelet.root = folder;
    kubelet.dialect = spec.dialect;
    kubelet.sources_ready = options_.kubelet_sources_ready;
    kubelet.seed = options_.seed + static_cast<std::uint64_t>(number);
    node->kubelet_ = std::make_unique<testing::Kubelet>(std::move(kubelet));

    KubeletSyncOptions sync;
    sync.facts.name = spec.name;
    sync.facts.kubelet_version = version_of(spec.dialect);
    sync.facts.address = "10.0.0." + std::to_string(10 + number);
    sync.facts.labels = spec.labels;
    sync.pod_ip_prefix = "10.244." + std::to_string(number) + ".";
    sync.tick = options_.kubelet_tick;
    EG_TRY(k8s::Client api, client());
    node->sync_ = std::make_unique<KubeletSync>(*node->kubelet_, std::move(api), std::move(sync));
    EG_TRY_VOID(node->kubelet_->start());
    node->sync_->start();
    nodes_.push_back(std::move(node));
    return start_agent(*nodes_.back());
}

Status Cluster::set_up(const StopToken& stop) {
    if (options_.executable.empty()) {
        EG_TRY(options_.executable, self_executable());
    }
    if (options_.nvml_library.empty()) {
        EG_TRY(options_.nvml_library, find_sim_nvml(options_.executable));
    }
    if (!fs::exists(options_.nvml_library)) {
        return Error{ErrorCode::kNotFound, "there is no library " + options_.nvml_library.string()};
    }
    EG_TRY_VOID(make_folder());
    EG_TRY_VOID(start_api());
    EG_TRY(scheduler_port_, pick_port());
    EG_TRY_VOID(start_scheduler());
    int number = 0;
    for (const NodeSpec& spec : options_.nodes) EG_TRY_VOID(make_node(spec, number++));

    KubeSchedulerOptions scheduling;
    scheduling.extender.url_prefix = scheduler_url() + "/scheduler";
    scheduling.extender.node_cache_capable = options_.node_cache_capable;
    scheduling.queue = options_.queue;
    scheduling.seed = options_.seed;
    EG_TRY(k8s::Client api, client());
    EG_TRY(kube_scheduler_, KubeScheduler::start(std::move(api), std::move(scheduling)));
    return wait_ready(options_.start_timeout, stop);
}

Status Cluster::stop() {
    std::vector<std::string> bad;
    // No second SIGTERM: it ends our processes at once, with another status.
    const auto end = [&bad](Process& process, bool expected, const std::string& what) {
        const auto status = process.wait(kStopGrace);
        process.kill();
        if (!expected || (status && (*status == 0 || *status == kTerminated))) return;
        bad.push_back(
            what +
            (status ? " ended with status " + std::to_string(*status) : " did not end in time") +
            "; its log ends with:\n" + tail_of(process.options().log_file, 30)
        );
    };
    if (kube_scheduler_) kube_scheduler_->stop();
    // All at once, then wait for each: they stop in parallel.
    for (auto& node : nodes_) {
        if (node->agent_.running()) (void)node->agent_.signal(SIGTERM);
    }
    if (scheduler_.running()) (void)scheduler_.signal(SIGTERM);
    for (auto& node : nodes_) {
        end(node->agent_, node->agent_expected_, "the agent of " + node->spec_.name);
    }
    end(scheduler_, std::exchange(scheduler_expected_, false), "the scheduler");
    for (auto& node : nodes_) {
        if (node->kubelet_) node->kubelet_->power_off();
        if (node->sync_) node->sync_->stop();
    }
    nodes_.clear();
    kube_scheduler_.reset();
    api_.reset();
    if (made_folder_ && !options_.keep_folder) {
        std::error_code failure;
        fs::remove_all(folder_, failure);
        if (failure) {
            log::warn(
                "folder not removed", {{"folder", folder_.string()}, {"why", failure.message()}}
            );
        }
    }
    made_folder_ = false;
    if (bad.empty()) return ok_status();
    return Error{ErrorCode::kInternal, bad.front()};
}

SimulatedNode& Cluster::node(const std::string& name) {
    for (auto& node : nodes_) {
        if (node->spec_.name == name) return *node;
    }
    EG_CHECK(!"a node of this cluster");
}

std::string Cluster::scheduler_url() const {
    return "http://127.0.0.1:" + std::to_string(scheduler_port_);
}

std::string Cluster::agent_url(const SimulatedNode& node) const {
    return "http://127.0.0.1:" + std::to_string(node.metrics_port_);
}

void Cluster::kill_scheduler() {
    scheduler_expected_ = false;
    scheduler_.kill();
}

Status Cluster::start_scheduler() {
    ProcessOptions process;
    process.executable = options_.executable;
    process.arguments = {
        "scheduler",
        "--kubeconfig",
        kubeconfig().string(),
        "--listen",
        "127.0.0.1:" + std::to_string(scheduler_port_),
        "--policy",
        options_.policy,
        "--log-level",
        options_.log_level};
    for (const auto& extra : options_.scheduler_arguments) process.arguments.push_back(extra);
    process.log_file = log_folder_ / "scheduler.log";
    EG_TRY(scheduler_, Process::start(std::move(process)));
    scheduler_expected_ = true;
    return ok_status();
}

void Cluster::kill_agent(SimulatedNode& node) {
    node.agent_expected_ = false;
    node.agent_.kill();
}

Status Cluster::start_agent(SimulatedNode& node) {
    ProcessOptions process;
    process.executable = options_.executable;
    process.arguments = {
        "agent",
        "--node-name",
        node.spec_.name,
        "--kubeconfig",
        kubeconfig().string(),
        "--kubelet-root",
        (folder_ / node.spec_.name).string(),
        "--state-dir",
        node.state_folder_.string(),
        "--nvml-library",
        options_.nvml_library.string(),
        "--injection",  // simulated containers: nothing of this machine is to be given to them
        "nvidia",
        "--listen",
        "127.0.0.1:" + std::to_string(node.metrics_port_),
        "--log-level",
        options_.log_level};
    for (const auto& extra : options_.agent_arguments) process.arguments.push_back(extra);
    process.environment[testing::kSimNvmlEnv] = node.gpu_file_.string();
    process.log_file = log_folder_ / ("agent-" + node.spec_.name + ".log");
    EG_TRY(node.agent_, Process::start(std::move(process)));
    node.agent_expected_ = true;
    return ok_status();
}

// What wait_ready waits for, or "".
std::string Cluster::missing() {
    const auto dead = crashed();
    if (!dead.empty()) return dead.front();
    if (!kube_scheduler_->synced()) return "the small kube-scheduler has not listed pods and nodes";
    if (auto ready = fetch(scheduler_url() + "/readyz", Seconds(1)); !ready) {
        return "the scheduler is not ready: " + ready.error().message;
    }
    for (const auto& node : nodes_) {
        const std::string& name = node->spec_.name;
        auto object = api_->get({"nodes", "", name});
        if (!object) return "node " + name + " is not registered";
        const auto annotation =
            json::get_string(*object, {"metadata", "annotations", gpu::kAnnotationCards});
        if (annotation.empty()) return "the agent of " + name + " has not published its cards";
        const auto* capacity = json::get_object(*object, {"status", "capacity"});
        const std::size_t cards = node->gpus().expected_cards().size();
        for (const auto& [resource, units] :
             {std::pair{core::kResourceWhole, std::size_t{1}},
              {core::kResourcePercent, std::size_t{100}}}) {
            const auto* value = capacity == nullptr ? nullptr : capacity->if_contains(resource);
            const std::string want = std::to_string(cards * units);
            if (value == nullptr || !value->is_string() ||
                std::string_view(value->as_string()) != want) {
                return "node " + name + " does not offer " + want + " " + std::string(resource);
            }
        }
    }
    return "";
}

Status Cluster::wait_ready(Duration timeout, StopToken stop) {
    const TimePoint until = MonoClock::now() + timeout;
    while (true) {
        const std::string what = missing();
        if (what.empty()) return ok_status();
        if (!crashed().empty()) return Error{ErrorCode::kInternal, what};
        if (MonoClock::now() >= until) {
            return Error{ErrorCode::kDeadline, what + " (logs: " + log_folder_.string() + ")"};
        }
        if (stop.wait_for(Millis(20))) return Error{ErrorCode::kStopped, "stopped while starting"};
    }
}

std::vector<std::string> Cluster::crashed() {
    std::vector<std::string> out;
    const auto look = [&](Process& process, bool expected, const std::string& what) {
        if (!expected || process.running()) return;
        const auto status = process.wait(Duration::zero());
        out.push_back(
            what + " ended by itself with status " +
            (status ? std::to_string(*status) : "unknown") + "; its log ends with:\n" +
            tail_of(process.options().log_file, 30)
        );
    };
    look(scheduler_, scheduler_expected_, "the scheduler");
    for (auto& node : nodes_) {
        look(node->agent_, node->agent_expected_, "the agent of " + node->spec_.name);
    }
    return out;
}

Result<std::string> Cluster::fetch(const std::string& url, Duration deadline) {
    const auto path = url.find('/', url.find("://") + 3);
    http::ClientOptions options;
    options.base_url = url.substr(0, path);
    EG_TRY(const auto client, http::Client::open(std::move(options)));
    http::Request request;
    request.target = path == std::string::npos ? "/" : url.substr(path);
    EG_TRY(auto answer, client->call(request, MonoClock::now() + deadline));
    if (answer.status != 200) {
        return Error{
            ErrorCode::kUnavailable,
            url + ": " + std::to_string(answer.status) + " " + answer.body.substr(0, 500)};
    }
    return std::move(answer.body);
}

}  // namespace egpu::sim
