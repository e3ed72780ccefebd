#include "testing/cuda/engine.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <thread>
#include <utility>

#include <pthread.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace egpu::testing::cuda {
namespace {

constexpr std::size_t kQueueLimit = 1024;   // launches wait behind as many, as on a card
constexpr std::uint64_t kLook = 1'000'000;  // ns; other processes change what comes next
constexpr std::uint64_t kSpin = 5'000;      // ns; shorter waits are not worth a sleep

// To the microsecond: the thread may have been allowed to wake late, and gets that back.
void sleep_until(std::uint64_t until) {
    const std::uint64_t now = monotonic_ns();
    if (until > now + kSpin) {
        const int slack = ::prctl(PR_GET_TIMERSLACK, 0UL, 0UL, 0UL, 0UL);
        ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
        std::this_thread::sleep_for(std::chrono::nanoseconds(until - now - kSpin));
        if (slack > 0) ::prctl(PR_SET_TIMERSLACK, static_cast<unsigned long>(slack), 0UL, 0UL, 0UL);
    }
    while (monotonic_ns() < until) {
    }
}

std::uint64_t thread_key() {
    return static_cast<std::uint64_t>(::pthread_self());
}

}  // namespace

Engine& engine() {
    static auto* instance = new Engine;
    return *instance;
}

Stream* Engine::add_stream(Context* context, unsigned flags, int priority) {
    Stream* stream = Stable<Stream>::make();
    stream->context = context;
    stream->flags = flags;
    stream->priority = priority;
    stream->blocking = (flags & CU_STREAM_NON_BLOCKING) == 0;
    stream->id = driver().next_id++;
    stream->live = Stream::kLive;
    context->streams.insert(stream);
    return stream;
}

void Engine::remove_stream(Stream* stream) {
    if (stream->in_model >= 0 && !stream->overflow) {
        Device& device = *stream->context->device;
        SharedNode::Card card(*driver().shared, device.unit, card_config(device));
        if (card) card.model().remove_stream(card.now(), stream->in_model);
    }
    busy_.erase(stream);
    stream->context->streams.erase(stream);
    Stable<Stream>::drop(stream);
}

void Engine::close_stream(Stream* stream) {
    stream->closing = true;
    pump();
    if (busy_.count(stream) == 0 && stream->live == Stream::kLive) remove_stream(stream);
}

void Engine::remove_event(Event* event) {
    if (event->in_model >= 0) {
        Device& device = *event->device;
        SharedNode::Card card(*driver().shared, device.unit, card_config(device));
        if (card) card.model().remove_event(event->in_model);
    }
    Stable<Event>::drop(event);
}

void Engine::close_event(Event* event) {
    event->closing = true;
    if (event->done >= event->recorded) remove_event(event);
}

bool Engine::goes_to_model(const Stream* stream, const Operation& operation) const {
    const Event* event = operation.event;
    switch (operation.kind) {
        case Operation::Kind::kKernel:
        case Operation::Kind::kCopy:
            return operation.kernel.cost_ns > 0;
        case Operation::Kind::kRecord:
            // Behind nothing in the model it takes no time: done here.
            return stream->submitted > 0 && event->device == stream->context->device;
        case Operation::Kind::kWaitEvent:
            return event->id == operation.id && event->in_model >= 0 &&
                   event->submitted == event->recorded && event->recorded == operation.position &&
                   event->device == stream->context->device;
        default:
            return false;
    }
}

