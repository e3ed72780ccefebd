#include "k8s/lease.h"

#include <atomic>
#include <mutex>
#include <thread>

#include <pthread.h>

#include "base/log.h"
#include "base/random.h"
#include "k8s/timestamp.h"

namespace egpu::k8s {

namespace {

constexpr auto kReleaseTimeout = Seconds(2);

std::int64_t whole_seconds(Duration d) {
    return std::max<std::int64_t>(1, std::chrono::ceil<Seconds>(d).count());
}

}  // namespace

class LeaderElector::Impl {
  public:
    Impl(Client client, LeaseOptions options, LeaseCallbacks callbacks)
        : client_(std::move(client)),
          options_(std::move(options)),
          callbacks_(std::move(callbacks)),
          random_(std::hash<std::string>{}(options_.identity)),
          stop_(source_.token()) {}

    ~Impl() { stop(); }

    Status start() {
        const auto bad = [](const char* why) {
            return Error{ErrorCode::kInvalid, std::string("leader election: ") + why};
        };
        if (options_.name.empty()) return bad("the lease needs a name");
        if (options_.ns.empty()) return bad("the lease needs a namespace");
        if (options_.identity.empty()) return bad("the identity must not be empty");
        if (options_.lease <= options_.renew) return bad("lease must be longer than renew");
        if (options_.renew * 5 <= options_.retry * 6) {
            return bad("renew must be longer than 1.2 times retry");
        }
        if (options_.retry <= Duration::zero()) return bad("retry must be positive");
        thread_ = std::thread([this] { run(); });
        return ok_status();
    }

    void stop() {
        source_.request();
        if (thread_.joinable()) thread_.join();
    }

    bool is_leader() const {
        const Duration::rep since = renewed_.load(std::memory_order_acquire);
        if (since == 0) return false;
        return MonoClock::now().time_since_epoch() - Duration(since) < options_.renew;
    }
    TimePoint held_until() const {
        return TimePoint(Duration(renewed_.load(std::memory_order_acquire))) + options_.lease;
    }
    std::string holder() const {
        const std::lock_guard lock(mutex_);
        return holder_;
    }

  private:
    void run() {
        ::pthread_setname_np(::pthread_self(), "leader-elect");
        while (!stop_.stopped()) {
            const auto tried = try_once();
            if (!tried) failed(tried.error());
            if (leading_ && !is_leader()) lose("the lease could not be renewed in time");
            // A standby tries a little earlier or later each time, so that two do not collide
            // forever.
            Duration delay = options_.retry;
            if (!leading_) delay += delay * random_.below(100) / 1000;
            if (stop_.wait_for(delay)) break;
        }
        if (leading_) {
            if (options_.release_on_stop) release();
            lose("stopping");
        }
    }

    std::string collection() const {
        return "/apis/coordination.k8s.io/v1/namespaces/" + http::percent_encode(options_.ns) +
               "/leases";
    }
    std::string path() const { return collection() + "/" + http::percent_encode(options_.name); }

    // A request may take until our own deadline, or half a renewal when we do not lead.
    Call call() const {
        const TimePoint now = MonoClock::now();
        TimePoint deadline = now + std::max<Duration>(options_.retry, options_.renew / 2);
        if (leading_) deadline = std::min(deadline, renewed_at_ + options_.renew);
        Call c(std::max(deadline, now + Millis(50)));
        c.stop = &stop_;
        c.retry = false;
        return c;
    }

    Status try_once() {
        const TimePoint before = MonoClock::now();
        auto lease = client_.get(path(), call());
        if (!lease && lease.error().code != ErrorCode::kNotFound) return lease.error();
        if (!lease) return create(before);

        observe(*lease);
        const std::string holder(json::get_string(*lease, {"spec", "holderIdentity"}));
        const bool ours = holder == options_.identity;
        if (!ours && !holder.empty() && before < observed_at_ + expiry(*lease)) {
            if (leading_) lose("another holds the lease");
            return ok_status();
        }
        // Free again, but not given back by us: what was written in between is news.
        if (!ours && leading_) lose("another held the lease meanwhile");
        const TimePoint asked = MonoClock::now();
        json::value next = *lease;
        fill(next, ours);
        auto put = client_.put(path(), next, call());
        // kConflict: somebody else was faster; the next round shows who.
        if (!put) return put.error();
        observe(*put);
        lead(asked);
        return ok_status();
    }

    // The lease's own duration counts, unless it is ours rounded up to seconds.
    Duration expiry(const json::value& lease) const {
        const auto seconds = json::get_int(lease, {"spec", "leaseDurationSeconds"});
        if (!seconds || *seconds < 1 || *seconds > 86'400 ||
            *seconds == whole_seconds(options_.lease)) {
            return options_.lease;
        }
        return Seconds(*seconds);
    }

