// --injection direct on a node on disk: what an answer names exists, and goes on existing.
#include <algorithm>

#include <gmock/gmock.h>

#include "inject/driver_mounts.h"
#include "inject/node_for_test.h"

namespace egpu::inject {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const GivenCard kCard{"GPU-1111", 0, "0", {"/dev/nvidia0"}, "0000:3b:00.0"};
const GivenCard kOther{"GPU-2222", 1, "1", {"/dev/nvidia1"}, "0000:af:00.0"};

class Direct : public NodeOnDisk {
  protected:
    Direct() {
        driver("535.161.08");
        for (const char* node : {"nvidiactl", "nvidia-uvm", "nvidia0", "nvidia1"}) {
            can_ = can_ && device(std::string("/dev/") + node, 195, minor_++);
        }
    }
    void SetUp() override {
        if (!can_) GTEST_SKIP() << "device nodes cannot be created here";
    }
    std::unique_ptr<Injector> injector() {
        auto made = make_injector(options("direct"));
        EXPECT_TRUE(made.ok());
        return std::move(*made);
    }
    // Every host path of the answer exists, as the runtime will look it up.
    void expect_paths(const ContainerEdits& edits) {
        for (const Mount& mount : edits.mounts) {
            EXPECT_TRUE(std::filesystem::exists(mount.host)) << mount.host;
            EXPECT_TRUE(mount.read_only) << mount.host;
        }
        for (const DeviceNode& node : edits.devices) {
            EXPECT_TRUE(std::filesystem::exists(root_ / node.host.substr(1))) << node.host;
        }
    }
    std::string host_of(const ContainerEdits& edits, const std::string& container) {
        for (const Mount& mount : edits.mounts) {
            if (mount.container == container) return mount.host;
        }
        return "";
    }

