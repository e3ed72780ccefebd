#include "k8s/client.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <unistd.h>

#include "base/base64.h"
#include "k8s/scripted_api.h"

namespace egpu::k8s {
namespace {

using testing::HasSubstr;
const Millis kSoon(5000);

TEST(ApiClient, MapsStatusToErrorCodes) {
    struct Case {
        int http;
        std::string body;
        ErrorCode code;
        const char* says;
    };
    const std::vector<Case> cases = {
        {404, status_body(404, "NotFound", "pods x not found"), ErrorCode::kNotFound, "pods x"},
        {404, "404 page not found", ErrorCode::kUnavailable, "nothing is known to be deleted"},
        {404, R"({"kind":"Status","reason":"Other"})", ErrorCode::kUnavailable, "404"},
        {409, status_body(409, "Conflict", "already assigned"), ErrorCode::kConflict, "already"},
        {410, status_body(410, "Expired", "too old"), ErrorCode::kExhausted, "too old"},
        {401,
         status_body(401, "Unauthorized", "no"),
         ErrorCode::kPermission,
         "credentials of test"},
        {403, status_body(403, "Forbidden", "cannot get"), ErrorCode::kPermission, "ClusterRole"},
        {422, status_body(422, "Invalid", "bad"), ErrorCode::kInvalid, "bad"},
        {400, "oops", ErrorCode::kInvalid, "oops"},
        {503, "offline", ErrorCode::kUnavailable, "offline"},
        {500, "", ErrorCode::kUnavailable, "Internal Server Error"},
    };
    ScriptedApi api([&](int n, const Asked&, http::Exchange& ex) {
        answer(ex, cases.at(n).http, cases.at(n).body);
    });
    const Client client = api.client();
    for (const Case& c : cases) {
        ApiStatus status;
        Call call(in(kSoon), &status);
        call.retry = false;
        const auto r = client.get("/api/v1/x?limit=1", call);
        ASSERT_FALSE(r) << c.body;
        EXPECT_EQ(r.error().code, c.code) << r.error().message;
        EXPECT_THAT(r.error().message, HasSubstr(c.says));
        EXPECT_THAT(r.error().message, HasSubstr("GET /api/v1/x: "));
        EXPECT_EQ(status.http_code, c.http);
        EXPECT_EQ(status.is_status, c.body.find("Status") != std::string::npos);
    }
}

TEST(ApiClient, SendsVerbsBodiesAndConstantHeaders) {
    ScriptedApi api([](int, const Asked&, http::Exchange& ex) { answer(ex, 200, R"({"ok":true})"); }
    );
    const Client client = api.client("edge-gpu-agent-pods");
    ASSERT_TRUE(client.get("/a", in(kSoon)));
    ASSERT_TRUE(client.with_user_agent("other").post("/b", {{"x", 1}}, in(kSoon)));
    ASSERT_TRUE(client.patch("/c", {{"y", nullptr}}, PatchType::kStrategic, in(kSoon)));
    ASSERT_TRUE(client.put("/d", {{"z", "t"}}, in(kSoon)));
    ASSERT_TRUE(client.del("/e", in(kSoon)));
    ASSERT_TRUE(client.del("/f", {{"gracePeriodSeconds", 0}}, in(kSoon)));
    EXPECT_EQ(*client.get_text("/healthz", in(kSoon)), R"({"ok":true})");
    const auto asked = api.asked();
    EXPECT_EQ(asked[0].headers.get("User-Agent"), "edge-gpu-agent-pods");
    EXPECT_EQ(asked[1].headers.get("User-Agent"), "other");
    EXPECT_EQ(asked[1].method, "POST");
    EXPECT_EQ(asked[1].body, R"({"x":1})");
    EXPECT_EQ(asked[1].headers.get("Content-Type"), "application/json");
    EXPECT_EQ(asked[2].headers.get("Content-Type"), "application/strategic-merge-patch+json");
    EXPECT_EQ(asked[2].method, "PATCH");
    EXPECT_EQ(asked[3].method, "PUT");
    EXPECT_EQ(asked[4].method, "DELETE");
    EXPECT_EQ(asked[5].body, R"({"gracePeriodSeconds":0})");
    EXPECT_FALSE(asked[0].headers.has("Authorization"));
}

TEST(ApiClient, RetriesOnlyWhatIsSafe) {
    ScriptedApi api([](int n, const Asked& a, http::Exchange& ex) {
        if (a.path == "/429" && n == 0) return answer(ex, 429, "slow down", {{"Retry-After", "0"}});
        if (a.path == "/503" && (n == 0 || a.method != "GET")) return answer(ex, 503, "");
        answer(ex, 200, "{}");
    });
    const Client client = api.client();
    EXPECT_TRUE(client.post("/429", {}, in(kSoon))) << "429 was not executed";
    EXPECT_EQ(api.count(), 2U);

    ScriptedApi flaky([](int n, const Asked&, http::Exchange& ex) {
        if (n == 0) return answer(ex, 503, "");
        answer(ex, 200, "{}");
    });
    EXPECT_TRUE(flaky.client().get("/x", in(kSoon)));
    EXPECT_EQ(flaky.count(), 2U);

    ScriptedApi down([](int, const Asked&, http::Exchange& ex) { answer(ex, 503, "down"); });
    const auto post = down.client().post("/x", {}, in(kSoon));
    ASSERT_FALSE(post);
    EXPECT_EQ(post.error().code, ErrorCode::kUnavailable);
    EXPECT_EQ(down.count(), 1U) << "a POST is not repeated after 503";
    const TimePoint before = MonoClock::now();
    EXPECT_FALSE(down.client().get("/x", in(Millis(700))));
    EXPECT_LT(MonoClock::now() - before, Millis(4000)) << "back-off stays inside the deadline";
    EXPECT_GE(down.count(), 3U);
}

TEST(ApiClient, RetryAfterBeyondTheDeadlineFailsAtOnce) {
    ScriptedApi api([](int, const Asked&, http::Exchange& ex) {
        answer(ex, 429, "busy", {{"Retry-After", "30"}});
    });
    ApiStatus status;
    const TimePoint before = MonoClock::now();
    const auto r = api.client().get("/x", Call(in(Millis(2000)), &status));
    ASSERT_FALSE(r);
    EXPECT_LT(MonoClock::now() - before, Millis(1900));
    EXPECT_EQ(status.retry_after, Seconds(30));
}

TEST(ApiClient, TokensFromFilesAreReReadAfter401) {
    const auto file =
        std::filesystem::temp_directory_path() / ("edge-gpu-token-" + std::to_string(::getpid()));
    std::ofstream(file) << "old\n";
    ScriptedApi api([&](int, const Asked& a, http::Exchange& ex) {
        if (a.headers.get("Authorization") == "Bearer new") return answer(ex, 200, "{}");
        std::ofstream(file) << "new\n";
        answer(ex, 401, status_body(401, "Unauthorized", "expired"));
    });
    Config config = api.config();
    config.token_file = file.string();
    const Client client = *Client::open(config);
    ASSERT_TRUE(client.post("/x", {}, in(kSoon)));
    EXPECT_EQ(api.count(), 2U);
    ASSERT_TRUE(client.get("/x", in(kSoon)));
    EXPECT_EQ(api.count(), 3U);
    std::filesystem::remove(file);
    EXPECT_TRUE(client.get("/x", in(kSoon))) << "the token stays in memory";

    config.token_file = "/does/not/exist";
    EXPECT_THAT(
        Client::open(config)->get("/x", in(kSoon)).error().message, HasSubstr("/does/not/exist")
    );
    config.token_file.clear();
    config.username = "u";
    config.password = "p";
    static_cast<void>(Client::open(config)->get("/x", Call(in(kSoon))));
    EXPECT_EQ(api.asked().back().headers.get("Authorization"), "Basic " + base64_encode("u:p"));
}

TEST(ApiClient, BindsNodeAndAnnotationsInOneWrite) {
    ScriptedApi api([](int, const Asked&, http::Exchange& ex) {
        answer(ex, 201, R"({"kind":"Status","status":"Success"})");
    });
    const Client client = api.client();
    ASSERT_TRUE(
        client.bind_pod("ns", "p", "uid-1", "n1", {{"nano-gpu/container-c", "3"}}, in(kSoon))
    );
    const Asked asked = api.asked().at(0);
    EXPECT_EQ(asked.path, "/api/v1/namespaces/ns/pods/p/binding");
    EXPECT_EQ(
        *json::parse(asked.body),
        *json::parse(
            R"({"apiVersion":"v1","kind":"Binding","metadata":{"name":"p","namespace":"ns","uid":"uid-1",
                "annotations":{"nano-gpu/container-c":"3"}},"target":{"apiVersion":"v1","kind":"Node","name":"n1"}})"
        )
    );
    const auto poison = client.bind_pod(
        "ns", "p", "u", "n1", {{"nano-gpu/container-" + std::string(60, 'x'), "1"}}, in(kSoon)
    );
    ASSERT_FALSE(poison);
    EXPECT_EQ(poison.error().code, ErrorCode::kInvalid);
    EXPECT_EQ(api.count(), 1U) << "never sent";
}

