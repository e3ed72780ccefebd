#include "k8s/extender.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"

namespace egpu::k8s {
namespace {

using testing::HasSubstr;

Status feed_all(ExtenderReader& reader, std::string_view text, std::size_t piece = 16384) {
    for (std::size_t at = 0; at < text.size(); at += piece) {
        const std::string_view part = text.substr(at, piece);
        EG_TRY_VOID(reader.feed({part.data(), part.size()}));
    }
    return ok_status();
}

const char* const kPod =
    R"({"metadata":{"name":"p","namespace":"ns","uid":"u1","creationTimestamp":null,"managedFields":[{"a":{"b":[1,2]}}],)"
    R"("annotations":{"note":"\u003ca\u0026b\u003e \"q\""}},)"
    R"("spec":{"volumes":[{"name":"v"}],"nodeName":"","priority":5,)"
    R"("initContainers":[{"name":"i","restartPolicy":"Always","env":[{"name":"containers"}],"resources":{"limits":{"nano-gpu/gpu-percent":"10"}}}],)"
    R"("containers":[{"name":"c","resources":{"limits":{"nano-gpu/gpu-percent":2e1,"cpu":"1"},"requests":{}}}]},"status":{"phase":"Pending"}})";

std::string with_nodes(const std::string& nodes, const std::string& names) {
    return std::string(R"({"Pod":)") + kPod + R"(,"Nodes":)" + nodes + R"(,"NodeNames":)" + names +
           "}\n";
}

// Every way to cut the input must read the same.
TEST(Extender, NamesModeInPiecesOfAnySize) {
    const std::string body =
        with_nodes("null", R"(["a","b\u002d1","node-with-a-long-name.example.com"])");
    for (const std::size_t piece :
         {std::size_t{1},
          std::size_t{2},
          std::size_t{3},
          std::size_t{7},
          std::size_t{64},
          body.size()}) {
        ExtenderReader reader;
        ASSERT_TRUE(feed_all(reader, body, piece));
        const auto args = reader.args();
        ASSERT_TRUE(args) << piece << ": " << args.error().message;
        const ExtenderArgs& a = **args;
        EXPECT_TRUE(a.names_mode);
        ASSERT_EQ(a.nodes.size(), 3U);
        EXPECT_EQ(a.nodes[0], "a");
        EXPECT_EQ(a.nodes[1], "b-1");
        EXPECT_EQ(a.nodes[2], "node-with-a-long-name.example.com");
        EXPECT_EQ(a.pod->meta.key(), "ns/p");
        EXPECT_EQ(a.pod->meta.uid, "u1");
        EXPECT_EQ(a.pod->meta.annotations.at("note"), "<a&b> \"q\"");
        EXPECT_EQ(a.pod->priority, 5);
        ASSERT_EQ(a.pod->containers.size(), 2U);
        EXPECT_EQ(a.pod->containers[0].kind, core::ContainerKind::kSidecar);
        EXPECT_EQ(a.pod->containers[0].percent, "10");
        EXPECT_EQ(core::parse_request(a.pod->containers, {})->containers[1].percent, 20);
    }
}

