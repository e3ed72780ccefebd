// The simulated driver's state in one process, shared by the files of this folder: devices,
// contexts, what is allocated. Streams and the order of work on them are in engine.h.
//
// Locks, in the order in which they are taken: Engine's, then Driver::mutex, then those of the
// shared node. Objects behind handles (contexts, streams, events, ...) are never returned to the
// heap, so a handle that is no longer valid is recognised and answered with an error.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "guard/cuda_abi.h"
#include "testing/cuda/arena.h"
#include "testing/cuda/settings.h"
#include "testing/nvml/shared_node.h"

namespace egpu::testing::cuda {

using namespace egpu::cuda;  // the driver's own names

inline constexpr CUresult kPeerAlreadyEnabled = 704;
inline constexpr CUresult kPeerNotEnabled = 705;
inline constexpr CUresult kHostMemoryAlreadyRegistered = 712;
inline constexpr CUresult kHostMemoryNotRegistered = 713;
inline constexpr CUresult kStreamCaptureMerge = 902;
inline constexpr CUresult kStreamCaptureUnjoined = 904;
inline constexpr CUresult kStreamCaptureIsolation = 905;
inline constexpr CUresult kCapturedEvent = 907;
inline constexpr CUresult kStreamCaptureWrongThread = 908;
inline constexpr CUresult kGraphExecUpdateFailure = 910;

// Which stream a null handle means.
enum class Default : std::uint8_t { kLegacy, kPerThread };

// Memory of these objects is used again for objects of the same type only.
template <class T>
class Stable {
  public:
    static T* make() {
        const std::lock_guard lock(mutex());
        auto& free = list();
        if (free.empty()) return new T;
        T* object = free.back();
        free.pop_back();
        return object;
    }
    static void drop(T* object) {
        *object = T{};  // no longer `live`
        const std::lock_guard lock(mutex());
        list().push_back(object);
    }

  private:
    static std::mutex& mutex() {
        static auto* instance = new std::mutex;
        return *instance;
    }
    static std::vector<T*>& list() {
        static auto* instance = new std::vector<T*>;
        return *instance;
    }
};

struct Context;
struct Device;
struct Stream;
struct Event;

enum class Kind : std::uint8_t {
    kDevice,
    kManaged,
    kHost,        // cuMemHostAlloc
    kRegistered,  // the caller's memory
    kPool,        // cuMemAllocAsync
    kGraph,       // of a graph's allocation node
    kReserved,    // cuMemAddressReserve
    kIpc,         // another process's memory
    kExternal,
};

struct Pool {
    static constexpr std::uint32_t kLive = 0x4C4F4F50;
    std::uint32_t live = 0;
    Device* device = nullptr;
    CUmemPoolProps props{};
    bool owned_by_device = false;  // the default pool
    std::uint64_t threshold = 0;
    std::uint64_t reserved = 0, reserved_high = 0;
    std::uint64_t used = 0, used_high = 0;
    int follow_events = 1, opportunistic = 1, internal_dependencies = 1;
    struct Chunk {
        std::uint64_t size = 0;
        std::uint64_t used = 0;
        std::map<std::uint64_t, std::uint64_t> free;  // address -> size
    };
    std::map<std::uint64_t, Chunk> chunks;  // by address
    struct Pending {                        // freed on a stream that is not there yet
        std::uint64_t address;
        std::uint64_t size;
        Stream* stream;
        std::uint64_t stream_id;
        std::uint64_t position;
    };
    std::vector<Pending> pending;
    bool destroyed = false;  // goes when its last allocation is freed
    int import_fd = -1;      // another process's: only pointers are imported into it
};

struct Physical {  // of cuMemCreate
    std::uint64_t size = 0;
    Device* device = nullptr;  // null: host memory, or another process's
    CUmemAllocationProp prop{};
    int fd = -1;
    std::uint64_t offset = 0;   // in `fd`
    std::uint64_t address = 0;  // in the arena, 0: an own memfd
    std::uint64_t charged = 0;
    unsigned references = 0;
    unsigned mappings = 0;
};

struct Allocation {
    std::uint64_t size = 0;
    Kind kind = Kind::kDevice;
    Device* device = nullptr;
    Context* context = nullptr;
    Pool* pool = nullptr;
    unsigned flags = 0;
    std::uint64_t id = 0;
    int import_fd = -1;
};

struct Mapping {  // of a Physical
    std::uint64_t size = 0;
    std::uint64_t handle = 0;
    Physical* physical = nullptr;
    bool accessible = false;
};

struct GraphMemory {
    std::uint64_t used = 0, used_high = 0;
    std::uint64_t reserved = 0, reserved_high = 0;
};

struct Device {
    int ordinal = 0;
    std::string name;
    std::string uuid;  // "GPU-...", with MIG on that of the instance
    std::uint64_t bytes = 0;
    unsigned unit = 0;
    unsigned multiprocessors = 1;
    int major = 0, minor = 0, pci_bus = 0;
    unsigned threads_per_multiprocessor = 2048;

