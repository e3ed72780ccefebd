#include "k8s/lease.h"

#include <gmock/gmock.h>

#include "k8s/scripted_api.h"

namespace egpu::k8s {
namespace {

// One Lease with optimistic concurrency, as the API server keeps it.
class LeaseStore {
  public:
    LeaseStore() : api_([this](int, const Asked& a, http::Exchange& ex) { serve(a, ex); }) {}

    Client client() const { return api_.client(); }
    void set_down(bool down) { down_ = down; }
    std::size_t writes() const { return writes_; }
    json::value lease() const {
        const std::lock_guard lock(mutex_);
        return lease_;
    }
    std::string holder() const {
        return std::string(json::get_string(lease(), {"spec", "holderIdentity"}));
    }
    // Another elector's write between two of ours.
    void usurp(const std::string& identity) {
        const std::lock_guard lock(mutex_);
        lease_.at("spec").as_object()["holderIdentity"] = identity;
        lease_.at("spec").as_object()["leaseDurationSeconds"] = 1;
        lease_.at("metadata").as_object()["resourceVersion"] = std::to_string(++version_);
    }

  private:
    void serve(const Asked& a, http::Exchange& ex) {
        if (down_) return answer(ex, 503, "down");
        const std::lock_guard lock(mutex_);
        if (a.method == "GET") {
            if (lease_.is_null()) return answer(ex, 404, status_body(404, "NotFound", "no lease"));
            return answer(ex, 200, json::to_text(lease_));
        }
        auto body = json::parse(a.body).value();
        if (a.method == "POST" && !lease_.is_null()) {
            return answer(ex, 409, status_body(409, "AlreadyExists", "exists"));
        }
        if (a.method == "PUT" && json::get_string(body, {"metadata", "resourceVersion"}) !=
                                     json::get_string(lease_, {"metadata", "resourceVersion"})) {
            return answer(ex, 409, status_body(409, "Conflict", "changed"));
        }
        ++writes_;
        lease_ = std::move(body);
        lease_.at("metadata").as_object()["resourceVersion"] = std::to_string(++version_);
        answer(ex, a.method == "POST" ? 201 : 200, json::to_text(lease_));
    }

