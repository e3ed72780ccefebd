#include "doctor/smoke.h"

#include <csignal>
#include <filesystem>

#include <unistd.h>

#include "base/child.h"
#include "base/files.h"
#include "doctor/check.h"
#include "doctor/cuda_probe.h"
#include "doctor/edits_json.h"
#include "doctor/gather.h"
#include "doctor/node_cards.h"
#include "doctor/runtime_files.h"
#include "doctor/smoke_judge.h"
#include "doctor/smoke_rootfs.h"
#include "doctor/smoke_spec.h"

namespace egpu::doctor {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNamespace = "edge-gpu-smoke";

// The container runtime that is asked, by commands run inside the node's root.
struct Launcher {
    std::string name;
    std::vector<std::string> run;                   // the container's name and files are in it
    std::vector<std::vector<std::string>> cleanup;  // each may fail: there may be nothing left
};

std::string joined(const std::vector<std::string>& words) {
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
    return out;
}

Launcher with_ctr(
    const std::string& ctr,
    const std::string& socket,
    const std::string& bundle,
    const std::string& id
) {
    const std::vector<std::string> base{ctr, "--address", socket, "--namespace", kNamespace};
    const auto command = [&base](std::initializer_list<std::string> words) {
        std::vector<std::string> all = base;
        all.insert(all.end(), words);
        return all;
    };
    Launcher launcher;
    launcher.name = "containerd at " + socket;
    launcher.run = command({"run", "--rm", "--config", bundle + "/config.json", id});
    launcher.cleanup = {
        command({"tasks", "kill", "--signal", "SIGKILL", id}),
        command({"tasks", "rm", "--force", id}),
        command({"containers", "rm", id}),
        command({"namespaces", "rm", kNamespace})};
    return launcher;
}

Launcher with_runc(const std::string& runc, const std::string& bundle, const std::string& id) {
    Launcher launcher;
    launcher.name = runc;
    const std::string state = bundle + "/state";
    launcher.run = {runc, "--root", state, "run", "--bundle", bundle, id};
    launcher.cleanup = {{runc, "--root", state, "delete", "--force", id}};
    return launcher;
}

Result<Launcher> find_launcher(
    const Facts& facts,
    const NodeModel& node,
    const SmokeOptions& options,
    const std::string& bundle,
    const std::string& id
) {
    const FileView& files = *facts.files;
    if (const auto ctr = find_program(files, "ctr")) {
        const bool docker = node.runtime == RuntimeKind::kDocker;
        const std::string socket = !options.containerd_socket.empty() ? options.containerd_socket
                                   : docker ? std::string("/run/containerd/containerd.sock")
                                            : containerd_socket(node);
        if (try_unix_socket(facts.root, files, socket).connects)
            return with_ctr(*ctr, socket, bundle, id);
    }
    for (const char* name : {"runc", "crun", "/usr/libexec/crio/runc", "/usr/libexec/crio/crun"}) {
        if (const auto program = find_program(files, name)) return with_runc(*program, bundle, id);
    }
    return Error{ErrorCode::kNotFound, "neither containerd with its ctr, nor runc, nor crun"};
}

// The one card, and what --injection direct gives a container for it. In a child, inside the root.
Result<inject::ContainerEdits> edits_for_one_card(
    const Facts& facts, const NodeModel& node, const SmokeOptions& options, const std::string& stage
) {
    NvmlProbe probe;
    probe.root = facts.root;
    probe.driver_root = node.driver_root;
    probe.library = options.nvml_library;
    EG_TRY(
        const std::string text,
        with_node_cards(
            *facts.files,
            probe,
            [&](std::span<const inject::GivenCard> cards) -> Result<std::string> {
                if (cards.empty()) return Error{ErrorCode::kNotFound, "NVML lists no card"};
                inject::InjectOptions inject;
                inject.strategy = "direct";
                inject.driver_root = node.driver_root;
                inject.driver_files_dir = stage;
                EG_TRY(const auto injector, inject::make_injector(inject));
                EG_TRY_VOID(injector->ensure(cards));
                EG_TRY(const auto edits, injector->edits(cards.first(1), "smoke"));
                return json::to_text(edits_to_json(edits));
            }
        )
    );
    EG_TRY(const json::value parsed, json::parse(text));
    return edits_from_json(parsed);
}

// Blocks the signals that would leave a container behind; run_program looks at them.
class SignalsHeld {
  public:
    SignalsHeld() {
        ::sigemptyset(&held_);
        ::sigaddset(&held_, SIGINT);
        ::sigaddset(&held_, SIGTERM);
        ::sigprocmask(SIG_BLOCK, &held_, &before_);
    }
    ~SignalsHeld() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }
    SignalsHeld(const SignalsHeld&) = delete;
    SignalsHeld& operator=(const SignalsHeld&) = delete;

