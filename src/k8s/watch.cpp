#include "k8s/watch.h"

#include <mutex>
#include <set>
#include <thread>

#include <pthread.h>

#include "base/backoff.h"
#include "base/log.h"
#include "base/random.h"
#include "k8s/known_objects.h"

namespace egpu::k8s {

namespace {

constexpr std::size_t kMaxEvent = 16U << 20;
constexpr auto kRecheck = Seconds(30);  // of deletions that could not be confirmed
constexpr auto kGrace = Seconds(30);    // that a watch may last beyond its time-out
constexpr auto kHeaderTimeout = Seconds(30);

std::string key_of(const json::value& object) {
    const std::string_view ns = json::get_string(object, {"metadata", "namespace"});
    const std::string_view name = json::get_string(object, {"metadata", "name"});
    return ns.empty() ? std::string(name) : std::string(ns) + "/" + std::string(name);
}

std::string_view uid_of(const json::value& object) {
    return json::get_string(object, {"metadata", "uid"});
}

std::string_view version_of(const json::value& object) {
    return json::get_string(object, {"metadata", "resourceVersion"});
}

// "/api/v1/pods" and "ns/name" -> "/api/v1/namespaces/ns/pods/name".
std::string object_path(const std::string& collection, const std::string& key) {
    const std::size_t slash = key.find('/');
    const std::string name = http::percent_encode(key.substr(slash + 1));
    if (slash == std::string::npos || collection.find("/namespaces/") != std::string::npos) {
        return collection + "/" + name;
    }
    const std::size_t resource = collection.rfind('/');
    return collection.substr(0, resource) + "/namespaces/" +
           http::percent_encode(key.substr(0, slash)) + collection.substr(resource) + "/" + name;
}

bool is_expired(const Error& error, const ApiStatus& status) {
    return error.code == ErrorCode::kExhausted && status.http_code == 410;
}

bool version_too_large(const ApiStatus& status) {
    return status.message.find("Too large resource version") != std::string::npos;
}

enum class WatchEnd { kOrderly, kShort, kRelist, kFailed, kStopped };

}  // namespace

class Reflector::Impl {
  public:
    Impl(Client client, ReflectorOptions options, ReflectorCallbacks callbacks)
        : client_(
              options.user_agent.empty() ? std::move(client)
                                         : client.with_user_agent(options.user_agent)
          ),
          options_(std::move(options)),
          callbacks_(std::move(callbacks)),
          random_(static_cast<std::uint64_t>(MonoClock::now().time_since_epoch().count())),
          backoff_(options_.backoff_first, options_.backoff_most, random_()),
          stop_(source_.token()) {}

    ~Impl() { stop(); }

    void start() {
        EG_CHECK(!thread_.joinable());
        thread_ = std::thread([this] { run(); });
    }
    void stop() {
        source_.request();
        if (thread_.joinable()) thread_.join();
    }

    bool synced() const { return synced_; }
    bool watching() const { return watching_; }
    std::size_t size() const { return size_; }
    std::optional<TimePoint> last_contact() const {
        const std::lock_guard lock(mutex_);
        return last_contact_;
    }
    std::string last_error() const {
        const std::lock_guard lock(mutex_);
        return last_error_;
    }

  private:
    void run() {
        ::pthread_setname_np(::pthread_self(), "reflector");
        bool need_list = true;
        while (!stop_.stopped()) {
            if (need_list) {
                const auto listed = list();
                if (!listed) {
                    if (listed.error().code == ErrorCode::kStopped) return;
                    failed("list", listed.error());
                    if (stop_.wait_for(backoff_.next())) return;
                    continue;
                }
                need_list = false;
            }
            const WatchEnd end = watch();
            watching_ = false;
            if (end == WatchEnd::kStopped) return;
            if (end == WatchEnd::kRelist) need_list = true;
            if (end == WatchEnd::kOrderly || proven_) backoff_.reset();
            // Also after an orderly end a breath, so that no server can make us spin.
            const Duration delay =
                end == WatchEnd::kOrderly || (end == WatchEnd::kRelist && proven_)
                    ? Duration(Millis(10))
                    : backoff_.next();
            if (stop_.wait_for(delay)) return;
        }
    }

