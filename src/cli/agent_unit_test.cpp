#include "cli/agent_unit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/child.h"
#include "base/files.h"

namespace egpu::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(AgentUnit, IsTheFileInDeploy) {
    const auto file = read_file(EDGE_GPU_UNIT_FILE);
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(agent_unit_text(), *file);
    EXPECT_EQ(agent_unit_for("/usr/local"), *file);
}

TEST(AgentUnit, FollowsThePrefix) {
    const std::string unit = agent_unit_for("/opt/gpu");
    EXPECT_THAT(unit, HasSubstr("\nExecStart=/opt/gpu/bin/edge-gpu agent $EDGE_GPU_AGENT_FLAGS\n"));
    EXPECT_THAT(unit, Not(HasSubstr("/usr/local")));
}

TEST(AgentUnit, StartsBeforeTheKubeletAndNeverGivesUp) {
    const std::string unit(agent_unit_text());
    EXPECT_THAT(wanted_by(unit), ElementsAre("multi-user.target", "kubelet.service"));
    EXPECT_THAT(unit, HasSubstr("\nBefore=kubelet.service "));
    EXPECT_THAT(unit, HasSubstr("\nRestart=always\n"));
    EXPECT_THAT(unit, HasSubstr("\nStartLimitIntervalSec=0\n"));
    // Each would take the driver's device nodes or the network's absence into the start.
    for (const char* key :
         {"\nDeviceAllow=", "\nPrivateDevices=", "\nProtectClock=", "network-online"}) {
        EXPECT_THAT(unit, Not(HasSubstr(key)));
    }
}

TEST(AgentUnit, SystemdKnowsEveryKey) {
    namespace fs = std::filesystem;
    const fs::path prefix = fs::path(::testing::TempDir()) / ("unit." + std::to_string(::getpid()));
    fs::create_directories(prefix / "bin");
    fs::copy_file("/bin/true", prefix / "bin/edge-gpu", fs::copy_options::overwrite_existing);
    ASSERT_TRUE(write_file_atomically(prefix / kUnitName, agent_unit_for(prefix)));
    ChildOptions within_a_minute;
    within_a_minute.limit = Seconds(60);
    const auto ran = run_program(
        {"/usr/bin/systemd-analyze", "verify", (prefix / kUnitName).string()}, within_a_minute
    );
    fs::remove_all(prefix);
    if (!ran && ran.error().code == ErrorCode::kNotFound)
        GTEST_SKIP() << "there is no systemd-analyze";
    ASSERT_TRUE(ran) << ran.error().message;
    EXPECT_EQ(ran->exit_status, 0) << ran->output;
    EXPECT_EQ(ran->output, "");  // it warns of unknown keys, and still ends with 0
}

TEST(AgentUnit, WantedByInAnyForm) {
    EXPECT_THAT(
        wanted_by("[Install]\nWantedBy=a.target  b.target\nWantedBy=c.target"),
        ElementsAre("a.target", "b.target", "c.target")
    );
    EXPECT_THAT(wanted_by("[Unit]\n#WantedBy=x\n"), ElementsAre());
}

}  // namespace
}  // namespace egpu::cli
