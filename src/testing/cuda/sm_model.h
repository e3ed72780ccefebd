// How the SM time of one simulated card is shared by the processes that use it.
//
// A pure model: it reads no clock. The caller passes the time in (nanoseconds of any monotonic
// clock, never going back), so the same model runs in virtual time (tests of the compute
// controller) and in wall time (the simulated libcuda).
//
// Streams run their operations in order; streams of one client run beside each other and share the
// SMs when they need more than there are. Clients share the card in one of two ways:
//   time slices   one client has the card for a slice, then the next that has work (round robin);
//                 a client without work gives up the rest of its slice. Kernels are preempted at
//                 the end of a slice. Events are recorded in the client's own slices, as on a real
//                 card, so spans between events contain the neighbours' slices. A slice of 0 is
//                 the limit of very short slices: clients with work progress at equal speed.
//   spatial       all clients' kernels run beside each other (as under MPS).
// Copies run on their own two engines (one for each direction) and use no SM time.
//
// Sharing between processes: the object is trivially copyable, holds no pointers and needs no
// constructor but reset(), so it may lie in a shared mapping at different addresses. It is not
// thread-safe: hold one lock per card around every call. Calls are short and never block. When a
// process died inside a call (a robust lock says so), call remove_client() for it and go on: counts
// may be off by the operation in flight, but every index stays in range.
#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

namespace egpu::testing {

struct SmConfig {
    std::uint32_t sm_count = 132;
    std::uint32_t threads_per_sm = 2048;
    std::uint32_t blocks_per_sm = 32;
    std::uint64_t slice_ns = 2'000'000;  // 0: equal speed at every instant
    std::uint64_t switch_ns = 0;         // lost at every change of client
    std::uint64_t record_ns = 0;         // what the card needs to record an event
    std::uint64_t event_step_ns = 1;     // granularity of an event's time
    bool spatial = false;
};

struct SmKernel {
    std::uint64_t cost_ns = 0;        // how long it runs when nobody else uses the card
    std::uint32_t blocks = 1;         // of the grid; few blocks leave SMs to other streams
    std::uint32_t block_threads = 1;  // 1..1024
};

enum class CopyEngine : std::uint8_t { kToDevice, kFromDevice };

// What a client used since it was added, in nanoseconds.
struct SmUse {
    double busy_ns =
        0;             // the card ran at least one of its kernels (what NVML calls SM utilisation)
    double sm_ns = 0;  // the same, weighted with the part of the SMs used
    std::uint64_t kernels = 0;  // completed
};

struct SmEventState {
    bool ready = true;             // an event that was never recorded is ready
    std::uint64_t done_at_ns = 0;  // of the last completed record, in whole steps; 0 if none
};

class SmModel {
  public:
    static constexpr int kMaxClients = 256;
    static constexpr int kMaxStreams = 512;
    static constexpr int kMaxEvents = 8192;
    static constexpr std::uint64_t kQueueDepth = 1024;  // operations per stream
    static constexpr std::uint64_t kNever = ~std::uint64_t{0};

    // Forgets everything; the object may have held any bytes.
    void reset(const SmConfig& config, std::uint64_t now_ns);

    // Each returns an index, or -1 when there is no room.
    int add_client(std::uint64_t now_ns);
    int add_stream(std::uint64_t now_ns, int client);
    int add_event(int client);
    // What is queued on the stream is dropped. Events waited for by others become ready.
    void remove_stream(std::uint64_t now_ns, int stream);
    void remove_event(int event);
    void remove_client(std::uint64_t now_ns, int client);

    // Each queues one operation and returns its ticket (1, 2, 3, ... per stream), or 0 when the
    // stream's queue is full: wait for completed() to move and try again.
    std::uint64_t submit_kernel(std::uint64_t now_ns, int stream, const SmKernel& kernel);
    std::uint64_t submit_copy(
        std::uint64_t now_ns, int stream, CopyEngine engine, std::uint64_t cost_ns
    );
    std::uint64_t submit_record(std::uint64_t now_ns, int stream, int event);
    // The stream goes on when the records made on `event` so far have completed.
    std::uint64_t submit_wait(std::uint64_t now_ns, int stream, int event);

    // Runs the card up to `now_ns`.
    void advance(std::uint64_t now_ns);
    // When something completes or the card changes hands next if nothing more is submitted; kNever
    // when the card is idle. Valid after advance().
    std::uint64_t next_change() const;

    // As of the last advance(). Out-of-range indexes answer as an idle stream or a ready event.
    std::uint64_t completed(int stream) const;  // ticket of the last completed operation
    std::uint64_t submitted(int stream) const;
    std::uint64_t last_done_at(int stream) const;  // when it completed, ns
    SmEventState event(int index) const;
    SmUse use(int client) const;
    std::uint64_t now() const { return now_; }

  private:
    enum class Kind : std::uint8_t { kKernel, kCopy, kRecord, kWait };
    struct Operation {
        Kind kind;
        CopyEngine engine;
        std::int16_t reserved;
        std::int32_t event;
        double work_ns;            // left to do
        double need;               // part of the SMs it can use, (0, 1]
        std::uint64_t generation;  // of the event
    };
    struct Stream {
        std::int32_t client;  // -1: free
        bool after_copy;      // the last completed operation was a copy: records need no slice
        double rate;          // progress of the head per ns, set by set_rates()
        std::uint64_t submitted;
        std::uint64_t completed;
        std::uint64_t done_at_ns;
    };
    struct Event {
        std::int32_t client;  // -1: free
        std::uint64_t recorded;
        std::uint64_t done;
        std::uint64_t done_at_ns;
    };
    struct Client {
        bool used;
        bool ready;     // has a kernel or a record at the head of a stream
        bool running;   // has a kernel that progresses
        double demand;  // sum of the needs of its runnable kernels
        double speed;   // of its kernels, 0..1
        SmUse use;
    };

    Operation* head_of(int stream);
    const Operation* head_of(int stream) const;
    std::uint64_t push(std::uint64_t now_ns, int stream, const Operation& operation);
    void pop(int stream);
    bool pop_instant(int stream);
    bool valid_stream(int stream) const;
    bool sliced() const { return config_.spatial == false && config_.slice_ns > 0; }
    void settle();
    void mark_ready();
    int next_ready(int after) const;
    void set_rates();
    void progress(double dt_ns);
    void list_streams();

    SmConfig config_;
    std::uint64_t now_;
    std::uint64_t slice_end_;
    std::uint64_t switch_until_;  // nobody runs before this
    std::int32_t current_;        // the client that has the slice; -1 none
    std::int32_t stream_count_;   // entries of used_
    std::int32_t client_limit_;   // above the highest client in use
    bool rates_valid_;
    std::array<std::int16_t, kMaxStreams> used_;  // indexes of the streams in use, ascending
    std::array<Client, kMaxClients> clients_;
    std::array<Stream, kMaxStreams> streams_;
    std::array<Event, kMaxEvents> events_;
    std::array<std::array<Operation, kQueueDepth>, kMaxStreams> queues_;
};

static_assert(std::is_trivially_copyable_v<SmModel> && std::is_standard_layout_v<SmModel>);

}  // namespace egpu::testing