    Status create(TimePoint before) {
        json::value lease{
            {"apiVersion", "coordination.k8s.io/v1"},
            {"kind", "Lease"},
            {"metadata", {{"name", options_.name}, {"namespace", options_.ns}}},
            {"spec", json::object()}};
        fill(lease, false);
        lease.at("spec").as_object()["leaseTransitions"] = 0;
        auto made = client_.post(collection(), lease, call());
        if (!made) return made.error();
        observe(*made);
        lead(before);
        return ok_status();
    }

    void fill(json::value& lease, bool renewal) const {
        json::object& fields = lease.as_object();
        if (!fields["spec"].is_object()) fields["spec"] = json::object();
        json::object& spec = fields["spec"].as_object();
        const std::string now = micro_timestamp(std::chrono::system_clock::now());
        if (!renewal) {
            const auto before = json::get_int(lease, {"spec", "leaseTransitions"}).value_or(0);
            spec["leaseTransitions"] = before + 1;
            spec["acquireTime"] = now;
        }
        spec["holderIdentity"] = options_.identity;
        spec["leaseDurationSeconds"] = whole_seconds(options_.lease);
        spec["renewTime"] = now;
    }

    // Remembers when the lease was last seen to change.
    void observe(const json::value& lease) {
        std::string record = std::string(json::get_string(lease, {"spec", "holderIdentity"}));
        const std::string holder = record;
        record += "\n" + std::string(json::get_string(lease, {"spec", "renewTime"})) + "\n" +
                  std::string(json::get_string(lease, {"metadata", "resourceVersion"}));
        if (record == record_) return;
        record_ = std::move(record);
        observed_at_ = MonoClock::now();
        bool other = false;
        {
            const std::lock_guard lock(mutex_);
            other = holder_ != holder;
            holder_ = holder;
        }
        if (!other || holder.empty()) return;
        log::info("leader", {{"lease", options_.name}, {"holder", holder}});
        if (callbacks_.on_new_leader) callbacks_.on_new_leader(holder);
    }

    // `asked`: before the request was sent; the lease cannot have been renewed earlier.
    void lead(TimePoint asked) {
        quiet_ = false;
        renewed_at_ = asked;
        renewed_.store(asked.time_since_epoch().count(), std::memory_order_release);
        if (std::exchange(leading_, true)) return;
        if (callbacks_.on_started) callbacks_.on_started();
    }

    void lose(const char* why) {
        renewed_.store(0, std::memory_order_release);
        leading_ = false;
        log::warn("no longer the leader", {{"lease", options_.name}, {"why", why}});
        if (callbacks_.on_stopped) callbacks_.on_stopped();
    }

    void release() {
        // Before it is given back nobody may act on it any more.
        renewed_.store(0, std::memory_order_release);
        const TimePoint until = MonoClock::now() + kReleaseTimeout;
        auto lease = client_.get(path(), Call(until));
        if (!lease) return;
        if (json::get_string(*lease, {"spec", "holderIdentity"}) != options_.identity) return;
        fill(*lease, true);
        json::object& spec = lease->as_object()["spec"].as_object();
        spec["holderIdentity"] = "";
        spec["leaseDurationSeconds"] = 1;
        if (auto put = client_.put(path(), *lease, Call(until)); !put) failed(put.error());
    }

    void failed(const Error& error) {
        if (error.code == ErrorCode::kStopped || error.code == ErrorCode::kConflict) return;
        const auto level = quiet_ ? log::Level::kDebug : log::Level::kWarn;
        quiet_ = true;
        if (!log::enabled(level)) return;
        log::write(
            level,
            "the lease cannot be read or written",
            {{"lease", options_.name}, {"error", error.message}}
        );
    }

    const Client client_;
    const LeaseOptions options_;
    const LeaseCallbacks callbacks_;
    Random random_;
    StopSource source_;
    const StopToken stop_;

    // Only the thread's.
    bool leading_ = false;
    bool quiet_ = false;  // a failure was already told
    TimePoint renewed_at_;
    TimePoint observed_at_;
    std::string record_;

    std::atomic<Duration::rep> renewed_ = 0;  // steady clock; 0: not leading
    mutable std::mutex mutex_;
    std::string holder_;
    std::thread thread_;
};

LeaderElector::LeaderElector(Client client, LeaseOptions options, LeaseCallbacks callbacks)
    : impl_(std::make_unique<Impl>(std::move(client), std::move(options), std::move(callbacks))) {}
LeaderElector::~LeaderElector() = default;
Status LeaderElector::start() {
    return impl_->start();
}
void LeaderElector::stop() {
    impl_->stop();
}
bool LeaderElector::is_leader() const {
    return impl_->is_leader();
}
TimePoint LeaderElector::held_until() const {
    return impl_->held_until();
}
std::string LeaderElector::holder() const {
    return impl_->holder();
}

}  // namespace egpu::k8s
