#include "inspect/app.h"

#include <cstdio>
#include <iostream>
#include <iterator>
#include <string>

#include <sys/ioctl.h>
#include <unistd.h>

#include "base/files.h"
#include "base/log.h"
#include "flags/command_line.h"
#include "inspect/gather.h"
#include "inspect/options.h"
#include "inspect/report.h"
#include "k8s/client.h"
#include "k8s/kubeconfig.h"

namespace egpu::inspect {
namespace {

constexpr int kNotPossible = 1;
constexpr int kFailed = 2;
constexpr std::size_t kMostSnapshot = std::size_t{512} << 20;

int failed(const char* command, const Error& error) {
    std::fprintf(stderr, "edge-gpu %s: %s\n", command, error.message.c_str());
    return kFailed;
}

Result<k8s::ClusterSnapshot> look(const std::string& kubeconfig, Millis timeout) {
    const auto config = k8s::default_config(kubeconfig);
    if (!config) return kubeconfig.empty() ? config.error() : config.error().wrap("--kubeconfig");
    k8s::ApiClientOptions options;
    options.user_agent = "edge-gpu-inspect";
    EG_TRY(const k8s::Client client, k8s::Client::open(*config, options));
    EG_TRY(Gathered found, gather(client, MonoClock::now() + timeout));
    for (const std::string& note : found.notes) std::fprintf(stderr, "note: %s\n", note.c_str());
    return std::move(found.snapshot);
}

Result<k8s::ClusterSnapshot> read_snapshot(const std::string& file) {
    if (file == "-") {
        const std::string text(std::istreambuf_iterator<char>(std::cin), {});
        return k8s::decode_snapshot(text);
    }
    const auto text = read_file(file, kMostSnapshot);
    if (!text) return text.error().wrap("--snapshot");
    auto snapshot = k8s::decode_snapshot(*text);
    if (!snapshot) return snapshot.error().wrap("--snapshot " + file);
    return snapshot;
}

int terminal_width() {
    winsize size{};
    const bool terminal = ::isatty(STDOUT_FILENO) != 0;
    return terminal && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

bool print(const std::string& text) {
    return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
           std::fflush(stdout) == 0;
}

}  // namespace

int run_snapshot(int argc, char** argv) {
    const auto options = parse_snapshot_options(flags::without_program(argc, argv));
    if (!options) return failed("snapshot", options.error());
    if (!options->help.empty()) return print(options->help) ? 0 : kFailed;
    log::configure("snapshot", log::Level::kError, log::Format::kLogfmt);
    auto snapshot = look(options->kubeconfig, options->timeout);
    if (!snapshot) return failed("snapshot", snapshot.error());
    const std::string text =
        k8s::encode_snapshot(options->anonymous ? k8s::anonymized(*snapshot) : *snapshot);
    if (options->file != "-") {
        const Status written = write_file_atomically(options->file, text);
        return written ? 0 : failed("snapshot", written.error().wrap("--output " + options->file));
    }
    if (!print(text))
        return failed("snapshot", {ErrorCode::kUnavailable, "standard output cannot be written"});
    return 0;
}

int run_describe(int argc, char** argv) {
    const auto options = parse_describe_options(flags::without_program(argc, argv));
    if (!options) return failed("describe", options.error());
    if (!options->help.empty()) return print(options->help) ? 0 : kFailed;
    log::configure("describe", log::Level::kError, log::Format::kLogfmt);
    auto snapshot = options->snapshot.empty() ? look(options->kubeconfig, options->timeout)
                                              : read_snapshot(options->snapshot);
    if (!snapshot) return failed("describe", snapshot.error());
    const Description found = describe(std::move(snapshot->cluster), options->free);
    const std::string text = options->as_json ? json::to_text(render_json(found)) + "\n"
                                              : render_text(found, terminal_width());
    if (!print(text))
        return failed("describe", {ErrorCode::kUnavailable, "standard output cannot be written"});
    return found.free && !found.free->possible ? kNotPossible : 0;
}

}  // namespace egpu::inspect
