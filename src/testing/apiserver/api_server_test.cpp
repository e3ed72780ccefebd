// The verbs over HTTP, as a client of the real API server knows them.
#include <gmock/gmock.h>

#include "testing/apiserver/rest_fixture.h"

namespace egpu::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Strings = std::vector<std::string>;

class ApiServerTest : public RestFixture {};

TEST_F(ApiServerTest, CreateFillsInWhatTheServerOwns) {
    const auto made = make_pod("p");
    ASSERT_EQ(made.status, 201) << made.text;
    EXPECT_EQ(json::get_string(made.body, {"kind"}), "Pod");
    EXPECT_EQ(json::get_string(made.body, {"metadata", "namespace"}), "default");
    EXPECT_EQ(json::get_string(made.body, {"metadata", "uid"}).size(), 36U);
    EXPECT_EQ(json::get_string(made.body, {"status", "phase"}), "Pending");
    EXPECT_FALSE(version_of(made).empty());

    const auto again = make_pod("p");
    EXPECT_EQ(again.status, 409);
    EXPECT_EQ(reason(again), "AlreadyExists");
    EXPECT_EQ(message(again), "pods \"p\" already exists");
    EXPECT_EQ(get(std::string(kPods) + "/p").body, made.body);
}

TEST_F(ApiServerTest, GenerateNameMakesFreshNames) {
    const std::string body =
        R"({"metadata":{"generateName":"e-"},"involvedObject":{"namespace":"default","name":"p"}})";
    const auto a = call("POST", "/api/v1/namespaces/default/events", body);
    const auto b = call("POST", "/api/v1/namespaces/default/events", body);
    ASSERT_EQ(a.status, 201) << a.text;
    ASSERT_EQ(b.status, 201) << b.text;
    const auto name = json::get_string(a.body, {"metadata", "name"});
    EXPECT_EQ(name.size(), 7U);
    EXPECT_NE(name, json::get_string(b.body, {"metadata", "name"}));
}

TEST_F(ApiServerTest, RefusalsSayWhatIsWrong) {
    EXPECT_EQ(call("POST", kPods, "{oops").status, 400);
    EXPECT_EQ(call("POST", kPods, "[]").status, 400);
    EXPECT_EQ(call("POST", kPods, R"({"kind":"Node","apiVersion":"v1"})").status, 400);
    EXPECT_EQ(call("POST", kPods, pod_text("p"), "application/yaml").status, 415);
    EXPECT_EQ(make_pod("p", R"(,"namespace":"other")").status, 400);
    EXPECT_EQ(make_pod("p", R"(,"labels":{"a":1})").status, 400);
    const auto upper = make_pod("UPPER");
    EXPECT_EQ(upper.status, 422);
    EXPECT_EQ(reason(upper), "Invalid");
    EXPECT_THAT(message(upper), HasSubstr("metadata.name: Invalid value: \"UPPER\""));
    EXPECT_EQ(call("POST", "/api/v1/namespaces/nowhere/pods", pod_text("p")).status, 404);
    const auto missing = get(std::string(kPods) + "/ghost");
    EXPECT_EQ(missing.status, 404);
    EXPECT_EQ(reason(missing), "NotFound");
    EXPECT_EQ(json::get_string(missing.body, {"details", "kind"}), "pods");
    const auto path = get("/apis/apps/v1/namespaces/default/deployments");
    EXPECT_EQ(path.status, 404);
    EXPECT_EQ(message(path), "the server could not find the requested resource");
    EXPECT_EQ(call("POST", kPods, std::string(4U << 20, ' ')).status, 413);
    EXPECT_EQ(call("PUT", kPods, "{}").status, 405);
}

