#include "base/json.h"

#include <gtest/gtest.h>

namespace egpu::json {
namespace {

TEST(Json, FindsFieldsAndToleratesEverythingElse) {
    const value doc =
        parse(R"({"a":{"b":"text","n":3.0,"huge":1e300,"t":true,"list":[1]}})").value();
    EXPECT_EQ(get_string(doc, {"a", "b"}), "text");
    EXPECT_EQ(get_string(doc, {"a", "n"}), "");
    EXPECT_EQ(get_string(doc, {"a", "b", "c"}), "");
    EXPECT_EQ(get_int(doc, {"a", "n"}), 3);
    EXPECT_EQ(get_int(doc, {"a", "huge"}), std::nullopt);
    EXPECT_TRUE(get_bool(doc, {"a", "t"}));
    EXPECT_TRUE(get_bool(doc, {"a", "missing"}, true));
    ASSERT_NE(get_array(doc, {"a", "list"}), nullptr);
    EXPECT_EQ(get_object(doc, {"a", "list"}), nullptr);
}

TEST(Json, RefusesRubbishAndDeepNesting) {
    EXPECT_FALSE(parse(""));
    EXPECT_FALSE(parse("{"));
    EXPECT_FALSE(parse("{} {}"));
    EXPECT_FALSE(parse(std::string(100, '[') + std::string(100, ']')));
}

TEST(Json, QuotesControlCharactersAndBrokenUtf8) {
    std::string out;
    append_quoted(out, "a\"\\\n\x01\xff\xc3\xa9\xed\xa0\x80");
    EXPECT_EQ(
        out, "\"a\\\"\\\\\\u000a\\u0001\xEF\xBF\xBD\xc3\xa9\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""
    );
    EXPECT_TRUE(parse(out));
}

}  // namespace
}  // namespace egpu::json
