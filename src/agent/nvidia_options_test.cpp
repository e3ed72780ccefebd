// Every flag, variable and field of NVIDIA's plugin is honoured, noted or refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/options_for_test.h"
#include "base/files.h"
#include "testing/temp_folder.h"

namespace egpu::agent {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ConfigFile : public ::testing::Test {
  protected:
    std::string file(const std::string& text) {
        EXPECT_TRUE(write_file_atomically(folder_ / "config.yaml", text));
        return "--config-file=" + (folder_ / "config.yaml").string();
    }
    testing::TempFolder folder_;
};

constexpr const char* kConfig = R"(version: v1
flags:
  nvidiaDriverRoot: /from-file
  failOnInitError: true
  plugin:
    deviceListStrategy: [envvar, cdi-cri]
    deviceIDStrategy: index
    containerDriverRoot: /driver-root
    nvidiaCTKPath: /usr/bin/nvidia-ctk
)";

TEST_F(ConfigFile, flag_before_variable_before_file) {
    const Options from_file = parsed({file(kConfig)});
    EXPECT_THAT(from_file.inject.device_list_strategy, ElementsAre("envvar", "cdi-cri"));
    EXPECT_EQ(from_file.inject.device_id_strategy, "index");
    EXPECT_EQ(from_file.inject.driver_root, "/from-file");
    EXPECT_EQ(from_file.inject.dev_root, "/from-file");
    EXPECT_TRUE(from_file.inject.nvidia_configured);
    // /driver-root is not there on a host: the path of the host is used.
    EXPECT_EQ(inject::driver_root_seen(from_file.inject), "/from-file");
    EXPECT_THAT(from_file.notes, Contains(HasSubstr("--fail-on-init-error has no effect")));
    EXPECT_THAT(from_file.notes, Contains(HasSubstr("--nvidia-cdi-hook-path has no effect")));
    const Environment environment{
        {"NVIDIA_DRIVER_ROOT", "/from-environment"},
        {"CONFIG_FILE", (folder_ / "config.yaml").string()}};
    EXPECT_EQ(parsed({}, environment).inject.driver_root, "/from-environment");
    const Options flag =
        parsed({"--nvidia-driver-root=/flag", "--device-id-strategy=uuid"}, environment);
    EXPECT_EQ(flag.inject.driver_root, "/flag");
    EXPECT_EQ(flag.inject.device_id_strategy, "uuid");
}

TEST_F(ConfigFile, mistakes_name_file_and_field) {
    EXPECT_THAT(
        refused({file("version: v1\nflags: {migStrategie: none}\n")}),
        HasSubstr("config.yaml: flags.migStrategie: unknown field; did you mean migStrategy?")
    );
    EXPECT_THAT(
        refused({"--config-file=/nothing"}, {}, ErrorCode::kNotFound), HasSubstr("--config-file")
    );
    EXPECT_THAT(
        refused({file("version: v1\nflags: {migStrategy: mixed}\n")}), HasSubstr("--mig-strategy")
    );
}

TEST_F(ConfigFile, nvidias_own_example_loads_unchanged) {
    const Options options =
        parsed({std::string("--config-file=") + EDGE_GPU_TEST_DATA "/nvidia-config/example.yaml"});
    EXPECT_EQ(options.replicas, 4);
    EXPECT_FALSE(options.one_replica_a_container);
    EXPECT_TRUE(options.distribute_replicas);
}

TEST_F(ConfigFile, time_slicing) {
    const auto sharing = [&](const std::string& text) {
        return file("version: v1\nsharing: {timeSlicing: " + text + "}\n");
    };
    const Options options = parsed(
        {sharing("{failRequestsGreaterThanOne: true, resources: [{name: gpu, devices: all, "
                 "replicas: 10}]}"),
         "--shared-devices-allocation-policy=packed"}
    );
    EXPECT_EQ(options.replicas, 10);
    EXPECT_TRUE(options.one_replica_a_container);
    EXPECT_FALSE(options.distribute_replicas);
    EXPECT_THAT(
        refused({sharing("{resources: [{name: mig-1g.5gb, replicas: 2}]}")}),
        HasSubstr("nvidia.com/mig-1g.5gb is not a resource of this agent")
    );
    EXPECT_THAT(
        refused({sharing("{resources: [{name: gpu, replicas: 101}]}")}),
        HasSubstr("101 replicas: 100 are the most")
    );
    EXPECT_THAT(
        refused({file("version: v1\nsharing: {mps: {resources: [{name: gpu, replicas: 3}]}}\n")}),
        HasSubstr("nano-gpu/gpu-percent: 33")
    );
}

TEST(NvidiaOptions, the_static_manifests_of_old_and_new_versions) {
    EXPECT_THAT(parsed({"--fail-on-init-error=false"}).notes, IsEmpty());
    EXPECT_THAT(
        parsed(
            {},
            {{"NVIDIA_MIG_MONITOR_DEVICES", "all"},
             {"NVIDIA_VISIBLE_DEVICES", "all"},
             {"MPS_ROOT", "/run/nvidia/mps"},
             {"FAIL_ON_INIT_ERROR", "false"}}
        ).notes,
        IsEmpty()
    );
    const Options specs = parsed({}, {{"PASS_DEVICE_SPECS", "true"}});
    EXPECT_TRUE(specs.inject.pass_device_specs);
    EXPECT_TRUE(specs.inject.nvidia_configured);
}

TEST(NvidiaOptions, each_is_honoured_or_refused) {
    EXPECT_THAT(
        parsed({"--gds-enabled", "--mofed-enabled=true", "--gdrcopy-enabled=false"})
            .inject.extra_envs,
        ElementsAre("NVIDIA_GDS", "NVIDIA_MOFED")
    );
    EXPECT_EQ(parsed({"--kubelet-socket=/k/kubelet.sock"}).device_plugin_dir, "/k");
    EXPECT_EQ(
        parsed({"--kubelet-socket=/k/kubelet.sock", "--device-plugin-dir=/d"}).device_plugin_dir,
        "/d"
    );
    EXPECT_EQ(parsed({"--cdi-annotation-prefix=x/"}).inject.cdi_annotation_prefix, "x/");
    EXPECT_THAT(parsed({"--mig-strategy=single", "--cdi-disable-hooks=all"}).notes, IsEmpty());
    EXPECT_THAT(
        parsed({"--cdi-feature-flags=x"}).notes, Contains(HasSubstr("--cdi-feature-flags"))
    );
    EXPECT_THAT(refused({"--kubelet-socket="}), HasSubstr("always registers"));
    EXPECT_THAT(
        refused({"--mig-strategy=mixed"}), HasSubstr("MIG instances are offered as nvidia.com/gpu")
    );
    EXPECT_THAT(refused({"--mig-strategy=some"}), HasSubstr("none or single"));
    EXPECT_THAT(refused({"--device-discovery-strategy=tegra"}), HasSubstr("NVML"));
    EXPECT_THAT(refused({"--imex-channel-ids=0"}), HasSubstr("IMEX"));
    EXPECT_THAT(refused({"--imex-required"}), HasSubstr("IMEX"));
    EXPECT_THAT(
        refused({"--shared-devices-allocation-policy=any"}), HasSubstr("distributed or packed")
    );
    EXPECT_THAT(refused({}, {{"GDS_ENABLED", "perhaps"}}), HasSubstr("true or false"));
    EXPECT_THAT(refused({"--driver-root=run"}), HasSubstr("absolute path"));
}

}  // namespace
}  // namespace egpu::agent
