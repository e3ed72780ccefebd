#include "guard/compute/virtual_card_for_test.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace egpu::guard {

namespace {

constexpr std::uint64_t kSliceOfHostNs = 20'000;
constexpr std::uint64_t kLateNs = 60'000;
constexpr std::uint64_t kTickNs = 100'000'000;
constexpr std::uint64_t kNvmlNs = 167'000'000;
constexpr std::size_t kStack = 256 * 1024;

void* stream_handle(int stream) {
    return reinterpret_cast<void*>(std::uintptr_t(stream) + 0x1000);
}
int stream_of(void* handle) {
    return static_cast<int>(reinterpret_cast<std::uintptr_t>(handle) - 0x1000);
}
EventHandle event_handle(int event) {
    return reinterpret_cast<void*>(std::uintptr_t(event) + 1);
}
int event_of(EventHandle handle) {
    return static_cast<int>(reinterpret_cast<std::uintptr_t>(handle)) - 1;
}
Process& process_of(void* self) {
    return *static_cast<Process*>(self);
}

}  // namespace

VirtualCard::VirtualCard(const testing::SmConfig& config)
    : model_(std::make_unique_for_overwrite<testing::SmModel>()),
      start_(now_),
      next_sample_(now_),
      next_tick_(now_ + kTickNs),
      next_nvml_(now_ + kNvmlNs) {
    model_->reset(config, now_);
}

VirtualCard::~VirtualCard() = default;

Container& VirtualCard::add_container(const ComputePolicy& policy) {
    containers_.push_back(std::make_unique<Container>());
    Container& container = *containers_.back();
    container.id = containers_.size();
    container.policy = policy;
    container.busy_samples.assign((next_sample_ - start_) / kSampleNs, 0.0);
    return container;
}

