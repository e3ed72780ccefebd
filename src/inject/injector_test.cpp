// Goldens of NVIDIA's device plugin, and what the front door refuses.
#include "inject/injector.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "testing/temp_folder.h"

namespace egpu::inject {
namespace {

const GivenCard kCard{"GPU-1111", 0, "0", {"/dev/nvidia0"}};
const GivenCard kOther{"GPU-2222", 10, "10", {"/dev/nvidia10"}};
const GivenCard kMig{
    "MIG-2222",
    100,
    "0:0",
    {"/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap66", "/dev/nvidia-caps/nvidia-cap67"}};

// The strategy is given: what the machine that runs the test is like does not matter.
ContainerEdits edits(
    InjectOptions options, const std::vector<GivenCard>& cards, const std::string& token = "token-1"
) {
    options.strategy = "nvidia";
    if (!options.node_exists) options.node_exists = [](const std::string&) { return true; };
    auto injector = make_injector(std::move(options));
    EXPECT_TRUE(injector.ok());
    auto made = (*injector)->edits(cards, token);
    EXPECT_TRUE(made.ok());
    return *made;
}

std::vector<DeviceNode> nodes(const std::vector<std::string>& names, const std::string& root = "") {
    std::vector<DeviceNode> out;
    for (const auto& name : names) out.push_back({root + name, name, "rw"});
    return out;
}

TEST(NvidiaGolden, default_is_the_variable_and_nothing_else) {
    ContainerEdits expected;
    expected.envs["NVIDIA_VISIBLE_DEVICES"] = "GPU-1111";
    EXPECT_EQ(edits({}, {kCard}), expected);
}

TEST(NvidiaGolden, by_index) {
    InjectOptions options;
    options.device_id_strategy = "index";
    EXPECT_EQ(edits(options, {kCard}).envs.at("NVIDIA_VISIBLE_DEVICES"), "0");
    EXPECT_EQ(edits(options, {kOther, kCard}).envs.at("NVIDIA_VISIBLE_DEVICES"), "0,10");
    EXPECT_EQ(edits(options, {kMig}).envs.at("NVIDIA_VISIBLE_DEVICES"), "0:0");
}

TEST(NvidiaGolden, order_is_stable_and_replicas_appear_once) {
    // Time-slicing: [GPU-1111::0, GPU-1111::3] is the same card twice.
    EXPECT_EQ(edits({}, {kCard, kCard}), edits({}, {kCard}));
    EXPECT_EQ(edits({}, {kOther, kCard, kOther}), edits({}, {kCard, kOther}));
    EXPECT_EQ(edits({}, {kOther, kCard}).envs.at("NVIDIA_VISIBLE_DEVICES"), "GPU-1111,GPU-2222");
}

TEST(NvidiaGolden, pass_device_specs) {
    InjectOptions options;
    options.pass_device_specs = true;
    const auto made = edits(options, {kCard, kCard});
    EXPECT_EQ(made.envs.at("NVIDIA_VISIBLE_DEVICES"), "GPU-1111");
    EXPECT_EQ(
        made.devices,
        nodes(
            {"/dev/nvidiactl",
             "/dev/nvidia-uvm",
             "/dev/nvidia-uvm-tools",
             "/dev/nvidia-modeset",
             "/dev/nvidia0"}
        )
    );
}

TEST(NvidiaGolden, pass_device_specs_of_mig) {
    InjectOptions options;
    options.pass_device_specs = true;
    options.node_exists = [](const std::string& node) { return node == "/dev/nvidiactl"; };
    options.dev_root = "/run/nvidia/driver/";
    EXPECT_EQ(
        edits(options, {kMig}).devices,
        nodes(
            {"/dev/nvidiactl",
             "/dev/nvidia0",
             "/dev/nvidia-caps/nvidia-cap66",
             "/dev/nvidia-caps/nvidia-cap67"},
            "/run/nvidia/driver"
        )
    );
}

TEST(NvidiaGolden, volume_mounts) {
    InjectOptions options;
    options.device_list_strategy = {"volume-mounts"};
    ContainerEdits expected;
    expected.envs["NVIDIA_VISIBLE_DEVICES"] = "/var/run/nvidia-container-devices";
    expected.mounts = {{"/dev/null", "/var/run/nvidia-container-devices/GPU-1111", false}};
    EXPECT_EQ(edits(options, {kCard, kCard}), expected);
}

TEST(NvidiaGolden, cdi_cri) {
    InjectOptions options;
    options.device_list_strategy = {"cdi-cri"};
    options.pass_device_specs = true;  // the specification has the nodes
    ContainerEdits expected;
    expected.cdi_devices = {"k8s.device-plugin.nvidia.com/gpu=GPU-1111"};
    EXPECT_EQ(edits(options, {kCard, kCard}), expected);
}

TEST(NvidiaGolden, cdi_annotations) {
    InjectOptions options;
    options.device_list_strategy = {"cdi-annotations"};
    options.device_id_strategy = "index";
    ContainerEdits expected;
    expected.annotations["cdi.k8s.io/nvidia-device-plugin_01234567-89ab-cdef-0123-456789abcdef"] =
        "k8s.device-plugin.nvidia.com/gpu=0,k8s.device-plugin.nvidia.com/gpu=10";
    EXPECT_EQ(edits(options, {kOther, kCard}, "0123456789abcdef0123456789abcdef"), expected);
    options.cdi_annotation_prefix = "example.com/";
    EXPECT_TRUE(
        edits(options, {kCard}).annotations.contains("example.com/nvidia-device-plugin_token-1")
    );
}

TEST(NvidiaGolden, a_list_of_strategies_is_the_union) {
    InjectOptions options;
    options.device_list_strategy = {"envvar", "cdi-cri"};
    ContainerEdits expected;
    expected.envs["NVIDIA_VISIBLE_DEVICES"] = "GPU-1111";
    expected.cdi_devices = {"k8s.device-plugin.nvidia.com/gpu=GPU-1111"};
    EXPECT_EQ(edits(options, {kCard}), expected);
}

TEST(NvidiaGolden, switches_for_more_hardware) {
    InjectOptions options;
    options.extra_envs = {"NVIDIA_GDS", "NVIDIA_MOFED"};
    const auto made = edits(options, {kCard});
    EXPECT_EQ(made.envs.at("NVIDIA_GDS"), "enabled");
    EXPECT_EQ(made.envs.at("NVIDIA_MOFED"), "enabled");
}

TEST(Nvidia, control_nodes_are_looked_for_below_the_root_seen_here) {
    const testing::TempFolder folder;
    const std::filesystem::path& root = folder.path();
    std::filesystem::create_directories(root / "dev");
    { std::ofstream(root / "dev/nvidia-uvm") << ""; }
    InjectOptions options;
    options.strategy = "nvidia";
    options.pass_device_specs = true;
    options.host_root = root.string() + "/";
    auto injector = make_injector(options);
    ASSERT_TRUE(injector.ok());
    const auto made = (*injector)->edits(std::vector{kCard}, "t");
    ASSERT_TRUE(made.ok());
    EXPECT_EQ(made->devices, nodes({"/dev/nvidia-uvm", "/dev/nvidia0"}));
}

TEST(Injector, unknown_names_are_refused_and_what_there_is_listed) {
    auto refused = [](auto change, const char* value, const char* available) {
        InjectOptions options;
        change(options);
        const Status checked = check_inject_options(options);
        ASSERT_FALSE(checked.ok()) << value;
        EXPECT_EQ(checked.error().code, ErrorCode::kInvalid);
        EXPECT_NE(checked.error().message.find(value), std::string::npos);
        EXPECT_NE(checked.error().message.find(available), std::string::npos);
        EXPECT_FALSE(make_injector(options).ok());
    };
    refused(
        [](auto& o) { o.strategy = "docker"; }, "--injection=docker", "auto, direct, cdi, nvidia"
    );
    refused(
        [](auto& o) {
            o.device_list_strategy = {"envvar", "cdi"};
        },
        "--device-list-strategy=cdi",
        "envvar, volume-mounts, cdi-annotations, cdi-cri"
    );
    refused([](auto& o) { o.device_id_strategy = "name"; }, "=name", "uuid, index");
    refused([](auto& o) { o.device_list_strategy.clear(); }, "is empty", "envvar");
    refused(
        [](auto& o) {
            o.device_list_strategy = {"cdi-cri"};
            o.extra_envs = {"NVIDIA_GDS"};
        },
        "--gds-enabled",
        "envvar and volume-mounts only"
    );
    refused(
        [](auto& o) {
            o.strategy = "direct";
            o.pass_device_specs = true;
        },
        "--injection=direct",
        "--injection=nvidia"
    );
    EXPECT_TRUE(check_inject_options({}).ok());
}

TEST(Injector, incomplete_cards_are_refused) {
    InjectOptions options;
    options.strategy = "nvidia";
    auto injector = make_injector(options);
    GivenCard nameless = kCard;
    nameless.uuid.clear();
    EXPECT_FALSE((*injector)->edits(std::vector{nameless}, "t").ok());
    EXPECT_FALSE((*injector)->edits({}, "t").ok());
    options.pass_device_specs = true;
    GivenCard no_node = kCard;
    no_node.device_nodes.clear();
    const auto made = (*make_injector(options))->edits(std::vector{no_node}, "t");
    ASSERT_FALSE(made.ok());
    EXPECT_NE(made.error().message.find("GPU-1111"), std::string::npos);
}

}  // namespace
}  // namespace egpu::inject
