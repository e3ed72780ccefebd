// Streams, and the order and time of what is on them.
//
// What takes the card's time (kernels, copies if copy_gbps says so) and what is ordered with it
// (event records, waits for events of the same card) goes into the card's SmModel as soon as
// nothing else is before it on its stream; the rest (copies of data, host functions, waits for
// another card) is done here when the stream gets there. Nothing runs by itself: every call that
// asks how far a stream is runs the model up to now; a thread does it only while there is something
// left to be done here.
//
// Lock: Engine::mutex, before all others.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>

#include "testing/cuda/driver.h"

namespace egpu::testing::cuda {

struct Capture;
struct Graph;

struct Event {
    static constexpr std::uint32_t kLive = 0x544E5645;
    std::uint32_t live = 0;
    unsigned flags = 0;
    std::uint64_t id = 0;
    bool closing = false;  // destroyed, with records to come
    Context* context = nullptr;
    Device* device = nullptr;  // outlives the context
    int in_model = -1;
    std::uint64_t recorded = 0;   // records asked for
    std::uint64_t submitted = 0;  // of them given to the model, or done
    std::uint64_t done = 0;
    std::uint64_t done_at = 0;  // CLOCK_MONOTONIC, ns
    // Recorded on a capturing stream.
    std::uint64_t capture_id = 0;
    std::vector<struct Node*> captured;
};

struct Operation {
    enum class Kind : std::uint8_t {
        kKernel,
        kCopy,
        kRecord,
        kWaitEvent,
        kWaitStream,
        kWork,
        kHost
    };
    Kind kind = Kind::kWork;
    CopyEngine engine = CopyEngine::kToDevice;
    bool submitted = false;
    SmKernel kernel;           // cost_ns is that of a copy, too
    std::uint64_t ticket = 0;  // in the model
    Event* event = nullptr;
    Stream* stream = nullptr;
    std::uint64_t id = 0;        // of the event or the stream: the object may be another's by then
    std::uint64_t position = 0;  // of the event's records, or of `stream`
    std::function<void()> work;
};

struct Stream {
    static constexpr std::uint32_t kLive = 0x4D525453;
    std::uint32_t live = 0;
    Context* context = nullptr;
    unsigned flags = 0;
    int priority = 0;
    std::uint64_t id = 0;
    bool legacy = false;
    bool closing = false;   // destroyed, with work to do
    bool overflow = false;  // shares the model's stream with others of this process
    bool blocking = true;   // ordered with the legacy stream
    int in_model = -1;
    std::uint64_t enqueued = 0;
    std::uint64_t done = 0;     // operations
    std::size_t submitted = 0;  // of `waiting`, those in the model: a prefix
    std::deque<Operation> waiting;
    Capture* capture = nullptr;
    std::vector<struct Node*> capture_tail;
};

class Engine {
  public:
    std::mutex mutex;

    // Under the mutex.
    Stream* add_stream(Context* context, unsigned flags, int priority);
    void close_stream(Stream* stream);  // goes when it is done
    void close_event(Event* event);
    // Queues; orders with the legacy stream. Waits (without the mutex) while the queue is full.
    void enqueue(std::unique_lock<std::mutex>& lock, Stream* stream, Operation operation);
    // Does what can be done now.
    void pump();
    bool idle(Stream* stream);

    // These lock the mutex, and wait for what is there when they are called.
    void wait_for(Stream* stream);
    void wait_for(Event* event);
    void wait_for(Context* context);
    void wait_for_device(Device* device);

  private:
    template <class Done>
    void wait_until(Done done);
    template <class Wanted>
    void wait_for_streams(Wanted wanted);
    void remove_stream(Stream* stream);
    void remove_event(Event* event);
    bool collect(SharedNode::Card& card, Stream* stream);
    bool run_local(Stream* stream);
    bool submit(SharedNode::Card& card, Stream* stream, Operation& operation);
    bool goes_to_model(const Stream* stream, const Operation& operation) const;
    bool blocked(const Operation& operation) const;
    void finish(Stream* stream, std::uint64_t at);
    void start_thread();
    void run_thread();

    std::set<Stream*> busy_;
    std::set<Stream*> running_host_;
    std::vector<Stream*> closed_streams_;
    std::vector<Event*> closed_events_;
    std::condition_variable work_;  // for the thread
    std::condition_variable done_;  // for those who wait for it
    std::uint64_t next_change_ = SmModel::kNever;
    std::uint64_t thread_until_ = SmModel::kNever;  // when it looks by itself
    std::map<Device*, int> overflow_;
    bool thread_ = false;
};

Engine& engine();

// The stream a handle means, of the current context where it names a default stream. Null and
// `result` when there is none.
Stream* stream_of(CUstream handle, Default flavour, CUresult& result);
// Under the engine's mutex.
Stream* default_stream(Context* context, Default flavour);

}  // namespace egpu::testing::cuda

#define STREAM(name, handle, flavour)                        \
    CUresult name##_error = CUDA_SUCCESS;                    \
    Stream* name = stream_of(handle, flavour, name##_error); \
    if (name == nullptr) return name##_error
