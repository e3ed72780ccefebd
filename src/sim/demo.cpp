#include "sim/demo.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "flags/command_line.h"
#include "sim/audit.h"
#include "sim/cluster.h"
#include "sim/demo_options.h"
#include "sim/demo_pods.h"
#include "sim/picture.h"
#include "sim/table.h"

namespace egpu::sim {

namespace {

constexpr Duration kLookEvery = Millis(200);

std::vector<NodeSpec> demo_nodes() {
    return {
        {"edge-t4", "t4", testing::Dialect::k1_21, {{kLabelSite, "edge"}}},
        {"edge-a10", "a10", testing::Dialect::k1_34, {{kLabelSite, "factory"}}},
        {"dc-h100", "h100", testing::Dialect::k1_34, {{kLabelSite, "data-centre"}}}};
}

// SIGTERM, SIGINT and, because a closed terminal has to end the demo in order, too, SIGHUP. Every
// thread must have all of them blocked: any one that has not would take the default action.
StopToken stop_on_all_signals() {
    sigset_t hang_up;
    sigemptyset(&hang_up);
    sigaddset(&hang_up, SIGHUP);
    ::pthread_sigmask(SIG_BLOCK, &hang_up, nullptr);
    const StopToken stop = stop_on_signals();
    std::thread([hang_up] {
        int number = 0;
        if (::sigwait(&hang_up, &number) == 0) ::kill(::getpid(), SIGTERM);
    }).detach();
    return stop;
}

TableStyle style_of_terminal() {
    TableStyle style;
    style.width = 140;
    if (::isatty(STDOUT_FILENO) == 0) return style;
    const char* no_color = ::getenv("NO_COLOR");
    const char* term = ::getenv("TERM");
    const bool dumb = term == nullptr || std::string_view(term) == "dumb";
    style.color = (no_color == nullptr || *no_color == '\0') && !dumb;
    winsize size{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 60) {
        style.width = size.ws_col;
    }
    return style;
}

// Fails when nobody reads any more: `edge-gpu demo | head` has to end, too.
Status print(const std::string& text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
        std::fflush(stdout) == 0) {
        return ok_status();
    }
    return Error{ErrorCode::kUnavailable, "standard output cannot be written"};
}

Status apply(Cluster& cluster, const std::vector<DemoPod>& pods, int wave) {
    for (const DemoPod& pod : pods) {
        if (pod.wave != wave) continue;
        auto made = cluster.api().create(pod.manifest);
        if (!made) return made.error().wrap("pod " + pod.name);
    }
    return ok_status();
}

// What is not (yet) as it must be, for the pods of the waves so far.
std::vector<std::string> unmet(
    const ClusterView& view, const std::vector<DemoPod>& pods, int wave
) {
    std::vector<std::string> out;
    for (const DemoPod& pod : pods) {
        if (pod.wave > wave) continue;
        const PodView* found = nullptr;
        for (const PodView& p : view.pods) {
            if (p.key == "default/" + pod.name) found = &p;
        }
        const std::string problem = found == nullptr ? "is not there" : pod.check(*found, view);
        if (!problem.empty()) out.push_back(pod.name + " (" + pod.about + ") " + problem);
    }
    return out;
}

Status wait_for_pods(
    Cluster& cluster,
    const std::vector<DemoPod>& pods,
    int wave,
    Duration timeout,
    const StopToken& stop
) {
    const TimePoint until = MonoClock::now() + timeout;
    while (true) {
        auto problems = cluster.crashed();
        const bool dead = !problems.empty();
        if (!dead) problems = unmet(look_at(cluster, false), pods, wave);
        if (problems.empty()) return ok_status();
        if (dead || MonoClock::now() >= until) {
            std::string text = "not as it must be:";
            for (const std::string& p : problems) text += "\n  " + p;
            return Error{ErrorCode::kInternal, text};
        }
        if (stop.wait_for(Millis(20))) return Error{ErrorCode::kStopped, "stopped"};
    }
}

Status delete_all(Cluster& cluster, Duration timeout, const StopToken& stop) {
    for (const json::value& pod : cluster.api().list("pods")) {
        const std::string ns(json::get_string(pod, {"metadata", "namespace"}));
        const std::string name(json::get_string(pod, {"metadata", "name"}));
        const Status gone = cluster.api().remove({"pods", ns, name});
        if (!gone && gone.error().code != ErrorCode::kNotFound) return gone;
    }
    const TimePoint until = MonoClock::now() + timeout;
    while (cluster.api().count("pods") > 0) {
        if (MonoClock::now() >= until) {
            return Error{
                ErrorCode::kDeadline,
                std::to_string(cluster.api().count("pods")) + " deleted pods have not ended"};
        }
        if (stop.wait_for(Millis(20))) return Error{ErrorCode::kStopped, "stopped"};
    }
    return settle(cluster, timeout, stop);
}

// The script of --once.
Status run_script(Cluster& cluster, const std::vector<DemoPod>& pods, const StopToken& stop) {
    for (const int wave : {0, 1, 2}) {
        EG_TRY_VOID(apply(cluster, pods, wave));
        EG_TRY_VOID(wait_for_pods(cluster, pods, wave, Seconds(30), stop));
    }
    const Status settled = settle(cluster, Seconds(40), stop);
    const ClusterPicture picture = picture_of(look_at(cluster, false));
    const TableStyle style = style_of_terminal();
    EG_TRY_VOID(
        print("\n" + render_cards(picture, style) + "\n" + render_pods(picture, style) + "\n")
    );
    EG_TRY_VOID(settled);
    auto checked = delete_all(cluster, Seconds(40), stop);
    if (!checked) return checked.error().wrap("after deleting all pods");
    return print("All pods were as they had to be; all deleted, every card is free again.\n");
}

std::string how_to_use(const Cluster& cluster) {
    return "In another terminal:\n\n  export KUBECONFIG=" + cluster.kubeconfig().string() +
           "\n  kubectl get pods -o wide\n\nLogs: " + cluster.log_folder().string() +
           "   Ctrl-C ends the demo and removes everything.\n";
}

// Redraws on change until stopped. Pods of later waves follow as soon as the earlier ones run.
Status run_live(Cluster& cluster, const std::vector<DemoPod>& pods, const StopToken& stop) {
    std::string shown;
    int wave = 0;
    EG_TRY_VOID(apply(cluster, pods, wave));
    const TimePoint started = MonoClock::now();
    while (true) {
        const auto dead = cluster.crashed();
        if (!dead.empty()) return Error{ErrorCode::kInternal, dead.front()};
        const ClusterView view = look_at(cluster, false);
        const bool patience_over = MonoClock::now() - started > Seconds(15);
        if (wave < 2 && (patience_over || unmet(view, pods, wave).empty())) {
            EG_TRY_VOID(apply(cluster, pods, ++wave));
        }
        const TableStyle style = style_of_terminal();
        const ClusterPicture picture = picture_of(view);
        std::string text = render_cards(picture, style) + "\n" + render_pods(picture, style) + "\n";
        for (const std::string& line : unsafe(view)) text += "UNSAFE: " + line + "\n";
        if (text != shown) {
            EG_TRY_VOID(print((style.color ? "\x1b[H\x1b[2J" : "\n") + text + how_to_use(cluster)));
            shown = std::move(text);
        }
        if (stop.wait_for(kLookEvery)) return ok_status();
    }
}

}  // namespace

