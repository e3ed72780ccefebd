#include "sim/demo_options.h"

#include <vector>

#include <gtest/gtest.h>

namespace egpu::sim {
namespace {

Result<DemoOptions> parse(const std::vector<std::string>& arguments) {
    return parse_demo_options(arguments);
}

TEST(DemoOptions, DefaultsAndFlags) {
    auto plain = parse({});
    ASSERT_TRUE(plain.ok());
    EXPECT_FALSE(plain->once);
    EXPECT_FALSE(plain->plain_http);  // kubectl sends its token over TLS only
    EXPECT_EQ(plain->port, 0);
    auto all = parse(
        {"--once",
         "--keep-dir",
         "--plain-http",
         "--port",
         "8443",
         "--log-dir=/l",
         "--cache-mode",
         "nodes",
         "--policy",
         "spread",
         "--sim-nvml",
         "/x"}
    );
    ASSERT_TRUE(all.ok()) << all.error().message;
    EXPECT_TRUE(all->once && all->keep_folder && all->plain_http);
    EXPECT_EQ(all->port, 8443);
    EXPECT_EQ(all->log_folder, "/l");
    EXPECT_EQ(all->cache_mode, "nodes");
    EXPECT_EQ(all->policy, "spread");
    EXPECT_EQ(all->nvml_library, "/x");
}

TEST(DemoOptions, HelpAndErrors) {
    auto help = parse({"--help"});
    ASSERT_TRUE(help.ok());
    EXPECT_NE(help->help.find("--once"), std::string::npos);
    EXPECT_FALSE(parse({"--onse"}).ok());
    EXPECT_FALSE(parse({"--port", "99999"}).ok());
    EXPECT_FALSE(parse({"--port", "x"}).ok());
    EXPECT_FALSE(parse({"--cache-mode", "maybe"}).ok());
    const auto policy = parse({"-policy", "tightest"});
    ASSERT_FALSE(policy.ok());
    EXPECT_NE(policy.error().message.find("\"tightest\" is not binpack"), std::string::npos);
}

}  // namespace
}  // namespace egpu::sim
