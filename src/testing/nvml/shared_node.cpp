#include "testing/nvml/shared_node.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testing/nvml/profile.h"

namespace egpu::testing {
namespace {

constexpr std::uint64_t kMagic = 0x3144524143554745ULL;
constexpr unsigned kRing = 256;
constexpr const char* kDefaultFolder = "/dev/shm/edge-gpu-sim-";
constexpr std::uint64_t kPeriod = 166'666'667;  // ns; NVML's sampling of utilization
constexpr std::uint64_t kReapPeriod =
    5'000'000;  // ns; how long a dead process may slow others down
constexpr std::uint64_t kForgetAfter = 1'000'000'000;

struct Identity {
    std::uint32_t pid;  // in its own namespace
    std::uint64_t start_time;
    std::uint64_t pid_namespace;
    bool operator==(const Identity&) const = default;
};

struct Slot {
    std::atomic<std::uint32_t> claimed;
    Identity who;
};

struct Sample {
    std::uint64_t time_us;
    std::uint32_t slot;
    std::uint32_t pid;  // as the sampled process sees itself
    std::uint32_t percent;
    std::uint32_t unused;
};

// By slot: a scan over processes reads few cache lines.
struct UnitMemory {
    std::atomic<std::uint64_t> bytes[kSharedSlots];
    std::atomic<std::uint32_t> contexts[kSharedSlots];
};

std::uint64_t process_start() {
    std::ifstream in("/proc/self/stat");
    std::string text;
    std::getline(in, text);
    const auto name_end = text.rfind(')');
    if (name_end == std::string::npos) return 0;
    std::uint64_t value = 0;
    const char* at = text.c_str() + name_end + 1;
    for (int field = 3; field <= 22 && *at != '\0'; ++field) {
        while (*at == ' ') ++at;
        value = std::strtoull(at, nullptr, 10);
        while (*at != ' ' && *at != '\0') ++at;
    }
    return value;
}

std::uint64_t pid_namespace() {
    struct stat info {};
    return ::stat("/proc/self/ns/pid", &info) == 0 ? info.st_ino : 0;
}

const Identity& myself() {
    static std::mutex mutex;
    static Identity known{};
    const std::lock_guard lock(mutex);
    const auto pid = static_cast<std::uint32_t>(::getpid());
    if (known.pid != pid) known = {pid, process_start(), pid_namespace()};
    return known;
}

bool lock_byte(int fd, off_t at, bool wait) {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = at;
    lock.l_len = 1;
    int result = -1;
    do {
        result = ::fcntl(fd, wait ? F_SETLKW : F_SETLK, &lock);
    } while (result != 0 && errno == EINTR);
    return result == 0;
}

void unlock_byte(int fd, off_t at) {
    struct flock lock {};
    lock.l_type = F_UNLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = at;
    lock.l_len = 1;
    ::fcntl(fd, F_SETLK, &lock);
}

std::string path_for(const StateSource& source, const SimNode& node) {
    if (const char* path = std::getenv("EDGE_GPU_SIM_CARDS")) return path;
    if (!node.cards.empty()) return node.cards;
    if (!source.beside_library && !source.path.empty()) {
        const auto slash = source.path.rfind('/');
        const std::string folder =
            slash == std::string::npos ? "." : source.path.substr(0, slash + 1);
        if (::access(folder.c_str(), W_OK) == 0) return source.path + ".cards";
    }
    std::uint64_t hash = 0xCBF29CE484222325ULL;
    for (const char c : node.profile + "/" + node.node) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
    }
    char name[32];
    std::snprintf(name, sizeof name, "%016llx", static_cast<unsigned long long>(hash));
    return std::string(kDefaultFolder) + name;
}

}  // namespace

struct SharedFile {
    std::uint64_t magic;
    std::uint64_t size;
    pthread_mutex_t mutex;
    std::atomic<std::uint64_t> reaped;      // CLOCK_MONOTONIC of the last look for dead processes
    std::atomic<std::uint32_t> slots_seen;  // no slot from here on was ever claimed
    std::atomic<std::uint32_t> unit_made[kSharedUnits];
    UnitMemory units[kSharedUnits];
    Slot slots[kSharedSlots];
};

// Lies behind the SharedFile, at unit_offset(). Most of it is the model's queues, untouched pages
// of a sparse file until they are used.
struct SharedUnit {
    pthread_mutex_t mutex;
    std::uint64_t sampled;  // CLOCK_MONOTONIC of the last sample
    std::uint32_t percent;
    std::uint32_t next;                 // in the ring
    std::int32_t client[kSharedSlots];  // in the model, + 1
    double busy_before[kSharedSlots];   // at the last sample
    Sample ring[kRing];
    SmModel model;
};