int run_demo(int argc, char** argv) {
    auto options = parse_demo_options(flags::without_program(argc, argv));
    if (!options) {
        std::fprintf(stderr, "edge-gpu demo: %s\n", options.error().message.c_str());
        return 2;
    }
    if (!options->help.empty()) {
        return print(options->help) ? 0 : 1;
    }
    const StopToken stop = stop_on_all_signals();
    // The embedded peers would write into the table.
    log::configure("demo", log::Level::kError, log::Format::kLogfmt);

    ClusterOptions cluster_options;
    cluster_options.nodes = demo_nodes();
    cluster_options.nvml_library = options->nvml_library;
    cluster_options.keep_folder = options->keep_folder;
    cluster_options.log_folder = options->log_folder;
    cluster_options.api_port = options->port;
    cluster_options.tls = !options->plain_http;
    cluster_options.policy = options->policy;
    cluster_options.node_cache_capable = options->cache_mode == "names";
    const TimePoint begin = MonoClock::now();
    auto cluster = Cluster::start(std::move(cluster_options), stop);
    if (!cluster) {
        if (cluster.error().code == ErrorCode::kStopped) return 0;
        std::fprintf(stderr, "edge-gpu demo: %s\n", cluster.error().message.c_str());
        return 1;
    }
    const auto took = std::chrono::duration_cast<Millis>(MonoClock::now() - begin).count();
    std::string hello =
        "Three nodes with 14 simulated cards are up after " + std::to_string(took) + " ms.\n";
    if (options->once) hello += "export KUBECONFIG=" + (*cluster)->kubeconfig().string() + "\n";
    const std::vector<DemoPod> pods = demo_pods();
    Status done = print(hello);
    if (done) {
        done = options->once ? run_script(**cluster, pods, stop) : run_live(**cluster, pods, stop);
    }
    const Status stopped = (*cluster)->stop();
    if (done && !stopped) done = stopped;
    if (options->keep_folder) {
        std::fprintf(stderr, "Kept: %s\n", (*cluster)->folder().c_str());
    }
    if (!done) {
        std::fprintf(stderr, "edge-gpu demo: %s\n", done.error().message.c_str());
        return 1;
    }
    return 0;
}

}  // namespace egpu::sim
