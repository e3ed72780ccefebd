#include "flags/values.h"

#include <cstdint>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace egpu::flags {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(FlagValues, Numbers) {
    EXPECT_EQ(to_number<int>("-7"), -7);
    EXPECT_EQ(to_number<std::uint16_t>("65535"), 65535);
    for (const char* text : {"", "7 ", " 7", "0x7", "65536", "-1"}) {
        EXPECT_EQ(to_number<std::uint16_t>(text), std::nullopt) << text;
    }
}

TEST(FlagValues, Bools) {
    EXPECT_TRUE(*parse_bool("f", "true"));
    EXPECT_FALSE(*parse_bool("f", "false"));
    EXPECT_EQ(parse_bool("f", "yes").error().message, "--f: \"yes\" is not true or false");
}

TEST(FlagValues, Durations) {
    EXPECT_EQ(*parse_duration("f", "1m30s"), Millis(90000));
    EXPECT_EQ(*parse_duration("f", "1500ms"), Millis(1500));
    EXPECT_EQ(*parse_duration("f", "2h"), Millis(7'200'000));
    for (const char* text : {"", "2", "0s", "-1s", "1.5s", "s", "1000000001s", "2 s", "1d"}) {
        EXPECT_FALSE(parse_duration("f", text)) << text;
    }
    EXPECT_EQ(
        parse_duration("wait", "2").error().message,
        "--wait: \"2\" is not a positive duration such as 500ms, 2s or 1m30s"
    );
}

TEST(FlagValues, Sizes) {
    EXPECT_EQ(*parse_size("f", "1048576"), 1U << 20);
    EXPECT_EQ(*parse_size("f", "2Gi"), std::size_t{2} << 30);
    EXPECT_EQ(*parse_size("f", "3Ki"), 3072U);
    for (const char* text : {"", "0", "0Mi", "Mi", "1M", "-1", "4294967296"}) {
        EXPECT_FALSE(parse_size("f", text)) << text;
    }
}

TEST(FlagValues, Lists) {
    EXPECT_THAT(split_list("a, b ,,c"), ElementsAre("a", "b", "c"));
    EXPECT_THAT(split_list(" , "), IsEmpty());
    EXPECT_THAT(split_list(""), IsEmpty());
}

TEST(FlagValues, Addresses) {
    for (const char* text : {":1", "127.0.0.1:39999", "[::1]:39999", "host:0"}) {
        EXPECT_TRUE(is_address(text)) << text;
    }
    for (const char* text : {"", ":", "host", "39999", "host:http", ":65536"}) {
        EXPECT_FALSE(is_address(text)) << text;
    }
}

TEST(FlagValues, NodeNames) {
    EXPECT_TRUE(is_node_name("edge-1.example.com"));
    for (const std::string& text :
         {std::string(), std::string("Edge"), std::string("a b"), std::string(254, 'a')}) {
        EXPECT_FALSE(is_node_name(text)) << text;
    }
}

}  // namespace
}  // namespace egpu::flags