namespace {

constexpr off_t kPage = 4096;
constexpr off_t rounded(std::size_t size) {
    return (static_cast<off_t>(size) + kPage - 1) / kPage * kPage;
}
constexpr off_t unit_offset(unsigned unit) {
    return rounded(sizeof(SharedFile)) + static_cast<off_t>(unit) * rounded(sizeof(SharedUnit));
}
constexpr off_t kFileSize = unit_offset(kSharedUnits);

// Locked bytes lie behind the content.
constexpr off_t kInitByte = kFileSize;
constexpr off_t kSlotBytes = kInitByte + 1;

void make_mutex(pthread_mutex_t* mutex) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

void lock_mutex(pthread_mutex_t* mutex) {
    if (pthread_mutex_lock(mutex) == EOWNERDEAD) pthread_mutex_consistent(mutex);
}

SharedFile* map_file(int fd) {
    if (!lock_byte(fd, kInitByte, true)) return nullptr;
    struct stat info {};
    ::fstat(fd, &info);
    if (info.st_size < kFileSize && ::ftruncate(fd, kFileSize) != 0) return nullptr;
    void* mapped = ::mmap(nullptr, sizeof(SharedFile), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) return nullptr;
    auto* file = static_cast<SharedFile*>(mapped);
    if (file->magic != kMagic) {
        make_mutex(&file->mutex);
        file->size = sizeof(SharedFile);
        file->magic = kMagic;
    }
    unlock_byte(fd, kInitByte);
    if (file->size != sizeof(SharedFile)) {
        ::munmap(mapped, sizeof(SharedFile));
        errno = EPROTO;
        return nullptr;
    }
    return file;
}

}  // namespace

// Everything under it is valid at any instant: totals are sums over slots, so a process that dies
// inside leaves nothing to repair.
class SharedNode::Lock {
  public:
    explicit Lock(SharedFile* file) : file_(file) { lock_mutex(&file_->mutex); }
    ~Lock() { pthread_mutex_unlock(&file_->mutex); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

  private:
    SharedFile* file_;
};

std::uint64_t monotonic_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000ULL +
           static_cast<std::uint64_t>(now.tv_nsec);
}

SharedNode* SharedNode::open(const StateSource& source, const SimNode& node) {
    return open_path(path_for(source, node), O_CREAT);
}

SharedNode* SharedNode::open_existing(const StateSource& source, const SimNode& node) {
    const std::string path = path_for(source, node);
    return ::access(path.c_str(), F_OK) == 0 ? open_path(path, 0) : nullptr;
}

SharedNode* SharedNode::open_path(const std::string& path, int flags) {
    static std::mutex mutex;
    static auto* opened = new std::map<std::string, SharedNode*>;
    const std::lock_guard lock(mutex);
    if (const auto found = opened->find(path); found != opened->end()) {
        // A test may have removed the file; what was mapped is then nobody else's.
        struct stat there {};
        struct stat here {};
        if (::stat(path.c_str(), &there) == 0 && ::fstat(found->second->fd_, &here) == 0 &&
            there.st_ino == here.st_ino && there.st_dev == here.st_dev) {
            return found->second;
        }
    }
    // First without O_CREAT: with it, a sticky folder refuses another user's file.
    int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0 && flags != 0) fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | flags, 0666);
    if (fd < 0 && flags != 0 && path.rfind(kDefaultFolder, 0) == 0) {
        // A container without that folder has the node's cards for itself.
        fd = ::memfd_create("simulated-cards", MFD_CLOEXEC);
    }
    SharedFile* file = fd < 0 ? nullptr : map_file(fd);
    if (file == nullptr) {
        std::fprintf(stderr, "simulated cards: %s: %s\n", path.c_str(), std::strerror(errno));
        return nullptr;
    }
    ::fchmod(
        fd, 0666
    );  // processes of other users, whatever the umask; fails for those, harmlessly
    auto* made = new SharedNode(file, fd, path);
    (*opened)[path] = made;
    return made;
}

bool SharedNode::join() {
    if (slot_ >= 0) return true;
    const Lock lock(file_);
    if (slot_ >= 0) return true;
    drop_dead();
    for (unsigned i = 0; i < kSharedSlots; ++i) {
        Slot& slot = file_->slots[i];
        if (slot.claimed != 0 || !lock_byte(fd_, kSlotBytes + static_cast<off_t>(i), false))
            continue;
        slot.who = myself();
        slot.claimed = 1;
        if (file_->slots_seen <= i) file_->slots_seen = i + 1;
        slot_ = static_cast<int>(i);
        return true;
    }
    return false;
}