TEST_F(ApiServerTest, UpdatesNeedTheNewestVersion) {
    auto pod = make_pod("p").body;
    const std::string target = std::string(kPods) + "/p";
    json::find(pod, {"metadata"})->get_object()["labels"] = {{"a", "1"}};
    const auto updated = call("PUT", target, json::to_text(pod));
    ASSERT_EQ(updated.status, 200) << updated.text;
    EXPECT_NE(
        version_of(updated), std::string(json::get_string(pod, {"metadata", "resourceVersion"}))
    );
    const auto stale = call("PUT", target, json::to_text(pod));
    EXPECT_EQ(stale.status, 409);
    EXPECT_EQ(reason(stale), "Conflict");
    EXPECT_THAT(message(stale), HasSubstr("the object has been modified"));
    // Without one it is unconditional for pods, and refused for leases.
    json::find(pod, {"metadata"})->get_object().erase("resourceVersion");
    EXPECT_EQ(call("PUT", target, json::to_text(pod)).status, 200);
    const std::string lease = R"({"metadata":{"name":"l"},"spec":{"holderIdentity":"a"}})";
    const std::string leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    EXPECT_EQ(call("POST", leases, lease).status, 201);
    const auto refused = call("PUT", leases + "/l", lease);
    EXPECT_EQ(refused.status, 422);
    EXPECT_THAT(message(refused), HasSubstr("must be specified for an update"));
    // A write that changes nothing makes no version.
    const auto before = server_->resource_version();
    EXPECT_EQ(merge(target, R"({"metadata":{"labels":{"a":"1"}}})").status, 200);
    EXPECT_EQ(server_->resource_version(), before);
}

TEST_F(ApiServerTest, LeaseTimesAreMicroTimes) {
    const std::string leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    const auto lease = [](std::string_view time) {
        return R"({"metadata":{"name":"l"},"spec":{"renewTime":")" + std::string(time) + "\"}}";
    };
    EXPECT_EQ(call("POST", leases, lease("2026-01-02T03:04:05Z")).status, 400);
    EXPECT_EQ(call("POST", leases, lease("2026-01-02T03:04:05.000001Z")).status, 201);
}

TEST_F(ApiServerTest, Patches) {
    make_pod("p");
    const std::string target = std::string(kPods) + "/p";
    const auto patched = merge(target, R"({"metadata":{"annotations":{"a":"1","b":"2"}}})");
    ASSERT_EQ(patched.status, 200) << patched.text;
    EXPECT_EQ(merge(target, R"({"metadata":{"annotations":{"a":null}}})").status, 200);
    EXPECT_EQ(
        json::to_text(*json::find(get(target).body, {"metadata", "annotations"})), R"({"b":"2"})"
    );
    EXPECT_EQ(merge(target, R"({"metadata":{"resourceVersion":"1"}})").status, 409);
    const auto uid = merge(target, R"({"metadata":{"uid":"other"}})");
    EXPECT_EQ(uid.status, 422);
    EXPECT_THAT(message(uid), HasSubstr("field is immutable"));
    EXPECT_EQ(
        call(
            "PATCH",
            target,
            R"([{"op":"add","path":"/metadata/labels","value":{"x":"y"}}])",
            "application/json-patch+json"
        )
            .status,
        200
    );
    EXPECT_EQ(merge(target, R"({"spec":{"nodeName":"n1"}})").status, 422)
        << "only a binding does that";
    const auto apply = call("PATCH", target, "{}", "application/apply-patch+yaml");
    EXPECT_EQ(apply.status, 415);
    EXPECT_EQ(merge(std::string(kPods) + "/ghost", "{}").status, 404);
    EXPECT_EQ(call("PATCH", target, "{}", "application/json").status, 415);
}

TEST_F(ApiServerTest, StatusIsASubresource) {
    make_pod("p");
    const std::string target = std::string(kPods) + "/p";
    // Through the main resource the status does not change, through the status the spec does not.
    ASSERT_EQ(
        merge(target, R"({"status":{"phase":"Running"},"metadata":{"labels":{"l":"1"}}})").status,
        200
    );
    EXPECT_EQ(json::get_string(get(target).body, {"status", "phase"}), "Pending");
    ASSERT_EQ(
        merge(target + "/status", R"({"status":{"phase":"Running"},"spec":{"nodeName":"x"}})")
            .status,
        200
    );
    const auto pod = get(target).body;
    EXPECT_EQ(json::get_string(pod, {"status", "phase"}), "Running");
    EXPECT_EQ(json::get_string(pod, {"spec", "nodeName"}), "");
    EXPECT_EQ(json::get_string(pod, {"metadata", "labels", "l"}), "1");

    ASSERT_EQ(call("POST", "/api/v1/nodes", R"({"metadata":{"name":"n1"}})").status, 201);
    const auto node = call(
        "PATCH",
        "/api/v1/nodes/n1/status",
        R"([{"op":"add","path":"/status","value":{"capacity":{}}},
            {"op":"add","path":"/status/capacity/nano-gpu~1gpu-percent","value":"400"}])",
        "application/json-patch+json"
    );
    ASSERT_EQ(node.status, 200) << node.text;
    EXPECT_EQ(json::get_string(node.body, {"status", "capacity", "nano-gpu/gpu-percent"}), "400");
}

