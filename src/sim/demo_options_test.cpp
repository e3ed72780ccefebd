#include "sim/demo_options.h"

#include <vector>

#include <gtest/gtest.h>

namespace egpu::sim {
namespace {

Result<DemoOptions> parse(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "demo");
    std::vector<char*> argv;
    for (std::string& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    return parse_demo_options(static_cast<int>(arguments.size()), argv.data());
}

TEST(DemoOptions, DefaultsAndFlags) {
    auto plain = parse({});
    ASSERT_TRUE(plain.ok());
    EXPECT_FALSE(plain->once);
    EXPECT_EQ(plain->port, 0);
    auto all = parse(
        {"--once",
         "--keep-dir",
         "--tls",
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
    EXPECT_TRUE(all->once && all->keep_folder && all->tls);
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
    EXPECT_FALSE(parse({"--cache-mode", "maybe"}).ok());
}

}  // namespace
}  // namespace egpu::sim
