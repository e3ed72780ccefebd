#include "testing/cuda/sm_model.h"

#include <algorithm>
#include <cmath>

namespace egpu::testing {

namespace {
// Work below this is rounding.
constexpr double kDoneNs = 1e-6;
}  // namespace

void SmModel::reset(const SmConfig& config, std::uint64_t now_ns) {
    config_ = config;
    now_ = now_ns;
    slice_end_ = switch_until_ = now_ns;
    current_ = -1;
    stream_count_ = 0;
    client_limit_ = 0;
    rates_valid_ = false;
    for (Client& client : clients_) client = Client{};
    for (Stream& stream : streams_)
        stream = Stream{
            .client = -1,
            .after_copy = false,
            .rate = 0,
            .submitted = 0,
            .completed = 0,
            .done_at_ns = 0};
    for (Event& event : events_)
        event = Event{.client = -1, .recorded = 0, .done = 0, .done_at_ns = 0};
    // The queues are not touched: counters say what is in them, and untouched pages cost nothing.
}

bool SmModel::valid_stream(int stream) const {
    return stream >= 0 && stream < kMaxStreams && streams_[stream].client >= 0;
}

int SmModel::add_client(std::uint64_t now_ns) {
    advance(now_ns);
    for (int i = 0; i < kMaxClients; ++i) {
        if (clients_[i].used) continue;
        clients_[i] = Client{};
        clients_[i].used = true;
        client_limit_ = std::max(client_limit_, i + 1);
        return i;
    }
    return -1;
}

int SmModel::add_stream(std::uint64_t now_ns, int client) {
    if (client < 0 || client >= kMaxClients || !clients_[client].used) return -1;
    advance(now_ns);
    for (int i = 0; i < kMaxStreams; ++i) {
        if (streams_[i].client >= 0) continue;
        streams_[i] = Stream{
            .client = client,
            .after_copy = false,
            .rate = 0,
            .submitted = 0,
            .completed = 0,
            .done_at_ns = now_ns};
        list_streams();
        return i;
    }
    return -1;
}

int SmModel::add_event(int client) {
    if (client < 0 || client >= kMaxClients || !clients_[client].used) return -1;
    for (int i = 0; i < kMaxEvents; ++i) {
        if (events_[i].client >= 0) continue;
        events_[i] = Event{.client = client, .recorded = 0, .done = 0, .done_at_ns = 0};
        return i;
    }
    return -1;
}

void SmModel::list_streams() {
    stream_count_ = 0;
    for (int i = 0; i < kMaxStreams; ++i) {
        if (streams_[i].client >= 0) used_[stream_count_++] = static_cast<std::int16_t>(i);
    }
    rates_valid_ = false;
}

void SmModel::remove_stream(std::uint64_t now_ns, int stream) {
    if (!valid_stream(stream)) return;
    advance(now_ns);
    Stream& gone = streams_[stream];
    for (std::uint64_t i = gone.completed; i < gone.submitted; ++i) {
        const Operation& operation = queues_[stream][i % kQueueDepth];
        if (operation.kind != Kind::kRecord || operation.event < 0 || operation.event >= kMaxEvents)
            continue;
        Event& event = events_[operation.event];
        event.done = std::max(event.done, operation.generation);
        event.done_at_ns = now_;
    }
    gone.client = -1;
    list_streams();
    advance(now_ns);
}

void SmModel::remove_event(int event) {
    if (event < 0 || event >= kMaxEvents) return;
    events_[event].client = -1;
    events_[event].done = events_[event].recorded;
    rates_valid_ = false;
}

void SmModel::remove_client(std::uint64_t now_ns, int client) {
    if (client < 0 || client >= kMaxClients || !clients_[client].used) return;
    for (int i = 0; i < kMaxStreams; ++i) {
        if (streams_[i].client == client) remove_stream(now_ns, i);
    }
    for (int i = 0; i < kMaxEvents; ++i) {
        if (events_[i].client == client) remove_event(i);
    }
    clients_[client].used = false;
    rates_valid_ = false;
    advance(now_ns);
}

const SmModel::Operation* SmModel::head_of(int stream) const {
    const Stream& s = streams_[stream];
    if (s.completed >= s.submitted) return nullptr;
    return &queues_[stream][s.completed % kQueueDepth];
}

SmModel::Operation* SmModel::head_of(int stream) {
    return const_cast<Operation*>(static_cast<const SmModel*>(this)->head_of(stream));
}

std::uint64_t SmModel::push(std::uint64_t now_ns, int stream, const Operation& operation) {
    advance(now_ns);
    Stream& s = streams_[stream];
    if (s.submitted - s.completed >= kQueueDepth) return 0;
    queues_[stream][s.submitted % kQueueDepth] = operation;
    ++s.submitted;
    if (s.submitted - s.completed == 1) rates_valid_ = false;  // it is the head
    return s.submitted;
}

std::uint64_t SmModel::submit_kernel(std::uint64_t now_ns, int stream, const SmKernel& kernel) {
    if (!valid_stream(stream)) return 0;
    const std::uint32_t threads =
        std::clamp<std::uint32_t>(kernel.block_threads, 1, config_.threads_per_sm);
    const std::uint32_t per_sm =
        std::clamp<std::uint32_t>(config_.threads_per_sm / threads, 1, config_.blocks_per_sm);
    const double room = static_cast<double>(per_sm) * config_.sm_count;
    const double need = std::clamp(static_cast<double>(kernel.blocks) / room, 1e-4, 1.0);
    return push(
        now_ns,
        stream,
        Operation{
            .kind = Kind::kKernel,
            .engine = {},
            .reserved = 0,
            .event = -1,
            .work_ns = static_cast<double>(kernel.cost_ns),
            .need = need,
            .generation = 0}
    );
}

std::uint64_t SmModel::submit_copy(
    std::uint64_t now_ns, int stream, CopyEngine engine, std::uint64_t cost_ns
) {
    if (!valid_stream(stream)) return 0;
    return push(
        now_ns,
        stream,
        Operation{
            .kind = Kind::kCopy,
            .engine = engine,
            .reserved = 0,
            .event = -1,
            .work_ns = static_cast<double>(cost_ns),
            .need = 0,
            .generation = 0}
    );
}

std::uint64_t SmModel::submit_record(std::uint64_t now_ns, int stream, int event) {
    if (!valid_stream(stream) || event < 0 || event >= kMaxEvents) return 0;
    const std::uint64_t generation = events_[event].recorded + 1;
    const std::uint64_t ticket = push(
        now_ns,
        stream,
        Operation{
            .kind = Kind::kRecord,
            .engine = {},
            .reserved = 0,
            .event = event,
            .work_ns = static_cast<double>(config_.record_ns),
            .need = 0,
            .generation = generation}
    );
    if (ticket != 0) events_[event].recorded = generation;
    return ticket;
}

std::uint64_t SmModel::submit_wait(std::uint64_t now_ns, int stream, int event) {
    if (!valid_stream(stream) || event < 0 || event >= kMaxEvents) return 0;
    return push(
        now_ns,
        stream,
        Operation{
            .kind = Kind::kWait,
            .engine = {},
            .reserved = 0,
            .event = event,
            .work_ns = 0,
            .need = 0,
            .generation = events_[event].recorded}
    );
}

void SmModel::pop(int stream) {
    Stream& s = streams_[stream];
    const Operation& operation = queues_[stream][s.completed % kQueueDepth];
    if (operation.kind == Kind::kKernel) ++clients_[s.client].use.kernels;
    if (operation.kind == Kind::kKernel || operation.kind == Kind::kCopy)
        s.after_copy = operation.kind == Kind::kCopy;
    ++s.completed;
    s.done_at_ns = now_;
    rates_valid_ = false;
}

// Completes the head if it takes no time; false if it takes time or has to wait.
bool SmModel::pop_instant(int stream) {
    const Operation* head = head_of(stream);
    if (head == nullptr) return false;
    const Stream& s = streams_[stream];
    switch (head->kind) {
        case Kind::kKernel:
        case Kind::kCopy:
            if (head->work_ns > kDoneNs) return false;
            break;
        case Kind::kWait:
            if (head->event >= 0 && events_[head->event].client >= 0 &&
                events_[head->event].done < head->generation)
                return false;
            break;
        case Kind::kRecord: {
            const bool needs_slice = sliced() && !s.after_copy;
            if (needs_slice && (current_ != s.client || now_ < switch_until_)) return false;
            if (head->work_ns > kDoneNs) return false;
            Event& event = events_[head->event];
            event.done = std::max(event.done, head->generation);
            event.done_at_ns = now_ - now_ % std::max<std::uint64_t>(config_.event_step_ns, 1);
            break;
        }
    }
    pop(stream);
    return true;
}

void SmModel::mark_ready() {
    for (int i = 0; i < client_limit_; ++i) {
        clients_[i].ready = false;
    }
    for (int i = 0; i < stream_count_; ++i) {
        const int stream = used_[i];
        const Operation* head = head_of(stream);
        if (head == nullptr) continue;
        if (head->kind == Kind::kKernel || head->kind == Kind::kRecord)
            clients_[streams_[stream].client].ready = true;
    }
}

int SmModel::next_ready(int after) const {
    for (int i = 1; i <= client_limit_; ++i) {
        const int candidate = (after + i) % client_limit_;
        if (candidate >= 0 && clients_[candidate].used && clients_[candidate].ready)
            return candidate;
    }
    return -1;
}

// Completes what takes no time and hands the card on, until only work that takes time is left.
void SmModel::settle() {
    for (;;) {
        bool changed = false;
        for (int i = 0; i < stream_count_; ++i) {
            while (pop_instant(used_[i])) changed = true;
        }
        if (changed) continue;
        if (!sliced()) return;
        mark_ready();
        const bool current_ready =
            current_ >= 0 && clients_[current_].used && clients_[current_].ready;
        if (current_ready && now_ < slice_end_) return;
        const int next = next_ready(current_ < 0 ? client_limit_ - 1 : current_);
        if (next < 0) return;  // nobody has work; the last one keeps the card
        slice_end_ = now_ + config_.slice_ns;
        if (next == current_) {
            // alone: the slice goes on
            return;
        }
        current_ = next;
        switch_until_ = now_ + config_.switch_ns;
        slice_end_ += config_.switch_ns;
        rates_valid_ = false;
    }
}

void SmModel::set_rates() {
    if (rates_valid_) return;
    for (int i = 0; i < client_limit_; ++i) {
        Client& client = clients_[i];
        client.running = false;
        client.demand = 0;
        client.speed = 0;
    }
    double total_demand = 0;
    int with_work = 0;
    std::array<int, 2> copies{};
    for (int i = 0; i < stream_count_; ++i) {
        const Operation* head = head_of(used_[i]);
        if (head == nullptr) continue;
        if (head->kind == Kind::kCopy) ++copies[static_cast<int>(head->engine)];
        if (head->kind != Kind::kKernel) continue;
        const int owner = streams_[used_[i]].client;
        Client& client = clients_[owner];
        if (sliced() && (owner != current_ || now_ < switch_until_)) continue;
        if (!client.running) ++with_work;
        client.running = true;
        client.demand += head->need;
        total_demand += head->need;
    }
    for (int i = 0; i < client_limit_; ++i) {
        Client& client = clients_[i];
        if (!client.running) continue;
        if (config_.spatial) {
            client.speed = 1 / std::max(1.0, total_demand);
        } else {
            client.speed = 1 / std::max(1.0, client.demand) / with_work;
        }
    }
    for (int i = 0; i < stream_count_; ++i) {
        Stream& stream = streams_[used_[i]];
        const Operation* head = head_of(used_[i]);
        stream.rate = 0;
        if (head == nullptr) continue;
        if (head->kind == Kind::kCopy) stream.rate = 1.0 / copies[static_cast<int>(head->engine)];
        if (head->kind == Kind::kRecord && head->work_ns > kDoneNs &&
            (!sliced() || stream.after_copy || (stream.client == current_ && now_ >= switch_until_)
            )) {
            stream.rate = 1;
        }
        if (head->kind == Kind::kKernel && clients_[stream.client].running &&
            (!sliced() || stream.client == current_))
            stream.rate = clients_[stream.client].speed;
    }
    // Clients in an equal-speed share each have the card for their part of the time.
    for (int i = 0; i < client_limit_; ++i) {
        Client& client = clients_[i];
        if (client.running && !config_.spatial && with_work > 1)
            client.speed = 1.0 / with_work;
        else if (client.running)
            client.speed = 1;
    }
    rates_valid_ = true;
}

void SmModel::progress(double dt_ns) {
    for (int i = 0; i < stream_count_; ++i) {
        const Stream& stream = streams_[used_[i]];
        if (stream.rate <= 0) continue;
        Operation* head = head_of(used_[i]);
        head->work_ns = std::max(0.0, head->work_ns - stream.rate * dt_ns);
        if (head->kind == Kind::kKernel)
            clients_[stream.client].use.sm_ns += head->need * stream.rate * dt_ns;
    }
    for (int i = 0; i < client_limit_; ++i) {
        Client& client = clients_[i];
        if (client.running) client.use.busy_ns += client.speed * dt_ns;
    }
}

std::uint64_t SmModel::next_change() const {
    std::uint64_t soonest = kNever;
    for (int i = 0; i < stream_count_; ++i) {
        const Stream& stream = streams_[used_[i]];
        const Operation* head = head_of(used_[i]);
        if (head == nullptr || stream.rate <= 0) continue;
        const auto dt =
            static_cast<std::uint64_t>(std::ceil(head->work_ns / stream.rate - kDoneNs));
        soonest = std::min(soonest, now_ + std::max<std::uint64_t>(dt, 1));
    }
    if (!sliced()) return soonest;
    bool waiting = false;
    bool running = false;
    for (int i = 0; i < stream_count_; ++i) {
        const Operation* head = head_of(used_[i]);
        if (head == nullptr || (head->kind != Kind::kKernel && head->kind != Kind::kRecord))
            continue;
        (streams_[used_[i]].client == current_ ? running : waiting) = true;
    }
    if (running && now_ < switch_until_) soonest = std::min(soonest, switch_until_);
    if (waiting && now_ < slice_end_) soonest = std::min(soonest, slice_end_);
    return soonest;
}

void SmModel::advance(std::uint64_t now_ns) {
    for (;;) {
        settle();
        set_rates();
        if (now_ >= now_ns) return;
        const std::uint64_t step_to = std::min(next_change(), now_ns);
        progress(static_cast<double>(step_to - now_));
        now_ = step_to;
        if (now_ == switch_until_ || now_ == slice_end_) rates_valid_ = false;
    }
}

std::uint64_t SmModel::completed(int stream) const {
    return valid_stream(stream) ? streams_[stream].completed : 0;
}

std::uint64_t SmModel::submitted(int stream) const {
    return valid_stream(stream) ? streams_[stream].submitted : 0;
}

std::uint64_t SmModel::last_done_at(int stream) const {
    return valid_stream(stream) ? streams_[stream].done_at_ns : 0;
}

SmEventState SmModel::event(int index) const {
    if (index < 0 || index >= kMaxEvents || events_[index].client < 0) return {};
    const Event& event = events_[index];
    return {.ready = event.done >= event.recorded, .done_at_ns = event.done_at_ns};
}

SmUse SmModel::use(int client) const {
    return client >= 0 && client < kMaxClients ? clients_[client].use : SmUse{};
}

}  // namespace egpu::testing
