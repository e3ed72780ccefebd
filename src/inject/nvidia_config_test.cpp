#include "inject/nvidia_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"

namespace egpu::inject {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Flags = std::map<std::string, std::string>;

std::string refused(const std::string& text) {
    const auto config = parse_nvidia_config(text);
    EXPECT_FALSE(config.ok()) << text;
    return config ? "" : config.error().message;
}

TEST(NvidiaConfig, nvidias_own_example_loads_unchanged) {
    const auto text = read_file(EDGE_GPU_TEST_DATA "/nvidia-config/example.yaml");
    ASSERT_TRUE(text.ok());
    const auto config = parse_nvidia_config(*text);
    ASSERT_TRUE(config.ok()) << config.error().message;
    EXPECT_EQ(
        config->flags,
        (Flags{
            {"mig-strategy", "none"},
            {"fail-on-init-error", "true"},
            {"driver-root", "/"},
            {"pass-device-specs", "false"},
            {"device-list-strategy", "envvar"},
            {"device-id-strategy", "uuid"},
            {"cdi-annotation-prefix", "cdi.k8s.io/"},
            {"nvidia-cdi-hook-path", "/usr/bin/nvidia-ctk"},
            {"driver-root-ctr-path", "/driver-root"}})
    );
    EXPECT_THAT(config->time_slicing, ElementsAre(NvidiaConfig::Replicas{"nvidia.com/gpu", 4}));
    EXPECT_THAT(config->mps, IsEmpty());
    EXPECT_THAT(config->notes, ElementsAre(HasSubstr("flags.gfd")));
}

TEST(NvidiaConfig, string_or_list_and_json) {
    EXPECT_EQ(
        parse_nvidia_config(
            "version: v1\nflags: {plugin: {deviceListStrategy: [envvar, cdi-cri]}}\n"
        )
            ->flags,
        (Flags{{"device-list-strategy", "envvar,cdi-cri"}})
    );
    EXPECT_EQ(
        parse_nvidia_config(
            R"({"version":"v1","flags":{"plugin":{"deviceListStrategy":"cdi-cri"}},"imex":{"channelIDs":[0]}})"
        )
            ->flags,
        (Flags{{"device-list-strategy", "cdi-cri"}, {"imex-channel-ids", "0"}})
    );
    EXPECT_EQ(parse_nvidia_config("version: v1\nflags:\nsharing: ~\n").value(), NvidiaConfig{});
    EXPECT_TRUE(
        parse_nvidia_config("version: v1\nresources: {gpus: [{pattern: '*', name: gpu}]}\n").ok()
    );
    EXPECT_THAT(
        parse_nvidia_config("version: v1\nsharing: {mps: {resources: [{name: gpu, replicas: 2}]}}\n"
        )
            ->mps,
        ElementsAre(NvidiaConfig::Replicas{"nvidia.com/gpu", 2})
    );
}

TEST(NvidiaConfig, unknown_fields_are_named_with_what_was_meant) {
    EXPECT_THAT(
        refused("version: v1\nflags: {plugin: {deviceListStrategie: envvar}}\n"),
        HasSubstr(
            "flags.plugin.deviceListStrategie: unknown field; did you mean deviceListStrategy?"
        )
    );
    EXPECT_THAT(
        refused("version: v1\nflags: {mig-strategy: none}\n"),
        HasSubstr("did you mean migStrategy?")
    );
    EXPECT_THAT(refused("version: v1\nwhatever: 1\n"), HasSubstr("whatever: unknown field"));
    EXPECT_THAT(refused("version: v1\nwhatever: 1\n"), ::testing::Not(HasSubstr("mean")));
}

TEST(NvidiaConfig, wrong_values_are_named) {
    EXPECT_THAT(refused(""), HasSubstr("version: v1"));
    EXPECT_THAT(refused("flags: {}\n"), HasSubstr("version: is missing"));
    EXPECT_THAT(refused("version: v2\n"), HasSubstr("\"v2\" is not v1"));
    EXPECT_THAT(refused("version: [\n"), HasSubstr("not valid YAML"));
    EXPECT_THAT(refused("- version\n"), HasSubstr("is not a map"));
    EXPECT_THAT(refused("version: v1\nflags: 3\n"), HasSubstr("flags: is not a map"));
    EXPECT_THAT(
        refused("version: v1\nflags: {migStrategy: {a: b}}\n"),
        HasSubstr("flags.migStrategy: is neither")
    );
    const auto sharing = [](const std::string& text) {
        return refused("version: v1\nsharing: {timeSlicing: {" + text + "}}\n");
    };
    EXPECT_THAT(
        sharing("resources: [{name: gpu, replicas: 1}]"),
        HasSubstr("replicas: is not a number from 2")
    );
    EXPECT_THAT(sharing("resources: [{replicas: 2}]"), HasSubstr("resources[0].name: is missing"));
    EXPECT_THAT(sharing("renameByDefault: true"), HasSubstr("renameByDefault: is not possible"));
    // NVIDIA's plugin reads these two and ignores them.
    EXPECT_THAT(
        sharing("resources: [{name: gpu, rename: gpu.shared, replicas: 2}]"),
        HasSubstr("resources[0].rename: is not possible")
    );
    EXPECT_THAT(
        sharing("resources: [{name: gpu, devices: 2, replicas: 2}]"),
        HasSubstr("resources[0].devices: is not possible")
    );
    EXPECT_THAT(sharing("resources: 3"), HasSubstr("is not a list"));
    EXPECT_THAT(sharing("renameByDefault: perhaps"), HasSubstr("neither true nor false"));
    EXPECT_THAT(
        refused("version: v1\nresources: {gpus: [{pattern: 'Tesla*', name: tesla}]}\n"),
        HasSubstr("edge-gpu.io/gpu-model")
    );
    EXPECT_THAT(refused("version: v1\nflags: " + std::string(200, '[')), HasSubstr("too deeply"));
}

TEST(DidYouMean, only_what_is_close) {
    EXPECT_EQ(did_you_mean("replica", {"name", "replicas"}), "replicas");
    EXPECT_EQ(did_you_mean("xyzxyz", {"name", "replicas"}), "");
}

}  // namespace
}  // namespace egpu::inject
