#include "testing/apiserver/patch.h"

#include <gtest/gtest.h>

namespace egpu::testing {
namespace {

json::value parse(std::string_view text) {
    return json::parse(text).value();
}

TEST(MergePatch, Rfc7396) {
    const auto merged = merge_patch(
        parse(R"({"a":"b","c":{"d":"e","f":"g"},"l":[1,2]})"),
        parse(R"({"a":"z","c":{"f":null,"n":1},"l":[3]})")
    );
    EXPECT_EQ(merged, parse(R"({"a":"z","c":{"d":"e","n":1},"l":[3]})"));
    EXPECT_EQ(merge_patch(parse("[1]"), parse(R"({"a":{"b":null}})")), parse(R"({"a":{}})"));
}

TEST(JsonPatch, Operations) {
    const auto doc = parse(R"({"m":{"a/b":"1"},"l":["x","y"]})");
    auto patched = json_patch(doc, parse(R"([{"op":"test","path":"/m/a~1b","value":"1"},
                  {"op":"replace","path":"/m/a~1b","value":"2"},
                  {"op":"add","path":"/l/1","value":"n"},
                  {"op":"add","path":"/l/-","value":"z"},
                  {"op":"remove","path":"/l/0"},
                  {"op":"copy","from":"/l/0","path":"/m/c"},
                  {"op":"move","from":"/m/c","path":"/m/d"}])"));
    ASSERT_TRUE(static_cast<bool>(patched));
    EXPECT_EQ(*patched, parse(R"({"m":{"a/b":"2","d":"n"},"l":["n","y","z"]})"));
}

TEST(JsonPatch, Failures) {
    const auto doc = parse(R"({"m":{},"l":[1]})");
    const auto code = [&](std::string_view patch) {
        const auto result = json_patch(doc, parse(patch));
        return result ? 200 : result.failure().code;
    };
    EXPECT_EQ(code(R"([{"op":"test","path":"/l/0","value":2}])"), 422);
    EXPECT_EQ(code(R"([{"op":"remove","path":"/nothing"}])"), 422);
    EXPECT_EQ(code(R"([{"op":"add","path":"/no/parent","value":1}])"), 422);
    EXPECT_EQ(code(R"([{"op":"add","path":"/l/7","value":1}])"), 422);
    EXPECT_EQ(code(R"([{"op":"replace","path":"/l/-1","value":1}])"), 422);
    EXPECT_EQ(code(R"([{"op":"add","path":"m","value":1}])"), 400);
    EXPECT_EQ(code(R"([{"op":"jump","path":"/m"}])"), 400);
    EXPECT_EQ(code(R"([7])"), 400);
    EXPECT_EQ(code(R"({})"), 400);
}

json::value strategic(std::string_view doc, std::string_view patch) {
    auto result = strategic_merge_patch(parse(doc), parse(patch));
    EXPECT_TRUE(static_cast<bool>(result)) << patch;
    return result ? *result : json::value();
}

TEST(StrategicPatch, ListsMergeByKey) {
    EXPECT_EQ(
        strategic(
            R"({"spec":{"containers":[{"name":"a","image":"1","args":["x"]},{"name":"b","image":"1"}]}})",
            R"({"spec":{"containers":[{"name":"a","image":"2","args":["y"]},{"name":"c","image":"3"}]}})"
        ),
        parse(
            R"({"spec":{"containers":[{"name":"a","image":"2","args":["y"]},{"name":"b","image":"1"},)"
            R"({"name":"c","image":"3"}]}})"
        )
    );
    EXPECT_EQ(
        strategic(
            R"({"conditions":[{"type":"Ready","status":"False"}]})",
            R"({"conditions":[{"type":"Ready","status":"True"},{"type":"PodScheduled","status":"True"}]})"
        ),
        parse(
            R"({"conditions":[{"type":"Ready","status":"True"},{"type":"PodScheduled","status":"True"}]})"
        )
    );
    EXPECT_EQ(
        strategic(R"({"taints":[{"key":"a"}]})", R"({"taints":[{"key":"b"}]})"),
        parse(R"({"taints":[{"key":"b"}]})")
    );
    EXPECT_EQ(
        strategic(R"({"finalizers":["a"]})", R"({"finalizers":["a","b"]})"),
        parse(R"({"finalizers":["a","b"]})")
    );
}

TEST(StrategicPatch, Directives) {
    EXPECT_EQ(
        strategic(
            R"({"containers":[{"name":"a"},{"name":"b"}]})",
            R"({"containers":[{"name":"a","$patch":"delete"}]})"
        ),
        parse(R"({"containers":[{"name":"b"}]})")
    );
    EXPECT_EQ(
        strategic(
            R"({"containers":[{"name":"a"},{"name":"b"},{"name":"c"}]})",
            R"({"$setElementOrder/containers":[{"name":"c"},{"name":"a"}],)"
            R"("containers":[{"name":"c","image":"x"}]})"
        ),
        parse(R"({"containers":[{"name":"c","image":"x"},{"name":"a"},{"name":"b"}]})")
    );
    EXPECT_EQ(
        strategic(
            R"({"finalizers":["a","b"]})", R"({"$deleteFromPrimitiveList/finalizers":["a"]})"
        ),
        parse(R"({"finalizers":["b"]})")
    );
    EXPECT_EQ(
        strategic(
            R"({"volumes":[{"name":"v","emptyDir":{}}]})",
            R"({"volumes":[{"name":"v","$retainKeys":["name","hostPath"],"hostPath":{"path":"/x"}}]})"
        ),
        parse(R"({"volumes":[{"name":"v","hostPath":{"path":"/x"}}]})")
    );
    EXPECT_EQ(
        strategic(R"({"labels":{"a":"1","b":"2"}})", R"({"labels":{"$patch":"replace","c":"3"}})"),
        parse(R"({"labels":{"c":"3"}})")
    );
    EXPECT_EQ(
        strategic(R"({"labels":{"a":"1","b":"2"}})", R"({"labels":{"a":null}})"),
        parse(R"({"labels":{"b":"2"}})")
    );
}

TEST(StrategicPatch, RefusesItemsWithoutTheirKey) {
    const auto failed = strategic_merge_patch(
        parse(R"({"containers":[{"name":"a"}]})"), parse(R"({"containers":[{"image":"x"}]})")
    );
    ASSERT_FALSE(static_cast<bool>(failed));
    EXPECT_EQ(failed.failure().code, 400);
    EXPECT_NE(failed.failure().message.find("merge key: name"), std::string::npos);
    EXPECT_FALSE(static_cast<bool>(strategic_merge_patch(parse("{}"), parse("[]"))));
}

}  // namespace
}  // namespace egpu::testing