TEST(ApiClient, PatchesMetadataWithUidPrecondition) {
    ScriptedApi api([](int n, const Asked&, http::Exchange& ex) {
        if (n == 2) {
            return answer(ex, 422, status_body(422, "Invalid", "metadata.uid: field is immutable"));
        }
        if (n == 3) return answer(ex, 422, status_body(422, "Invalid", "annotations: bad"));
        answer(ex, 200, "{}");
    });
    const Client client = api.client();
    ASSERT_TRUE(client.patch_node_annotations("n/1", {{"a", "1"}, {"b", std::nullopt}}, in(kSoon)));
    EXPECT_EQ(api.asked()[0].path, "/api/v1/nodes/n/1") << "escaped on the way";
    EXPECT_EQ(api.asked()[0].headers.get("Content-Type"), "application/merge-patch+json");
    EXPECT_EQ(
        *json::parse(api.asked()[0].body),
        *json::parse(R"({"metadata":{"annotations":{"a":"1","b":null}}})")
    );
    ASSERT_TRUE(client.patch_pod_labels("ns", "p", "u", {{"nano-gpu/assume", "true"}}, in(kSoon)));
    EXPECT_EQ(
        *json::parse(api.asked()[1].body),
        *json::parse(R"({"metadata":{"uid":"u","labels":{"nano-gpu/assume":"true"}}})")
    );
    EXPECT_EQ(
        client.patch_pod_annotations("ns", "p", "u", {}, in(kSoon)).error().code,
        ErrorCode::kConflict
    );
    EXPECT_EQ(
        client.patch_pod_annotations("ns", "p", "u", {}, in(kSoon)).error().code,
        ErrorCode::kInvalid
    );
}

