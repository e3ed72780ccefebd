#include "kubelet/device_plugin.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <random>
#include <thread>

#include <unistd.h>

#include "base/backoff.h"
#include "base/log.h"
#include "base/metrics.h"
#include "kubelet/device_list.h"
#include "kubelet/plugin_server.h"
#include "kubelet/registration.h"
#include "kubelet/socket_watch.h"

namespace egpu::kubelet {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSocketPathLimit = 107;  // sun_path
// How long a retired server may take before registration goes on without waiting for it.
constexpr Millis kRetirePatience{2000};
// A stream that lived so long was a good one: the next failure starts with the first delay again.
constexpr Seconds kGoodStream{10};
// A kubelet that is well opens the stream within milliseconds of Register; one that disconnected us
// before that (the end of a predecessor's stream does it) gives no other sign.
constexpr Seconds kFirstStreamWait{1};
constexpr Millis kListenLag{50};
constexpr Millis kListenRetry{2};

std::string random_hex() {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::random_device device;
    std::string text;
    for (auto bits = device(); text.size() < 6; bits >>= 4) text.push_back(kDigits[bits & 15]);
    return text;
}

bool plain_name(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
    });
}

// "<prefix>-<digits>-<hex>.sock"
bool own_socket_name(std::string_view name, std::string_view prefix) {
    if (!name.starts_with(prefix) || !name.ends_with(".sock")) return false;
    name.remove_prefix(prefix.size());
    name.remove_suffix(5);
    const auto is = [](const char* set, std::string_view text) {
        return !text.empty() && text.find_first_not_of(set) == std::string_view::npos;
    };
    if (name.empty() || name.front() != '-') return false;
    name.remove_prefix(1);
    const auto dash = name.find('-');
    return dash != std::string_view::npos && is("0123456789", name.substr(0, dash)) &&
           is("0123456789abcdef", name.substr(dash + 1));
}

// A process that was killed leaves its socket behind; a live listener is never touched.
void remove_stale_sockets(const fs::path& folder, std::string_view prefix) {
    std::error_code error;
    for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
        if (!own_socket_name(at->path().filename().native(), prefix)) continue;
        if (!socket_identity(at->path())) continue;
        const auto probe = probe_socket(at->path());
        if (probe || probe.error().code != ErrorCode::kUnavailable) continue;
        std::error_code ignored;
        fs::remove(at->path(), ignored);
    }
}

Status check_options(const DevicePluginOptions& options, const DevicePluginHandlers& handlers) {
    const auto invalid = [](std::string message) {
        return Error{ErrorCode::kInvalid, std::move(message)};
    };
    if (options.resource.find('/') == std::string::npos) {
        return invalid("device plugin: resource name \"" + options.resource + "\" has no domain/");
    }
    if (!plain_name(options.socket_prefix)) {
        return invalid("device plugin: socket prefix \"" + options.socket_prefix + "\" is no name");
    }
    if (!handlers.allocate) return invalid("device plugin: no allocate handler");
    const std::size_t longest = options.folder.native().size() + 1 + options.socket_prefix.size() +
                                std::string_view("-4194304-012345.sock").size();
    if (longest > kSocketPathLimit) {
        return invalid(
            "device plugin folder " + options.folder.string() + ": socket paths would pass " +
            std::to_string(kSocketPathLimit) + " bytes; use a shorter path"
        );
    }
    return {};
}

}  // namespace

std::string_view to_string(PluginState state) {
    switch (state) {
        case PluginState::kStopped:
            return "stopped";
        case PluginState::kNotServing:
            return "not serving";
        case PluginState::kNoKubelet:
            return "no kubelet";
        case PluginState::kRefused:
            return "refused";
        case PluginState::kRegistering:
            return "registering";
        case PluginState::kRegistered:
            return "registered";
        case PluginState::kStreaming:
            return "streaming";
    }
    return "unknown";
}

struct DevicePlugin::Impl {
    Impl(DevicePluginOptions o, DevicePluginHandlers h)
        : options(std::move(o)),
          handlers(std::move(h)),
          kubelet_socket(options.folder / "kubelet.sock"),
          watch(options.folder, options.use_inotify),
          backoff(options.retry_first, options.retry_most, std::random_device{}()) {}

    // On the control thread (and, before it exists, in start()).
    bool ensure_serving();
    Duration step();
    Duration after_registration();
    Duration try_register(const FileIdentity& kubelet);
    void again(Duration delay);
    void retire();
    void reap(bool wait);
    void run();
    void set_state(PluginState next, std::string_view why = {});

    const DevicePluginOptions options;
    const DevicePluginHandlers handlers;
    const fs::path kubelet_socket;
    DeviceList devices;
    SocketWatch watch;
    RegistrationCall call;
    std::atomic<bool> stopping{false};