TEST_F(ApiServerTest, DryRunsChangeNothing) {
    EXPECT_EQ(call("POST", std::string(kPods) + "?dryRun=All", pod_text("p")).status, 201);
    EXPECT_EQ(get(std::string(kPods) + "/p").status, 404);
    make_pod("p");
    const auto before = server_->resource_version();
    const std::string target = std::string(kPods) + "/p";
    const auto patched = call(
        "PATCH",
        target + "?dryRun=All",
        R"({"metadata":{"labels":{"a":"b"}}})",
        "application/merge-patch+json"
    );
    EXPECT_EQ(json::get_string(patched.body, {"metadata", "labels", "a"}), "b");
    EXPECT_EQ(call("DELETE", target + "?dryRun=All").status, 200);
    EXPECT_EQ(server_->resource_version(), before);
}

TEST_F(ApiServerTest, BindingIsOneWriteWithItsAnnotations) {
    const auto made = make_pod("p", R"(,"annotations":{"own":"1"})");
    const std::string uid(json::get_string(made.body, {"metadata", "uid"}));
    const std::string target = std::string(kPods) + "/p";
    const auto binding = [&](const std::string& node, const std::string& id) {
        return R"({"apiVersion":"v1","kind":"Binding","metadata":{"name":"p","uid":")" + id +
               R"(","annotations":{"nano-gpu/assume":"true"}},"target":{"kind":"Node","name":")" +
               node + "\"}}";
    };
    const auto wrong = call("POST", target + "/binding", binding("n1", "not-the-uid"));
    EXPECT_EQ(wrong.status, 409);
    EXPECT_THAT(message(wrong), HasSubstr("UID in precondition: not-the-uid"));
    EXPECT_EQ(call("POST", target + "/binding", binding("", uid)).status, 422);

    const auto before = server_->resource_version();
    const auto bound = call("POST", target + "/binding", binding("n1", uid));
    ASSERT_EQ(bound.status, 201) << bound.text;
    EXPECT_EQ(json::get_string(bound.body, {"kind"}), "Status");
    EXPECT_EQ(json::get_string(bound.body, {"status"}), "Success");
    EXPECT_EQ(server_->resource_version(), before + 1) << "one write";
    const auto pod = get(target).body;
    EXPECT_EQ(json::get_string(pod, {"spec", "nodeName"}), "n1");
    EXPECT_EQ(json::get_string(pod, {"metadata", "annotations", "own"}), "1");
    EXPECT_EQ(json::get_string(pod, {"metadata", "annotations", "nano-gpu/assume"}), "true");
    const auto& condition = json::get_array(pod, {"status", "conditions"})->front();
    EXPECT_EQ(json::get_string(condition, {"type"}), "PodScheduled");
    EXPECT_EQ(json::get_string(condition, {"status"}), "True");

    const auto again = call("POST", target + "/binding", binding("n2", uid));
    EXPECT_EQ(again.status, 409);
    EXPECT_EQ(
        message(again),
        "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node "
        "\"n1\""
    );
    EXPECT_EQ(
        call("POST", std::string(kPods) + "/ghost/binding", R"({"target":{"name":"n"}})").status,
        404
    );
}

TEST_F(ApiServerTest, BindingsOfPodsBeingDeletedAreRefused) {
    make_pod("p", R"(,"finalizers":["a.b/c"])");
    EXPECT_EQ(call("DELETE", std::string(kPods) + "/p").status, 200);
    const auto refused =
        call("POST", std::string(kPods) + "/p/binding", R"({"target":{"name":"n"}})");
    EXPECT_EQ(refused.status, 409);
    EXPECT_THAT(message(refused), HasSubstr("is being deleted"));
    EXPECT_EQ(merge(std::string(kPods) + "/p", R"({"metadata":{"finalizers":null}})").status, 200);
    EXPECT_EQ(get(std::string(kPods) + "/p").status, 404) << "the last finalizer lets it go";
}

