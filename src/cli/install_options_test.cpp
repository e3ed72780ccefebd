#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/install.h"

namespace egpu::cli {
namespace {

using ::testing::HasSubstr;

std::string refused(const std::vector<std::string>& arguments) {
    const auto options = parse_install_options(arguments);
    EXPECT_FALSE(options);
    return options ? "" : options.error().message;
}

TEST(InstallOptions, Defaults) {
    const auto options = parse_install_options({});
    ASSERT_TRUE(options);
    EXPECT_EQ(options->root, "/");
    EXPECT_FALSE(options->prefix);
    EXPECT_EQ(options->binary, "");
    EXPECT_FALSE(options->kubeconfig);
    EXPECT_FALSE(options->node_name);
    EXPECT_FALSE(options->agent_flags);
    EXPECT_FALSE(options->dry_run);
}

TEST(InstallOptions, EveryFlagArrives) {
    const auto options = parse_install_options(
        {"--root=/tmp",
         "--prefix=/opt/x",
         "--binary=/b",
         "--kubeconfig=/k",
         "--node-name=n-1",
         "--agent-flags=--injection nvidia",
         "--dry-run"}
    );
    ASSERT_TRUE(options) << options.error().message;
    EXPECT_EQ(options->root, "/tmp");
    EXPECT_EQ(options->prefix, "/opt/x");
    EXPECT_EQ(options->binary, "/b");
    EXPECT_EQ(options->kubeconfig, "/k");
    EXPECT_EQ(options->node_name, "n-1");
    EXPECT_EQ(options->agent_flags, "--injection nvidia");
    EXPECT_TRUE(options->dry_run);
    const auto undo = parse_uninstall_options({"--root=/tmp", "--purge", "--dry-run"});
    ASSERT_TRUE(undo);
    EXPECT_TRUE(undo->purge && undo->dry_run);
}

TEST(InstallOptions, TheRootIsTheRootHoweverItIsWritten) {
    for (const char* root : {"/", "//", "/.", "/tmp/.."}) {
        const auto options = parse_install_options({std::string("--root=") + root});
        ASSERT_TRUE(options) << root;
        EXPECT_EQ(options->root, "/") << root;
    }
}

TEST(InstallOptions, Refused) {
    EXPECT_THAT(refused({"--root=/no/such/folder"}), HasSubstr("--root"));
    EXPECT_THAT(refused({"--root=tmp"}), HasSubstr("--root"));
    for (const char* prefix : {"usr", "/usr/../x", "/opt/a b", "/opt/%n", "/opt/", "/", ""}) {
        EXPECT_THAT(refused({std::string("--prefix=") + prefix}), HasSubstr("--prefix")) << prefix;
    }
    EXPECT_THAT(refused({"--kubeconfig=k"}), HasSubstr("an absolute path"));
    EXPECT_THAT(refused({"--kubeconfig=/a\"b"}), HasSubstr("--kubeconfig"));
    EXPECT_THAT(refused({"--node-name=Edge"}), HasSubstr("name of a Node"));
    EXPECT_THAT(refused({"--agent-flags=$X"}), HasSubstr("--agent-flags"));
    EXPECT_THAT(refused({"--nosuch"}), HasSubstr("unknown flag --nosuch"));
    EXPECT_FALSE(parse_uninstall_options({"--root=/no/such/folder"}));
}

}  // namespace
}  // namespace egpu::cli
