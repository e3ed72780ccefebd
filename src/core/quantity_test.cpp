#include "core/quantity.h"

#include <limits>

#include <gtest/gtest.h>

namespace egpu::core {
namespace {

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

TEST(Quantity, ReadsEveryFormOfTwenty) {
    for (const char* text :
         {"20",
          "20.0",
          "20.",
          "+20",
          "2e1",
          "2E1",
          "2e+1",
          "200e-1",
          "20000m",
          "20000000u",
          "20000000000n",
          "0.02k",
          "0000020",
          ".02k"}) {
        const auto value = parse_quantity(text);
        ASSERT_TRUE(value.ok()) << text << ": " << value.error().message;
        EXPECT_EQ(*value, 20) << text;
    }
}

TEST(Quantity, ReadsThousandths) {
    const std::pair<const char*, std::int64_t> rows[] = {
        {"1", 1000},
        {"1500m", 1500},
        {"1.5", 1500},
        {"0.0001", 1},
        {"100u", 1},
        {"0", 0},
        {"2k", 2'000'000},
        {"-1500m", -1500},
        {"9223372036854775807", kMax}};
    for (const auto& [text, expected] : rows) {
        const auto value = parse_milli(text);
        ASSERT_TRUE(value.ok()) << text;
        EXPECT_EQ(*value, expected) << text;
    }
    EXPECT_FALSE(parse_milli(""));
    EXPECT_FALSE(parse_milli("1.5 cores"));
}

TEST(Quantity, ReadsSuffixes) {
    const std::pair<const char*, std::int64_t> rows[] = {
        {"1k", 1000},
        {"1M", 1000000},
        {"1G", 1000000000},
        {"1T", 1000000000000},
        {"1P", 1000000000000000},
        {"1E", 1000000000000000000},
        {"1Ki", 1 << 10},
        {"1Mi", 1 << 20},
        {"1Gi", 1 << 30},
        {"1Ti", 1LL << 40},
        {"1Pi", 1LL << 50},
        {"1Ei", 1LL << 60},
        {"1.5Ki", 1536},
        {"0.5Gi", 1 << 29},
        {"3E", 3000000000000000000},
        {"1E2", 100},
        {"12E-1", 2},
        {"0", 0},
        {"-0", 0},
        {"0Ei", 0},
        {"0e999", 0},
    };
    for (const auto& [text, expected] : rows) {
        const auto value = parse_quantity(text);
        ASSERT_TRUE(value.ok()) << text;
        EXPECT_EQ(*value, expected) << text;
    }
}

TEST(Quantity, RoundsUpAndNeverThroughADouble) {
    const std::pair<const char*, std::int64_t> rows[] = {
        {"20.5", 21},
        {"0.1", 1},
        {"1m", 1},
        {"1n", 1},
        {"1001m", 2},
        {"1000m", 1},
        {"0.000000000000000000000000000000001", 1},
        {"1e-900", 1},
        {"0.1Ki", 103},
        {"9007199254740993", 9007199254740993},
        {"9007199254740992.1", 9007199254740993},
        {"0.9999999999999999999999999Ei", 1LL << 60},
        {"-1.5", -2},
        {"-3", -3},
        {"0.00000000000000000000000000000000000000001Ei", 1},
    };
    for (const auto& [text, expected] : rows) {
        const auto value = parse_quantity(text);
        ASSERT_TRUE(value.ok()) << text;
        EXPECT_EQ(*value, expected) << text;
    }
}

TEST(Quantity, IsCapped) {
    for (const char* text :
         {"9223372036854775807",
          "9223372036854775808",
          "9223372036854775806.5",
          "8Ei",
          "10E",
          "1e99",
          "1e999999999999999999999999",
          "100000Pi",
          "99999999999999999999999999999999999999"}) {
        EXPECT_EQ(*parse_quantity(text), kMax) << text;
    }
    EXPECT_EQ(*parse_quantity("9223372036854775806"), kMax - 1);
    EXPECT_EQ(*parse_quantity("-8Ei"), -kMax);
}

TEST(Quantity, RefusesWhatIsNone) {
    for (const char* text :
         {"",     " ",     "20 ",    " 20",   "-",     "+",   ".",    "Gi",   "m",   "1e",
          "1eKi", "1.1.M", "1+1.0M", "0.1mi", "0.1am", "1i",  "5Kii", "--1",  "+-1", "1_000",
          "0x10", "1K",    "1g",     "1e1.5", "1e+",   "nan", "inf",  "\xff", "1\n"}) {
        const auto value = parse_quantity(text);
        ASSERT_FALSE(value.ok()) << text;
        EXPECT_EQ(value.error().code, ErrorCode::kInvalid);
    }
    EXPECT_FALSE(parse_quantity(std::string(129, '1')).ok());
    EXPECT_FALSE(parse_quantity(std::string_view("1\0", 2)).ok());
    EXPECT_NE(parse_quantity("4GB").error().message.find("\"4GB\""), std::string::npos);
}

TEST(Quantity, MemoryIsWholeMebibytes) {
    EXPECT_EQ(*parse_memory_mib("4Gi"), 4096);
    EXPECT_EQ(*parse_memory_mib("1Mi"), 1);
    EXPECT_EQ(*parse_memory_mib("4G"), 3815);  // 3814.7
    EXPECT_EQ(*parse_memory_mib("1048577"), 2);
    EXPECT_EQ(*parse_memory_mib("1e99"), kMax / 1048576 + 1);
    for (const char* text : {"4", "0", "-4Gi", "1023Ki", ""}) {
        EXPECT_FALSE(parse_memory_mib(text).ok()) << text;
    }
    EXPECT_NE(parse_memory_mib("4").error().message.find("4Gi"), std::string::npos);
}

}  // namespace
}  // namespace egpu::core