TEST_F(ApiServerTest, BadAnnotationKeysFromABindingPoisonThePod) {
    make_pod("p");
    const std::string key = "nano-gpu/container-" + std::string(60, 'a');
    ASSERT_TRUE(server_->bind({"pods", "", "p"}, "n1", {{key, "0"}}).ok());
    const auto status =
        merge(std::string(kPods) + "/p/status", R"({"status":{"phase":"Running"}})");
    EXPECT_EQ(status.status, 422);
    EXPECT_THAT(message(status), HasSubstr("name part must be no more than 63 characters"));
}

TEST_F(ApiServerTest, PodsOnANodeAreDeletedByTheirKubelet) {
    make_pod("free");
    make_pod("placed", "", R"("nodeName":"n1","terminationGracePeriodSeconds":7,)");
    EXPECT_EQ(call("DELETE", std::string(kPods) + "/free").status, 200);
    EXPECT_EQ(get(std::string(kPods) + "/free").status, 404) << "no node: at once";

    const std::string target = std::string(kPods) + "/placed";
    const auto uid = std::string(json::get_string(get(target).body, {"metadata", "uid"}));
    const auto deleted = call("DELETE", target);
    EXPECT_EQ(deleted.status, 200);
    const auto pod = get(target).body;
    EXPECT_NE(json::get_string(pod, {"metadata", "deletionTimestamp"}), "");
    EXPECT_EQ(json::get_int(pod, {"metadata", "deletionGracePeriodSeconds"}), 7);
    const auto version = server_->resource_version();
    EXPECT_EQ(call("DELETE", target).status, 200);
    EXPECT_EQ(server_->resource_version(), version) << "a second delete does not lengthen anything";
    EXPECT_EQ(
        call("DELETE", target, R"({"gracePeriodSeconds":0,"preconditions":{"uid":"other"}})")
            .status,
        409
    );
    EXPECT_EQ(
        call("DELETE", target, R"({"gracePeriodSeconds":0,"preconditions":{"uid":")" + uid + "\"}}")
            .status,
        200
    );
    EXPECT_EQ(get(target).status, 404);
}

TEST_F(ApiServerTest, EvictionDeletes) {
    make_pod("p", "", R"("nodeName":"n1",)");
    const auto evicted = call(
        "POST",
        std::string(kPods) + "/p/eviction",
        R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p"},"deleteOptions":{"gracePeriodSeconds":3}})"
    );
    EXPECT_EQ(evicted.status, 201) << evicted.text;
    EXPECT_EQ(
        json::get_int(
            get(std::string(kPods) + "/p").body, {"metadata", "deletionGracePeriodSeconds"}
        ),
        3
    );
}