bool SharedNode::alive(unsigned index, unsigned* pid) {
    const Slot& slot = file_->slots[index];
    // One's own lock is not reported.
    if (slot.who == myself()) {
        if (pid != nullptr) *pid = slot.who.pid;
        return true;
    }
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = kSlotBytes + static_cast<off_t>(index);
    lock.l_len = 1;
    if (::fcntl(fd_, F_GETLK, &lock) != 0) return true;
    if (lock.l_type == F_UNLCK) return false;
    if (pid != nullptr) *pid = lock.l_pid > 0 ? static_cast<unsigned>(lock.l_pid) : 0U;
    return true;
}

void SharedNode::drop_dead() {
    for (unsigned i = 0; i < file_->slots_seen; ++i) {
        Slot& slot = file_->slots[i];
        if (slot.claimed == 0 || static_cast<int>(i) == slot_ || alive(i, nullptr)) continue;
        for (unsigned unit = 0; unit < kSharedUnits; ++unit) {
            file_->units[unit].bytes[i] = 0;
            file_->units[unit].contexts[i] = 0;
            SharedUnit* shared = file_->unit_made[unit] != 0 ? map_unit(unit, {}) : nullptr;
            if (shared == nullptr) continue;
            lock_mutex(&shared->mutex);
            if (shared->client[i] > 0) {
                shared->model.remove_client(monotonic_ns(), shared->client[i] - 1);
                shared->client[i] = 0;
            }
            pthread_mutex_unlock(&shared->mutex);
        }
        slot.claimed = 0;
    }
}

std::uint64_t SharedNode::sum(unsigned unit) const {
    std::uint64_t all = kDriverReserve;
    for (unsigned i = 0; i < file_->slots_seen; ++i) {
        all += file_->units[unit].bytes[i].load(std::memory_order_relaxed);
    }
    return all;
}

bool SharedNode::take(unsigned unit, std::uint64_t bytes, std::uint64_t capacity) {
    if (slot_ < 0) return false;
    const Lock lock(file_);
    std::uint64_t used = sum(unit);
    if (bytes > capacity || used > capacity - bytes) {
        drop_dead();
        used = sum(unit);
        if (bytes > capacity || used > capacity - bytes) return false;
    }
    file_->units[unit].bytes[slot_] += bytes;
    return true;
}

void SharedNode::give_back(unsigned unit, std::uint64_t bytes) {
    if (slot_ >= 0) file_->units[unit].bytes[slot_] -= bytes;
}

std::uint64_t SharedNode::used(unsigned unit) {
    const Lock lock(file_);
    drop_dead();
    return sum(unit);
}

void SharedNode::add_context(unsigned unit, int change) {
    if (slot_ >= 0) file_->units[unit].contexts[slot_] += static_cast<unsigned>(change);
}

void SharedNode::drop_dead_now_and_then() {
    const std::uint64_t now = monotonic_ns();
    std::uint64_t last = file_->reaped;
    if (now - last < kReapPeriod && now >= last) return;
    if (!file_->reaped.compare_exchange_strong(last, now)) return;  // somebody else does it
    const Lock lock(file_);
    drop_dead();
}

SharedUnit* SharedNode::map_unit(unsigned unit, const SmConfig& config) {
    if (SharedUnit* mapped = units_[unit]; mapped != nullptr) return mapped;
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    if (SharedUnit* mapped = units_[unit]; mapped != nullptr) return mapped;
    void* at = ::mmap(
        nullptr, sizeof(SharedUnit), PROT_READ | PROT_WRITE, MAP_SHARED, fd_, unit_offset(unit)
    );
    if (at == MAP_FAILED) return nullptr;
    ::madvise(at, sizeof(SharedUnit), MADV_DONTDUMP);
    auto* mapped = static_cast<SharedUnit*>(at);
    // The byte is this process's at most once: `mutex` keeps its other threads out.
    lock_byte(fd_, kInitByte, true);
    const std::uint64_t now = monotonic_ns();
    const bool made = file_->unit_made[unit] != 0;
    if (!made || mapped->model.now() > now + kForgetAfter) {  // that clock was another boot's
        if (!made) make_mutex(&mapped->mutex);
        mapped->model.reset(config, now);
        mapped->sampled = now;
        std::fill(std::begin(mapped->client), std::end(mapped->client), 0);
        file_->unit_made[unit] = 1;
    }
    unlock_byte(fd_, kInitByte);
    units_[unit] = mapped;
    return mapped;
}

