#include "inspect/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace egpu::inspect {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(SnapshotOptions, defaults_and_flags) {
    const auto plain = parse_snapshot_options({});
    ASSERT_TRUE(plain.ok());
    EXPECT_EQ(plain->file, "-");
    EXPECT_FALSE(plain->anonymous);
    const auto full =
        parse_snapshot_options({"--kubeconfig", "k", "-o", "f.json", "--anonymous", "--timeout=5s"}
        );
    ASSERT_TRUE(full.ok()) << full.error().message;
    EXPECT_EQ(full->kubeconfig, "k");
    EXPECT_EQ(full->file, "f.json");
    EXPECT_TRUE(full->anonymous);
    EXPECT_EQ(full->timeout, Seconds(5));
    EXPECT_THAT(parse_snapshot_options({"--help"})->help, HasSubstr("--anonymous"));
}

TEST(DescribeOptions, defaults_and_flags) {
    const auto plain = parse_describe_options({"cluster"});
    ASSERT_TRUE(plain.ok()) << plain.error().message;
    EXPECT_EQ(plain->free.cards, 0);
    const auto full = parse_describe_options(
        {"cluster",
         "--snapshot",
         "-",
         "-o",
         "json",
         "--free",
         "4",
         "--anywhere",
         "--model",
         "Tesla T4 | A10"}
    );
    ASSERT_TRUE(full.ok()) << full.error().message;
    EXPECT_TRUE(full->as_json && full->free.anywhere);
    EXPECT_EQ(full->free.cards, 4);
    EXPECT_THAT(full->free.models, ElementsAre("Tesla T4", "A10"));
    EXPECT_THAT(parse_describe_options({"-h"})->help, HasSubstr("Exit status"));
}

TEST(DescribeOptions, wrong_ones_name_the_flag) {
    const std::pair<std::vector<std::string>, const char*> wrong[] = {
        {{}, "what to describe is missing: edge-gpu describe cluster"},
        {{"pod"}, "\"pod\" is not cluster"},
        {{"cluster", "--free", "0"}, "--free"},
        {{"cluster", "--free", "x"}, "--free"},
        {{"cluster", "--anywhere"}, "--anywhere"},
        {{"cluster", "--free", "1", "--model", "|A10"}, "--model"},
        {{"cluster", "-o", "yaml"}, "--output"},
        {{"cluster", "--timeout", "-1s"}, "--timeout"},
        {{"cluster", "--snapshot", "f", "--kubeconfig", "k"}, "only one"},
        {{"cluster", "--what"}, "--what"},
    };
    for (const auto& [arguments, word] : wrong) {
        const auto parsed = parse_describe_options(arguments);
        ASSERT_FALSE(parsed.ok()) << word;
        EXPECT_THAT(parsed.error().message, HasSubstr(word));
    }
}

}  // namespace
}  // namespace egpu::inspect