TEST_F(ApiServerTest, SelectorsAndDeleteCollection) {
    make_pod("a", R"(,"labels":{"app":"x"})", R"("nodeName":"n1",)");
    make_pod("b", R"(,"labels":{"app":"y"})");
    make_pod("c", R"(,"labels":{"app":"x"})");
    EXPECT_THAT(item_names(get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1")), ElementsAre("a"));
    EXPECT_THAT(
        item_names(get(std::string(kPods) + "?labelSelector=app%3Dx")), ElementsAre("a", "c")
    );
    EXPECT_THAT(
        item_names(get("/api/v1/pods?labelSelector=app+in+(x)&fieldSelector=spec.nodeName!%3Dn1")),
        ElementsAre("c")
    );
    EXPECT_EQ(get("/api/v1/pods?fieldSelector=nope%3D1").status, 400);
    EXPECT_EQ(get("/api/v1/pods?labelSelector=a+b").status, 400);
    EXPECT_EQ(
        call("DELETE", std::string(kPods) + "?labelSelector=app%3Dx&gracePeriodSeconds=0").status,
        200
    );
    EXPECT_THAT(item_names(get(kPods)), ElementsAre("b"));
}

TEST_F(ApiServerTest, PagesAreConsistent) {
    for (int i = 0; i < 7; ++i) make_pod("p" + std::to_string(i));
    auto page = get("/api/v1/pods?limit=3");
    const std::string version = version_of(Reply{0, page.body, "", {}});
    EXPECT_THAT(item_names(page), ElementsAre("p0", "p1", "p2"));
    make_pod("p3a");
    ASSERT_TRUE(server_->remove({"pods", "", "p5"}).ok());
    Strings rest;
    for (int pages = 0; pages < 5; ++pages) {
        const std::string token(json::get_string(page.body, {"metadata", "continue"}));
        if (token.empty()) break;
        page = get("/api/v1/pods?limit=3&continue=" + http::percent_encode(token));
        EXPECT_EQ(version_of(page), version);
        for (const auto& name : item_names(page)) rest.push_back(name);
    }
    EXPECT_EQ(rest, (Strings{"p3", "p4", "p5", "p6"})) << "as of the first page";
    EXPECT_EQ(get("/api/v1/pods?limit=3&continue=rubbish").status, 400);

    const auto first = get("/api/v1/pods?limit=1");
    server_->faults().expire_history();
    const auto expired =
        get("/api/v1/pods?limit=1&continue=" +
            http::percent_encode(json::get_string(first.body, {"metadata", "continue"})));
    EXPECT_EQ(expired.status, 410);
    EXPECT_EQ(reason(expired), "Expired");
    EXPECT_EQ(get("/api/v1/pods?resourceVersion=99999999").status, 504);
}

TEST_F(ApiServerTest, NamespacesTakeTheirContentWithThem) {
    ASSERT_EQ(call("POST", "/api/v1/namespaces", R"({"metadata":{"name":"team"}})").status, 201);
    const std::string pods = "/api/v1/namespaces/team/pods";
    call("POST", pods, pod_text("free"));
    call("POST", pods, pod_text("placed", "", R"("nodeName":"n1",)"));
    EXPECT_EQ(call("DELETE", "/api/v1/namespaces/team").status, 200);
    EXPECT_EQ(
        json::get_string(get("/api/v1/namespaces/team").body, {"status", "phase"}), "Terminating"
    );
    EXPECT_EQ(call("POST", pods, pod_text("late")).status, 403);
    EXPECT_THAT(item_names(get(pods)), ElementsAre("placed"));
    EXPECT_EQ(call("DELETE", pods + "/placed?gracePeriodSeconds=0").status, 200);
    EXPECT_EQ(get("/api/v1/namespaces/team").status, 404);
    EXPECT_EQ(call("DELETE", "/api/v1/namespaces/default").status, 403);
}

TEST_F(ApiServerTest, PriorityComesFromTheClass) {
    ASSERT_EQ(
        call(
            "POST",
            "/apis/scheduling.k8s.io/v1/priorityclasses",
            R"({"metadata":{"name":"high"},"value":1000})"
        )
            .status,
        201
    );
    const auto pod = make_pod("p", "", R"("priorityClassName":"high",)");
    EXPECT_EQ(json::get_int(pod.body, {"spec", "priority"}), 1000);
    EXPECT_EQ(make_pod("q", "", R"("priorityClassName":"none",)").status, 403);
}

TEST_F(ApiServerTest, TablesHaveTheRealColumns) {
    make_pod("p", "", R"("nodeName":"n1",)");
    const auto table = call(
        "GET",
        kPods,
        "",
        "",
        {{"Accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}}
    );
    EXPECT_EQ(json::get_string(table.body, {"kind"}), "Table");
    Strings columns;
    for (const auto& c : *json::get_array(table.body, {"columnDefinitions"}))
        columns.emplace_back(json::get_string(c, {"name"}));
    EXPECT_THAT(
        columns,
        ElementsAre(
            "Name",
            "Ready",
            "Status",
            "Restarts",
            "Age",
            "IP",
            "Node",
            "Nominated Node",
            "Readiness Gates"
        )
    );
    const auto& row = json::get_array(table.body, {"rows"})->front();
    EXPECT_EQ(
        json::to_text(*json::find(row, {"cells"})),
        R"(["p","0/1","Pending","0","0s","<none>","n1","<none>","<none>"])"
    );
    EXPECT_EQ(json::get_string(row, {"object", "metadata", "name"}), "p");
    const auto partial = call(
        "GET",
        kPods,
        "",
        "",
        {{"Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}}
    );
    EXPECT_EQ(json::get_string(partial.body, {"kind"}), "PartialObjectMetadataList");
    EXPECT_EQ(
        json::get_array(partial.body, {"items"})->front().get_object().contains("spec"), false
    );
}

TEST_F(ApiServerTest, LogsAndDiscovery) {
    make_pod("p");
    EXPECT_EQ(get(std::string(kPods) + "/p/log").status, 400);
    server_->set_log({"pods", "", "p"}, "main", "one\ntwo\nthree\n");
    EXPECT_EQ(get(std::string(kPods) + "/p/log").text, "one\ntwo\nthree\n");
    EXPECT_EQ(get(std::string(kPods) + "/p/log?tailLines=2&container=main").text, "two\nthree\n");
    EXPECT_EQ(get(std::string(kPods) + "/p/log?tailLines=0").text, "");
    EXPECT_EQ(get(std::string(kPods) + "/p/log?tailLines=9").text, "one\ntwo\nthree\n");
    EXPECT_EQ(json::get_string(get("/version").body, {"gitVersion"}), "v1.34.0");
    EXPECT_EQ(json::get_string(get("/version").body, {"minor"}), "34");
    EXPECT_EQ(json::get_string(get("/api/v1").body, {"kind"}), "APIResourceList");
    EXPECT_EQ(json::get_string(get("/apis").body, {"kind"}), "APIGroupList");
    EXPECT_EQ(get("/apis/apps/v1").status, 404);
    EXPECT_EQ(get("/healthz").text, "ok");
    EXPECT_EQ(get("/nonsense").status, 404);
}

TEST_F(ApiServerTest, CppCallsFollowTheSameRules) {
    auto made = server_->create(pod_text("p", R"(,"namespace":"fresh")"));
    ASSERT_TRUE(made.ok()) << made.error().message;
    EXPECT_EQ(
        server_->create(pod_text("p", R"(,"namespace":"fresh")")).error().code, ErrorCode::kConflict
    );
    EXPECT_EQ(server_->get({"pods", "fresh", "ghost"}).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(
        server_->create(R"({"apiVersion":"apps/v1","kind":"Deployment"})").error().code,
        ErrorCode::kInvalid
    );
    ASSERT_TRUE(
        server_->patch({"pods", "fresh", "p"}, {{"status", {{"phase", "Running"}}}}, "status").ok()
    );
    EXPECT_EQ(server_->list("pods", {"fresh", "status.phase=Running", ""}).size(), 1U);
    EXPECT_TRUE(server_->wait_for(
        {"pods", "fresh", "p"}, [](const json::value* pod) { return pod != nullptr; }, Seconds(1)
    ));
    EXPECT_FALSE(server_->wait_until([] { return false; }, Millis(10)));
    ASSERT_TRUE(server_->remove({"pods", "fresh", "p"}).ok());
    EXPECT_TRUE(server_->wait_for(
        {"pods", "fresh", "p"}, [](const json::value* pod) { return pod == nullptr; }, Seconds(1)
    ));
    auto loaded = server_->load(
        json::parse(
            R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"raw"},"status":{"phase":"Failed"}})"
        )
            .value()
    );
    ASSERT_TRUE(loaded.ok());
    EXPECT_EQ(json::get_string(*loaded, {"status", "phase"}), "Failed");
}

TEST_F(ApiServerTest, TokensAreChecked) {
    ApiServerOptions options;
    options.bearer_token = "secret";
    launch(options);
    const auto refused = get("/api/v1/nodes");
    EXPECT_EQ(refused.status, 401);
    EXPECT_EQ(reason(refused), "Unauthorized");
    EXPECT_EQ(
        call("GET", "/api/v1/nodes", "", "", {{"Authorization", "Bearer wrong"}}).status, 401
    );
    EXPECT_EQ(
        call("GET", "/api/v1/nodes", "", "", {{"Authorization", "Bearer secret"}}).status, 200
    );
    EXPECT_THAT(server_->kubeconfig(), HasSubstr("token: \"secret\""));
}

}  // namespace
}  // namespace egpu::testing
