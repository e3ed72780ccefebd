#include "gpu/device_nodes.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "gpu/make_device_nodes.h"
#include "testing/temp_folder.h"

namespace egpu::gpu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Node = DeviceNodePlan::Node;
using Link = DeviceNodePlan::Link;

std::unique_ptr<RecordedView> tree(const std::string& name) {
    auto view = RecordedView::load(EDGE_GPU_TEST_DATA "/drivers/" + name + ".txt");
    EXPECT_TRUE(view.ok());
    return std::move(*view);
}

std::unique_ptr<RecordedView> parsed(const std::string& text) {
    auto view = RecordedView::parse(text);
    EXPECT_TRUE(view.ok()) << view.error().message;
    return std::move(*view);
}

const std::vector<std::string> kCards{"/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap66"};

constexpr const char* kLoaded = R"(file /proc/devices 444 0
| Character devices:
| 195 nvidia
| 195 nvidia-modeset
| 195 nvidiactl
| 236 nvidia-caps
| 507 nvidia-uvm
|
| Block devices:
| 507 other
file /proc/driver/nvidia/params 444 0
| ModifyDeviceFiles: 1
| DeviceFileUID: 0
| DeviceFileGID: 44
| DeviceFileMode: 432
)";

TEST(DeviceNodes, all_are_planned_on_a_fresh_node) {
    const auto node = parsed(kLoaded);
    const auto plan = plan_device_nodes(*node, *node, kCards);
    EXPECT_THAT(
        plan.nodes,
        ElementsAre(
            Node{"/dev/nvidiactl", 195, 255, 0660, 0, 44},
            Node{"/dev/nvidia-modeset", 195, 254, 0660, 0, 44},
            Node{"/dev/nvidia-uvm", 507, 0, 0660, 0, 44},
            Node{"/dev/nvidia-uvm-tools", 507, 1, 0660, 0, 44},
            Node{"/dev/nvidia0", 195, 0, 0660, 0, 44},
            Node{"/dev/nvidia-caps/nvidia-cap66", 236, 66, 0444, 0, 44}
        )
    );
    EXPECT_EQ(plan.links.size(), 6U);
    EXPECT_EQ(plan.links[0], (Link{"/dev/char/195:255", "../nvidiactl"}));
    EXPECT_EQ(plan.links[5], (Link{"/dev/char/236:66", "../nvidia-caps/nvidia-cap66"}));
    EXPECT_FALSE(plan.load_uvm);
    EXPECT_FALSE(plan.nothing_to_do());
}

TEST(DeviceNodes, a_node_with_other_numbers_is_made_again) {
    const auto node = parsed(
        std::string(kLoaded) +
        "char /dev/nvidia-uvm 666 510:0\nlink /dev/char/507:0 ../nvidia-uvm\n"
        "char /dev/nvidia0 666 195:0\n"
    );
    const auto plan = plan_device_nodes(*node, *node, kCards);
    EXPECT_THAT(plan.nodes, ::testing::Contains(Node{"/dev/nvidia-uvm", 507, 0, 0660, 0, 44}));
    EXPECT_THAT(
        plan.nodes, ::testing::Not(::testing::Contains(Node{"/dev/nvidia0", 195, 0, 0660, 0, 44}))
    );
}

TEST(DeviceNodes, of_recorded_nodes) {
    const auto ubuntu = tree("450.102.04-ubuntu");  // all nodes there, "nvidia-frontend"
    const auto plan = plan_device_nodes(*ubuntu, *ubuntu, std::vector<std::string>{"/dev/nvidia0"});
    EXPECT_THAT(plan.nodes, IsEmpty());
    EXPECT_EQ(plan.links.size(), 4U);
    const auto centos = tree("450.102.04-centos");
    EXPECT_TRUE(plan_device_nodes(*centos, *centos, {}).load_uvm);
    const auto none = tree("none");
    EXPECT_TRUE(plan_device_nodes(*none, *none, kCards).nothing_to_do());
    EXPECT_THAT(
        control_nodes(*ubuntu, false),
        ElementsAre("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")
    );
    EXPECT_EQ(control_nodes(*ubuntu, true).back(), "/dev/nvidia-modeset");
    EXPECT_THAT(control_nodes(*none, true), IsEmpty());
}

TEST(DeviceNodes, the_driver_may_forbid_it) {
    std::string text = kLoaded;
    text.replace(text.find("Files: 1"), 8, "Files: 0");
    const auto node = parsed(text);
    const auto plan = plan_device_nodes(*node, *node, {});
    EXPECT_TRUE(plan.nothing_to_do());
    ASSERT_FALSE(plan.notes.empty());
    EXPECT_THAT(plan.notes[0], HasSubstr("NVreg_ModifyDeviceFiles=0"));
}

TEST(DeviceNodes, are_made_with_their_mode) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    const testing::TempFolder folder;
    const std::filesystem::path& root = folder.path();
    const auto empty = parsed(kLoaded);
    const auto plan = plan_device_nodes(*empty, *empty, kCards);
    const mode_t old = ::umask(077);
    const Status made = make_device_nodes(root, plan);
    ::umask(old);
    if (!made && made.error().code == ErrorCode::kPermission) {
        GTEST_SKIP() << made.error().message;
    }
    ASSERT_TRUE(made.ok()) << made.error().message;
    // The tree there now needs nothing more.
    const HostView now(root);
    EXPECT_TRUE(plan_device_nodes(*empty, now, kCards).nothing_to_do());
    EXPECT_EQ(now.look("/dev/nvidia0").value().mode, 0660U);
    EXPECT_EQ(now.look("/dev/char/236:66").value().minor, 66U);
    EXPECT_TRUE(make_device_nodes(root, plan).ok());
}

TEST(DeviceNodes, no_modprobe_is_an_error_that_says_so) {
    if (::geteuid() != 0) GTEST_SKIP() << "chroot needs root";
    const testing::TempFolder folder;
    const std::filesystem::path& root = folder.path();
    const Status loaded = load_uvm_module(root, Seconds(5));
    ASSERT_FALSE(loaded.ok());
    EXPECT_THAT(loaded.error().message, HasSubstr("modprobe"));
}

}  // namespace
}  // namespace egpu::gpu
