#include "k8s/events.h"

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include <pthread.h>

#include "base/backoff.h"
#include "base/log.h"
#include "base/metrics.h"
#include "k8s/timestamp.h"

namespace egpu::k8s {

namespace {

using WallTime = std::chrono::system_clock::time_point;
constexpr std::size_t kMaxReason = 128;
constexpr std::size_t kMaxMessage = 1024;
constexpr std::size_t kMaxRemembered = 4096;

struct Item {
    ObjectReference about;
    EventType type = EventType::kNormal;
    std::string reason;
    std::string message;
    WallTime first;
    WallTime last;
    std::int64_t count = 1;

    std::string identity() const {
        return about.kind + "\n" + about.ns + "\n" + about.name + "\n" + about.uid + "\n" +
               (type == EventType::kWarning ? "W" : "N") + reason + "\n" + message;
    }
    // Events live in the namespace of what they are about.
    std::string ns() const { return about.ns.empty() ? "default" : about.ns; }
};

// An event that is on the server and may be counted up.
struct Written {
    std::string name;
    std::int64_t count = 0;
    TimePoint at;
};

// At most `limit` bytes, not in the middle of a UTF-8 character.
std::string cut(std::string_view text, std::size_t limit) {
    if (text.size() <= limit) return std::string(text);
    while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xC0) == 0x80) --limit;
    return std::string(text.substr(0, limit));
}

std::string hex(std::uint64_t n) {
    char text[20];
    std::snprintf(text, sizeof text, "%llx", static_cast<unsigned long long>(n));
    return text;
}

}  // namespace

ObjectReference reference_to(const Pod& pod) {
    return {"Pod", pod.meta.ns, pod.meta.name, pod.meta.uid, "v1"};
}

ObjectReference reference_to_node(std::string_view name) {
    return {"Node", "", std::string(name), std::string(name), "v1"};
}

class EventRecorder::Impl {
  public:
    Impl(Client client, EventOptions options)
        : client_(std::move(client)),
          options_(std::move(options)),
          tokens_(options_.burst),
          refilled_(MonoClock::now()),
          stop_(source_.token()),
          thread_([this] { run(); }) {}

    ~Impl() { stop(Duration::zero()); }

    void record(
        const ObjectReference& about,
        EventType type,
        std::string_view reason,
        std::string_view message
    ) {
        Item item;
        item.about = about;
        item.type = type;
        item.reason = cut(reason, kMaxReason);
        item.message = cut(message, kMaxMessage);
        item.first = item.last = std::chrono::system_clock::now();
        const std::string identity = item.identity();
        const std::lock_guard lock(mutex_);
        if (stopping_) return;
        if (const auto waiting = queued_.find(identity); waiting != queued_.end()) {
            ++waiting->second.count;
            waiting->second.last = item.last;
            return;
        }
        if (order_.size() >= options_.max_queue) {
            queued_.erase(order_.front());
            order_.pop_front();
            ++dropped_;
            dropped_metric_.add();
        }
        order_.push_back(identity);
        queued_.emplace(identity, std::move(item));
        changed_.notify_one();
    }

    void stop(Duration grace) {
        {
            std::unique_lock lock(mutex_);
            stopping_ = true;
            changed_.notify_all();
            drained_.wait_for(lock, grace, [this] { return order_.empty() && !writing_; });
        }
        source_.request();
        changed_.notify_all();
        if (thread_.joinable()) thread_.join();
    }

    std::size_t dropped() const {
        const std::lock_guard lock(mutex_);
        return dropped_;
    }

  private:
    void run() {
        ::pthread_setname_np(::pthread_self(), "events");
        Backoff backoff(Millis(500), Seconds(30));
        while (true) {
            std::string identity;
            Item item;
            {
                std::unique_lock lock(mutex_);
                writing_ = false;
                if (order_.empty()) drained_.notify_all();
                changed_.wait(lock, [this] {
                    return stop_.stopped() || stopping_ || !order_.empty();
                });
                if (stop_.stopped() || order_.empty()) return;
                identity = order_.front();
                order_.pop_front();
                item = std::move(queued_.at(identity));
                queued_.erase(identity);
                writing_ = true;
            }
            if (!take_token()) return;
            const auto written = write(identity, item);
            if (written) {
                backoff.reset();
                continue;
            }
            const ErrorCode code = written.error().code;
            if (code == ErrorCode::kStopped) return;
            if (code == ErrorCode::kUnavailable || code == ErrorCode::kDeadline) {
                put_back(identity, std::move(item));
                if (stop_.wait_for(backoff.next())) return;
                continue;
            }
            lost(written.error());
        }
    }

    // False when stopped meanwhile.
    bool take_token() {
        for (;;) {
            const TimePoint now = MonoClock::now();
            const double seconds = std::chrono::duration<double>(now - refilled_).count();
            tokens_ = std::min<double>(options_.burst, tokens_ + seconds * options_.rate);
            refilled_ = now;
            if (tokens_ >= 1) {
                tokens_ -= 1;
                return true;
            }
            const double missing = (1 - tokens_) / std::max(options_.rate, 0.01);
            const auto delay = std::chrono::duration<double>(missing);
            if (stop_.wait_for(std::chrono::ceil<Millis>(delay))) return false;
        }
    }

