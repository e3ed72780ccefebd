// Test only: processes that share one modelled card in virtual time, each behind a controller.
//
// Applications are ordinary code on fibers (App::launch, sync, sleep); time passes when all of them
// wait. Everything is deterministic. Host time is modelled where it matters: a launch takes 3 us
// unless told otherwise, a sleep wakes up 60 us late.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <vector>

#include <ucontext.h>

#include "guard/compute/agent_control.h"
#include "guard/compute/controller.h"
#include "testing/cuda/sm_model.h"

namespace egpu::guard {

struct Shape {
    std::uint64_t id = 1;  // the function
    std::uint64_t cost_ns = 100'000;
    std::uint32_t blocks = 10'000;
    std::uint32_t threads = 256;
    bool graph = false;
};

// What calls cost the host. Exact: each reaches the card at its own time, so that an idle card
// waits for the next call; else they arrive in lumps of 20 us of host time, which is quicker to
// run.
struct HostCosts {
    bool exact = false;
    std::uint64_t record_ns = 0;
    std::uint64_t query_ns = 0;
};

class VirtualCard;
class App;

struct Container {
    std::uint64_t id = 0;
    ComputeBucket bucket{};
    ComputePolicy policy{};
    std::atomic<std::uint32_t> policy_seq{1};
    bool guaranteed = false;
    bool best_effort = false;
    bool reported = true;              // NVML tells its busy time
    std::vector<double> busy_samples;  // total busy ns at every 50 ms
    double nvml_busy_ns = 0;
    double nvml_last_ns = 0;

    void set(const ComputePolicy& next) {
        policy = next;
        policy_seq.fetch_add(2);
    }
};

struct Process {
    VirtualCard* card = nullptr;
    Container* container = nullptr;
    int client = -1;
    std::uint64_t id = 0;
    std::unique_ptr<CardController> controller;
    ComputeCounters counters{};
    Platform platform{};
    std::set<void*> capturing;
    std::uint64_t records = 0;  // events recorded by the controller
};

class App {
  public:
    // Launches on the stream (default: the thread's own); waits for room in the queue.
    void launch(const Shape& shape, int stream = -1);
    void sync(int stream = -1);
    void sleep(std::uint64_t ns);
    void compute(std::uint64_t ns);  // host work: time that passes without a system call
    void set_launch_ns(std::uint64_t ns) { launch_ns_ = ns; }
    int make_stream();
    void begin_capture(int stream);
    void end_capture(int stream);
    std::uint64_t now() const;
    int stream() const { return stream_; }
    Process& process() { return *process_; }
    ThreadState& thread() { return thread_; }

  private:
    friend class VirtualCard;
    Process* process_ = nullptr;
    VirtualCard* card_ = nullptr;
    std::function<void(App&)> body_;
    ThreadState thread_{};
    int stream_ = -1;
    std::uint64_t launch_ns_ = 3'000;
    std::uint64_t lag_ns_ = 0;  // host time spent and not yet waited for
    std::uint64_t wake_ns_ = 0;
    int wait_stream_ = -1;  // waits until the ticket completed
    std::uint64_t wait_ticket_ = 0;
    bool done_ = false;
    ucontext_t context_{};
    std::vector<char> stack_;
};

class VirtualCard {
  public:
    static constexpr std::uint64_t kSampleNs = 50'000'000;

    explicit VirtualCard(const testing::SmConfig& config = {});
    ~VirtualCard();

    Container& add_container(const ComputePolicy& policy);
    Process& add_process(Container& container);
    // Starts at the present time. The body may loop for ever; it ends with the card.
    App& add_app(Process& process, std::function<void(App&)> body);
    void use_agent(bool on) { agent_on_ = on; }
    void set_host(const HostCosts& costs) { host_ = costs; }

    void run_until(std::uint64_t ns);
    std::uint64_t now() const { return now_; }
    // Part of the card the container had between two times, multiples of kSampleNs.
    double share(const Container& container, std::uint64_t from_ns, std::uint64_t to_ns) const;
    // The largest distance from `target` over windows of this length that begin after `from_ns`.
    double worst_window(
        const Container& container, double target, std::uint64_t from_ns, std::uint64_t length_ns
    ) const;
    App& running() { return *running_; }  // inside an application's calls
    testing::SmModel& model() { return *model_; }
    const std::vector<std::unique_ptr<Process>>& processes() const { return processes_; }

  private:
    friend class App;
    void resume(App& app);
    void yield(App& app);
    bool ready(const App& app) const;
    void agent_tick();
    void sample();
    double busy(const Container& container) const;
    static void enter(unsigned low, unsigned high);
    static Platform platform_of(Process& process);

    std::unique_ptr<testing::SmModel> model_;
    std::vector<std::unique_ptr<Container>> containers_;
    std::vector<std::unique_ptr<Process>> processes_;
    std::vector<std::unique_ptr<App>> apps_;
    App* running_ = nullptr;
    ucontext_t scheduler_{};
    AgentControl agent_;
    bool agent_on_ = true;
    HostCosts host_;
    std::uint64_t now_ = 1'000'000'000'000;
    std::uint64_t start_;
    std::uint64_t next_sample_;
    std::uint64_t next_tick_;
    std::uint64_t next_nvml_;
};

}  // namespace egpu::guard