    Context* primary = nullptr;
    unsigned primary_references = 0;
    unsigned primary_flags = 0;
    Arena arena;
    Pool* default_pool = nullptr;
    Pool* current_pool = nullptr;
    GraphMemory graph;
};

struct Context {
    static constexpr std::uint32_t kLive = 0x54585443;
    std::uint32_t live = 0;
    Device* device = nullptr;
    bool primary = false;
    unsigned flags = 0;
    std::uint64_t id = 0;
    std::uint64_t charged = 0;
    unsigned attached = 0;  // cuCtxAttach
    std::map<int, std::size_t> limits;
    std::set<Context*> peers;
    Stream* legacy = nullptr;
    std::map<std::uint64_t, Stream*> per_thread;
    std::set<Stream*> streams;  // all of them; under the engine's lock
};

struct Driver {
    std::mutex mutex;
    bool initialised = false;
    std::atomic<bool> ready{false};
    std::atomic<bool> forked{false};  // a child of a process that used the driver
    std::atomic<int> version{0};
    SharedNode* shared = nullptr;
    Settings settings;
    std::vector<std::unique_ptr<Device>> devices;

    std::map<std::uint64_t, Allocation> allocations;  // by address
    std::map<std::uint64_t, Mapping> mappings;        // inside kReserved allocations
    std::unordered_map<std::uint64_t, Physical*> physicals;
    std::set<Context*> contexts;
    std::set<Pool*> pools;
    std::atomic<std::uint64_t> next_id{1};
};

Driver& driver();

// What every call but cuInit and a few questions begins with: CUDA_SUCCESS, or what to answer.
CUresult enter(const char* call);
// Keeps the calling thread busy: the host's cost of a call.
void spend(std::uint64_t ns);

// Calls that are unsafe while a stream is being captured: CUDA_SUCCESS, or what to answer (the
// captures concerned are then invalid). capture.cpp.
CUresult refuse_in_capture();

// The thread's contexts, the current one last.
std::vector<Context*>& context_stack();
// Null without one. `result` then says why.
Context* current_context(CUresult& result);
bool is_live(const Context* context);
Device* device_of(CUdevice ordinal);  // null: no such device
SmConfig card_config(const Device& device);

// Charges memory of a device to this process. Thread-safe.
bool take(Device& device, std::uint64_t bytes);
void give_back(Device& device, std::uint64_t bytes);

// Under Driver::mutex. The allocation that an address lies in; end() when none does.
std::map<std::uint64_t, Allocation>::iterator find_allocation(std::uint64_t address);
// Whether [address, address + size) can be read and written as memory of a device. Locks the mutex.
bool accessible(std::uint64_t address, std::uint64_t size);
CUresult open_arena(Device& device);  // under the mutex
// Under the mutex. Memory of the device, charged.
CUresult allocate_device_locked(Device& device, std::uint64_t size, std::uint64_t& address);
void release_device_locked(Device& device, std::uint64_t address, std::uint64_t size);

CUresult create_context(Device& device, unsigned flags, bool primary, Context*& out);
void destroy_context(Context* context);
void forget_context_memory(Context* context);  // memory.cpp; arrays.cpp has its own
void forget_context_arrays(Context* context);
void forget_context_modules(Context* context);

// These lock the engine's mutex, then the driver's.
// Memory that became free on its stream goes back to its pool, and from the pool to the card down
// to the release threshold. After synchronising.
void settle_pools(Device& device);
// Free when the stream has done what is on it now; null: at once.
CUresult free_pool_memory(std::uint64_t address, Stream* stream);
CUresult allocate_from_pool(Pool& pool, std::uint64_t size, Stream* stream, std::uint64_t& address);
Pool* default_pool(Device& device);  // under Driver::mutex
// A graph's memory that was not freed by a graph; false when the address is none. Under the mutex.
bool free_graph_memory_locked(std::uint64_t address);
void give_addresses_back_locked(Device& device, std::uint64_t address, std::uint64_t size);

}  // namespace egpu::testing::cuda

#define CU(name) extern "C" __attribute__((visibility("default"))) int name
// In an exported function.
#define ENTER() \
    if (const CUresult refused = enter(__func__); refused != CUDA_SUCCESS) return refused
#define REQUIRE(condition) \
    if (!(condition)) return CUDA_ERROR_INVALID_VALUE
#define CONTEXT(name)                              \
    CUresult name##_error = CUDA_SUCCESS;          \
    Context* name = current_context(name##_error); \
    if (name == nullptr) return name##_error
#define DEVICE(name, ordinal)          \
    Device* name = device_of(ordinal); \
    if (name == nullptr) return CUDA_ERROR_INVALID_DEVICE
