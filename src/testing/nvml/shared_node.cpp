#include "testing/nvml/shared_node.h"

#include <cstdlib>
#include <fstream>
#include <mutex>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testing/nvml/shared_layout.h"

namespace egpu::testing {
namespace {

// ns; how long a dead process may slow others down
constexpr std::uint64_t kReapPeriod = 5'000'000;

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

const ProcessIdentity& myself() {
    static std::mutex mutex;
    static ProcessIdentity known{};
    const std::lock_guard lock(mutex);
    const auto pid = static_cast<std::uint32_t>(::getpid());
    if (known.pid != pid) known = {pid, process_start(), pid_namespace()};
    return known;
}

}  // namespace

bool SharedNode::join() {
    if (slot_ >= 0) return true;
    const Lock lock(file_);
    if (slot_ >= 0) return true;
    drop_dead();
    for (unsigned i = 0; i < kSharedSlots; ++i) {
        SharedSlot& slot = file_->slots[i];
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
    const SharedSlot& slot = file_->slots[index];
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
        SharedSlot& slot = file_->slots[i];
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

std::vector<ProcessUse> SharedNode::processes(unsigned unit) {
    const Lock lock(file_);
    std::vector<ProcessUse> found;
    drop_dead();
    const SharedUnitMemory& use = file_->units[unit];
    for (unsigned i = 0; i < file_->slots_seen; ++i) {
        ProcessUse process;
        if (use.contexts[i] == 0 || !alive(i, &process.pid)) continue;
        process.bytes = use.bytes[i];
        process.contexts = use.contexts[i];
        found.push_back(process);
    }
    return found;
}

}  // namespace egpu::testing