    mutable std::mutex mutex;  // the four below
    mutable std::condition_variable changed;
    PluginState state = PluginState::kStopped;
    int registrations = 0;
    fs::path socket;

    // Of the control thread.
    std::unique_ptr<PluginServer> server;
    std::vector<std::future<void>> retired;  // servers that wait for their last handlers
    FileIdentity own;
    std::optional<FileIdentity> seen;  // the kubelet.sock of the last look
    TimePoint seen_at;
    std::optional<FileIdentity> registered;  // the kubelet.sock that we are registered with
    TimePoint registered_at;
    TimePoint retry_at;
    std::uint64_t streams_before = 0;  // streams opened before the last Register
    Duration stream_patience = kFirstStreamWait;
    Backoff backoff;

    std::mutex control_mutex;  // start() against stop()
    std::thread thread;
};

// Logged once per state, whatever the number of attempts.
void DevicePlugin::Impl::set_state(PluginState next, std::string_view why) {
    {
        const std::scoped_lock lock(mutex);
        if (state == next) return;
        state = next;
        changed.notify_all();
    }
    metrics::gauge(
        "edge_gpu_kubelet_registered",
        "1 while the kubelet follows the resource's devices.",
        {{"resource", options.resource}}
    ).set(next == PluginState::kStreaming ? 1 : 0);
    const auto level = next == PluginState::kRefused || next == PluginState::kNotServing
                           ? log::Level::kWarn
                           : log::Level::kInfo;
    if (why.empty()) {
        log::write(
            level, "device plugin", {{"resource", options.resource}, {"state", to_string(next)}}
        );
        return;
    }
    log::write(
        level,
        "device plugin",
        {{"resource", options.resource}, {"state", to_string(next)}, {"why", why}}
    );
}

// A server whose handlers still run must not hold up the next registration, but its streams have to
// be closed before it: from 1.25 on the end of an old stream disconnects the newest plugin.
void DevicePlugin::Impl::retire() {
    if (!server) return;
    const bool had_stream = server->streams().open > 0;
    auto done =
        std::async(std::launch::async, [old = std::move(server)]() mutable { old.reset(); });
    done.wait_for(kRetirePatience);
    retired.push_back(std::move(done));
    reap(false);
    registered.reset();
    if (had_stream) again(options.retry_first);
    const std::scoped_lock lock(mutex);
    socket.clear();
}

void DevicePlugin::Impl::reap(bool wait) {
    std::erase_if(retired, [wait](std::future<void>& done) {
        if (wait) done.wait();
        return done.wait_for(Millis(0)) == std::future_status::ready;
    });
}

void DevicePlugin::Impl::again(Duration delay) {
    retry_at = std::max(retry_at, MonoClock::now() + delay);
}

bool DevicePlugin::Impl::ensure_serving() {
    if (server && socket_identity(socket) == own) return true;
    if (server) log::warn("device plugin: own socket lost", {{"resource", options.resource}});
    retire();
    std::error_code error;
    if (!fs::is_directory(options.folder, error)) {
        set_state(
            PluginState::kNotServing, "folder " + options.folder.string() + " does not exist"
        );
        return false;
    }
    remove_stale_sockets(options.folder, options.socket_prefix);
    const fs::path path =
        options.folder /
        (options.socket_prefix + "-" + std::to_string(::getpid()) + "-" + random_hex() + ".sock");
    auto served =
        PluginServer::serve(path, options.resource, handlers, devices, [this] { watch.wake(); });
    const auto identity = socket_identity(path);
    if (!served || !identity) {
        const auto why = served ? path.string() + " vanished" : served.error().message;
        if (served)
            retired.push_back(std::async(std::launch::async, [old = std::move(*served)] {}));
        set_state(PluginState::kNotServing, why);
        return false;
    }
    server = std::move(*served);
    own = *identity;
    streams_before = 0;
    const std::scoped_lock lock(mutex);
    socket = path;
    return true;
}

// Looks at the world, does what is due and says how long nothing has to be done.
Duration DevicePlugin::Impl::step() {
    const Duration rescan = watch.watching() ? options.rescan : options.rescan_polling;
    reap(false);
    if (!ensure_serving()) return std::min(rescan, options.rescan_polling);
    const auto kubelet = socket_identity(kubelet_socket);
    if (kubelet != seen) {
        seen = kubelet;
        backoff.reset();
        seen_at = MonoClock::now();
        retry_at = seen_at;
    }
    if (!kubelet) {
        registered.reset();
        set_state(PluginState::kNoKubelet, kubelet_socket.string() + " does not exist");
        return rescan;
    }
    if (registered == kubelet) {
        const Duration rest = after_registration();
        if (registered) return std::min(rest, rescan);
    }
    const auto now = MonoClock::now();
    if (now < retry_at) return std::min(rescan, retry_at - now);
    return std::min(rescan, try_register(*kubelet));
}

