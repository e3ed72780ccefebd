#include "cli/go_duration.h"

#include <gtest/gtest.h>

namespace egpu::cli {
namespace {

TEST(GoDuration, AsGoReadsIt) {
    EXPECT_EQ(parse_go_duration("5s"), 5'000'000'000);
    EXPECT_EQ(parse_go_duration("1m30s"), 90'000'000'000);
    EXPECT_EQ(parse_go_duration("1.5h"), 5'400'000'000'000);
    EXPECT_EQ(parse_go_duration("-2ms"), -2'000'000);
    EXPECT_EQ(parse_go_duration("3us"), 3'000);
    EXPECT_EQ(parse_go_duration("3µs"), 3'000);
    EXPECT_EQ(parse_go_duration("+7ns"), 7);
    EXPECT_EQ(parse_go_duration("0"), 0);
    for (const char* text :
         {"", "5", "s", "5sec", "5 s", "1.2.3s", ".s", "5S", "-", "1e3s", "99999999h"}) {
        EXPECT_EQ(parse_go_duration(text), std::nullopt) << text;
    }
}

}  // namespace
}  // namespace egpu::cli
