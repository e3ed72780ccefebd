// Watches and faults over HTTP.
#include <thread>

#include <gmock/gmock.h>

#include "testing/apiserver/rest_fixture.h"

namespace egpu::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class WatchTest : public RestFixture {
  protected:
    std::string now() { return std::to_string(server_->resource_version()); }
};
class FaultsTest : public RestFixture {};

TEST_F(WatchTest, FollowsFromAListsVersion) {
    make_pod("before");
    const auto list = get("/api/v1/pods");
    WatchReader watch(*client_, "/api/v1/pods?watch=1&resourceVersion=" + version_of(list));
    ASSERT_EQ(watch.status(), 200);
    make_pod("p");
    EXPECT_EQ(watch.next(), "ADDED p");
    EXPECT_EQ(json::get_string(watch.last, {"object", "kind"}), "Pod");
    merge(std::string(kPods) + "/p", R"({"metadata":{"labels":{"a":"b"}}})");
    EXPECT_EQ(watch.next(), "MODIFIED p");
    call("DELETE", std::string(kPods) + "/p");
    EXPECT_EQ(watch.next(), "DELETED p");
    EXPECT_EQ(json::get_string(watch.last, {"object", "metadata", "resourceVersion"}), now());
}

TEST_F(WatchTest, WithoutAVersionItStartsWithThePresent) {
    make_pod("a");
    make_pod("b");
    WatchReader watch(*client_, "/api/v1/pods?watch=true");
    EXPECT_EQ(watch.next(), "ADDED a");
    EXPECT_EQ(watch.next(), "ADDED b");
    make_pod("c");
    EXPECT_EQ(watch.next(), "ADDED c");
}

TEST_F(WatchTest, LeavingASelectorIsADeletionOfTheOldState) {
    WatchReader watch(
        *client_,
        "/api/v1/pods?watch=1&resourceVersion=" + now() +
            "&fieldSelector=status.phase!%3DSucceeded%2Cstatus.phase!%3DFailed"
    );
    make_pod("p");
    EXPECT_EQ(watch.next(), "ADDED p");
    merge(std::string(kPods) + "/p/status", R"({"status":{"phase":"Running"}})");
    EXPECT_EQ(watch.next(), "MODIFIED p");
    merge(std::string(kPods) + "/p/status", R"({"status":{"phase":"Succeeded"}})");
    EXPECT_EQ(watch.next(), "DELETED p");
    EXPECT_EQ(json::get_string(watch.last, {"object", "status", "phase"}), "Running");
    EXPECT_EQ(json::get_string(watch.last, {"object", "metadata", "resourceVersion"}), now());
    // Gone for good is no event for those who did not see it any more; coming back is an addition.
    merge(std::string(kPods) + "/p/status", R"({"status":{"phase":"Running"}})");
    EXPECT_EQ(watch.next(), "ADDED p");
}

TEST_F(WatchTest, OneObjectByName) {
    WatchReader watch(
        *client_,
        std::string(kPods) + "?watch=1&fieldSelector=metadata.name%3Dq&resourceVersion=" + now()
    );
    make_pod("p");
    make_pod("q");
    EXPECT_EQ(watch.next(), "ADDED q");
}

TEST_F(WatchTest, BookmarksAndTimeouts) {
    ApiServerOptions options;
    options.bookmark_interval = Millis(50);
    launch(options);
    WatchReader watch(
        *client_,
        "/api/v1/nodes?watch=1&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion=" + now()
    );
    make_pod("other-kind");
    const auto moved = now();
    std::string event;
    std::string version;
    int bookmarks = 0;
    while ((event = watch.next()) == "BOOKMARK ") {
        ++bookmarks;
        version = json::get_string(watch.last, {"object", "metadata", "resourceVersion"});
        EXPECT_EQ(json::get_string(watch.last, {"object", "kind"}), "Node");
    }
    EXPECT_EQ(event, "END") << "the time-out ends a watch in order";
    EXPECT_GE(bookmarks, 2);
    EXPECT_EQ(version, moved) << "bookmarks move past other kinds' writes";
}

TEST_F(WatchTest, StreamedLists) {
    make_pod("a");
    WatchReader watch(
        *client_,
        "/api/v1/pods?watch=1&sendInitialEvents=true&allowWatchBookmarks=true"
        "&resourceVersionMatch=NotOlderThan&resourceVersion="
    );
    EXPECT_EQ(watch.next(), "ADDED a");
    EXPECT_EQ(watch.next(), "BOOKMARK ");
    EXPECT_EQ(
        json::get_string(
            watch.last, {"object", "metadata", "annotations", "k8s.io/initial-events-end"}
        ),
        "true"
    );
}