TEST(Extender, NodesModeKeepsEachNodesText) {
    const std::vector<std::string> nodes = {
        R"({"metadata":{"name":"a","labels":{"x":"}]\"{"}},"status":{"images":[{"names":["\\"]}]}})",
        R"({"kind":"Node", "metadata" : { "uid":"1","name":"b" } })",
        R"({"metadata":{"name":"c"},"spec":{"metadata":{"name":"not this"}}})"};
    const std::string body = with_nodes(
        R"({"metadata":{},"Items":[{}],"items":[)" + nodes[0] + " , " + nodes[1] + "," + nodes[2] +
            "]}",
        "null"
    );
    for (const std::size_t piece :
         {std::size_t{1}, std::size_t{5}, std::size_t{100}, body.size()}) {
        ExtenderReader reader;
        ASSERT_TRUE(feed_all(reader, body, piece));
        const auto args = reader.args();
        ASSERT_TRUE(args) << args.error().message;
        EXPECT_FALSE((*args)->names_mode);
        ASSERT_EQ((*args)->nodes.size(), 3U);
        for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ((*args)->node_texts[i], nodes[i]);
        EXPECT_EQ((*args)->nodes[2], "c");
        const std::uint32_t fits[] = {0, 2};
        const FilterReason reasons[] = {{"no card with 60 percent free", false}};
        const FailedNode failed[] = {{1, 0}};
        const std::string out = write_filter_result(**args, fits, failed, reasons).text();
        const auto parsed = json::parse(out);
        ASSERT_TRUE(parsed) << out;
        EXPECT_EQ(json::get_array(*parsed, {"Nodes", "items"})->size(), 2U);
        EXPECT_TRUE(json::find(*parsed, {"NodeNames"})->is_null());
        EXPECT_THAT(out, HasSubstr("[" + nodes[0] + " , " + nodes[2] + "]"));
    }
    ExtenderReader only_names(ExtenderLimits{.keep_nodes = false});
    ASSERT_TRUE(feed_all(only_names, body));
    EXPECT_EQ((*only_names.args())->nodes.size(), 3U);
    EXPECT_TRUE((*only_names.args())->node_texts.empty());
    EXPECT_TRUE(feed_all(only_names, "trailing rubbish")) << "only the first value counts";
}

TEST(Extender, KeysCompareWithoutCaseAndUnknownOnesAreSkipped) {
    const std::string body =
        std::string(R"({"future":{"Pod":{"metadata":1},"NodeNames":[{}]},"POD":)") + kPod +
        R"(,"nodeNames":["a"],"nodes":null,"x":[[[1,2,{"y":null}]]],"z":-1.5e3,"b":true})";
    ExtenderReader reader;
    ASSERT_TRUE(feed_all(reader, body));
    const auto args = reader.args();
    ASSERT_TRUE(args) << args.error().message;
    EXPECT_EQ((*args)->nodes.size(), 1U);
}

TEST(Extender, ReusedReadersForget) {
    ExtenderReader reader;
    ASSERT_TRUE(feed_all(reader, with_nodes(R"({"items":[{"metadata":{"name":"a"}}]})", "null")));
    ASSERT_TRUE(reader.args());
    reader.reset();
    EXPECT_FALSE(reader.done());
    EXPECT_FALSE(reader.args());
    ASSERT_FALSE(feed_all(
        reader,
        R"({"Pod":{"metadata":{"name":")"
        "\n"
    ));
    EXPECT_FALSE(reader.args());
    reader.reset();
    ASSERT_TRUE(feed_all(reader, with_nodes("null", R"(["b"])")));
    const auto args = reader.args();
    ASSERT_TRUE(args) << args.error().message;
    EXPECT_EQ((*args)->nodes.size(), 1U);
    EXPECT_TRUE((*args)->node_texts.empty());
}

TEST(Extender, BadBodiesSayWhatIsWrong) {
    const std::string pod = std::string(R"("Pod":)") + kPod;
    const struct {
        std::string body;
        const char* says;
    } cases[] = {
        {"", "ends in the middle"},
        {"{", "ends in the middle"},
        {"[]", "wrong JSON type"},
        {"7 ", "wrong JSON type"},
        {"\"x\"", "wrong JSON type"},
        {"null", "wrong JSON type"},
        {"\"" + std::string(40, 'x') + "\"", "wrong JSON type"},
        {"{]", "not valid JSON"},
        {R"({"Pod":null,"NodeNames":["a"]})", "Pod is missing"},
        {R"({"NodeNames":["a"]})", "Pod is missing"},
        {R"({"Pod":3,"NodeNames":["a"]})", "wrong JSON type"},
        {R"({"Pod":[],"NodeNames":["a"]})", "wrong JSON type"},
        {R"({"Pod":{},"NodeNames":["a"]})", "metadata.name is missing"},
        {R"({"Pod":{"metadata":{"name":"p"},"spec":{"containers":{}}},"NodeNames":["a"]})",
         "not a list"},
        {"{" + pod + "}", "both Nodes and NodeNames"},
        {"{" + pod + R"(,"Nodes":null,"NodeNames":null})", "both Nodes and NodeNames"},
        {"{" + pod + R"(,"NodeNames":{}})", "wrong JSON type"},
        {"{" + pod + R"(,"NodeNames":"a"})", "wrong JSON type"},
        {"{" + pod + R"(,"NodeNames":[1]})", "wrong JSON type"},
        {"{" + pod + R"(,"NodeNames":[null]})", "wrong JSON type"},
        {"{" + pod + R"(,"NodeNames":[["a"]]})", "wrong JSON type"},
        {"{" + pod + R"(,"NodeNames":[""]})", "empty name"},
        {"{" + pod + R"(,"NodeNames":[")" + std::string(300, 'a') + R"("]})", "longer than"},
        {"{" + pod + R"(,"Nodes":[]})", "wrong JSON type"},
        {"{" + pod + R"(,"Nodes":{"items":[{}]}})", "no name"},
        {"{" + pod + R"(,"Nodes":{"items":[7]}})", "wrong JSON type"},
        {"{" + pod + ",\"NodeNames\":" + std::string(200, '['), "JSON"},
        {R"({"x":)" + std::string(200, '['), "JSON"},
    };
    for (const auto& c : cases) {
        ExtenderReader reader;
        static_cast<void>(feed_all(reader, c.body, 13));
        const auto args = reader.args();
        ASSERT_FALSE(args) << c.body;
        EXPECT_THAT(args.error().message, HasSubstr(c.says)) << c.body;
    }
}

