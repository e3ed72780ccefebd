#include "k8s/watch.h"

#include <gmock/gmock.h>

#include "k8s/scripted_api.h"

namespace egpu::k8s {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string pod(const std::string& name, const std::string& uid, const std::string& version) {
    return R"({"metadata":{"name":")" + name + R"(","namespace":"ns","uid":")" + uid +
           R"(","resourceVersion":")" + version + R"("}})";
}
std::string event(const std::string& type, const std::string& object) {
    return R"({"type":")" + type + R"(","object":)" + object + "}\n";
}
std::string bookmark(const std::string& version) {
    return event(
        "BOOKMARK", R"({"kind":"Pod","metadata":{"resourceVersion":")" + version + R"("}})"
    );
}
std::string list_of(
    const std::vector<std::string>& items, const std::string& version, const std::string& token = ""
) {
    std::string out = R"({"kind":"PodList","metadata":{"resourceVersion":")" + version +
                      R"(","continue":")" + token + R"("},"items":[)";
    for (std::size_t i = 0; i < items.size(); ++i) out += (i ? "," : "") + items[i];
    return out + "]}";
}
bool is_watch(const Asked& a) {
    return a.query.flag("watch");
}
// Sends `text` and keeps the watch open until the test ends.
void hold(http::Exchange& ex, const std::string& text) {
    if (!ex.begin_stream(200, "application/json") || !ex.write_stream(text)) return;
    while (!ex.peer_closed() && !ex.stopping().wait_for(Millis(5))) {
    }
}
void give(http::Exchange& ex, const std::string& text) {
    static_cast<void>(ex.begin_stream(200, "application/json"));
    static_cast<void>(ex.write_stream(text));
    static_cast<void>(ex.end_stream());
}

// The callbacks as lines of text.
struct Seen {
    std::vector<std::string> lines() const {
        const std::lock_guard lock(mutex);
        return log;
    }
    void add(std::string line) {
        const std::lock_guard lock(mutex);
        log.push_back(std::move(line));
    }
    bool has(const std::string& line) const {
        const auto all = lines();
        return std::find(all.begin(), all.end(), line) != all.end();
    }
    ReflectorCallbacks callbacks() {
        return {
            [this](const json::value& o) {
                add("+" + std::string(json::get_string(o, {"metadata", "name"})) + "@" +
                    std::string(json::get_string(o, {"metadata", "resourceVersion"})));
            },
            [this](std::string_view key, std::string_view uid, const json::value* last) {
                add("-" + std::string(key) + ":" + std::string(uid) + (last ? "!" : ""));
            },
            [this] { add("synced"); }};
    }
    mutable std::mutex mutex;
    std::vector<std::string> log;
};

ReflectorOptions quick() {
    ReflectorOptions options;
    options.path = "/api/v1/pods";
    options.backoff_first = Millis(10);
    options.backoff_most = Millis(50);
    options.short_watch = Millis(60);
    return options;
}