// False when the model has no room now.
bool Engine::submit(SharedNode::Card& card, Stream* stream, Operation& operation) {
    SmModel& model = card.model();
    if (stream->in_model < 0) {
        int& overflow = overflow_.try_emplace(stream->context->device, -1).first->second;
        if (overflow < 0) overflow = model.add_stream(card.now(), card.client());
        stream->in_model = model.add_stream(card.now(), card.client());
        if (stream->in_model < 0) {
            stream->in_model = overflow;
            stream->overflow = true;
        }
        if (stream->in_model < 0) return false;
    }
    switch (operation.kind) {
        case Operation::Kind::kKernel:
            operation.ticket = model.submit_kernel(card.now(), stream->in_model, operation.kernel);
            break;
        case Operation::Kind::kCopy:
            operation.ticket = model.submit_copy(
                card.now(), stream->in_model, operation.engine, operation.kernel.cost_ns
            );
            break;
        case Operation::Kind::kRecord: {
            Event* event = operation.event;
            if (event->in_model < 0) event->in_model = model.add_event(card.client());
            if (event->in_model < 0) return false;
            operation.ticket = model.submit_record(card.now(), stream->in_model, event->in_model);
            if (operation.ticket != 0) {
                event->submitted = std::max(event->submitted, operation.position);
            }
            break;
        }
        case Operation::Kind::kWaitEvent:
            operation.ticket =
                model.submit_wait(card.now(), stream->in_model, operation.event->in_model);
            break;
        default:
            break;
    }
    operation.submitted = operation.ticket != 0;
    if (operation.submitted) ++stream->submitted;
    return operation.submitted;
}

void Engine::finish(Stream* stream, std::uint64_t at) {
    Operation& operation = stream->waiting.front();
    if (operation.kind == Operation::Kind::kRecord) {
        Event* event = operation.event;
        event->done = std::max(event->done, operation.position);
        event->submitted = std::max(event->submitted, operation.position);
        event->done_at = at;
    }
    if (operation.submitted) --stream->submitted;
    Event* gone = operation.kind == Operation::Kind::kRecord && operation.event->closing &&
                          operation.event->done >= operation.event->recorded
                      ? operation.event
                      : nullptr;
    stream->waiting.pop_front();
    ++stream->done;
    if (gone != nullptr) closed_events_.push_back(gone);
}

// Takes what the model has completed off the stream, and gives it what follows. Whether something
// changed.
bool Engine::collect(SharedNode::Card& card, Stream* stream) {
    bool changed = false;
    while (!stream->waiting.empty() && stream->waiting.front().submitted &&
           card.model().completed(stream->in_model) >= stream->waiting.front().ticket) {
        changed = true;
        Operation& head = stream->waiting.front();
        if (head.work) {  // a copy whose time has passed: the data
            head.kind = Operation::Kind::kWork;
            head.submitted = false;
            --stream->submitted;
            return true;
        }
        // Of the last record that is done; that is this one unless one event was recorded often.
        const bool record = head.kind == Operation::Kind::kRecord;
        finish(stream, record ? card.model().event(head.event->in_model).done_at_ns : 0);
    }
    while (stream->submitted < stream->waiting.size()) {
        Operation& next = stream->waiting[stream->submitted];
        if (!goes_to_model(stream, next) || !submit(card, stream, next)) break;
        changed = true;
    }
    return changed;
}

bool Engine::blocked(const Operation& operation) const {
    switch (operation.kind) {
        case Operation::Kind::kWaitEvent:
            return operation.event->id == operation.id &&
                   operation.event->done < operation.position;
        case Operation::Kind::kWaitStream:
            return operation.stream->id == operation.id &&
                   operation.stream->done < operation.position;
        case Operation::Kind::kKernel:
        case Operation::Kind::kCopy:
            return operation.kernel.cost_ns > 0;
        case Operation::Kind::kHost:
            return true;  // the thread's
        default:
            return false;
    }
}

// Does what is at the head of the stream and takes no time of the card.
bool Engine::run_local(Stream* stream) {
    bool changed = false;
    while (!stream->waiting.empty()) {
        Operation& head = stream->waiting.front();
        if (head.submitted || blocked(head)) break;
        if (head.work) {
            const auto work = std::move(head.work);
            work();
        }
        finish(stream, monotonic_ns());
        changed = true;
    }
    return changed;
}