TEST(ApiClient, AnswersThatAreNoJsonOrNoList) {
    ScriptedApi api([](int n, const Asked&, http::Exchange& ex) {
        const char* bodies[] = {"<html>", "[]", R"({"items":3})", R"({"items":null})", ""};
        answer(ex, 200, bodies[n]);
    });
    const Client client = api.client();
    EXPECT_EQ(client.get("/x", in(kSoon)).error().code, ErrorCode::kInvalid);
    EXPECT_EQ(client.list("/x", in(kSoon)).error().code, ErrorCode::kInvalid);
    EXPECT_EQ(client.list("/x", in(kSoon)).error().code, ErrorCode::kInvalid);
    EXPECT_EQ(client.list("/x", in(kSoon))->at("items").as_array().size(), 0U);
    EXPECT_TRUE(client.get("/x", in(kSoon))->is_null());
}

TEST(ApiClient, DeadlineAndRefusal) {
    ScriptedApi api([](int, const Asked&, http::Exchange& ex) {
        ex.stopping().wait_for(Seconds(5));
    });
    const auto late = api.client().post("/x", {}, in(Millis(100)));
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().code, ErrorCode::kDeadline);
    Config config;
    config.server = "http://127.0.0.1:1";
    const auto refused = Client::open(config)->post("/x", {}, in(kSoon));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
    config.server = "not a url";
    EXPECT_FALSE(Client::open(config));
}

}  // namespace
}  // namespace egpu::k8s