TEST(Reflector, ListsInPagesThenFollowsEvents) {
    ScriptedApi api([](int n, const Asked& a, http::Exchange& ex) {
        if (n == 0) return answer(ex, 200, list_of({pod("a", "ua", "1")}, "", "next/page"));
        if (n == 1) return answer(ex, 200, list_of({pod("b", "ub", "2")}, "10"));
        if (!is_watch(a)) return answer(ex, 500, "");
        hold(
            ex,
            event("ADDED", pod("c", "uc", "11")) + event("MODIFIED", pod("a", "ua", "12")) +
                event("MODIFIED", pod("a", "ua", "12")) + event("ADDED", pod("b", "ub", "2")) +
                event("DELETED", pod("b", "stale-uid", "13")) +
                event("DELETED", pod("b", "ub", "14")) + event("DELETED", pod("b", "ub", "14")) +
                event("NEWS", "{}") + bookmark("15") + "\n"
        );
    });
    Seen seen;
    auto options = quick();
    options.field_selector = "status.phase!=Failed";
    options.user_agent = "edge-gpu-pods";
    Reflector reflector(api.client(), options, seen.callbacks());
    EXPECT_FALSE(reflector.synced());
    reflector.start();
    ASSERT_TRUE(eventually([&] { return seen.lines().size() >= 6 && reflector.watching(); }));
    reflector.stop();
    EXPECT_THAT(seen.lines(), ElementsAre("+a@1", "+b@2", "synced", "+c@11", "+a@12", "-ns/b:ub!"));
    EXPECT_EQ(reflector.size(), 2U);
    EXPECT_TRUE(reflector.synced());
    EXPECT_TRUE(reflector.last_contact());
    const auto asked = api.asked();
    EXPECT_EQ(asked[0].query.get("limit"), "500");
    EXPECT_EQ(asked[0].query.get("fieldSelector"), "status.phase!=Failed");
    EXPECT_EQ(asked[1].query.get("continue"), "next/page");
    EXPECT_FALSE(asked[0].query.has("resourceVersion"));
    EXPECT_EQ(asked[2].query.get("resourceVersion"), "10");
    EXPECT_EQ(asked[2].query.get("fieldSelector"), "status.phase!=Failed");
    EXPECT_TRUE(asked[2].query.flag("allowWatchBookmarks"));
    EXPECT_GE(std::stoi(std::string(asked[2].query.get("timeoutSeconds"))), 300);
    for (const Asked& a : asked) EXPECT_EQ(a.headers.get("User-Agent"), "edge-gpu-pods");
}

TEST(Reflector, WatchesOnFromBookmarksAfterAnOrderlyEnd) {
    ScriptedApi api([](int n, const Asked& a, http::Exchange& ex) {
        if (!is_watch(a)) return answer(ex, 200, list_of({}, "10"));
        if (n == 1) return give(ex, event("ADDED", pod("a", "ua", "11")) + bookmark("20"));
        hold(ex, bookmark("21"));
    });
    Seen seen;
    Reflector reflector(api.client(), quick(), seen.callbacks());
    reflector.start();
    ASSERT_TRUE(eventually([&] { return api.count() >= 3; }));
    EXPECT_EQ(api.asked()[2].query.get("resourceVersion"), "20");
    reflector.stop();
    EXPECT_THAT(seen.lines(), ElementsAre("synced", "+a@11"));
}

TEST(Reflector, ExpiredVersionsRelistAndDiff) {
    for (const bool in_stream : {true, false}) {
        ScriptedApi api([&](int n, const Asked& a, http::Exchange& ex) {
            if (n == 0) {
                return answer(
                    ex,
                    200,
                    list_of({pod("a", "ua", "1"), pod("b", "ub", "2"), pod("c", "uc", "3")}, "10")
                );
            }
            if (n == 1 && in_stream) {
                return give(
                    ex, bookmark("11") + event("ERROR", status_body(410, "Expired", "too old"))
                );
            }
            if (n == 1) return answer(ex, 410, status_body(410, "Expired", "too old"));
            if (!is_watch(a)) {
                return answer(
                    ex,
                    200,
                    list_of({pod("a", "ua", "1"), pod("c", "uc2", "30"), pod("d", "ud", "4")}, "40")
                );
            }
            hold(ex, bookmark("41"));
        });
        Seen seen;
        Reflector reflector(api.client(), quick(), seen.callbacks());
        reflector.start();
        ASSERT_TRUE(eventually([&] { return reflector.watching() && seen.lines().size() >= 9; }));
        reflector.stop();
        EXPECT_THAT(
            seen.lines(),
            ElementsAre(
                "+a@1", "+b@2", "+c@3", "synced", "-ns/c:uc", "+c@30", "+d@4", "-ns/b:ub", "synced"
            )
        ) << in_stream;
    }
}