TEST_F(WatchTest, TooOldIsA410InTheStream) {
    make_pod("a");
    const auto old = now();
    ApiServerOptions options;
    server_->faults().expire_history();
    WatchReader watch(*client_, "/api/v1/pods?watch=1&resourceVersion=" + old);
    EXPECT_EQ(watch.status(), 200);
    EXPECT_EQ(watch.next(), "ERROR 410");
    EXPECT_EQ(json::get_string(watch.last, {"object", "reason"}), "Expired");
    EXPECT_EQ(watch.next(), "END");
    WatchReader open(*client_, "/api/v1/pods?watch=1&resourceVersion=" + now());
    EXPECT_TRUE(
        server_->wait_until([&] { return server_->faults().open_watches() > 0; }, Seconds(5))
    );
    server_->faults().expire_history();
    EXPECT_EQ(open.next(), "ERROR 410");
    EXPECT_EQ(get("/api/v1/pods?watch=1&resourceVersion=x").status, 400);
}

TEST_F(WatchTest, TablesInWatches) {
    http::Request request;
    request.target = "/api/v1/pods?watch=1&resourceVersion=" + now();
    request.headers.add("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    auto stream = client_->stream(request, MonoClock::now() + Seconds(10));
    ASSERT_TRUE(stream.ok());
    make_pod("p");
    std::string text;
    while (text.find('\n') == std::string::npos) {
        char piece[4096];
        const auto n = (*stream)->read_some(piece, MonoClock::now() + Seconds(10));
        ASSERT_TRUE(n.ok() && *n > 0);
        text.append(piece, *n);
    }
    const auto event = json::parse(text).value();
    EXPECT_EQ(json::get_string(event, {"object", "kind"}), "Table");
    EXPECT_EQ(json::get_array(event, {"object", "rows"})->size(), 1U);
}

TEST_F(WatchTest, ManyWatchersSeeEverythingInOrder) {
    constexpr int kWatchers = 8;
    constexpr int kPodsEach = 40;
    const std::string from = now();
    std::vector<std::thread> readers;
    std::atomic<int> right{0};
    for (int w = 0; w < kWatchers; ++w) {
        readers.emplace_back([&] {
            WatchReader watch(*client_, "/api/v1/pods?watch=1&resourceVersion=" + from);
            std::uint64_t last = 0;
            for (int i = 0; i < 2 * kPodsEach; ++i) {
                if (!watch.next().starts_with("ADDED ")) return;
                const auto version = std::stoull(std::string(
                    json::get_string(watch.last, {"object", "metadata", "resourceVersion"})
                ));
                if (version <= last) return;
                last = version;
            }
            ++right;
        });
    }
    std::vector<std::thread> writers;
    for (int w = 0; w < 2; ++w) {
        writers.emplace_back([&, w] {
            for (int i = 0; i < kPodsEach; ++i)
                EXPECT_TRUE(
                    server_->create(pod_text("w" + std::to_string(w) + "-" + std::to_string(i)))
                        .ok()
                );
        });
    }
    for (auto& t : writers) t.join();
    for (auto& t : readers) t.join();
    EXPECT_EQ(right, kWatchers);
}

TEST_F(FaultsTest, StatusFaultsHitWhatTheyName) {
    server_->faults().fail_next(2, "POST", "/pods$", 429, 3);
    const auto first = make_pod("p");
    EXPECT_EQ(first.status, 429);
    EXPECT_EQ(first.headers.get("Retry-After"), "3");
    EXPECT_EQ(json::get_int(first.body, {"details", "retryAfterSeconds"}), 3);
    EXPECT_EQ(get(kPods).status, 200) << "another method";
    EXPECT_EQ(make_pod("p").status, 429);
    EXPECT_EQ(make_pod("p").status, 201) << "used up";
    EXPECT_EQ(server_->faults().count("POST", "/pods$"), 3U);
    EXPECT_EQ(server_->faults().requests().front().status, 429);
    FaultRule bad;
    bad.path = "(";
    EXPECT_EQ(server_->faults().add(bad).error().code, ErrorCode::kInvalid);
}

TEST_F(FaultsTest, DropAfterCommitIsCarriedOut) {
    server_->faults().drop_after_commit(1, "POST", "/pods$");
    EXPECT_EQ(make_pod("p").status, 0);
    EXPECT_EQ(get(std::string(kPods) + "/p").status, 200);
    server_->faults().drop_before(1, "POST", "/pods$");
    EXPECT_EQ(make_pod("q").status, 0);
    EXPECT_EQ(get(std::string(kPods) + "/q").status, 404);
}

TEST_F(FaultsTest, WatchesCanBeBrokenAndRefused) {
    WatchReader watch(*client_, "/api/v1/pods?watch=1");
    server_->faults().break_watches();
    EXPECT_EQ(watch.next(), "CUT");
    server_->faults().fail_next(1, "WATCH", "", 500);
    WatchReader refused(*client_, "/api/v1/pods?watch=1");
    EXPECT_EQ(refused.status(), 500);
    WatchReader fine(*client_, "/api/v1/pods?watch=1");
    EXPECT_EQ(fine.status(), 200);
}

TEST_F(FaultsTest, LatencyIsAdded) {
    server_->faults().set_latency(Millis(60));
    const TimePoint start = MonoClock::now();
    EXPECT_EQ(get("/api/v1/nodes").status, 200);
    EXPECT_GE(MonoClock::now() - start, Millis(60));
    ASSERT_TRUE(server_->faults().clear().ok());
}

TEST_F(FaultsTest, RefusedAndBackAtTheSamePort) {
    make_pod("p");
    const auto port = server_->port();
    WatchReader watch(
        *client_,
        "/api/v1/pods?watch=1&resourceVersion=" + std::to_string(server_->resource_version())
    );
    ASSERT_TRUE(server_->faults().set_mode(ServerMode::kRefused).ok());
    EXPECT_EQ(watch.next(), "CUT");
    EXPECT_EQ(get("/api/v1/pods").status, 0);
    ASSERT_TRUE(server_->faults().set_mode(ServerMode::kOnline).ok());
    EXPECT_EQ(server_->port(), port);
    EXPECT_EQ(get(std::string(kPods) + "/p").status, 200) << "nothing was lost";
}

TEST_F(FaultsTest, LiteApiserverWithoutItsCloud) {
    const http::Headers agent = {{"User-Agent", "agent-pods v1"}};
    const auto as_agent = [&](const std::string& target) {
        return call("GET", target, "", "", agent);
    };
    make_pod("a", "", R"("nodeName":"n1",)");
    make_pod("b", "", R"("nodeName":"n2",)");
    EXPECT_THAT(
        item_names(as_agent("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1")), ElementsAre("a")
    );
    EXPECT_EQ(as_agent(std::string(kPods) + "/a").status, 200);
    ASSERT_TRUE(server_->faults().set_mode(ServerMode::kLiteOffline).ok());

    EXPECT_THAT(item_names(as_agent("/api/v1/pods")), ElementsAre("a"))
        << "the query is not in the key";
    const auto miss = get("/api/v1/pods");
    EXPECT_EQ(miss.status, 404) << "another User-Agent";
    EXPECT_EQ(reason(miss), "") << "and no Status: plain text";
    EXPECT_EQ(as_agent(std::string(kPods) + "/b").status, 404);
    ASSERT_TRUE(server_->remove({"pods", "", "a"}, 0).ok());
    EXPECT_EQ(as_agent(std::string(kPods) + "/a").status, 200) << "deleted long ago, still 200";
    EXPECT_EQ(make_pod("c").status, 503);
    EXPECT_EQ(get("/healthz").status, 503);
    WatchReader watch(*client_, "/api/v1/pods?watch=1");
    EXPECT_EQ(watch.status(), 200);
    EXPECT_EQ(watch.next(), "END");
    ASSERT_TRUE(server_->faults().clear().ok());
    EXPECT_THAT(item_names(as_agent("/api/v1/pods")), ElementsAre("b"));
}

TEST_F(FaultsTest, LiteCacheFollowsWatchesWithItsQuirks) {
    const http::Headers agent = {{"User-Agent", "agent-pods"}};
    call("GET", "/api/v1/pods", "", "", agent);
    http::Request request;
    request.target = "/api/v1/pods?watch=1";  // replays ADDED of what the list has
    request.headers = agent;
    make_pod("a");
    auto stream = client_->stream(request, MonoClock::now() + Seconds(10));
    ASSERT_TRUE(stream.ok());
    make_pod("b");
    std::string seen;
    while (seen.find("\"name\":\"b\"") == std::string::npos) {
        char piece[4096];
        const auto n = (*stream)->read_some(piece, MonoClock::now() + Seconds(10));
        ASSERT_TRUE(n.ok() && *n > 0);
        seen.append(piece, *n);
    }
    stream->reset();
    ASSERT_TRUE(server_->faults().set_mode(ServerMode::kLiteOffline).ok());
    EXPECT_THAT(item_names(call("GET", "/api/v1/pods", "", "", agent)), ElementsAre("a", "b"));
}

TEST_F(FaultsTest, ControlOverHttp) {
    EXPECT_EQ(
        call("POST", "/testing/faults", R"({"method":"GET","path":"/nodes$","status":503})").status,
        200
    );
    EXPECT_EQ(get("/api/v1/nodes").status, 503);
    EXPECT_EQ(call("POST", "/testing/faults", R"({"action":"explode"})").status, 400);
    EXPECT_EQ(call("POST", "/testing/faults", R"({"path":"("})").status, 400);
    EXPECT_EQ(call("POST", "/testing/faults", "x").status, 400);
    EXPECT_EQ(json::get_int(get("/testing/requests?method=GET&path=/nodes").body, {"count"}), 1);
    EXPECT_EQ(get("/testing/requests?path=(").status, 400);
    EXPECT_EQ(call("POST", "/testing/mode", R"({"mode":"lite-offline"})").status, 200);
    EXPECT_EQ(get("/api/v1/nodes").status, 404);
    EXPECT_EQ(call("DELETE", "/testing/faults").status, 200);
    EXPECT_EQ(get("/api/v1/nodes").status, 200);
    make_pod("p");
    EXPECT_EQ(
        call("PUT", "/testing/logs/default/p?container=main", "hello\n", "text/plain").status, 200
    );
    EXPECT_EQ(get(std::string(kPods) + "/p/log").text, "hello\n");
}

}  // namespace
}  // namespace egpu::testing