void Engine::pump() {
    next_change_ = SmModel::kNever;
    if (busy_.empty()) return;
    for (bool changed = true; changed;) {
        changed = false;
        next_change_ = SmModel::kNever;
        for (const auto& device : driver().devices) {
            const auto on_device = [&](const Stream* s) {
                return s->context->device == device.get();
            };
            if (std::none_of(busy_.begin(), busy_.end(), on_device)) continue;
            SharedNode::Card card(*driver().shared, device->unit, card_config(*device));
            if (!card) continue;
            for (Stream* stream : busy_) {
                if (on_device(stream)) changed = collect(card, stream) || changed;
            }
            card.model().advance(card.now());
            next_change_ = std::min(next_change_, card.model().next_change());
        }
        // Not under a card's lock: copies of data take long, and freeing takes other locks.
        for (Stream* stream : busy_) changed = run_local(stream) || changed;
    }
    bool for_thread = false;
    bool at_once = false;
    for (auto it = busy_.begin(); it != busy_.end();) {
        Stream* stream = *it;
        if (stream->waiting.empty()) {
            it = busy_.erase(it);
            if (stream->closing) closed_streams_.push_back(stream);
            continue;
        }
        ++it;
        const Operation& head = stream->waiting.front();
        for_thread =
            for_thread || stream->submitted < stream->waiting.size() || stream->waiting.back().work;
        at_once = at_once || (!head.submitted && head.kind == Operation::Kind::kHost && head.work);
    }
    for (Stream* stream : std::exchange(closed_streams_, {})) remove_stream(stream);
    for (Event* event : std::exchange(closed_events_, {})) remove_event(event);
    if (for_thread) {
        start_thread();
        if (at_once || next_change_ < thread_until_) work_.notify_one();
    }
}

void Engine::enqueue(std::unique_lock<std::mutex>& lock, Stream* stream, Operation operation) {
    const auto order_behind = [&](Stream* other) {
        if (other == stream || other->waiting.empty()) return;
        Operation wait;
        wait.kind = Operation::Kind::kWaitStream;
        wait.stream = other;
        wait.id = other->id;
        wait.position = other->enqueued;
        stream->waiting.push_back(std::move(wait));
        ++stream->enqueued;
    };
    if (!busy_.empty() && (stream->legacy || stream->blocking)) {
        // May have finished meanwhile: then there is nothing to be ordered behind.
        bool others = false;
        for (const Stream* other : busy_) others = others || other != stream;
        if (others) pump();
        if (stream->legacy) {
            for (Stream* other : stream->context->streams) {
                if (other->blocking) order_behind(other);
            }
        } else if (stream->context->legacy != nullptr) {
            order_behind(stream->context->legacy);
        }
    }
    if (stream->waiting.size() >= kQueueLimit) {
        const std::uint64_t id = stream->id;
        lock.unlock();
        wait_until([&] { return stream->id != id || stream->waiting.size() < kQueueLimit; });
        lock.lock();
        if (stream->id != id) return;
    }
    const bool timed =
        (operation.kind == Operation::Kind::kKernel || operation.kind == Operation::Kind::kCopy) &&
        operation.kernel.cost_ns > 0;
    if (stream->waiting.empty() && !timed && operation.kind != Operation::Kind::kHost) {
        // Nothing is before it, and it takes no time.
        stream->waiting.push_back(std::move(operation));
        ++stream->enqueued;
        if (stream->waiting.front().kind == Operation::Kind::kWaitEvent ||
            stream->waiting.front().kind == Operation::Kind::kWaitStream) {
            busy_.insert(stream);
            pump();
            return;
        }
        run_local(stream);
        return;
    }
    stream->waiting.push_back(std::move(operation));
    ++stream->enqueued;
    busy_.insert(stream);
    if (stream->submitted + 1 == stream->waiting.size() &&
        goes_to_model(stream, stream->waiting.back())) {
        Device& device = *stream->context->device;
        SharedNode::Card card(*driver().shared, device.unit, card_config(device));
        if (card && submit(card, stream, stream->waiting.back())) {
            // A long queue is shortened now and then, also when nobody asks.
            if (stream->waiting.size() % 64 == 0) collect(card, stream);
            return;
        }
    }
    pump();
}

bool Engine::idle(Stream* stream) {
    if (stream->waiting.empty()) return true;
    pump();
    return stream->waiting.empty();
}

template <class Done>
void Engine::wait_until(Done done) {
    std::unique_lock lock(mutex);
    while (true) {
        pump();
        if (done()) return;
        const std::uint64_t now = monotonic_ns();
        const std::uint64_t until = std::min(next_change_, now + kLook);
        if (next_change_ == SmModel::kNever || !running_host_.empty()) {
            // A host function, or another process; the thread tells.
            done_.wait_for(lock, std::chrono::nanoseconds(kLook));
            continue;
        }
        lock.unlock();
        sleep_until(until);
        lock.lock();
    }
}

