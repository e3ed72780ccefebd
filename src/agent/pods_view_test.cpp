// The view against an embedded API server whose watch fails at the wrong moment.
#include "agent/pods_view.h"

#include <thread>

#include <gtest/gtest.h>

#include "testing/apiserver/api_server.h"

namespace egpu::agent {
namespace {

bool eventually(const std::function<bool()>& done) {
    const TimePoint until = MonoClock::now() + Seconds(20);
    while (!done()) {
        if (MonoClock::now() > until) return false;
        std::this_thread::sleep_for(Millis(2));
    }
    return true;
}

// Fetched at admission, deleted before the watch was back, history gone: no event and no list ever
// tells of this pod, and still its share must not be held for ever.
TEST(PodsView, APodThatOnlyFetchHasSeenIsAskedForAgain) {
    auto api = testing::ApiServer::start();
    ASSERT_TRUE(api.ok()) << api.error().message;
    k8s::Config config;
    config.server = (*api)->url();
    auto client = k8s::Client::open(config);
    ASSERT_TRUE(client.ok());
    PodsView view("n1", [] {});
    view.start(*client);
    ASSERT_TRUE(eventually([&] { return view.connected(); }));

    testing::FaultRule no_watch;
    no_watch.method = "WATCH";
    no_watch.count = -1;
    ASSERT_TRUE((*api)->faults().add(no_watch).ok());
    (*api)->faults().break_watches();
    ASSERT_TRUE(eventually([&] { return !view.connected(); }));
    const auto made = (*api)->create(
        R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"c",
        "image":"i","resources":{"limits":{"nano-gpu/gpu-percent":"20"}}}]}})"
    );
    ASSERT_TRUE(made.ok()) << made.error().message;
    const std::string uid(json::get_string(*made, {"metadata", "uid"}));
    ASSERT_TRUE((*api)->bind({"pods", "default", "p"}, "n1").ok());
    ASSERT_TRUE(view.fetch("default", "p", MonoClock::now() + Seconds(5)).ok());
    ASSERT_TRUE(view.by_uid(uid));
    ASSERT_TRUE((*api)->remove({"pods", "default", "p"}, 0).ok());
    const auto fate = [&] { return view.fate(uid, "default", "p", MonoClock::now() + Seconds(5)); };
    EXPECT_EQ(fate(), PodFate::kUnknown) << "nothing is known while the watch is down";

    (*api)->faults().expire_history();
    ASSERT_TRUE((*api)->faults().clear().ok());
    ASSERT_TRUE(eventually([&] { return view.connected(); }));
    EXPECT_EQ(fate(), PodFate::kGone);
    EXPECT_FALSE(view.by_uid(uid));
}

}  // namespace
}  // namespace egpu::agent
