#include "doctor/config_text.h"

#include <gtest/gtest.h>

namespace egpu::doctor {
namespace {

TEST(Toml, becomes_json_values) {
    const auto value = parse_toml(R"(
version = 2
imports = ["/a", "b/*.toml"]
when = 2024-05-01
[plugins."io.containerd.grpc.v1.cri"]
  enable_cdi = true
  ratio = 1.5
)");
    ASSERT_TRUE(value.ok()) << value.error().message;
    EXPECT_EQ(json::get_int(*value, {"version"}), 2);
    EXPECT_TRUE(json::get_bool(*value, {"plugins", "io.containerd.grpc.v1.cri", "enable_cdi"}));
    EXPECT_EQ(json::get_array(*value, {"imports"})->size(), 2U);
    EXPECT_EQ(json::get_string(*value, {"when"}), "2024-05-01");
    EXPECT_EQ(
        json::find(*value, {"plugins", "io.containerd.grpc.v1.cri", "ratio"})->as_double(), 1.5
    );
}

TEST(Toml, names_the_place_of_a_mistake) {
    const auto value = parse_toml("a = 1\nb = \n");
    ASSERT_FALSE(value.ok());
    EXPECT_EQ(value.error().message.find("line 2"), 0U) << value.error().message;
    EXPECT_FALSE(parse_toml("a = 1\na = 2\n").ok());
    for (const std::size_t depth : {1U, 2U, 3U, 5000U}) {
        EXPECT_FALSE(parse_toml(std::string(depth, '[')).ok());
        EXPECT_FALSE(parse_toml("a = " + std::string(depth, '[')).ok());
    }
    EXPECT_TRUE(parse_toml("").ok());
}

TEST(Toml, takes_letters_of_all_scripts_in_text_and_nowhere_else) {
    const auto value = parse_toml("# \xc3\xa9\na = \"\xc3\xa9 \xd2\x8f\"\n");
    ASSERT_TRUE(value.ok()) << value.error().message;
    EXPECT_EQ(json::get_string(*value, {"a"}), "\xc3\xa9 \xd2\x8f");
    for (const char* text :
         {"\xc3\xa9 = 1",
          "a\xd2\x8f = 1",
          "[p\xd2\x8f[x",
          "a = 1\xc3\xa9",
          "a = \"\"\"\\\n\xc3\xa9"}) {
        EXPECT_FALSE(parse_toml(text).ok()) << text;
    }
}

TEST(Yaml, gives_plain_scalars_their_type) {
    const auto value =
        parse_yaml("a: true\nb: \"true\"\nc: 7\nd: '7'\ne: 1.5\nf: ~\ng: [x, {h: 1}]\n");
    ASSERT_TRUE(value.ok()) << value.error().message;
    EXPECT_EQ(
        json::to_text(*value),
        R"({"a":true,"b":"true","c":7,"d":"7","e":"1.5","f":null,"g":["x",{"h":1}]})"
    );
    EXPECT_EQ(json::get_int(*parse_yaml(R"({"version": 3})"), {"version"}), 3);  // JSON is YAML
}

TEST(Yaml, refuses_what_it_cannot_bound) {
    EXPECT_FALSE(parse_yaml("a: [1, 2\n").ok());
    EXPECT_FALSE(parse_yaml("? [a]\n: b\n").ok());
    std::string deep;
    for (int i = 0; i < 100; ++i) deep += "[";
    EXPECT_FALSE(parse_yaml(deep + std::string(100, ']')).ok());
    // Ten levels of ten aliases each: ten thousand million nodes if they were followed.
    std::string bomb = "a0: &a0 x\n";
    for (int i = 1; i <= 10; ++i) {
        const std::string before = std::to_string(i - 1);
        bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
        for (int k = 0; k < 10; ++k) bomb += (k == 0 ? "*a" : ", *a") + before;
        bomb += "]\n";
    }
    const auto value = parse_yaml(bomb);
    ASSERT_FALSE(value.ok());
    EXPECT_EQ(value.error().code, ErrorCode::kExhausted);
}

}  // namespace
}  // namespace egpu::doctor