Platform VirtualCard::platform_of(Process& process) {
    return {
        .self = &process,
        .now_ns =
            [](void* self) {
                VirtualCard& card = *process_of(self).card;
                return card.now_ + (card.running_ != nullptr ? card.running_->lag_ns_ : 0);
            },
        .sleep_ns = [](void* self,
                       std::uint64_t ns) { process_of(self).card->running_->sleep(ns); },
        .load_policy = [](void* self,
                          ComputePolicy* out) { *out = process_of(self).container->policy; },
        .context = [](void* self) { return self; },
        .event_create = [](void* self) -> EventHandle {
            Process& owner = process_of(self);
            const int event = owner.card->model_->add_event(owner.client);
            return event < 0 ? nullptr : event_handle(event);
        },
        .event_destroy = [](void* self, EventHandle event
                         ) { process_of(self).card->model_->remove_event(event_of(event)); },
        .event_record =
            [](void* self, EventHandle event, void* stream) {
                Process& owner = process_of(self);
                if (owner.capturing.contains(stream))
                    std::abort();  // would become part of the graph
                ++owner.records;
                App& app = *owner.card->running_;
                app.compute(owner.card->host_.record_ns);
                while (owner.card->model_->submit_record(
                           owner.card->now_, stream_of(stream), event_of(event)
                       ) == 0)
                    app.sleep(20'000);
                return true;
            },
        .event_query =
            [](void* self, EventHandle event) {
                VirtualCard& card = *process_of(self).card;
                card.running_->compute(card.host_.query_ns);
                card.model_->advance(card.now_);
                return card.model_->event(event_of(event)).ready ? EventState::kReady
                                                                 : EventState::kNotReady;
            },
        .event_span =
            [](void* self, EventHandle start, EventHandle end, std::int64_t* span) {
                testing::SmModel& model = *process_of(self).card->model_;
                *span = static_cast<std::int64_t>(model.event(event_of(end)).done_at_ns) -
                        static_cast<std::int64_t>(model.event(event_of(start)).done_at_ns);
                return true;
            },
        .capturing = [](void* self,
                        void* stream) { return process_of(self).capturing.contains(stream); },
    };
}

Process& VirtualCard::add_process(Container& container) {
    processes_.push_back(std::make_unique<Process>());
    Process& process = *processes_.back();
    process.card = this;
    process.container = &container;
    process.id = processes_.size();
    process.client = model_->add_client(now_);
    process.platform = platform_of(process);
    process.controller = std::make_unique<CardController>();
    process.controller->attach(
        &process.platform, &container.bucket, &process.counters, &container.policy_seq
    );
    return process;
}

App& VirtualCard::add_app(Process& process, std::function<void(App&)> body) {
    apps_.push_back(std::make_unique<App>());
    App& app = *apps_.back();
    app.process_ = &process;
    app.card_ = this;
    app.body_ = std::move(body);
    app.thread_.id = static_cast<std::uint32_t>(apps_.size());
    app.stream_ = model_->add_stream(now_, process.client);
    app.wake_ns_ = now_;
    app.stack_.resize(kStack);
    getcontext(&app.context_);
    app.context_.uc_stack.ss_sp = app.stack_.data();
    app.context_.uc_stack.ss_size = app.stack_.size();
    app.context_.uc_link = &scheduler_;
    const auto bits = reinterpret_cast<std::uintptr_t>(&app);
    makecontext(
        &app.context_,
        reinterpret_cast<void (*)()>(&VirtualCard::enter),
        2,
        static_cast<unsigned>(bits),
        static_cast<unsigned>(bits >> 32)
    );
    return app;
}

void VirtualCard::enter(unsigned low, unsigned high) {
    App& app = *reinterpret_cast<App*>(std::uintptr_t{high} << 32 | low);
    app.body_(app);
    app.done_ = true;
}

void VirtualCard::resume(App& app) {
    app.wait_stream_ = -1;
    app.lag_ns_ = 0;
    running_ = &app;
    swapcontext(&scheduler_, &app.context_);
    running_ = nullptr;
}

void VirtualCard::yield(App& app) {
    swapcontext(&app.context_, &scheduler_);
}

bool VirtualCard::ready(const App& app) const {
    if (app.done_) return false;
    if (app.wait_stream_ >= 0) return model_->completed(app.wait_stream_) >= app.wait_ticket_;
    return app.wake_ns_ <= now_;
}

void VirtualCard::run_until(std::uint64_t ns) {
    for (;;) {
        bool waiting = false;
        std::uint64_t next = std::min({start_ + ns, next_sample_, next_tick_, next_nvml_});
        bool ran = false;
        for (const auto& app : apps_) {
            model_->advance(now_);
            while (ready(*app)) {
                resume(*app);
                model_->advance(now_);
                ran = true;
            }
            if (app->done_) continue;
            if (app->wait_stream_ >= 0)
                waiting = true;
            else
                next = std::min(next, app->wake_ns_);
        }
        if (ran) continue;
        model_->advance(now_);
        if (waiting) next = std::min(next, model_->next_change());
        model_->advance(next);
        now_ = next;
        if (now_ == next_sample_) sample();
        if (now_ == next_nvml_) {
            for (const auto& container : containers_) {
                const double total = busy(*container);
                const double part =
                    std::round((total - container->nvml_last_ns) / kNvmlNs * 100) / 100;
                container->nvml_busy_ns += part * kNvmlNs;
                container->nvml_last_ns = total;
            }
            next_nvml_ += kNvmlNs;
        }
        if (now_ == next_tick_) agent_tick();
        if (now_ >= start_ + ns) return;
    }
}

double VirtualCard::busy(const Container& container) const {
    double total = 0;
    for (const auto& process : processes_) {
        if (process->container == &container) total += model_->use(process->client).busy_ns;
    }
    return total;
}

void VirtualCard::sample() {
    for (const auto& container : containers_) container->busy_samples.push_back(busy(*container));
    next_sample_ += kSampleNs;
}

void VirtualCard::agent_tick() {
    next_tick_ += kTickNs;
    if (!agent_on_) return;
    std::vector<ContainerSample> samples;
    for (const auto& container : containers_) {
        ContainerSample sample{
            .id = container->id,
            .mode = container->policy.mode,
            .share_ppm = container->policy.share_ppm,
            .guaranteed = container->guaranteed,
            .best_effort = container->best_effort,
            .demand_ns = container->bucket.demand_ns,
            .throttled_ns = 0,
            .processes = {},
            .largest_ns = container->bucket.largest_ns,
            .measured = {},
        };
        for (const auto& process : processes_) {
            if (process->container != container.get()) continue;
            sample.throttled_ns += process->counters.throttled_ns;
            sample.processes.push_back(
                {.id = process->id,
                 .charged_ns = process->counters.charged_ns,
                 .span_ns = process->counters.span_ns,
                 .span_cost_ns = process->counters.span_cost_ns}
            );
        }
        if (container->reported)
            sample.measured = Measured{container->nvml_busy_ns, next_nvml_ - kNvmlNs};
        samples.push_back(sample);
    }
    const auto answers = agent_.tick(now_, samples);
    for (std::size_t i = 0; i < answers.size(); ++i) {
        ComputePolicy policy = containers_[i]->policy;
        policy.rate_ppm = answers[i].rate_ppm;
        policy.gain_ppm = answers[i].gain_ppm;
        policy.contention_ppm = answers[i].contention_ppm;
        policy.neighbours = answers[i].neighbours;
        policy.gated = answers[i].gated ? 1 : 0;
        containers_[i]->set(policy);
    }
}

double VirtualCard::share(const Container& container, std::uint64_t from_ns, std::uint64_t to_ns)
    const {
    const std::vector<double>& samples = container.busy_samples;
    const std::size_t from = std::min<std::size_t>(from_ns / kSampleNs, samples.size() - 1);
    const std::size_t to = std::min<std::size_t>(to_ns / kSampleNs, samples.size() - 1);
    if (to <= from) return 0;
    return (samples[to] - samples[from]) / static_cast<double>((to - from) * kSampleNs);
}

double VirtualCard::worst_window(
    const Container& container, double target, std::uint64_t from_ns, std::uint64_t length_ns
) const {
    double worst = 0;
    const std::uint64_t end = now_ - start_;
    for (std::uint64_t from = from_ns; from + length_ns <= end; from += kSampleNs) {
        worst = std::max(worst, std::abs(share(container, from, from + length_ns) - target));
    }
    return worst;
}

std::uint64_t App::now() const {
    return card_->now_ + lag_ns_;
}

void App::sleep(std::uint64_t ns) {
    wake_ns_ = card_->now_ + lag_ns_ + ns + kLateNs;
    card_->yield(*this);
}

void App::compute(std::uint64_t ns) {
    lag_ns_ += ns;
    if (lag_ns_ == 0 || (!card_->host_.exact && lag_ns_ < kSliceOfHostNs)) return;
    wake_ns_ = card_->now_ + lag_ns_;
    card_->yield(*this);
}

int App::make_stream() {
    return card_->model_->add_stream(card_->now_, process_->client);
}

void App::launch(const Shape& shape, int stream) {
    if (stream < 0) stream = stream_;
    if (!card_->host_.exact) compute(launch_ns_);
    Launch launch{
        .function = reinterpret_cast<const void*>(std::uintptr_t(shape.id) * 64),
        .stream = stream_handle(stream)};
    if (!shape.graph) {
        launch.grid[0] = shape.blocks;
        launch.block[0] = shape.threads;
    }
    const bool after = process_->controller->before_launch(thread_, launch);
    if (card_->host_.exact) compute(launch_ns_);
    if (!process_->capturing.contains(launch.stream)) {
        const testing::SmKernel kernel{
            .cost_ns = shape.cost_ns, .blocks = shape.blocks, .block_threads = shape.threads};
        while (card_->model_->submit_kernel(card_->now_, stream, kernel) == 0) sleep(20'000);
    }
    if (after) process_->controller->after_launch(thread_, launch, true);
}

void App::sync(int stream) {
    wait_stream_ = stream < 0 ? stream_ : stream;
    wait_ticket_ = card_->model_->submitted(wait_stream_);
    card_->yield(*this);
}

void App::begin_capture(int stream) {
    process_->capturing.insert(stream_handle(stream));
    process_->controller->capture_begins();
}

void App::end_capture(int stream) {
    process_->capturing.erase(stream_handle(stream));
    process_->controller->capture_ends();
}

}  // namespace egpu::guard