  private:
    sigset_t held_{};
    sigset_t before_{};
};

class Smoke {
  public:
    Smoke(const Facts& facts, const SmokeOptions& options)
        : facts_(facts), options_(options), node_(read_node(facts)) {
        prefix_ = facts.root == "/" ? "" : facts.root;
        id_ = "edge-gpu-smoke-" + std::to_string(::getpid());
        bundle_ = options.work_folder + "/" + id_;
    }
    ~Smoke() {
        std::error_code ignored;
        fs::remove_all(prefix_ + bundle_, ignored);
        fs::remove(prefix_ + options_.work_folder, ignored);  // when it was made for this
    }
    Smoke(const Smoke&) = delete;
    Smoke& operator=(const Smoke&) = delete;

    Result<SmokeRun> run() {
        EG_TRY(const Launcher launcher, find_launcher(facts_, node_, options_, bundle_, id_));
        EG_TRY_VOID(make_directories(prefix_ + bundle_));
        EG_TRY(const std::string library_path, make_smoke_rootfs(prefix_ + bundle_ + "/rootfs"));
        EG_TRY(SmokeContainer container, describe());
        container.edits.envs["LD_LIBRARY_PATH"] = library_path;
        const std::string spec = json::to_text(smoke_spec(container));
        EG_TRY_VOID(write_file_atomically(prefix_ + bundle_ + "/config.json", spec));
        ChildOptions child;
        child.root = facts_.root;
        child.limit = options_.limit;
        SmokeRun run;
        run.launcher = launcher.name;
        run.card = card_;
        run.command = "the command was: " + joined(launcher.run);
        auto result = run_program(launcher.run, child);
        clean(launcher, result && !result->timed_out && result->exit_status == 0);
        if (!result) return result.error();
        run.result = std::move(*result);
        return run;
    }

  private:
    Result<SmokeContainer> describe() {
        SmokeContainer container;
        container.rootfs = bundle_ + "/rootfs";
        container.args = {"/edge-gpu", kCudaProbeCommand};
        container.cgroup = "/" + id_;
        EG_TRY(container.edits, edits_for_one_card(facts_, node_, options_, bundle_ + "/driver"));
        for (const inject::DeviceNode& device : container.edits.devices) {
            EG_TRY(const FileInfo info, facts_.files->look(device.host));
            if (info.type != FileType::kChar)
                return Error{ErrorCode::kInvalid, device.host + " is no device"};
            container.numbers[device.host] = {info.major, info.minor};
            const std::string_view own = device.container;
            if (own.starts_with("/dev/nvidia") && own.back() >= '0' && own.back() <= '9')
                card_ = own;
        }
        return container;
    }
    void clean(const Launcher& launcher, bool ended_well) const {
        ChildOptions child;
        child.root = facts_.root;
        child.limit = Seconds(10);
        child.ignore_signals = true;
        // After a good end only what holds containers is left: the last command.
        const std::size_t first = ended_well ? launcher.cleanup.size() - 1 : 0;
        for (std::size_t i = first; i < launcher.cleanup.size(); ++i)
            (void)run_program(launcher.cleanup[i], child);
    }

    const Facts& facts_;
    const SmokeOptions& options_;
    const NodeModel node_;
    std::string prefix_;
    std::string id_;
    std::string bundle_;  // inside the root
    std::string card_;
};

}  // namespace

CheckResult run_smoke(const Report& so_far, const Facts& facts, const SmokeOptions& options) {
    CheckResult check;
    check.id = "smoke";
    check.title = "CUDA in a container";
    check.group = "Smoke test";
    if (!so_far.has_gpu) {
        check.skipped = "no NVIDIA GPU here";
        return check;
    }
    for (const CheckResult& earlier : so_far.checks) {
        const bool matters = earlier.group == "Driver" || earlier.id == "containerd" ||
                             earlier.id == "docker" || earlier.id == "crio";
        if (!matters || earlier.severity() != Severity::kError) continue;
        check.skipped = "see \"" + earlier.title + "\" first";
        check.blocked = true;
        return check;
    }
    const SignalsHeld held;
    const auto run = Smoke(facts, options).run();
    if (run) {
        judge_smoke(*run, check);
        return check;
    }
    Finding& finding =
        Findings(check).error("smoke-impossible", "preparing the container", run.error().message);
    finding.meaning = "the test could not be made";
    finding.fix =
        run.error().code == ErrorCode::kPermission ? "run the doctor as root" : "see the message";
    return check;
}

}  // namespace egpu::doctor
