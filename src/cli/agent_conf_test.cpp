#include "cli/agent_conf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace egpu::cli {
namespace {

using ::testing::HasSubstr;

TEST(AgentConf, ReadsAsSystemdDoes) {
    const std::string conf = "#A=0\n A=1\nA=\"2 3\"\nB='x'\nAB=4\n  # C=5\nD=\n";
    EXPECT_EQ(conf_value(conf, "A"), "2 3");
    EXPECT_EQ(conf_value(conf, "B"), "x");
    EXPECT_EQ(conf_value(conf, "C"), std::nullopt);
    EXPECT_EQ(conf_value(conf, "D"), "");
    EXPECT_EQ(conf_value(conf, "E"), std::nullopt);
}

TEST(AgentConf, EveryVariable) {
    EXPECT_THAT(
        conf_environment("#A=0\nA=1\n;x=1\n=2\nnonsense\nB=\"x y\"\nA=2\n"),
        ::testing::ElementsAre("B=x y", "A=2")
    );
}

TEST(AgentConf, SetsInPlace) {
    EXPECT_EQ(with_conf_value("#A=\nB=1\n", "A", "x y"), "A=\"x y\"\nB=1\n");
    EXPECT_EQ(with_conf_value("A=1\n#A=2\nA=3\n", "A", "x"), "A=1\n#A=2\nA=\"x\"\n");
    EXPECT_EQ(with_conf_value("B=1", "A", "x"), "B=1\nA=\"x\"\n");
    EXPECT_EQ(with_conf_value("", "A", ""), "A=\"\"\n");
}

TEST(AgentConf, TheFreshFileHasAPlaceForEachValueAndSetsNone) {
    for (const char* key : {kConfNodeName, kConfKubeconfig, kConfFlags}) {
        EXPECT_EQ(conf_value(fresh_agent_conf(), key), std::nullopt);
        const std::string set = with_conf_value(fresh_agent_conf(), key, "value");
        EXPECT_EQ(conf_value(set, key), "value");
        EXPECT_THAT(set, HasSubstr(std::string("\n") + key + "=\"value\"\n"));
        EXPECT_EQ(set.find(std::string("#") + key), std::string::npos);
    }
}

TEST(AgentConf, CharactersThatMeanSomethingAreRefused) {
    EXPECT_TRUE(check_conf_value("agent-flags", "--injection nvidia --listen=:1 #x"));
    for (const char* text : {"a\"b", "a'b", "a\\b", "$HOME", "a\nb", "`a`"}) {
        const Status refused = check_conf_value("agent-flags", text);
        ASSERT_FALSE(refused) << text;
        EXPECT_THAT(refused.error().message, HasSubstr("--agent-flags"));
    }
}

}  // namespace
}  // namespace egpu::cli