TEST(Extender, Limits) {
    ExtenderReader few(ExtenderLimits{.max_nodes = 2});
    const auto many = feed_all(few, with_nodes("null", R"(["a","b","c"])"));
    ASSERT_FALSE(many);
    EXPECT_EQ(many.error().code, ErrorCode::kExhausted);

    ExtenderReader small(ExtenderLimits{.max_raw = 50});
    const auto raw = feed_all(
        small,
        with_nodes(
            R"({"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b","uid":")" +
                std::string(60, 'x') + R"("}}]})",
            "null"
        )
    );
    ASSERT_FALSE(raw);
    EXPECT_EQ(raw.error().code, ErrorCode::kExhausted);

    ExtenderReader reader;
    const auto fat = feed_all(
        reader,
        R"({"Pod":{"metadata":{"name":"p","annotations":{"a":")" + std::string(5 << 20, 'x') +
            R"("}}}})"
    );
    ASSERT_FALSE(fat);
    EXPECT_EQ(fat.error().code, ErrorCode::kExhausted);
}

TEST(Extender, Binding) {
    ExtenderReader reader;
    ASSERT_TRUE(
        feed_all(reader, R"({"PodName":"p","PodNamespace":"ns","PodUID":"u","Node":"n1"})", 3)
    );
    const auto args = reader.binding_args();
    ASSERT_TRUE(args);
    EXPECT_EQ(args->pod_name, "p");
    EXPECT_EQ(args->pod_namespace, "ns");
    EXPECT_EQ(args->pod_uid, "u");
    EXPECT_EQ(args->node, "n1");
    for (const char* bad :
         {"{}",
          R"({"PodName":"p","PodNamespace":"ns"})",
          R"({"PodName":3})",
          R"({"Node":{}})",
          R"({"Node":"n"})"}) {
        ExtenderReader r;
        static_cast<void>(feed_all(r, bad));
        EXPECT_FALSE(r.binding_args()) << bad;
    }
    EXPECT_EQ(write_binding_result(""), R"({"Error":""})");
    EXPECT_EQ(write_binding_result("50% \"x\""), R"({"Error":"50 percent \"x\""})");
}