    Status write(const std::string& identity, const Item& item) {
        forget_old();
        if (const auto known = written_.find(identity); known != written_.end()) {
            const auto counted = count_up(known->second, item);
            if (counted || counted.error().code != ErrorCode::kNotFound) return counted;
            written_.erase(known);  // the server has forgotten it (after an hour)
        }
        return create(identity, item);
    }

    Call call() const {
        Call c(MonoClock::now() + options_.write_timeout);
        c.stop = &stop_;
        return c;
    }

    Status count_up(Written& known, const Item& item) {
        const json::value patch{
            {"count", known.count + item.count}, {"lastTimestamp", timestamp(item.last)}};
        const auto done = client_.patch(
            path(item) + "/" + http::percent_encode(known.name), patch, PatchType::kMerge, call()
        );
        if (!done) return done.error();
        known.count += item.count;
        known.at = MonoClock::now();
        return ok_status();
    }

    Status create(const std::string& identity, const Item& item) {
        // Made of the item, so that a write that timed out and is repeated finds itself.
        const auto nanos = item.first.time_since_epoch().count();
        const std::string name =
            cut(item.about.name, 220) + "." +
            hex(static_cast<std::uint64_t>(nanos) ^ (std::hash<std::string>{}(identity) << 8));
        json::object about{
            {"kind", item.about.kind},
            {"name", item.about.name},
            {"uid", item.about.uid},
            {"apiVersion", item.about.api_version}};
        if (!item.about.ns.empty()) about["namespace"] = item.about.ns;
        json::object source{{"component", options_.component}};
        if (!options_.host.empty()) source["host"] = options_.host;
        const json::value event{
            {"apiVersion", "v1"},
            {"kind", "Event"},
            {"metadata", {{"name", name}, {"namespace", item.ns()}}},
            {"involvedObject", std::move(about)},
            {"reason", item.reason},
            {"message", item.message},
            {"type", item.type == EventType::kWarning ? "Warning" : "Normal"},
            {"source", std::move(source)},
            {"firstTimestamp", timestamp(item.first)},
            {"lastTimestamp", timestamp(item.last)},
            {"count", item.count},
            {"reportingComponent", options_.component},
            {"reportingInstance", options_.host}};
        const auto done = client_.post(path(item), event, call());
        if (!done && done.error().code != ErrorCode::kConflict) return done.error();
        if (written_.size() >= kMaxRemembered) written_.clear();
        written_[identity] = {name, item.count, MonoClock::now()};
        return ok_status();
    }

    static std::string path(const Item& item) {
        return "/api/v1/namespaces/" + http::percent_encode(item.ns()) + "/events";
    }

    void forget_old() {
        const TimePoint now = MonoClock::now();
        std::erase_if(written_, [&](const auto& entry) {
            return now - entry.second.at > options_.aggregate_for;
        });
    }

    void put_back(const std::string& identity, Item item) {
        const std::lock_guard lock(mutex_);
        if (const auto again = queued_.find(identity); again != queued_.end()) {
            again->second.count += item.count;  // it was recorded anew meanwhile
            again->second.first = item.first;
            return;
        }
        if (order_.size() >= options_.max_queue) {
            ++dropped_;
            dropped_metric_.add();
            return;
        }
        order_.push_front(identity);
        queued_.emplace(identity, std::move(item));
    }

    void lost(const Error& error) {
        dropped_metric_.add();
        bool first = false;
        {
            const std::lock_guard lock(mutex_);
            first = dropped_++ == 0;
        }
        const auto level = first ? log::Level::kWarn : log::Level::kDebug;
        if (log::enabled(level)) {
            log::write(level, "an event cannot be written", {{"error", error.message}});
        }
    }

    const Client client_;
    const EventOptions options_;
    metrics::Counter dropped_metric_ = metrics::counter(
        "edge_gpu_events_dropped_total", "Kubernetes events that could not be written."
    );

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::condition_variable drained_;
    std::deque<std::string> order_;  // identities, oldest first
    std::map<std::string, Item> queued_;
    std::size_t dropped_ = 0;
    bool stopping_ = false;
    bool writing_ = false;

    // Only the thread's.
    std::map<std::string, Written> written_;
    double tokens_;
    TimePoint refilled_;

    StopSource source_;
    const StopToken stop_;
    std::thread thread_;
};

EventRecorder::EventRecorder(Client client, EventOptions options)
    : impl_(std::make_unique<Impl>(std::move(client), std::move(options))) {}
EventRecorder::~EventRecorder() = default;
void EventRecorder::record(
    const ObjectReference& about, EventType type, std::string_view reason, std::string_view message
) {
    impl_->record(about, type, reason, message);
}
void EventRecorder::stop(Duration grace) {
    impl_->stop(grace);
}
std::size_t EventRecorder::dropped() const {
    return impl_->dropped();
}

}  // namespace egpu::k8s