void Engine::wait_for(Stream* stream) {
    std::uint64_t position = 0;
    std::uint64_t id = 0;
    {
        const std::lock_guard lock(mutex);
        position = stream->enqueued;
        id = stream->id;
    }
    wait_until([&] { return stream->id != id || stream->done >= position; });
}

void Engine::wait_for(Event* event) {
    std::uint64_t position = 0;
    {
        const std::lock_guard lock(mutex);
        position = event->recorded;
    }
    const std::uint64_t id = event->id;
    wait_until([&] { return event->id != id || event->done >= position; });
}

template <class Wanted>
void Engine::wait_for_streams(Wanted wanted) {
    struct Place {
        Stream* stream;
        std::uint64_t id;
        std::uint64_t position;
    };
    std::vector<Place> places;
    {
        const std::lock_guard lock(mutex);
        for (Stream* stream : busy_) {
            if (wanted(stream)) places.push_back({stream, stream->id, stream->enqueued});
        }
    }
    if (places.empty()) return;
    wait_until([&] {
        return std::all_of(places.begin(), places.end(), [](const Place& place) {
            return place.stream->id != place.id || place.stream->done >= place.position;
        });
    });
}

void Engine::wait_for(Context* context) {
    wait_for_streams([&](const Stream* stream) { return stream->context == context; });
}

void Engine::wait_for_device(Device* device) {
    wait_for_streams([&](const Stream* stream) { return stream->context->device == device; });
}

void Engine::start_thread() {
    if (thread_) return;
    thread_ = true;
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread([this] { run_thread(); }).detach();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Engine::run_thread() {
    ::prctl(PR_SET_NAME, "sim-cuda");
    ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    std::unique_lock lock(mutex);
    while (true) {
        pump();
        bool ran = false;
        for (Stream* stream : std::vector<Stream*>(busy_.begin(), busy_.end())) {
            if (busy_.count(stream) == 0 || stream->waiting.empty()) continue;
            Operation& head = stream->waiting.front();
            if (head.submitted || head.kind != Operation::Kind::kHost || !head.work) continue;
            const auto work = std::exchange(head.work, nullptr);
            running_host_.insert(stream);
            lock.unlock();
            work();
            lock.lock();
            running_host_.erase(stream);
            finish(stream, monotonic_ns());
            ran = true;
        }
        done_.notify_all();
        if (ran) continue;
        if (busy_.empty()) {
            thread_until_ = SmModel::kNever;
            work_.wait(lock);
        } else {
            const std::uint64_t now = monotonic_ns();
            thread_until_ = std::min(next_change_, now + kLook);
            if (thread_until_ > now)
                work_.wait_for(lock, std::chrono::nanoseconds(thread_until_ - now));
        }
    }
}

Stream* default_stream(Context* context, Default flavour) {
    if (flavour == Default::kLegacy) {
        if (context->legacy == nullptr) {
            context->legacy = engine().add_stream(context, 0, 0);
            context->legacy->legacy = true;
        }
        return context->legacy;
    }
    Stream*& stream = context->per_thread[thread_key()];
    if (stream == nullptr) stream = engine().add_stream(context, 0, 0);
    return stream;
}

Stream* stream_of(CUstream handle, Default flavour, CUresult& result) {
    const auto value = reinterpret_cast<std::uintptr_t>(handle);
    if (value <= CU_STREAM_PER_THREAD) {
        Context* context = current_context(result);
        if (context == nullptr) return nullptr;
        if (value == CU_STREAM_LEGACY) flavour = Default::kLegacy;
        if (value == CU_STREAM_PER_THREAD) flavour = Default::kPerThread;
        const std::lock_guard lock(engine().mutex);
        return default_stream(context, flavour);
    }
    auto* stream = reinterpret_cast<Stream*>(handle);
    if (stream->live != Stream::kLive || stream->closing) {
        result = CUDA_ERROR_INVALID_HANDLE;
        return nullptr;
    }
    return stream;
}

}  // namespace egpu::testing::cuda