    mutable std::mutex mutex_;
    json::value lease_;
    int version_ = 0;
    std::atomic<std::size_t> writes_ = 0;
    std::atomic<bool> down_ = false;
    ScriptedApi api_;
};

LeaseOptions options_of(const std::string& identity, Millis lease = Millis(600)) {
    LeaseOptions options;
    options.name = "edge-gpu-scheduler";
    options.identity = identity;
    options.lease = lease;
    options.renew = lease * 6 / 10;
    options.retry = Millis(50);
    return options;
}

TEST(Lease, AcquiresRenewsAndReleases) {
    LeaseStore store;
    std::atomic<int> started = 0;
    std::atomic<int> stopped = 0;
    LeaderElector a(store.client(), options_of("a"), {[&] { ++started; }, [&] { ++stopped; }});
    EXPECT_FALSE(a.is_leader());
    ASSERT_TRUE(a.start());
    ASSERT_TRUE(eventually([&] { return a.is_leader(); }));
    EXPECT_EQ(store.holder(), "a");
    EXPECT_EQ(a.holder(), "a");
    EXPECT_EQ(json::get_int(store.lease(), {"spec", "leaseTransitions"}), 0);
    EXPECT_EQ(json::get_int(store.lease(), {"spec", "leaseDurationSeconds"}), 1);
    EXPECT_EQ(json::get_string(store.lease(), {"spec", "renewTime"}).size(), 27U);
    const std::size_t before = store.writes();
    ASSERT_TRUE(eventually([&] { return store.writes() > before + 5; })) << "it renews";
    EXPECT_TRUE(a.is_leader());
    a.stop();
    EXPECT_FALSE(a.is_leader());
    EXPECT_EQ(store.holder(), "") << "given back";
    EXPECT_EQ(started, 1);
    EXPECT_EQ(stopped, 1);
}

TEST(Lease, StandbyTakesOverAfterReleaseAndAfterCrash) {
    LeaseStore store;
    auto a = std::make_unique<LeaderElector>(store.client(), options_of("a", Millis(5000)));
    ASSERT_TRUE(a->start());
    ASSERT_TRUE(eventually([&] { return a->is_leader(); }));
    const auto options = options_of("b", Millis(5000));
    std::vector<std::string> leaders;
    std::mutex mutex;
    LeaderElector b(store.client(), options, {{}, {}, [&](const std::string& who) {
                                                  const std::lock_guard lock(mutex);
                                                  leaders.push_back(who);
                                              }});
    ASSERT_TRUE(b.start());
    ASSERT_TRUE(eventually([&] { return b.holder() == "a"; }));
    std::this_thread::sleep_for(Millis(300));
    EXPECT_FALSE(b.is_leader()) << "a holds it";
    a.reset();
    const TimePoint released = MonoClock::now();
    ASSERT_TRUE(eventually([&] { return b.is_leader(); }));
    EXPECT_LT(MonoClock::now() - released, Millis(4000)) << "no need to wait for the expiry";
    {
        const std::lock_guard lock(mutex);
        EXPECT_EQ(leaders, (std::vector<std::string>{"a", "b"}));
    }

    // A leader that vanished without giving back: its lease runs out by local observation.
    b.stop();
    store.usurp("crashed");
    LeaderElector c(store.client(), options_of("c"));
    const TimePoint begin = MonoClock::now();
    ASSERT_TRUE(c.start());
    ASSERT_TRUE(eventually([&] { return c.is_leader(); }));
    EXPECT_GE(MonoClock::now() - begin, Millis(600));
    EXPECT_EQ(json::get_int(store.lease(), {"spec", "leaseTransitions"}), 2);
}

TEST(Lease, RenewedLeasesOutliveTheirDuration) {
    LeaseStore store;
    LeaderElector a(store.client(), options_of("a", Millis(1500)));
    ASSERT_TRUE(a.start());
    ASSERT_TRUE(eventually([&] { return a.is_leader(); }));
    LeaderElector b(store.client(), options_of("b", Millis(1500)));
    ASSERT_TRUE(b.start());
    std::this_thread::sleep_for(Millis(2200));
    EXPECT_TRUE(a.is_leader());
    EXPECT_FALSE(b.is_leader());
}

TEST(Lease, LeadershipEndsWhenItCannotBeRenewed) {
    LeaseStore store;
    std::atomic<int> stopped = 0;
    LeaderElector a(store.client(), options_of("a", Millis(4000)), {{}, [&] { ++stopped; }});
    ASSERT_TRUE(a.start());
    ASSERT_TRUE(eventually([&] { return a.is_leader(); }));
    store.set_down(true);
    const TimePoint down = MonoClock::now();
    ASSERT_TRUE(eventually([&] { return !a.is_leader(); }));
    EXPECT_LT(MonoClock::now() - down, Millis(4000)) << "before a standby could take over";
    ASSERT_TRUE(eventually([&] { return stopped == 1; }));
    store.set_down(false);
    EXPECT_TRUE(eventually([&] { return a.is_leader(); })) << "and comes back";
}

TEST(Lease, LosesToAnotherHolder) {
    LeaseStore store;
    std::atomic<int> stopped = 0;
    LeaderElector a(store.client(), options_of("a"), {{}, [&] { ++stopped; }});
    ASSERT_TRUE(a.start());
    ASSERT_TRUE(eventually([&] { return a.is_leader(); }));
    store.usurp("b");
    ASSERT_TRUE(eventually([&] { return stopped == 1; }));
    EXPECT_FALSE(a.is_leader());
    EXPECT_EQ(a.holder(), "b");
}

// As after a pause of this process: another led and gave the lease back between two of our tries.
TEST(Lease, TheTermOfAnotherInBetweenIsNoticed) {
    LeaseStore store;
    std::atomic<int> started = 0;
    std::atomic<int> stopped = 0;
    LeaderElector a(store.client(), options_of("a"), {[&] { ++started; }, [&] { ++stopped; }});
    ASSERT_TRUE(a.start());
    ASSERT_TRUE(eventually([&] { return a.is_leader(); }));
    store.usurp("");
    ASSERT_TRUE(eventually([&] { return store.holder() == "a" && a.is_leader(); }));
    EXPECT_TRUE(eventually([&] { return started == 2; })) << "what the other wrote must be read";
    EXPECT_EQ(stopped, 1);
}

TEST(Lease, OnlyOneOfManyLeads) {
    LeaseStore store;
    std::vector<std::unique_ptr<LeaderElector>> all;
    for (int i = 0; i < 5; ++i) {
        all.push_back(
            std::make_unique<LeaderElector>(store.client(), options_of("e" + std::to_string(i)))
        );
        ASSERT_TRUE(all.back()->start());
    }
    const auto leaders = [&] {
        int n = 0;
        for (const auto& e : all) n += e->is_leader() ? 1 : 0;
        return n;
    };
    ASSERT_TRUE(eventually([&] { return leaders() == 1; }));
    for (int i = 0; i < 100; ++i) {
        EXPECT_LE(leaders(), 1);
        std::this_thread::sleep_for(Millis(5));
    }
}

TEST(Lease, ImpossibleOptionsAreRefused) {
    LeaseStore store;
    const auto refused = [&](const std::function<void(LeaseOptions&)>& change) {
        LeaseOptions options = options_of("a");
        change(options);
        LeaderElector elector(store.client(), options);
        const auto r = elector.start();
        return !r && r.error().code == ErrorCode::kInvalid;
    };
    EXPECT_TRUE(refused([](LeaseOptions& o) { o.name = ""; }));
    EXPECT_TRUE(refused([](LeaseOptions& o) { o.identity = ""; }));
    EXPECT_TRUE(refused([](LeaseOptions& o) { o.renew = o.lease; }));
    EXPECT_TRUE(refused([](LeaseOptions& o) { o.retry = o.renew; }));
    EXPECT_TRUE(refused([](LeaseOptions& o) { o.retry = Millis(0); }));
}

}  // namespace
}  // namespace egpu::k8s