namespace {

std::uint64_t real_us() {
    timespec real{};
    clock_gettime(CLOCK_REALTIME, &real);
    return static_cast<std::uint64_t>(real.tv_sec) * 1'000'000ULL +
           static_cast<std::uint64_t>(real.tv_nsec) / 1000ULL;
}

void take_sample(SharedUnit& unit, const SharedFile& file, std::uint64_t time_us) {
    double all = 0;
    for (unsigned i = 0; i < file.slots_seen; ++i) {
        if (unit.client[i] == 0) continue;
        const double busy = unit.model.use(unit.client[i] - 1).busy_ns;
        const double share = 100.0 * (busy - unit.busy_before[i]) / static_cast<double>(kPeriod);
        unit.busy_before[i] = busy;
        if (share <= 0) continue;
        all += share;
        const auto percent = static_cast<std::uint32_t>(std::min(share + 0.5, 100.0));
        unit.ring[unit.next++ % kRing] = {time_us, i, file.slots[i].who.pid, percent, 0};
    }
    unit.percent = static_cast<std::uint32_t>(std::min(all + 0.5, 100.0));
}

// Up to `now`, with a sample at the end of each period on the way.
void run(SharedUnit& unit, const SharedFile& file, std::uint64_t now) {
    // After a long silence only the last periods are of interest.
    if (now > unit.sampled + 64 * kPeriod) {
        const std::uint64_t skipped = (now - unit.sampled) / kPeriod - 32;
        unit.model.advance(unit.sampled + skipped * kPeriod);
        take_sample(unit, file, 0);
        unit.sampled += skipped * kPeriod;
    }
    while (unit.sampled + kPeriod <= now) {
        unit.sampled += kPeriod;
        unit.model.advance(unit.sampled);
        take_sample(unit, file, real_us() - (now - unit.sampled) / 1000);
    }
    unit.model.advance(now);
}

}  // namespace

SharedNode::Card::Card(SharedNode& node, unsigned unit, const SmConfig& config)
    : node_(node), unit_(node.map_unit(unit, config)), now_(0) {
    if (unit_ == nullptr) return;
    if (node.file_->slots_seen > (node.slot_ >= 0 ? 1U : 0U)) node.drop_dead_now_and_then();
    lock_mutex(&unit_->mutex);
    now_ = monotonic_ns();
    run(*unit_, *node.file_, now_);
}

SharedNode::Card::~Card() {
    if (unit_ != nullptr) pthread_mutex_unlock(&unit_->mutex);
}

SmModel& SharedNode::Card::model() {
    return unit_->model;
}

int SharedNode::Card::client() {
    if (node_.slot_ < 0) return -1;
    const auto slot = static_cast<unsigned>(node_.slot_);
    if (unit_->client[slot] == 0) {
        unit_->client[slot] = unit_->model.add_client(now_) + 1;
        unit_->busy_before[slot] = 0;
    }
    return unit_->client[slot] - 1;
}

std::vector<ProcessUse> SharedNode::processes(unsigned unit) {
    const Lock lock(file_);
    std::vector<ProcessUse> found;
    drop_dead();
    const UnitMemory& use = file_->units[unit];
    for (unsigned i = 0; i < file_->slots_seen; ++i) {
        ProcessUse process;
        if (use.contexts[i] == 0 || !alive(i, &process.pid)) continue;
        process.bytes = use.bytes[i];
        process.contexts = use.contexts[i];
        found.push_back(process);
    }
    return found;
}

std::vector<UtilizationSample> SharedNode::samples(unsigned unit, std::uint64_t after_us) {
    std::vector<UtilizationSample> found;
    if (file_->unit_made[unit] == 0) return found;
    const Card card(*this, unit, {});
    if (!card) return found;
    const SharedUnit& shared = *units_[unit].load();
    const std::uint32_t first = shared.next > kRing ? shared.next - kRing : 0;
    for (std::uint32_t i = first; i < shared.next; ++i) {
        const Sample& entry = shared.ring[i % kRing];
        const Slot& slot = file_->slots[entry.slot];
        UtilizationSample out{entry.time_us, 0, entry.percent};
        // What a process did that is gone, and its slot another's, is not told.
        if (entry.time_us <= after_us || slot.claimed == 0 || slot.who.pid != entry.pid ||
            !alive(entry.slot, &out.pid)) {
            continue;
        }
        found.push_back(out);
    }
    return found;
}

unsigned SharedNode::utilization(unsigned unit) {
    if (file_->unit_made[unit] == 0) return 0;
    const Card card(*this, unit, {});
    return card ? units_[unit].load()->percent : 0;
}

}  // namespace egpu::testing
