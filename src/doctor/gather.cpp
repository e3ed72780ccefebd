#include "doctor/gather.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/child.h"
#include "base/fd.h"
#include "doctor/node_model.h"
#include "doctor/nvml_probe.h"
#include "doctor/runtime_files.h"
#include "http/connect.h"

namespace egpu::doctor {
namespace {

constexpr std::size_t kMostLogLines = 2000;
constexpr int kSocketMillis = 2000;
constexpr int kLitePort = 51003;

std::vector<std::string> split_arguments(std::string_view text) {
    std::vector<std::string> out;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\0'), text.size());
        out.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

void gather_versions(const FileView& files, const GatherOptions& options, Facts& facts) {
    for (const char* name :
         {"containerd", "runc", "kubelet", "nvidia-ctk", "nvidia-container-cli"}) {
        const auto path = find_program(files, name);
        if (!path) continue;
        ChildOptions child;
        child.root = options.root;
        child.limit = options.program_limit;
        child.most_output = 4096;
        const auto result = run_program({*path, "--version"}, child);
        if (result && result->exit_status == 0) facts.versions[name] = result->output;
    }
}

void gather_sockets(const FileView& files, const GatherOptions& options, Facts& facts) {
    const NodeModel node = read_node(facts);
    std::vector<std::string> paths;
    if (node.kubelet.process != nullptr) {
        paths.emplace_back("/var/lib/kubelet/device-plugins/kubelet.sock");
        paths.push_back(node.kubelet.root_dir + "/pod-resources/kubelet.sock");
    }
    if (node.runtime == RuntimeKind::kContainerd) paths.push_back(containerd_socket(node));
    if (node.runtime == RuntimeKind::kDocker) paths.emplace_back(kDockerSocket);
    if (node.runtime == RuntimeKind::kCrio) paths.emplace_back(kCrioSocket);
    for (const std::string& path : paths) {
        facts.sockets[path] = try_unix_socket(options.root, files, path);
    }
    if (find_process(facts, "lite-apiserver") != nullptr) {
        facts.sockets["127.0.0.1:" + std::to_string(kLitePort)] =
            try_tcp("127.0.0.1", kLitePort, Millis(kSocketMillis));
    }
}

std::optional<bool> clock_synchronised() {
    timex now{};
    const int state = ::adjtimex(&now);
    if (state < 0) return std::nullopt;
    return state != TIME_ERROR && (now.status & STA_UNSYNC) == 0;
}

}  // namespace

std::vector<Process> list_processes(const FileView& files) {
    std::vector<Process> out;
    const auto names = files.list("/proc");
    if (!names) return out;
    for (const std::string& name : *names) {
        if (name.find_first_not_of("0123456789") != std::string::npos) continue;
        const std::string folder = "/proc/" + name;
        const auto line = files.read(folder + "/cmdline", 1U << 20);
        if (!line || line->empty()) continue;  // gone, or a kernel thread
        Process process;
        process.pid = std::stoi(name);
        process.args = split_arguments(*line);
        if (const auto exe = files.look_at_link(folder + "/exe")) {
            std::string target = exe->target.substr(exe->target.rfind('/') + 1);
            const std::string_view deleted = " (deleted)";
            if (target.ends_with(deleted)) target.resize(target.size() - deleted.size());
            process.exe = std::move(target);
        }
        out.push_back(std::move(process));
    }
    std::sort(out.begin(), out.end(), [](const Process& a, const Process& b) {
        return a.pid < b.pid;
    });
    return out;
}

KernelLog read_kernel_log(const std::string& root) {
    KernelLog log;
    const std::string path = (root == "/" ? "" : root) + "/dev/kmsg";
    const Fd fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (!fd.valid()) {
        log.error = std::string("cannot be read: ") + std::strerror(errno);
        return log;
    }
    const TimePoint deadline = MonoClock::now() + Seconds(2);
    char record[8192];
    while (MonoClock::now() < deadline && log.lines.size() < kMostLogLines) {
        const ssize_t n = ::read(fd.get(), record, sizeof record);
        if (n < 0 && (errno == EPIPE || errno == EINTR)) continue;  // overwritten meanwhile
        if (n <= 0) break;
        std::string_view text(record, static_cast<std::size_t>(n));
        text.remove_prefix(std::min(text.find(';') + 1, text.size()));
        text = text.substr(0, text.find('\n'));
        if (text.find("NVRM") != std::string_view::npos) log.lines.emplace_back(text);
    }
    return log;
}

SocketFacts try_unix_socket(
    const std::string& root, const FileView& files, const std::string& path
) {
    const auto real = files.resolve(path);
    if (!real) return {false, "no such socket"};
    const std::string full = (root == "/" ? "" : root) + *real;
    // Through the descriptor: a path below a root may be longer than a socket address has room for.
    const Fd place(::open(full.c_str(), O_PATH | O_CLOEXEC));
    if (!place.valid()) return {false, std::strerror(errno)};
    const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid()) return {false, std::strerror(errno)};
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string through = "/proc/self/fd/" + std::to_string(place.get());
    std::memcpy(address.sun_path, through.c_str(), through.size() + 1);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
        return {true, ""};
    }
    // A full backlog: whoever listens does not accept.
    return {false, errno == EAGAIN ? "its queue is full" : std::strerror(errno)};
}

SocketFacts try_tcp(const std::string& host, int port, Duration limit) {
    const auto fd = http::connect_tcp(host, port, MonoClock::now() + limit, nullptr);
    if (fd) return {true, ""};
    return {false, fd.error().message};
}

Facts gather(const FileView& files, const GatherOptions& options) {
    Facts facts;
    facts.files = &files;
    facts.root = options.root;
    facts.driver_root = options.driver_root;
    facts.processes = list_processes(files);
    gather_versions(files, options, facts);
    NvmlProbe nvml;
    nvml.root = options.root;
    nvml.driver_root = read_node(facts).driver_root;
    nvml.library = options.nvml_library;
    nvml.limit = options.nvml_limit;
    facts.nvml = probe_nvml(files, nvml);
    gather_sockets(files, options, facts);
    if (options.ask_api) facts.api = ask_api(facts, files, options);
    facts.kernel_log = read_kernel_log(options.root);
    facts.clock_synchronised = clock_synchronised();
    return facts;
}

}  // namespace egpu::doctor