    // --- list

    std::string list_path(const std::string& token, bool paged) const {
        std::string path = options_.path + (paged ? "?limit=500" : "?");
        if (paged && !token.empty()) path += "&continue=" + http::percent_encode(token);
        if (!paged && from_cache_) {
            path += "resourceVersion=" + http::percent_encode(version_.empty() ? "0" : version_);
        }
        append_selectors(path);
        if (path.back() == '?') path.pop_back();
        return path;
    }

    void append_selectors(std::string& path) const {
        const auto add = [&path](const char* name, const std::string& value) {
            if (value.empty()) return;
            if (path.back() != '?') path += "&";
            path += std::string(name) + "=" + http::percent_encode(value);
        };
        add("fieldSelector", options_.field_selector);
        add("labelSelector", options_.label_selector);
    }

    // One complete list: upserts as the pages come, then what was missing, then the callback.
    Status list() {
        known_.begin_round();
        std::string token;
        bool paged = options_.paginate;
        std::string version;
        for (;;) {
            ApiStatus said;
            Call call(MonoClock::now() + options_.list_timeout, &said);
            call.stop = &stop_;
            call.retry = false;  // the loop in run() waits, and a failed list has no effect
            auto page = client_.list(list_path(token, paged), call);
            if (!page) {
                // The continue token has expired: once more from the start, in one piece.
                if (paged && !token.empty() && is_expired(page.error(), said)) {
                    paged = false;
                    from_cache_ = false;
                    token.clear();
                    known_.begin_round();
                    continue;
                }
                // The version we know is unknown there: ask for whatever is newest.
                if (!paged && from_cache_ &&
                    (is_expired(page.error(), said) || version_too_large(said))) {
                    from_cache_ = false;
                    continue;
                }
                return page.error();
            }
            for (const json::value& item : page->as_object()["items"].as_array()) upsert(item);
            version = json::get_string(*page, {"metadata", "resourceVersion"});
            token = json::get_string(*page, {"metadata", "continue"});
            if (!paged || token.empty()) break;
        }
        from_cache_ = !options_.paginate;
        version_ = version;
        remove_unseen();
        size_ = known_.size();
        synced_ = true;
        note_error("");
        if (callbacks_.on_synced) callbacks_.on_synced();
        return ok_status();
    }

    void remove_unseen() {
        unconfirmed_.clear();
        for (const std::string& key : known_.unseen()) {
            if (options_.confirm_deletes) {
                unconfirmed_.insert(key);
            } else {
                remove(key, *known_.uid_of(key), nullptr);
            }
        }
        confirm();
    }

    // Asks for each object that a list did not have. Only a real NotFound (or another object of
    // that name) deletes; an edge cache that is offline cannot say that.
    void confirm() {
        last_confirm_ = MonoClock::now();
        for (auto at = unconfirmed_.begin(); at != unconfirmed_.end();) {
            const std::string key = *at;
            const auto uid = known_.uid_of(key);
            if (!uid) {
                at = unconfirmed_.erase(at);
                continue;
            }
            Call call(MonoClock::now() + Seconds(5));
            call.stop = &stop_;
            call.retry = false;
            const auto object = client_.get(object_path(options_.path, key), call);
            if (object && uid_of(*object) == *uid) {
                upsert(*object);  // still there; perhaps it only left the selector
                at = unconfirmed_.erase(at);
            } else if (object ? replaced(*object, key) : object.error().code == ErrorCode::kNotFound) {
                remove(key, *uid, nullptr);
                at = unconfirmed_.erase(at);
            } else if (object) {
                ++at;
            } else {
                return;  // offline: the others would fail as well
            }
        }
    }

    // Another object has that name now. Any other answer says nothing.
    static bool replaced(const json::value& object, const std::string& key) {
        return key_of(object) == key && !uid_of(object).empty();
    }

    // --- changes