    bool can_ = true;
    unsigned minor_ = 0;
};

TEST_F(Direct, the_answer_has_all_a_container_needs) {
    const auto direct = injector();
    EXPECT_EQ(direct->name(), "direct");
    ASSERT_TRUE(direct->ensure(std::vector{kCard, kOther}).ok());
    const auto made = direct->edits(std::vector{kCard, kCard}, "t");
    ASSERT_TRUE(made.ok()) << made.error().message;
    EXPECT_EQ(made->envs.at("NVIDIA_VISIBLE_DEVICES"), "void");
    EXPECT_FALSE(made->envs.contains("LD_LIBRARY_PATH"));
    EXPECT_EQ(made->annotations.at(std::string(kAnnotationGiven)), "GPU-1111");
    EXPECT_THAT(
        made->devices,
        ElementsAre(
            DeviceNode{"/dev/nvidiactl", "/dev/nvidiactl", "rw"},
            DeviceNode{"/dev/nvidia-uvm", "/dev/nvidia-uvm", "rw"},
            DeviceNode{"/dev/nvidia0", "/dev/nvidia0", "rw"}
        )
    );
    expect_paths(*made);
    const std::string current = (root_ / "state/driver/current").string();
    EXPECT_EQ(host_of(*made, "/usr/local/nvidia"), current);
    const std::string debian = "/usr/lib/" + std::string(this_machine()) + "-linux-gnu/";
    for (const std::string& folder : {std::string("/usr/lib64/"), debian}) {
        EXPECT_EQ(host_of(*made, folder + "libcuda.so.1"), current + "/lib64/libcuda.so.1");
        EXPECT_EQ(
            host_of(*made, folder + "libnvidia-ml.so.1"), current + "/lib64/libnvidia-ml.so.1"
        );
    }
    EXPECT_EQ(host_of(*made, "/usr/bin/nvidia-smi"), current + "/bin/nvidia-smi");
    EXPECT_EQ(content(current + "/lib64/libcuda.so.1"), "libcuda 535.161.08");
}

TEST_F(Direct, nothing_of_another_card_is_in_the_answer) {
    const auto direct = injector();
    const auto made = direct->edits(std::vector{kOther}, "t");
    ASSERT_TRUE(made.ok());
    for (const DeviceNode& node : made->devices) EXPECT_NE(node.host, "/dev/nvidia0");
}

TEST_F(Direct, an_answer_stays_valid_when_the_driver_is_upgraded) {
    const auto direct = injector();
    ASSERT_TRUE(direct->ensure(std::vector{kCard}).ok());
    const auto old = direct->edits(std::vector{kCard}, "t");
    ASSERT_TRUE(old.ok());
    remove_driver("535.161.08");
    driver("550.54.15");
    ASSERT_TRUE(direct->ensure(std::vector{kCard}).ok());
    expect_paths(*old);
    const auto current = root_ / "state/driver/current";
    EXPECT_EQ(content(current / "lib64/libcuda.so.1"), "libcuda 550.54.15");
    EXPECT_EQ(content(current / "lib64/libnvidia-gpucomp.so.550.54.15"), "gpucomp 550.54.15");
    // The name an old answer has leads to the new library.
    EXPECT_EQ(content(current / "lib64/libnvidia-gpucomp.so.535.161.08"), "gpucomp 550.54.15");
    // Once more: the folder before the last goes, the last stays for containers that run.
    remove_driver("550.54.15");
    driver("580.65.06");
    ASSERT_TRUE(direct->ensure(std::vector{kCard}).ok());
    expect_paths(*old);
    int folders = 0;
    for (const auto& entry : std::filesystem::directory_iterator(root_ / "state/driver")) {
        folders += entry.is_directory() && !entry.is_symlink() ? 1 : 0;
    }
    EXPECT_EQ(folders, 2);
}

TEST_F(Direct, what_was_removed_is_made_again_also_by_a_new_process_with_another_strategy) {
    ASSERT_TRUE(injector()->ensure(std::vector{kCard}).ok());
    const auto old = injector()->edits(std::vector{kCard}, "t");
    ASSERT_TRUE(old.ok());
    std::filesystem::remove(root_ / "state/driver/current/lib64/libcuda.so.1");
    ASSERT_TRUE(injector()->ensure(std::vector{kCard}).ok());
    expect_paths(*old);
    std::filesystem::remove(root_ / "state/driver/current");
    auto nvidia = make_injector(options("nvidia"));
    ASSERT_TRUE((*nvidia)->ensure(std::vector{kCard}).ok());
    expect_paths(*old);
}

TEST_F(Direct, files_of_the_last_driver_stay_while_an_upgrade_is_half_done) {
    const auto direct = injector();
    ASSERT_TRUE(direct->ensure(std::vector{kCard}).ok());
    const auto old = direct->edits(std::vector{kCard}, "t");
    remove("/usr/lib64/libcuda.so.535.161.08");
    const Status ensured = direct->ensure(std::vector{kCard});
    ASSERT_FALSE(ensured.ok());
    EXPECT_THAT(ensured.error().message, HasSubstr("libcuda.so.1"));
    expect_paths(*old);
    // Another strategy is not held up by that.
    EXPECT_TRUE((*make_injector(options("nvidia")))->ensure(std::vector{kCard}).ok());
    expect_paths(*old);
}

TEST_F(Direct, a_second_look_writes_nothing) {
    const auto direct = injector();
    ASSERT_TRUE(direct->ensure(std::vector{kCard}).ok());
    const auto before = std::filesystem::last_write_time(root_ / "state/driver");
    ASSERT_TRUE(direct->ensure(std::vector{kCard}).ok());
    EXPECT_EQ(std::filesystem::last_write_time(root_ / "state/driver"), before);
}

TEST_F(Direct, a_missing_node_is_named) {
    remove("/dev/nvidia1");
    const auto direct = injector();
    const Status ensured = direct->ensure(std::vector{kCard, kOther});
    ASSERT_FALSE(ensured.ok());
    EXPECT_THAT(ensured.error().message, HasSubstr("/dev/nvidia1 is missing"));
    // It is of no concern to containers on other cards.
    EXPECT_TRUE(direct->ensure(std::vector{kCard, kOther}, std::vector{kCard}).ok());
}

TEST_F(Direct, missing_nodes_are_made_by_the_kernels_table) {
    remove("/dev");
    file("/proc/devices", "Character devices:\n195 nvidia\n507 nvidia-uvm\n");
    const auto direct = injector();
    ASSERT_TRUE(direct->ensure(std::vector{kCard}).ok());
    const auto made = direct->edits(std::vector{kCard}, "t");
    ASSERT_TRUE(made.ok());
    expect_paths(*made);
    EXPECT_EQ(made->devices.size(), 4U);
    EXPECT_TRUE(std::filesystem::is_symlink(root_ / "dev/char/507:0"));
}

TEST_F(Direct, without_the_drivers_libraries_it_says_what_is_missing) {
    remove_driver("535.161.08");
    const auto made = injector()->edits(std::vector{kCard}, "t");
    ASSERT_FALSE(made.ok());
    EXPECT_THAT(made.error().message, HasSubstr("libcuda.so.1"));
    EXPECT_THAT(made.error().message, HasSubstr("--driver-root"));
}

TEST_F(Direct, devices_below_a_driver_container) {
    ASSERT_TRUE(device("/run/nvidia/driver/dev/nvidiactl", 195, 255));
    ASSERT_TRUE(device("/run/nvidia/driver/dev/nvidia0", 195, 0));
    std::filesystem::rename(root_ / "usr", root_ / "run/nvidia/driver/usr");
    auto with_root = options("direct");
    with_root.driver_root = "/run/nvidia/driver";
    with_root.dev_root = "/run/nvidia/driver";
    auto direct = make_injector(with_root);
    ASSERT_TRUE((*direct)->ensure(std::vector{kCard}).ok());
    const auto made = (*direct)->edits(std::vector{kCard}, "t");
    ASSERT_TRUE(made.ok()) << made.error().message;
    EXPECT_EQ(made->devices.back().host, "/run/nvidia/driver/dev/nvidia0");
    EXPECT_EQ(made->devices.back().container, "/dev/nvidia0");
    expect_paths(*made);
}

TEST_F(Direct, auto_takes_it_where_the_driver_is_and_follows_the_node) {
    auto chosen = make_injector(options("auto"));
    EXPECT_EQ((*chosen)->name(), "direct");
    EXPECT_THAT((*chosen)->why(), HasSubstr("driver 535.161.08 found"));
    file("/etc/containerd/config.toml", "version = 2\nenable_cdi = true\n");
    ASSERT_TRUE((*chosen)->ensure(std::vector{kCard}).ok());
    EXPECT_EQ((*chosen)->name(), "cdi");
    EXPECT_TRUE(std::filesystem::exists(root_ / "var/run/cdi/edge-gpu.io-gpu.json"));
}

}  // namespace
}  // namespace egpu::inject
