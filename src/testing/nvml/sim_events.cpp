// Event sets of the simulated library. A wait sleeps on inotify of the state file's folder: no
// polling, instant delivery.
#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <mutex>
#include <string>

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "testing/nvml/sim_library.h"

namespace egpu::testing {

namespace {

struct Set {
    std::mutex mutex;
    std::uint64_t delivered = 0;              // serial of the last one
    std::map<int, std::uint64_t> registered;  // GPU position -> event types
};

std::mutex sets_mutex;
std::map<void*, std::shared_ptr<Set>>& sets() {
    static auto* instance = new std::map<void*, std::shared_ptr<Set>>;
    return *instance;
}

std::shared_ptr<Set> find_set(nvml::EventSet handle) {
    const std::lock_guard lock(sets_mutex);
    const auto found = sets().find(handle);
    return found == sets().end() ? nullptr : found->second;
}

bool take_event(Set& set, const SimNode& node, nvml::EventData& out) {
    const std::lock_guard lock(set.mutex);
    for (const auto& event : node.events) {  // by serial
        if (event.serial <= set.delivered) continue;
        set.delivered = event.serial;
        const auto registered = set.registered.find(event.gpu);
        if (registered == set.registered.end() || (registered->second & event.type) == 0) continue;
        raise_event_baseline(event.serial);
        out.device = gpu_handle(event.gpu);
        out.type = event.type;
        out.data = event.data;
        out.gpu_instance = event.gpu_instance;
        out.compute_instance = event.compute_instance;
        return true;
    }
    return false;
}

// Watches the folder, since the file is replaced by renames. Without inotify (limit reached) waits
// are short sleeps.
class Watch {
  public:
    Watch() : fd_(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
        const std::string path = state_path();
        const auto slash = path.rfind('/');
        const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
        if (fd_ >= 0 && inotify_add_watch(fd_, folder.c_str(), IN_MOVED_TO | IN_CLOSE_WRITE) < 0) {
            close(fd_);
            fd_ = -1;
        }
    }
    ~Watch() {
        if (fd_ >= 0) close(fd_);
    }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    void wait(int ms) const {
        if (fd_ < 0) {
            poll(nullptr, 0, std::min(ms, 50));
            return;
        }
        pollfd waited{fd_, POLLIN, 0};
        if (poll(&waited, 1, ms) <= 0) return;
        std::array<char, 4096> drop;
        while (read(fd_, drop.data(), drop.size()) > 0) {
        }
    }

  private:
    int fd_;
};

}  // namespace

Code event_set_create(nvml::EventSet* out) {
    if (out == nullptr) return Code::kInvalidArgument;
    auto set = std::make_shared<Set>();
    set->delivered = event_baseline();
    const std::lock_guard lock(sets_mutex);
    *out = reinterpret_cast<nvml::EventSet>(set.get());
    sets()[*out] = std::move(set);
    return Code::kSuccess;
}

Code event_set_register(nvml::EventSet handle, int position, std::uint64_t types) {
    const auto set = find_set(handle);
    if (!set) return Code::kInvalidArgument;
    const std::lock_guard lock(set->mutex);
    set->registered[position] |= types;
    return Code::kSuccess;
}

Code event_set_wait(nvml::EventSet handle, nvml::EventData* data, unsigned timeout_ms) {
    const auto set = find_set(handle);
    if (!set || data == nullptr) return Code::kInvalidArgument;
    using Clock = std::chrono::steady_clock;
    const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
    const Watch watch;
    while (true) {
        const auto node = current_node();
        if (!node || !node->driver_loaded) return Code::kUnknown;
        if (take_event(*set, *node, *data)) return Code::kSuccess;
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
        if (left.count() <= 0) return Code::kTimeout;
        watch.wait(static_cast<int>(left.count()));
    }
}

Code event_set_free(nvml::EventSet handle) {
    const std::lock_guard lock(sets_mutex);
    return sets().erase(handle) == 1 ? Code::kSuccess : Code::kInvalidArgument;
}

}  // namespace egpu::testing
