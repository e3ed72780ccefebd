#include "guard/compute_hooks.h"

#include <cerrno>

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guard/relaxed_capture.h"

namespace egpu::guard {
namespace {

using namespace egpu::cuda;

// No constructor runs for these: all zero is their valid start.
struct Card {
    CardController controller;
    Platform platform;
    std::uint32_t block_slots;
};
alignas(Card) constinit unsigned char storage[kMaxDevices * sizeof(Card)] = {};
Card* const cards = reinterpret_cast<Card*>(storage);
// Where there is only one.
constinit CardController* the_card = nullptr;
constinit Lock the_card_lock;
constinit std::atomic<std::uint32_t> next_thread{1};

// The last launch that took the slow path, for launch_made().
constinit thread_local Launch own_launch = {};

int index_of_self(void* self) {
    return static_cast<int>(static_cast<Card*>(self) - cards);
}

std::uint64_t now_ns(void*) {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(now.tv_nsec);
}

void sleep_ns(void*, std::uint64_t ns) {
    const timespec wait{
        static_cast<time_t>(ns / 1'000'000'000U), static_cast<long>(ns % 1'000'000'000U)};
    const int kept = errno;
    syscall(SYS_nanosleep, &wait, nullptr);
    errno = kept;
}

ComputeMode mode_of(std::uint32_t number) {
    switch (number) {
        case static_cast<std::uint32_t>(ComputeMode::kOff):
            return ComputeMode::kOff;
        case static_cast<std::uint32_t>(ComputeMode::kSoft):
            return ComputeMode::kSoft;
        case static_cast<std::uint32_t>(ComputeMode::kBurst):
            return ComputeMode::kBurst;
        default:
            return ComputeMode::kHard;
    }
}

void load_policy(void* self, ComputePolicy* out) {
    const int index = index_of_self(self);
    const DeviceLimits limits = guard.limits_now(index);
    ComputePolicy policy;
    policy.mode = mode_of(limits.mode);
    policy.share_ppm = limits.share_ppm;
    policy.rate_ppm = limits.rate_ppm;
    policy.gain_ppm = limits.gain_ppm;
    policy.contention_ppm = limits.contention_ppm;
    policy.neighbours = limits.neighbours;
    policy.gated = limits.gated;
    policy.spatial = (limits.flags & kSpatial) != 0 ? 1 : 0;
    policy.block_slots = static_cast<Card*>(self)->block_slots;
    policy.burst_ns = limits.burst_ns;
    guard.tighten_compute(index, policy);
    const std::uint64_t beat = guard.limits_page()->heartbeat_ns.load(std::memory_order_relaxed);
    const std::uint64_t now = now_ns(nullptr);
    *out = without_stale(policy, now > beat ? now - beat : 0);
}

void* current_context(void*) {
    CUcontext context = nullptr;
    driver.CtxGetCurrent(&context);
    return context;
}

EventHandle event_create(void*) {
    const RelaxedCapture relaxed;
    CUevent event = nullptr;
    return driver.EventCreate(&event, 0) == CUDA_SUCCESS ? event : nullptr;
}

void event_destroy(void*, EventHandle event) {
    const RelaxedCapture relaxed;
    driver.EventDestroy(static_cast<CUevent>(event));
}

// The stream is never null here, so that the flavour of the null stream does not matter.
bool event_record(void*, EventHandle event, void* stream) {
    return driver.EventRecord[0](static_cast<CUevent>(event), static_cast<CUstream>(stream)) ==
           CUDA_SUCCESS;
}

EventState event_query(void*, EventHandle event) {
    const RelaxedCapture relaxed;
    const CUresult result = driver.EventQuery(static_cast<CUevent>(event));
    if (result == CUDA_SUCCESS) return EventState::kReady;
    return result == CUDA_ERROR_NOT_READY ? EventState::kNotReady : EventState::kFailed;
}

bool event_span(void*, EventHandle start, EventHandle end, std::int64_t* span_ns) {
    const RelaxedCapture relaxed;
    float ms = 0;
    if (driver.EventElapsedTime(&ms, static_cast<CUevent>(start), static_cast<CUevent>(end)) !=
        CUDA_SUCCESS) {
        return false;
    }
    *span_ns = static_cast<std::int64_t>(static_cast<double>(ms) * 1e6);
    return true;
}

bool capturing(void*, void* stream) {
    return capture_of(static_cast<CUstream>(stream), Null::legacy) != Capture::none;
}

std::uint32_t threads_at_once(CUdevice device) {
    int processors = 0;
    int threads = 0;
    driver.DeviceGetAttribute(&processors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device);
    driver.DeviceGetAttribute(&threads, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, device);
    return processors > 0 && threads > 0 ? static_cast<std::uint32_t>(processors * threads) : 0;
}

}  // namespace

constinit std::atomic<CardController*> only_controller{nullptr};
constinit thread_local ThreadState own_state = {};

void set_up_compute() {
    int found = 0;
    int last = -1;
    for (int index = 0; index < static_cast<int>(kMaxDevices); ++index) {
        const int ordinal = guard.ordinal_of(index);
        if (ordinal < 0) continue;
        Card& card = cards[index];
        card.platform = Platform{
            &card,
            now_ns,
            sleep_ns,
            load_policy,
            current_context,
            event_create,
            event_destroy,
            event_record,
            event_query,
            event_span,
            capturing};
        card.block_slots = threads_at_once(ordinal);
        card.controller.attach(
            &card.platform,
            &guard.ledger()->compute[index],
            &guard.slot()->compute[index],
            &guard.limits_page()->generation
        );
        ++found;
        last = index;
    }
    the_card = found == 1 ? &cards[last].controller : nullptr;
    only_controller.store(the_card, std::memory_order_release);
}

void forget_compute() {
    for (unsigned i = 0; i < kMaxDevices; ++i) cards[i].controller.after_fork_in_child();
    the_card = nullptr;
    the_card_lock.reset();
    only_controller.store(nullptr, std::memory_order_relaxed);
    own_state = ThreadState{};
}

CardController* controller_here() {
    if (!guard.active()) return nullptr;
    if (the_card != nullptr) return the_card;
    CUdevice device = 0;
    if (driver.CtxGetDevice(&device) != CUDA_SUCCESS) return nullptr;
    const int index = guard.index_of(device);
    return index < 0 ? nullptr : &cards[index].controller;
}

std::uint32_t new_thread_id() {
    return next_thread.fetch_add(1, std::memory_order_relaxed);
}

void pace_slowly(
    const void* function,
    unsigned gx,
    unsigned gy,
    unsigned gz,
    unsigned bx,
    unsigned by,
    unsigned bz,
    void* stream
) {
    CardController* const controller = controller_here();
    ThreadState& thread = thread_state();
    if (controller == nullptr) {
        thread.wanted_ns = 0;  // nothing to give back when it fails
        return;
    }
    own_launch = Launch{function, {gx, gy, gz}, {bx, by, bz}, stream};
    controller->before_launch(thread, own_launch);
}

void launch_made(bool launched) {
    if (own_state.card != nullptr) own_state.card->after_launch(own_state, own_launch, launched);
}

CUresult launch_failed(CUresult result) {
    launch_made(false);
    return result;
}

void compute_context_gone(CUcontext context) {
    for (unsigned i = 0; i < kMaxDevices; ++i) cards[i].controller.context_gone(context);
}

void compute_graph_gone(CUgraphExec exec) {
    for (unsigned i = 0; i < kMaxDevices; ++i) cards[i].controller.forget(exec);
}

void compute_capture(bool begins) {
    if (!guard.active()) return;
    for (unsigned i = 0; i < kMaxDevices; ++i) {
        begins ? cards[i].controller.capture_begins() : cards[i].controller.capture_ends();
    }
    const Held held(the_card_lock);
    if (the_card != nullptr)
        only_controller.store(the_card->captures() ? nullptr : the_card, std::memory_order_release);
}

// Every card's controller is told of every capture.
bool anything_captures() {
    return cards[0].controller.captures();
}

void compute_poll() {
    if (CardController* controller = controller_here(); controller != nullptr) controller->poll();
}

}  // namespace egpu::guard