// Registered with the kubelet that is there: does it follow our devices?
Duration DevicePlugin::Impl::after_registration() {
    const auto streams = server->streams();
    const auto now = MonoClock::now();
    if (streams.opened > streams_before) {
        if (streams.open > 0) {
            stream_patience = kFirstStreamWait;
            set_state(PluginState::kStreaming);
            return Duration::max();
        }
        if (now - registered_at > kGoodStream) backoff.reset();
        registered.reset();
        again(backoff.next());
        set_state(PluginState::kRegistering, "the kubelet ended the device stream");
        return Duration::zero();
    }
    const auto until = registered_at + std::min(stream_patience, options.stream_wait);
    if (now < until) return until - now;
    stream_patience = std::min(2 * stream_patience, options.stream_wait);
    registered.reset();
    again(backoff.next());
    set_state(PluginState::kRegistering, "the kubelet opened no device stream");
    return Duration::zero();
}

Duration DevicePlugin::Impl::try_register(const FileIdentity& kubelet) {
    const auto failed = [this] {
        again(backoff.next());
        return std::max<Duration>(retry_at - MonoClock::now(), Duration::zero());
    };
    // Cheaper than a channel, and tells a socket file that was left behind from a kubelet.
    if (const auto probe = probe_socket(kubelet_socket); !probe) {
        // A kubelet that just made its socket listens on it a moment later.
        if (MonoClock::now() - seen_at < kListenLag) return kListenRetry;
        set_state(PluginState::kNoKubelet, probe.error().message);
        return failed();
    }
    streams_before = server->streams().opened;
    registered_at = MonoClock::now();
    const Registration registration{
        .kubelet_socket = kubelet_socket,
        .endpoint = socket.filename().string(),
        .resource = options.resource,
        .pre_start = static_cast<bool>(handlers.pre_start),
        .preferred = static_cast<bool>(handlers.preferred),
    };
    const auto answer = call.run(registration, options.register_deadline);
    metrics::counter(
        "edge_gpu_kubelet_registrations_total",
        "Register calls to the kubelet.",
        {{"resource", options.resource}, {"result", answer ? "ok" : "error"}}
    ).add();
    if (!answer) {
        if (!stopping) set_state(PluginState::kRefused, answer.error().message);
        return failed();
    }
    registered = kubelet;
    {
        const std::scoped_lock lock(mutex);
        ++registrations;
    }
    set_state(PluginState::kRegistered);
    return Duration::zero();  // the stream may be open by now
}

void DevicePlugin::Impl::run() {
    while (!stopping) watch.wait(step());
    retire();
    reap(true);
    set_state(PluginState::kStopped);
}

DevicePlugin::DevicePlugin(DevicePluginOptions options, DevicePluginHandlers handlers)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(handlers))) {}

DevicePlugin::~DevicePlugin() {
    stop();
}

Status DevicePlugin::start() {
    const std::scoped_lock control(impl_->control_mutex);
    if (impl_->thread.joinable()) {
        return Error{ErrorCode::kConflict, "device plugin is started already"};
    }
    if (impl_->stopping) {
        return Error{ErrorCode::kStopped, "device plugin was stopped; make a new one"};
    }
    EG_TRY_VOID(check_options(impl_->options, impl_->handlers));
    if (impl_->ensure_serving()) impl_->set_state(PluginState::kRegistering, "started");
    impl_->thread = std::thread([this] { impl_->run(); });
    return {};
}

void DevicePlugin::stop() {
    const std::scoped_lock control(impl_->control_mutex);
    impl_->stopping = true;
    impl_->call.cancel();
    impl_->watch.wake();
    if (impl_->thread.joinable()) impl_->thread.join();
}

void DevicePlugin::set_devices(const std::vector<Device>& devices) {
    impl_->devices.set(devices);
}

PluginState DevicePlugin::state() const {
    const std::scoped_lock lock(impl_->mutex);
    return impl_->state;
}

bool DevicePlugin::wait_for(PluginState wanted, Duration timeout) const {
    std::unique_lock lock(impl_->mutex);
    return impl_->changed.wait_for(lock, timeout, [&] {
        return impl_->state == wanted ||
               (wanted == PluginState::kRegistered && impl_->state == PluginState::kStreaming);
    });
}

int DevicePlugin::registrations() const {
    const std::scoped_lock lock(impl_->mutex);
    return impl_->registrations;
}

std::filesystem::path DevicePlugin::socket() const {
    const std::scoped_lock lock(impl_->mutex);
    return impl_->socket;
}

}  // namespace egpu::kubelet
