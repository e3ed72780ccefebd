#include "k8s/events.h"

#include <gmock/gmock.h>

#include "k8s/scripted_api.h"
#include "k8s/timestamp.h"

namespace egpu::k8s {
namespace {

ObjectReference some_pod(const std::string& name = "p") {
    Pod pod;
    pod.meta.name = name;
    pod.meta.ns = "team";
    pod.meta.uid = "u";
    return reference_to(pod);
}

TEST(Events, Timestamps) {
    const auto at =
        std::chrono::system_clock::from_time_t(1'767'225'600) + std::chrono::microseconds(7);
    EXPECT_EQ(timestamp(at), "2026-01-01T00:00:00Z");
    EXPECT_EQ(micro_timestamp(at), "2026-01-01T00:00:00.000007Z");
}

TEST(Events, AreWrittenInTheRightForm) {
    ScriptedApi api([](int, const Asked&, http::Exchange& ex) { answer(ex, 201, "{}"); });
    EventRecorder recorder(api.client(), {.component = "edge-gpu-scheduler", .host = "h"});
    recorder.record(
        some_pod(), EventType::kWarning, "GpuPlacementFailed", "no card with 60 percent free"
    );
    recorder.record(
        reference_to_node("n1"), EventType::kNormal, "CardRecovered", std::string(2000, 'x')
    );
    recorder.stop(Seconds(5));
    recorder.record(some_pod(), EventType::kNormal, "Late", "after the stop");
    const auto asked = api.asked();
    ASSERT_EQ(asked.size(), 2U);
    EXPECT_EQ(asked[0].path, "/api/v1/namespaces/team/events");
    const auto event = *json::parse(asked[0].body);
    EXPECT_EQ(json::get_string(event, {"involvedObject", "kind"}), "Pod");
    EXPECT_EQ(json::get_string(event, {"involvedObject", "uid"}), "u");
    EXPECT_EQ(json::get_string(event, {"metadata", "namespace"}), "team");
    EXPECT_TRUE(json::get_string(event, {"metadata", "name"}).starts_with("p."));
    EXPECT_EQ(json::get_string(event, {"reason"}), "GpuPlacementFailed");
    EXPECT_EQ(json::get_string(event, {"type"}), "Warning");
    EXPECT_EQ(json::get_string(event, {"source", "component"}), "edge-gpu-scheduler");
    EXPECT_EQ(json::get_int(event, {"count"}), 1);
    EXPECT_EQ(asked[1].path, "/api/v1/namespaces/default/events");
    const auto node = *json::parse(asked[1].body);
    EXPECT_EQ(json::get_string(node, {"involvedObject", "uid"}), "n1");
    EXPECT_EQ(json::get_string(node, {"message"}).size(), 1024U);
}

TEST(Events, RepeatsAreCounted) {
    ScriptedApi api([](int n, const Asked& a, http::Exchange& ex) {
        if (a.method == "PATCH" && n == 2)
            return answer(ex, 404, status_body(404, "NotFound", "expired"));
        answer(ex, 201, "{}");
    });
    EventRecorder recorder(api.client(), {.component = "c"});
    const auto again = [&](std::size_t until) {
        recorder.record(some_pod(), EventType::kNormal, "R", "same");
        return eventually([&] { return api.count() >= until; });
    };
    ASSERT_TRUE(again(1));
    ASSERT_TRUE(again(2));
    ASSERT_TRUE(again(4)) << "a patch of an event that is gone makes a new one";
    recorder.stop(Seconds(5));
    const auto asked = api.asked();
    EXPECT_EQ(asked[0].method, "POST");
    EXPECT_EQ(asked[1].method, "PATCH");
    EXPECT_EQ(json::get_int(*json::parse(asked[1].body), {"count"}), 2);
    EXPECT_EQ(asked[2].method, "PATCH");
    EXPECT_EQ(asked[3].method, "POST");
}

TEST(Events, NeverBlockAndKeepTheNewest) {
    std::atomic<bool> down = true;
    ScriptedApi api([&](int, const Asked&, http::Exchange& ex) {
        if (down) return answer(ex, 503, "");
        answer(ex, 201, "{}");
    });
    EventRecorder recorder(api.client(), {.component = "c", .max_queue = 10});
    const TimePoint before = MonoClock::now();
    for (int i = 0; i < 1000; ++i) {
        recorder.record(some_pod("p" + std::to_string(i)), EventType::kNormal, "R", "m");
    }
    EXPECT_LT(MonoClock::now() - before, Seconds(2));
    EXPECT_GE(recorder.dropped(), 980U);
    down = false;
    ASSERT_TRUE(eventually([&] {
        const auto asked = api.asked();
        return !asked.empty() && asked.back().body.find("\"name\":\"p999\"") != std::string::npos;
    }));
}

TEST(Events, RepeatsWhileWaitingAreOneWrite) {
    std::atomic<bool> down = true;
    ScriptedApi api([&](int, const Asked&, http::Exchange& ex) {
        if (down) return answer(ex, 503, "");
        answer(ex, 201, "{}");
    });
    EventRecorder recorder(api.client(), {.component = "c"});
    for (int i = 0; i < 50; ++i) recorder.record(some_pod(), EventType::kNormal, "R", "m");
    ASSERT_TRUE(eventually([&] { return api.count() >= 1; }));
    down = false;
    std::int64_t total = 0;
    ASSERT_TRUE(eventually([&] {
        total = 0;
        for (const Asked& a : api.asked()) {
            const auto body = *json::parse(a.body);
            total = std::max(total, json::get_int(body, {"count"}).value_or(0));
        }
        return total == 50;
    })) << total;
    recorder.stop(Seconds(1));
    EXPECT_LE(api.count(), 6U);
}

TEST(Events, RefusedEventsAreDroppedNotRepeated) {
    ScriptedApi api([&](int, const Asked&, http::Exchange& ex) {
        answer(ex, 403, status_body(403, "Forbidden", "no"));
    });
    EventRecorder recorder(api.client(), {.component = "c"});
    recorder.record(some_pod(), EventType::kNormal, "R", "m");
    ASSERT_TRUE(eventually([&] { return recorder.dropped() == 1; }));
    recorder.stop(Seconds(1));
    EXPECT_EQ(api.count(), 1U);
}

TEST(Events, RateIsLimited) {
    ScriptedApi api([&](int, const Asked&, http::Exchange& ex) { answer(ex, 201, "{}"); });
    EventRecorder recorder(api.client(), {.component = "c", .rate = 0.1, .burst = 3});
    for (int i = 0; i < 20; ++i) {
        recorder.record(some_pod("p" + std::to_string(i)), EventType::kNormal, "R", "m");
    }
    std::this_thread::sleep_for(Millis(300));
    EXPECT_LE(api.count(), 4U);
    EXPECT_GE(api.count(), 2U);
    const TimePoint before = MonoClock::now();
    recorder.stop(Duration::zero());
    EXPECT_LT(MonoClock::now() - before, Seconds(1));
}

}  // namespace
}  // namespace egpu::k8s
