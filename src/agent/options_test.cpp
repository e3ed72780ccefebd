#include "agent/options.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/options_for_test.h"

namespace egpu::agent {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(AgentOptions, Defaults) {
    const Options options = parsed({});
    EXPECT_EQ(options.node_name, "edge-1");
    EXPECT_EQ(options.device_plugin_dir, "/var/lib/kubelet/device-plugins");
    EXPECT_EQ(options.pod_resources_socket, "/var/lib/kubelet/pod-resources/kubelet.sock");
    EXPECT_EQ(options.state_dir, "/var/lib/edge-gpu");
    EXPECT_EQ(options.listen, "127.0.0.1:39998");
    EXPECT_EQ(options.inject.dev_root, "/");
    EXPECT_THAT(
        options.resources, testing::UnorderedElementsAre(Resource::kWhole, Resource::kPercent)
    );
}

TEST(AgentOptions, OnBypass) {
    EXPECT_EQ(parsed({}).on_bypass, "report");
    const Options kills = parsed({"--isolation", "guard", "--on-bypass", "kill"});
    EXPECT_EQ(kills.on_bypass, "kill");
    EXPECT_TRUE(kills.notes.empty());
    EXPECT_THAT(describe(kills), HasSubstr("onBypass: \"kill\""));
    EXPECT_THAT(parsed({"--on-bypass", "kill"}).notes, Contains(HasSubstr("--isolation is none")));
    EXPECT_THAT(refused({"--on-bypass", "ignore"}), HasSubstr("report or kill"));
}

TEST(AgentOptions, FlagsWinOverTheEnvironment) {
    const Options options = parsed(
        {"--node-name=n2",
         "--kubeconfig",
         "/k",
         "--device-id-strategy=index",
         "--pass-device-specs"},
        {{"KUBECONFIG", "/other"},
         {"DEVICE_ID_STRATEGY", "uuid"},
         {"DEVICE_LIST_STRATEGY", "volume-mounts"}}
    );
    EXPECT_EQ(options.node_name, "n2");
    EXPECT_EQ(options.kubeconfig, "/k");
    EXPECT_EQ(options.inject.device_id_strategy, "index");
    EXPECT_TRUE(options.inject.pass_device_specs);
    EXPECT_THAT(options.inject.device_list_strategy, ElementsAre("volume-mounts"));
}

TEST(AgentOptions, KubeletRootMovesWhatItMoves) {
    const Options options = parsed({"--kubelet-root=/data/kubelet", "--device-plugin-dir=/dp"});
    EXPECT_EQ(options.device_plugin_dir, "/dp");
    EXPECT_EQ(options.pod_resources_socket, "/data/kubelet/pod-resources/kubelet.sock");
}

TEST(AgentOptions, NanoGpuAgentsCommandLine) {
    const std::string folder = testing::TempDir();
    const std::string file = folder + "meta.db";
    std::ofstream(file) << "bolt";
    const Options options = parsed(
        {"-nodename=edge-7", "-dbfile=" + file, "-logtostderr", "-v", "5", "-stderrthreshold=INFO"}
    );
    EXPECT_EQ(options.node_name, "edge-7");
    EXPECT_EQ(options.state_dir / "", std::filesystem::path(folder) / "");
    EXPECT_EQ(options.log_level, log::Level::kDebug);
    EXPECT_THAT(options.notes, Contains(HasSubstr("left alone")));
    EXPECT_THAT(options.notes, Contains(HasSubstr("--logtostderr has no effect")));
    std::remove(file.c_str());
}

TEST(AgentOptions, DbfileThatIsAFolder) {
    const std::string folder = testing::TempDir();
    EXPECT_EQ(parsed({"-dbfile", folder}).state_dir, folder);
    EXPECT_EQ(parsed({"--dbfile", folder, "--state-dir", "/s"}).state_dir, "/s");
}

TEST(AgentOptions, WrongValuesAreOneSentence) {
    EXPECT_THAT(refused({"--injection=docker"}), HasSubstr("possible: auto, direct, cdi, nvidia"));
    EXPECT_THAT(
        refused({"--injection=cdi", "--pass-device-specs"}),
        HasSubstr("those are of --injection=nvidia")
    );
    EXPECT_THAT(
        refused({"--driver-capabilities=cuda"}), HasSubstr("--driver-capabilities: \"cuda\"")
    );
    EXPECT_THAT(refused({"--cdi-spec-dir=run"}), HasSubstr("an absolute path"));
    EXPECT_THAT(
        refused({"--resources=half"}),
        HasSubstr("--resources: \"half\" is not a comma list of whole, share")
    );
    EXPECT_THAT(refused({"--resources="}), HasSubstr("--resources"));
    EXPECT_THAT(refused({"--listen=nowhere"}), HasSubstr("--listen"));
    EXPECT_THAT(refused({"--node-name=Bad Name"}), HasSubstr("--node-name: \"Bad Name\""));
    EXPECT_THAT(refused({"--kubelet-root=var"}), HasSubstr("an absolute path"));
    EXPECT_THAT(refused({"--log-level=loud"}), HasSubstr("debug, info, warn, error"));
    EXPECT_THAT(refused({"--xid-policy=none"}), HasSubstr("edge or nvidia"));
    EXPECT_THAT(refused({"--isolation=vgpu"}), HasSubstr("auto, guard, mig or none"));
    EXPECT_THAT(refused({"--isolation=mps"}), HasSubstr("limits processes, not containers"));
    EXPECT_THAT(refused({"--frobnicate"}), HasSubstr("unknown flag --frobnicate"));
    EXPECT_THAT(refused({"extra"}), HasSubstr("unexpected argument extra"));
    EXPECT_THAT(refused({}, {{"PASS_DEVICE_SPECS", "maybe"}}), HasSubstr("true or false"));
    EXPECT_THAT(refused({"--device-id-strategy=serial"}), HasSubstr("serial"));
}

TEST(AgentOptions, InjectionAndItsPaths) {
    const Options plain = parsed({"--state-dir=/s"});
    EXPECT_EQ(plain.inject.strategy, "auto");
    EXPECT_FALSE(plain.inject.nvidia_configured);
    EXPECT_EQ(plain.inject.driver_files_dir, "/s/driver");
    EXPECT_EQ(plain.inject.cdi_spec_dir, "/var/run/cdi");
    EXPECT_EQ(plain.inject.capabilities, gpu::kCompute | gpu::kUtility | gpu::kVideo);
    const Options other = parsed(
        {"--injection=direct",
         "--driver-capabilities=all",
         "--host-root=/host",
         "--driver-files-dir=/d",
         "--cdi-spec-dir=/c",
         "--driver-root=/run/nvidia/driver"}
    );
    EXPECT_EQ(other.inject.capabilities, gpu::kAllCapabilities);
    EXPECT_EQ(other.inject.driver_files_dir, "/d");
    EXPECT_EQ(other.inject.cdi_spec_dir, "/c");
    EXPECT_EQ(other.inject.dev_root, "/run/nvidia/driver");
    EXPECT_EQ(inject::driver_root_seen(other.inject), "/host/run/nvidia/driver");
}

TEST(AgentOptions, ListenCanBeOff) {
    EXPECT_EQ(parsed({"--listen", ""}).listen, "");
    EXPECT_EQ(parsed({"--listen="}).listen, "");
}

TEST(AgentOptions, PrintConfigAndHelp) {
    const Environment environment{{"NODE_NAME", "edge-1"}};
    const auto config = parse_options({"--print-config", "--resources=share"}, environment);
    ASSERT_TRUE(config);
    EXPECT_THAT(config->text, HasSubstr("resources: [nano-gpu/gpu-percent]\n"));
    EXPECT_THAT(config->text, HasSubstr("nodeName: \"edge-1\"\n"));
    const auto help = parse_options({"-h"}, environment);
    ASSERT_TRUE(help);
    EXPECT_THAT(help->text, HasSubstr("--state-dir"));
}

}  // namespace
}  // namespace egpu::agent