TEST(Reflector, FailedAndPartialListsDeleteNothing) {
    ScriptedApi api([&](int n, const Asked& a, http::Exchange& ex) {
        if (n == 0)
            return answer(ex, 200, list_of({pod("a", "ua", "1"), pod("b", "ub", "2")}, "10"));
        if (n == 1) return answer(ex, 410, status_body(410, "Expired", ""));
        if (n == 2) return answer(ex, 200, list_of({pod("a", "ua", "1")}, "", "more"));
        if (n < 8) return answer(ex, n % 2 ? 503 : 404, "offline");
        if (!is_watch(a))
            return answer(ex, 200, list_of({pod("a", "ua", "1"), pod("b", "ub", "2")}, "20"));
        hold(ex, bookmark("21"));
    });
    Seen seen;
    Reflector reflector(api.client(), quick(), seen.callbacks());
    reflector.start();
    ASSERT_TRUE(eventually([&] { return api.count() >= 5; }));
    EXPECT_TRUE(reflector.synced()) << "it once was";
    EXPECT_FALSE(reflector.watching());
    EXPECT_FALSE(reflector.last_error().empty());
    ASSERT_TRUE(eventually([&] { return reflector.watching(); }));
    reflector.stop();
    EXPECT_THAT(seen.lines(), ElementsAre("+a@1", "+b@2", "synced", "synced"));
    EXPECT_EQ(reflector.last_error(), "");
}

TEST(Reflector, ExpiredContinueTokenListsInOnePiece) {
    ScriptedApi api([&](int n, const Asked& a, http::Exchange& ex) {
        if (n == 0) return answer(ex, 200, list_of({pod("a", "ua", "1")}, "", "t"));
        if (n == 1) return answer(ex, 410, status_body(410, "Expired", ""));
        if (!is_watch(a)) return answer(ex, 200, list_of({pod("b", "ub", "2")}, "9"));
        hold(ex, bookmark("9"));
    });
    Seen seen;
    Reflector reflector(api.client(), quick(), seen.callbacks());
    reflector.start();
    ASSERT_TRUE(eventually([&] { return reflector.watching(); }));
    reflector.stop();
    EXPECT_FALSE(api.asked()[2].query.has("limit"));
    EXPECT_THAT(seen.lines(), ElementsAre("+a@1", "+b@2", "-ns/a:ua", "synced"));
}

TEST(Reflector, EmptyWatchesBackOffAndProveNothing) {
    ScriptedApi api([&](int, const Asked& a, http::Exchange& ex) {
        if (!is_watch(a)) return answer(ex, 200, list_of({pod("a", "ua", "1")}, "9"));
        answer(ex, 200, "");
    });
    Seen seen;
    auto options = quick();
    options.backoff_first = Millis(40);
    options.backoff_most = Seconds(10);
    Reflector reflector(api.client(), options, seen.callbacks());
    reflector.start();
    ASSERT_TRUE(eventually([&] { return reflector.synced(); }));
    std::this_thread::sleep_for(Millis(400));
    EXPECT_LE(api.count(), 8U) << "doubling delays";
    EXPECT_FALSE(reflector.watching());
    EXPECT_FALSE(reflector.last_contact()) << "a cached list is no proof of the cloud";
    EXPECT_THAT(reflector.last_error(), HasSubstr("without an event"));
    reflector.stop();
    EXPECT_THAT(seen.lines(), ElementsAre("+a@1", "synced"));
}

TEST(Reflector, QuietWatchProvesItselfByLasting) {
    ScriptedApi api([&](int, const Asked& a, http::Exchange& ex) {
        if (!is_watch(a)) return answer(ex, 200, list_of({}, "9"));
        hold(ex, " ");
    });
    Reflector reflector(api.client(), quick(), {});
    reflector.start();
    EXPECT_TRUE(eventually([&] { return reflector.watching(); }));
    EXPECT_TRUE(reflector.last_contact());
    const TimePoint before = MonoClock::now();
    reflector.stop();
    EXPECT_LT(MonoClock::now() - before, Millis(1000)) << "a blocked read is woken";
}

