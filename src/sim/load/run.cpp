#include "sim/load/run.h"

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>

#include <unistd.h>

#include "base/files.h"
#include "base/json.h"
#include "http/client.h"
#include "sim/load/chaos.h"
#include "sim/load/extender_traffic.h"
#include "sim/load/invariants.h"
#include "sim/load/objects.h"
#include "sim/load/pod_book.h"
#include "sim/process.h"
#include "testing/apiserver/api_server.h"

namespace egpu::sim::load {

namespace {

constexpr Duration kReady = Seconds(120);
constexpr Duration kSettle = Seconds(60);  // longer than a reservation lives
constexpr std::size_t kShown = 20;         // of violations

double memory_mib(pid_t pid, const std::string& field) {
    const auto text = read_file("/proc/" + std::to_string(pid) + "/status");
    if (!text) return 0;
    const std::size_t at = text->find(field + ":");
    return at == std::string::npos ? 0 : std::atof(text->c_str() + at + field.size() + 1) / 1024;
}

double cpu_seconds(pid_t pid) {
    const auto text = read_file("/proc/" + std::to_string(pid) + "/stat");
    if (!text) return 0;
    std::istringstream fields(text->substr(text->rfind(')') + 2));
    std::string skipped;
    double user = 0;
    double system = 0;
    for (int i = 0; i < 11; ++i) fields >> skipped;
    fields >> user >> system;
    return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

// The same error for every pod and node.
std::string without_names(const std::string& text) {
    std::istringstream words(text);
    std::string out;
    for (std::string word; words >> word;) {
        const bool name = word.find("load-") != std::string::npos ||
                          word.find("gpu-node-") != std::string::npos ||
                          word.find("127.0.0.1") != std::string::npos;
        out += (out.empty() ? "" : " ") + (name ? "…" : word);
    }
    return out;
}

class Runner {
  public:
    Runner(const Settings& settings, const StopToken& stop) : settings_(settings), stop_(stop) {}

    Result<Report> run();

  private:
    struct Bind {
        Waiting pod;
        std::string node;
    };

    Status start();
    Result<int> start_scheduler();
    Result<json::value> get(const std::string& path);
    void life();
    void cycles();
    void binds();
    void check_now();
    void watch_over();
    void settle();
    std::vector<json::value> pods() { return api_->list("pods"); }

    const Settings& settings_;
    const StopToken& stop_;
    std::unique_ptr<testing::ApiServer> api_;
    std::unique_ptr<PodBook> book_;
    std::unique_ptr<Candidates> candidates_;
    std::unique_ptr<http::Client> client_;
    Process scheduler_;

    std::atomic<bool> no_more_{false};  // pods
    std::atomic<bool> ending_{false};
    std::atomic<bool> measuring_{false};
    std::mutex mutex_;
    std::condition_variable bind_there_;  // one waits for each of these: a herd would be measured
    std::condition_variable bind_taken_;
    std::deque<Bind> to_bind_;
    std::size_t binding_ = 0;
    Report report_;
};

Status Runner::start() {
    EG_TRY(api_, testing::ApiServer::start());
    std::vector<std::string> texts;
    for (int i = 0; i < settings_.nodes; ++i) {
        EG_TRY(
            const json::value node, api_->load(node_object(i, settings_.cards, !settings_.names))
        );
        texts.push_back(settings_.names ? "\"" + node_name(i) + "\"" : json::to_text(node));
    }
    candidates_ = std::make_unique<Candidates>(std::move(texts), settings_.names);
    book_ = std::make_unique<PodBook>(settings_, *api_);
    book_->fill();
    const auto kubeconfig = settings_.folder / "kubeconfig";
    EG_TRY_VOID(api_->write_kubeconfig(kubeconfig));
    EG_TRY(const int port, start_scheduler());
    http::ClientOptions options;
    options.base_url = "http://127.0.0.1:" + std::to_string(port);
    options.max_idle = static_cast<std::size_t>(settings_.binds) + 4;
    options.max_idle_time = Seconds(90);
    EG_TRY(client_, http::Client::open(std::move(options)));
    const TimePoint limit = MonoClock::now() + kReady;
    for (;;) {
        http::Request request;
        request.target = "/readyz";
        const auto answer = client_->call(request, MonoClock::now() + Seconds(5));
        if (answer && answer->status == 200) break;
        if (!scheduler_.running() || MonoClock::now() > limit || stop_.stopped()) {
            return Error{
                ErrorCode::kUnavailable,
                "the scheduler did not become ready: " +
                    tail_of(settings_.folder / "scheduler.log", 5)};
        }
        std::this_thread::sleep_for(Millis(20));
    }
    if (settings_.api_latency > Duration{}) api_->faults().set_latency(settings_.api_latency);
    return ok_status();
}

// Listens on a free port of its own choice: the log says which.
Result<int> Runner::start_scheduler() {
    ProcessOptions process;
    process.executable = settings_.executable;
    process.log_file = settings_.folder / "scheduler.log";
    process.arguments = {
        "scheduler",
        "--kubeconfig",
        (settings_.folder / "kubeconfig").string(),
        "--listen",
        "127.0.0.1:0",
        "--policy",
        settings_.policy};
    EG_TRY(scheduler_, Process::start(std::move(process)));
    const TimePoint limit = MonoClock::now() + Seconds(10);
    while (MonoClock::now() < limit && scheduler_.running()) {
        const auto log = read_file(settings_.folder / "scheduler.log");
        const std::size_t at = log ? log->find("address=127.0.0.1:") : std::string::npos;
        if (at != std::string::npos && log->find('\n', at) != std::string::npos) {
            return std::atoi(log->c_str() + at + std::string_view("address=127.0.0.1:").size());
        }
        std::this_thread::sleep_for(Millis(20));
    }
    return Error{
        ErrorCode::kUnavailable,
        "the scheduler does not listen: " + tail_of(settings_.folder / "scheduler.log", 5)};
}

Result<json::value> Runner::get(const std::string& path) {
    http::Request request;
    request.target = path;
    EG_TRY(const auto answer, client_->call(request, MonoClock::now() + Seconds(30)));
    return json::parse(answer.body);
}

void Runner::life() {
    while (!ending_) {
        book_->live(MonoClock::now(), no_more_);
        std::this_thread::sleep_for(Millis(1));
    }
}

void Runner::cycles() {
    ExtenderTraffic traffic(*client_, *candidates_, settings_.seed + 1);
    while (!ending_) {
        auto pod = book_->next(MonoClock::now());
        if (!pod) {
            std::this_thread::sleep_for(std::chrono::microseconds(200));
            continue;
        }
        const TimePoint begin = MonoClock::now();
        Cycle cycle = traffic.cycle(pod->text);
        const TimePoint end = MonoClock::now();
        {
            const std::lock_guard lock(mutex_);
            if (measuring_) {
                ++report_.cycles;
                report_.filter.add(cycle.filter);
                if (cycle.priorities > Duration{}) report_.priorities.add(cycle.priorities);
                report_.cycle.add(end - begin);
                if (cycle.node.empty()) ++report_.unschedulable;
            }
            if (!cycle.reason.empty())
                ++report_.bind_errors["filter: " + without_names(cycle.reason)];
        }
        if (cycle.node.empty()) {
            book_->failed(std::move(*pod), end);
            continue;
        }
        std::unique_lock lock(mutex_);
        // kube-scheduler starts a goroutine for each bind. Here they are threads, enough that none
        // waits: what has been filtered and is not being bound is chosen again by the next pod.
        bind_taken_.wait(lock, [&] {
            return ending_ || to_bind_.size() < static_cast<std::size_t>(settings_.binds);
        });
        to_bind_.push_back({std::move(*pod), std::move(cycle.node)});
        lock.unlock();
        bind_there_.notify_one();
    }
}

void Runner::binds() {
    std::unique_lock lock(mutex_);
    for (;;) {
        bind_there_.wait(lock, [&] { return ending_ || !to_bind_.empty(); });
        if (to_bind_.empty()) return;
        Bind next = std::move(to_bind_.front());
        to_bind_.pop_front();
        ++binding_;
        lock.unlock();
        bind_taken_.notify_one();
        const TimePoint begin = MonoClock::now();
        const std::string error = bind_pod(*client_, next.pod.plan.name, next.pod.uid, next.node);
        const TimePoint end = MonoClock::now();
        const TimePoint arrived = next.pod.arrived;
        if (error.empty()) {
            book_->bound(std::move(next.pod));
        } else {
            book_->failed(std::move(next.pod), end);
        }
        lock.lock();
        --binding_;
        if (!error.empty()) ++report_.bind_errors[without_names(error)];
        if (!measuring_) continue;
        report_.bind.add(end - begin);
        if (!error.empty()) continue;
        ++report_.bound;
        report_.whole.add(end - arrived);
    }
}

void Runner::check_now() {
    std::vector<std::string> broken = broken_promises(pods());
    const std::lock_guard lock(mutex_);
    ++report_.checks;
    for (std::string& text : broken) {
        if (report_.violations.size() < kShown) report_.violations.push_back(std::move(text));
    }
}

// Waits for the end of the run; meanwhile checks, and says how it goes.
void Runner::watch_over() {
    const TimePoint begin = MonoClock::now();
    const TimePoint end = begin + settings_.duration;
    TimePoint next_report = begin;
    TimePoint next_check = begin + Seconds(2);
    while (MonoClock::now() < end && scheduler_.running() && !stop_.wait_for(Millis(100))) {
        const TimePoint now = MonoClock::now();
        if (settings_.chaos && now >= next_check) {
            check_now();
            next_check = MonoClock::now() + Seconds(2);
        }
        if (settings_.report_every > Millis{0} && now >= next_report) {
            next_report = now + settings_.report_every;
            const double seconds = std::chrono::duration<double>(now - begin).count();
            const double rss = memory_mib(scheduler_.pid(), "VmRSS");
            const std::lock_guard lock(mutex_);
            report_.memory.push_back({seconds, rss});
            std::printf(
                "%6.0f s  RSS %5.1f MiB  bound %9llu  running %6zu  waiting %4zu  violations %zu\n",
                seconds,
                rss,
                static_cast<unsigned long long>(report_.bound),
                book_->running(),
                book_->waiting(),
                report_.violations.size()
            );
            std::fflush(stdout);
        }
        api_->faults().forget_requests();
    }
    if (!scheduler_.running()) {
        const std::lock_guard lock(mutex_);
        report_.violations.push_back("the scheduler has ended");
    }
}

// Nothing moves any more: after a while ledger and pods must tell the same story.
void Runner::settle() {
    const TimePoint limit = MonoClock::now() + kSettle;
    std::vector<std::string> left;
    do {
        std::this_thread::sleep_for(Millis(500));
        left.clear();
        std::size_t in_flight = 0;
        {
            const std::lock_guard lock(mutex_);
            in_flight = to_bind_.size() + binding_;
        }
        if (in_flight > 0) left.push_back(std::to_string(in_flight) + " binds do not end");
        const auto status = get("/status");
        if (!status) {
            left.push_back("/status: " + status.error().message);
            continue;
        }
        for (std::string& text : disagreements(*status, pods())) left.push_back(std::move(text));
    } while (!left.empty() && MonoClock::now() < limit && scheduler_.running());
    if (left.size() > kShown) left.resize(kShown);
    const std::lock_guard lock(mutex_);
    ++report_.checks;
    for (std::string& text : left) report_.violations.push_back("at the end: " + std::move(text));
}

Result<Report> Runner::run() {
    EG_TRY_VOID(start());
    std::vector<std::thread> threads;
    threads.emplace_back([this] { life(); });
    threads.emplace_back([this] { cycles(); });
    for (int i = 0; i < settings_.binds; ++i) threads.emplace_back([this] { binds(); });
    static_cast<void>(stop_.wait_for(settings_.warm_up));

    const double cpu_before = cpu_seconds(scheduler_.pid());
    const TimePoint begin = MonoClock::now();
    measuring_ = true;
    {
        std::unique_ptr<Chaos> chaos;
        if (settings_.chaos) chaos = std::make_unique<Chaos>(*api_, settings_.seed + 2);
        watch_over();
        if (chaos) report_.faults = chaos->stop();
    }
    measuring_ = false;
    report_.seconds = std::chrono::duration<double>(MonoClock::now() - begin).count();
    report_.scheduler_cpu_s = cpu_seconds(scheduler_.pid()) - cpu_before;
    report_.rss_mib = memory_mib(scheduler_.pid(), "VmRSS");
    report_.peak_mib = memory_mib(scheduler_.pid(), "VmHWM");

    no_more_ = true;
    if (settings_.chaos) {
        const TimePoint limit = MonoClock::now() + Seconds(10);  // most of what waits is bound
        while (book_->waiting() > 0 && MonoClock::now() < limit) {
            std::this_thread::sleep_for(Millis(50));
        }
    }
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
    }
    bind_there_.notify_all();
    bind_taken_.notify_all();
    for (std::thread& thread : threads) thread.join();
    if (settings_.chaos) {
        check_now();
        settle();
    }
    report_.given_up = book_->given_up();
    static_cast<void>(scheduler_.stop(Seconds(10)));
    return std::move(report_);
}

}  // namespace

Result<Report> run(const Settings& settings, const StopToken& stop) {
    return Runner(settings, stop).run();
}

}  // namespace egpu::sim::load