    void upsert(const json::value& object) {
        const std::string key = key_of(object);
        if (key.empty()) return;
        const std::string_view uid = uid_of(object);
        if (options_.accept && !options_.accept(object)) {
            remove(key, uid, &object);
            return;
        }
        std::string old_uid;
        const auto change = known_.upsert(key, uid, version_of(object), &old_uid);
        size_ = known_.size();
        if (change == KnownObjects::Change::kSame) return;
        if (change == KnownObjects::Change::kReplaced && callbacks_.on_delete) {
            callbacks_.on_delete(key, old_uid, nullptr);
        }
        if (callbacks_.on_upsert) callbacks_.on_upsert(object);
    }

    void remove(const std::string& key, std::string_view uid, const json::value* last) {
        const std::string copy(uid);  // it may point into what erase() frees
        if (!known_.erase(key, copy)) return;
        size_ = known_.size();
        if (callbacks_.on_delete) callbacks_.on_delete(key, copy, last);
    }

    // --- watch

    std::string watch_path(Seconds timeout) const {
        std::string path = options_.path + "?watch=1&allowWatchBookmarks=true&timeoutSeconds=" +
                           std::to_string(timeout.count());
        if (!version_.empty()) path += "&resourceVersion=" + http::percent_encode(version_);
        append_selectors(path);
        return path;
    }

    WatchEnd watch() {
        proven_ = false;
        const auto least = std::chrono::duration_cast<Seconds>(options_.watch_timeout_least);
        const auto most = std::chrono::duration_cast<Seconds>(options_.watch_timeout_most);
        const Seconds timeout(random_.between(
            static_cast<int>(std::max<Seconds::rep>(1, least.count())),
            static_cast<int>(std::max<Seconds::rep>(1, std::max(least, most).count()))
        ));
        ApiStatus said;
        Call call(MonoClock::now() + kHeaderTimeout, &said);
        call.stop = &stop_;
        auto stream = client_.watch(watch_path(timeout), call);
        if (!stream) {
            const ErrorCode code = stream.error().code;
            if (code == ErrorCode::kStopped) return WatchEnd::kStopped;
            if (is_expired(stream.error(), said)) return WatchEnd::kRelist;
            failed("watch", stream.error());
            const bool transient = code == ErrorCode::kUnavailable || code == ErrorCode::kDeadline;
            return transient ? WatchEnd::kFailed : WatchEnd::kRelist;
        }
        return read_events(**stream, timeout);
    }

    WatchEnd read_events(http::ResponseStream& stream, Seconds timeout) {
        const TimePoint opened = MonoClock::now();
        const TimePoint end = opened + timeout + kGrace;
        std::string pending;
        std::vector<char> piece(32U << 10);
        for (;;) {
            const TimePoint now = MonoClock::now();
            if (!proven_ && now - opened >= options_.short_watch) prove();
            if (!unconfirmed_.empty() && proven_ && now - last_confirm_ >= kRecheck) confirm();
            if (now >= end) return WatchEnd::kOrderly;  // the server forgot to end it
            const TimePoint wake = proven_ ? std::min(end, now + kRecheck)
                                           : std::min(end, opened + options_.short_watch);
            const auto n = stream.read_some(piece, wake, &stop_);
            if (!n) {
                if (n.error().code == ErrorCode::kStopped) return WatchEnd::kStopped;
                if (n.error().code == ErrorCode::kDeadline) continue;
                failed("watch", n.error());
                return WatchEnd::kFailed;
            }
            if (*n == 0) break;
            pending.append(piece.data(), *n);
            if (const auto ended = take_lines(pending)) return *ended;
            if (pending.size() > kMaxEvent) {
                failed("watch", Error{ErrorCode::kExhausted, "an event is larger than 16 MiB"});
                return WatchEnd::kRelist;
            }
        }
        if (pending.find_first_not_of(" \r\n\t") != std::string::npos) {
            pending += '\n';
            if (const auto ended = take_lines(pending)) return *ended;
        }
        if (proven_) return WatchEnd::kOrderly;
        note_error("the watch ended at once without an event (offline behind an edge cache?)");
        return WatchEnd::kShort;
    }