TEST(Reflector, UnconfirmedDeletionsWait) {
    std::atomic<bool> online = false;
    ScriptedApi api([&](int n, const Asked& a, http::Exchange& ex) {
        if (a.path == "/api/v1/namespaces/ns/pods/gone") {
            if (!online) return answer(ex, 404, "cache miss");
            return answer(ex, 404, status_body(404, "NotFound", "gone"));
        }
        if (a.path == "/api/v1/namespaces/ns/pods/kept")
            return answer(ex, 200, pod("kept", "uk", "5"));
        if (n == 0) {
            return answer(
                ex,
                200,
                list_of({pod("gone", "ug", "1"), pod("kept", "uk", "2"), pod("a", "ua", "3")}, "10")
            );
        }
        // A truncated cache: an empty list, and watches that break.
        if (!is_watch(a)) return answer(ex, 200, list_of({}, "11"));
        answer(ex, 410, status_body(410, "Expired", ""));
    });
    Seen seen;
    auto options = quick();
    options.paginate = false;
    options.confirm_deletes = true;
    Reflector reflector(api.client(), options, seen.callbacks());
    reflector.start();
    ASSERT_TRUE(eventually([&] { return api.count() >= 12; }));
    for (const std::string& line : seen.lines()) EXPECT_NE(line[0], '-') << line;
    EXPECT_EQ(reflector.size(), 3U);
    online = true;
    ASSERT_TRUE(eventually([&] { return seen.has("-ns/gone:ug"); }));
    EXPECT_TRUE(eventually([&] { return seen.has("+kept@5"); }));
    reflector.stop();
    EXPECT_EQ(api.asked()[0].query.get("resourceVersion"), "0");
    EXPECT_FALSE(api.asked()[0].query.has("limit"));
}

TEST(Reflector, ClientSideFilterAndEmptyVersions) {
    ScriptedApi api([&](int, const Asked& a, http::Exchange& ex) {
        if (!is_watch(a))
            return answer(ex, 200, list_of({pod("a", "ua", ""), pod("other", "uo", "")}, ""));
        EXPECT_FALSE(a.query.has("resourceVersion"));
        hold(ex, event("MODIFIED", pod("a", "ua", "")) + event("ADDED", pod("other", "uo", "")));
    });
    Seen seen;
    auto options = quick();
    options.accept = [](const json::value& o) {
        return json::get_string(o, {"metadata", "name"}) != "other";
    };
    Reflector reflector(api.client(), options, seen.callbacks());
    reflector.start();
    ASSERT_TRUE(eventually([&] { return seen.lines().size() >= 3; }));
    reflector.stop();
    EXPECT_THAT(seen.lines(), ElementsAre("+a@", "synced", "+a@"));
}

TEST(Reflector, RubbishInTheStreamRelists) {
    ScriptedApi api([&](int n, const Asked& a, http::Exchange& ex) {
        if (!is_watch(a)) return answer(ex, 200, list_of({pod("a", "ua", "1")}, "9"));
        if (n == 1) return give(ex, "{\"type\":\"ADDED\",\n");
        if (n == 3) return give(ex, "{\"type\":\"ADDED\",\"object\":3}\n");
        if (n == 5) return give(ex, event("ADDED", pod("b", "ub", "10")) + "{\"type\":\"AD");
        hold(ex, event("ADDED", pod("c", "uc", "11")));
    });
    Seen seen;
    Reflector reflector(api.client(), quick(), seen.callbacks());
    reflector.start();
    ASSERT_TRUE(eventually([&] { return seen.has("+c@11"); }));
    reflector.stop();
    EXPECT_TRUE(seen.has("+b@10"));
    EXPECT_TRUE(seen.has("-ns/b:ub")) << "the list after the rubbish did not have it";
}

TEST(Reflector, UnreachableServerIsRetriedAndStops) {
    Config config;
    config.server = "http://127.0.0.1:1";
    Reflector reflector(*Client::open(config), quick(), {});
    reflector.start();
    EXPECT_TRUE(eventually([&] { return !reflector.last_error().empty(); }));
    EXPECT_FALSE(reflector.synced());
    reflector.stop();
    reflector.stop();
}

}  // namespace
}  // namespace egpu::k8s
