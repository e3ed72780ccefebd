// edge-gpu: one binary, several commands. Dispatch only; each command parses its own flags.
#include <array>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "agent/app.h"
#include "base/version.h"
#include "cli/cdi_command.h"
#include "cli/install.h"
#include "cli/scheduler_config.h"
#include "doctor/app.h"
#include "doctor/cuda_probe.h"
#include "inspect/app.h"
#include "scheduler/app.h"
#include "sim/demo.h"
#include "simulate/app.h"

namespace {

int print_version(int argc, char** /*argv*/) {
    if (argc > 1) {
        std::fputs("edge-gpu version: takes no arguments\n", stderr);
        return 2;
    }
    std::printf("edge-gpu %s\n", egpu::kVersion);
    return 0;
}

struct Command {
    std::string_view name;
    std::string_view alias;  // the program this one replaces: a link of that name runs the command
    int (*run)(int argc, char** argv);
    const char* help;  // nullptr: not for people
};

constexpr std::array kCommands{
    Command{
        "scheduler",
        "nano-gpu-scheduler",
        egpu::scheduler::run_scheduler,
        "scheduler extender: places pods on cards and binds them (in the cloud)"},
    Command{
        "agent",
        "nano-gpu-agent",
        egpu::agent::run_agent,
        "device plugins for nvidia.com/gpu and nano-gpu/gpu-percent (on every GPU node)"},
    Command{
        "cdi",
        "",
        egpu::cli::run_cdi,
        "CDI specifications of this node's cards: generate, list, validate"},
    Command{
        "doctor",
        "",
        egpu::doctor::run_doctor,
        "looks at a node and says what keeps GPU pods from running, with the fix"},
    Command{
        "describe",
        "",
        egpu::inspect::run_describe,
        "describe cluster: what is used and stranded, and what would have to move for free cards"},
    Command{
        "snapshot",
        "",
        egpu::inspect::run_snapshot,
        "write a live cluster's nodes, cards and pods as one JSON document"},
    Command{
        "simulate",
        "",
        egpu::simulate::run_simulate,
        "placement policies against a trace of pods, in virtual time"},
    Command{
        "scheduler-config",
        "",
        egpu::cli::run_scheduler_config,
        "print kube-scheduler's configuration for a version of Kubernetes, or check one"},
    Command{
        "install",
        "",
        egpu::cli::run_install,
        "install the agent on this node as a systemd unit (run again to upgrade)"},
    Command{"uninstall", "", egpu::cli::run_uninstall, "remove what install wrote"},
    Command{
        "demo",
        "",
        egpu::sim::run_demo,
        "the whole stack on this machine, with simulated cards and no cluster"},
    Command{egpu::doctor::kCudaProbeCommand, "", egpu::doctor::run_cuda_probe, nullptr},
    Command{"version", "", print_version, "print the version"},
};

int usage(std::FILE* out) {
    std::fputs(
        "usage: edge-gpu COMMAND [flags]\n\nNVIDIA GPUs in Kubernetes, whole and shared.\n\n", out
    );
    for (const Command& command : kCommands) {
        if (command.help == nullptr) continue;
        std::fprintf(out, "  %-16s %s\n", command.name.data(), command.help);
    }
    std::fputs("\n`edge-gpu COMMAND --help` explains the flags.\n", out);
    return out == stdout ? 0 : 2;
}

const Command* find_command(std::string_view name) {
    for (const Command& command : kCommands) {
        if (name == command.name) return &command;
    }
    return nullptr;
}

// What was printed may sit in a buffer: a configuration on a full disk must not look written.
int finish(int status) {
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
    std::fputs("edge-gpu: standard output cannot be written\n", stderr);
    return status == 0 ? 1 : status;
}

int run(int argc, char** argv) {
    std::string_view program = argc > 0 ? argv[0] : "";
    program.remove_prefix(program.rfind('/') + 1);  // npos + 1 == 0
    for (const Command& command : kCommands) {
        if (!command.alias.empty() && program == command.alias) return command.run(argc, argv);
    }
    if (argc < 2) return usage(stderr);
    const std::string_view name = argv[1];
    const bool help = name == "--help" || name == "-h" || name == "help";
    if (help && argc == 2) return usage(stdout);
    if (name == "--version") return print_version(argc - 1, argv + 1);
    const Command* command = find_command(help ? argv[2] : name);
    if (command == nullptr) {
        std::fprintf(stderr, "edge-gpu: unknown command \"%s\"\n\n", help ? argv[2] : argv[1]);
        return usage(stderr);
    }
    if (!help) return command->run(argc - 1, argv + 1);
    if (command->run == print_version) return usage(stdout);
    char ask[] = "--help";
    char* arguments[] = {argv[2], ask, nullptr};
    return command->run(2, arguments);
}

}  // namespace

int main(int argc, char** argv) {
    return finish(run(argc, argv));
}