TEST(Extender, PreemptionBothWays) {
    ExtenderReader meta;
    ASSERT_TRUE(feed_all(
        meta,
        std::string(R"({"Pod":)") + kPod +
            R"(,"NodeNameToVictims":null,"NodeNameToMetaVictims":{"n1":{"Pods":[{"UID":"u1"},{"UID":"u2"}],"NumPDBViolations":2},"n2":null,"n3":{"Pods":null}}})",
        4
    ));
    const auto m = meta.preemption_args();
    ASSERT_TRUE(m) << m.error().message;
    ASSERT_EQ((*m)->nodes.size(), 3U);
    EXPECT_EQ((*m)->pod->meta.name, "p");
    EXPECT_EQ((*m)->nodes[0].node, "n1");
    EXPECT_THAT((*m)->nodes[0].uids, testing::ElementsAre("u1", "u2"));
    EXPECT_EQ((*m)->nodes[0].pdb_violations, 2);
    EXPECT_EQ((*m)->nodes[2].uids.size(), 0U);
    EXPECT_EQ(
        write_preemption_result({(*m)->nodes.data(), 1}),
        R"({"NodeNameToMetaVictims":{"n1":{"Pods":[{"UID":"u1"},{"UID":"u2"}],"NumPDBViolations":2}}})"
    );

    ExtenderReader full;
    ASSERT_TRUE(feed_all(
        full,
        std::string(R"({"Pod":)") + kPod + R"(,"NodeNameToVictims":{"n1":{"Pods":[)" + kPod + "," +
            kPod + R"(],"NumPDBViolations":1}},"NodeNameToMetaVictims":null})",
        5
    ));
    const auto f = full.preemption_args();
    ASSERT_TRUE(f) << f.error().message;
    ASSERT_EQ((*f)->nodes.size(), 1U);
    ASSERT_EQ((*f)->nodes[0].pods.size(), 2U);
    EXPECT_EQ((*f)->nodes[0].pods[1].containers.size(), 2U);
    EXPECT_THAT((*f)->nodes[0].uids, testing::ElementsAre("u1", "u1"));
    EXPECT_FALSE(full.args()) << "no nodes in a preemption";

    for (const char* victims :
         {"null", R"([1])", R"({"n":3})", R"({"n":{"Pods":[3]}})", R"({"n":{"Pods":[{}]}})"}) {
        ExtenderReader r;
        static_cast<void>(feed_all(
            r, std::string(R"({"Pod":)") + kPod + R"(,"NodeNameToVictims":)" + victims + "}"
        ));
        EXPECT_FALSE(r.preemption_args()) << victims;
    }
}

TEST(Extender, AnswersHaveExactKeysAndOrder) {
    ExtenderArgs args;
    for (const char* name : {"a", "b\"", "c", "d"}) args.nodes.add(name);
    const std::uint32_t fits[] = {0, 1};
    const FilterReason reasons[] = {{"50% \"free\"", false}, {"no such model", true}};
    const FailedNode failed[] = {{2, 0}, {3, 1}};
    EXPECT_EQ(
        write_filter_result(args, fits, failed, reasons).text(),
        R"({"Nodes":null,"NodeNames":["a","b\""],"FailedNodes":{"c":"50% \"free\""},"FailedAndUnresolvableNodes":{"d":"no such model"},"Error":""})"
    );
    EXPECT_EQ(
        write_filter_result(args, {}, {}, {}).text(),
        R"({"Nodes":null,"NodeNames":[],"FailedNodes":{},"FailedAndUnresolvableNodes":{},"Error":""})"
    );
    EXPECT_EQ(
        write_filter_error("not synced: 50%"),
        R"({"Nodes":null,"NodeNames":[],"FailedNodes":{},"FailedAndUnresolvableNodes":{},"Error":"not synced: 50 percent"})"
    );
    const int scores[] = {0, 10, 3, 4};
    EXPECT_EQ(
        write_priorities(args, scores),
        R"([{"Host":"a","Score":0},{"Host":"b\"","Score":10},{"Host":"c","Score":3},{"Host":"d","Score":4}])"
    );
    EXPECT_EQ(write_priorities(ExtenderArgs{}, {}), "[]");

    for (int c = 0; c < 256; ++c) {
        for (const std::size_t at : {std::size_t{0}, std::size_t{5}, std::size_t{9}}) {
            std::string name(12, 'x');
            name[at] = static_cast<char>(c);
            ExtenderArgs one;
            one.nodes.add(name);
            std::string expected;
            json::append_quoted(expected, name);
            const std::uint32_t fit[] = {0};
            EXPECT_THAT(
                write_filter_result(one, fit, {}, {}).text(), HasSubstr("[" + expected + "]")
            ) << c;
        }
    }
}

}  // namespace
}  // namespace egpu::k8s