    // Handles the complete lines of `pending` and removes them.
    std::optional<WatchEnd> take_lines(std::string& pending) {
        std::size_t from = 0;
        for (;;) {
            const std::size_t line_end = pending.find('\n', from);
            if (line_end == std::string::npos) break;
            const std::string_view line(pending.data() + from, line_end - from);
            from = line_end + 1;
            if (line.find_first_not_of(" \r\t") == std::string_view::npos) continue;
            if (const auto ended = handle(line)) return ended;
        }
        pending.erase(0, from);
        return std::nullopt;
    }

    std::optional<WatchEnd> handle(std::string_view line) {
        const auto event = json::parse(line);
        if (!event) {
            failed("watch", event.error());
            return WatchEnd::kRelist;
        }
        const std::string_view type = json::get_string(*event, {"type"});
        const json::value* object = json::find(*event, {"object"});
        if (object == nullptr || !object->is_object()) {
            failed("watch", Error{ErrorCode::kInvalid, "an event without an object"});
            return WatchEnd::kRelist;
        }
        if (type == "ERROR") {
            const std::string_view message = json::get_string(*object, {"message"});
            const bool expired = json::get_int(*object, {"code"}) == 410;
            if (!expired) {
                failed("watch", Error{ErrorCode::kUnavailable, std::string(message)});
            }
            return expired ? WatchEnd::kRelist : WatchEnd::kFailed;
        }
        if (type == "ADDED" || type == "MODIFIED") {
            upsert(*object);
        } else if (type == "DELETED") {
            remove(key_of(*object), uid_of(*object), object);
        } else if (type != "BOOKMARK") {
            return std::nullopt;  // a type of the future
        }
        if (const std::string_view version = version_of(*object); !version.empty()) {
            version_ = version;
        }
        prove();
        return std::nullopt;
    }

    // --- state for other threads

    void prove() {
        proven_ = true;
        watching_ = true;
        const std::lock_guard lock(mutex_);
        last_contact_ = MonoClock::now();
        last_error_.clear();
    }
    void failed(const char* what, const Error& error) {
        // Once per outage: the first failure is news, its repeats are not.
        bool news = false;
        {
            const std::lock_guard lock(mutex_);
            news = last_error_.empty();
        }
        const auto level = news ? log::Level::kWarn : log::Level::kDebug;
        if (log::enabled(level)) {
            log::write(
                level,
                "the API server does not answer as it should",
                {{"what", what}, {"path", options_.path}, {"error", error.message}}
            );
        }
        note_error(error.message);
    }
    void note_error(std::string message) {
        const std::lock_guard lock(mutex_);
        last_error_ = std::move(message);
    }

    const Client client_;
    const ReflectorOptions options_;
    const ReflectorCallbacks callbacks_;
    Random random_;
    Backoff backoff_;
    StopSource source_;
    const StopToken stop_;

    // Only the thread's.
    KnownObjects known_;
    std::set<std::string> unconfirmed_;
    TimePoint last_confirm_;
    std::string version_;
    bool from_cache_ = true;  // without pages: a list may come from the server's cache
    bool proven_ = false;

    std::atomic<bool> synced_ = false;
    std::atomic<bool> watching_ = false;
    std::atomic<std::size_t> size_ = 0;
    mutable std::mutex mutex_;
    std::optional<TimePoint> last_contact_;
    std::string last_error_;
    std::thread thread_;
};

Reflector::Reflector(Client client, ReflectorOptions options, ReflectorCallbacks callbacks)
    : impl_(std::make_unique<Impl>(std::move(client), std::move(options), std::move(callbacks))) {}
Reflector::~Reflector() = default;
void Reflector::start() {
    impl_->start();
}
void Reflector::stop() {
    impl_->stop();
}
bool Reflector::synced() const {
    return impl_->synced();
}
bool Reflector::watching() const {
    return impl_->watching();
}
std::optional<TimePoint> Reflector::last_contact() const {
    return impl_->last_contact();
}
std::size_t Reflector::size() const {
    return impl_->size();
}
std::string Reflector::last_error() const {
    return impl_->last_error();
}

}  // namespace egpu::k8s
