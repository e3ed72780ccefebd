#include "inject/injector.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace egpu::inject {
namespace {

const GivenCard kCard{"GPU-1111", 0, "0", {"/dev/nvidia0"}};
const GivenCard kOther{"GPU-2222", 10, "10", {"/dev/nvidia10"}};
const GivenCard kMig{
    "MIG-2222",
    100,
    "0:0",
    {"/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap66", "/dev/nvidia-caps/nvidia-cap67"}};

ContainerEdits edits(InjectOptions options, const std::vector<GivenCard>& cards) {
    if (!options.node_exists) options.node_exists = [](const std::string&) { return true; };
    auto injector = make_injector(std::move(options));
    EXPECT_TRUE(injector.ok());
    auto made = (*injector)->edits(cards, "token-1");
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

TEST(Nvidia, control_nodes_are_looked_for_below_the_root_seen_here) {
    std::string pattern = ::testing::TempDir() + "inject_test.XXXXXX";
    const std::filesystem::path root = mkdtemp(pattern.data());
    std::filesystem::create_directories(root / "dev");
    { std::ofstream(root / "dev/nvidia-uvm") << ""; }
    InjectOptions options;
    options.pass_device_specs = true;
    options.dev_root_here = root.string() + "/";
    auto injector = make_injector(options);
    ASSERT_TRUE(injector.ok());
    const auto made = (*injector)->edits(std::vector{kCard}, "t");
    ASSERT_TRUE(made.ok());
    EXPECT_EQ(made->devices, nodes({"/dev/nvidia-uvm", "/dev/nvidia0"}));
    std::filesystem::remove_all(root);
}

TEST(Injector, names_what_is_in_effect) {
    EXPECT_EQ((*make_injector({}))->name(), "nvidia");
}

TEST(Injector, unknown_names_are_refused_and_what_there_is_listed) {
    auto refused = [](auto change, const char* value, const char* available) {
        InjectOptions options;
        change(options);
        const auto injector = make_injector(options);
        ASSERT_FALSE(injector.ok()) << value;
        EXPECT_EQ(injector.error().code, ErrorCode::kInvalid);
        EXPECT_NE(injector.error().message.find(value), std::string::npos);
        EXPECT_NE(injector.error().message.find(available), std::string::npos);
        EXPECT_NE(
            injector.error().message.find("not available in this version"), std::string::npos
        );
    };
    refused([](auto& o) { o.strategy = "cdi"; }, "--injection=cdi", "nvidia");
    refused([](auto& o) { o.strategy = "direct"; }, "--injection=direct", "nvidia");
    refused(
        [](auto& o) {
            o.device_list_strategy = {"envvar", "cdi-cri"};
        },
        "--device-list-strategy=cdi-cri",
        "envvar, volume-mounts"
    );
    refused([](auto& o) { o.device_id_strategy = "name"; }, "=name", "uuid, index");
    InjectOptions none;
    none.device_list_strategy.clear();
    EXPECT_FALSE(make_injector(none).ok());
}

TEST(Injector, incomplete_cards_are_refused) {
    auto injector = make_injector({});
    GivenCard nameless = kCard;
    nameless.uuid.clear();
    EXPECT_FALSE((*injector)->edits(std::vector{nameless}, "t").ok());
    EXPECT_FALSE((*injector)->edits({}, "t").ok());
    InjectOptions specs;
    specs.pass_device_specs = true;
    GivenCard no_node = kCard;
    no_node.device_nodes.clear();
    const auto made = (*make_injector(specs))->edits(std::vector{no_node}, "t");
    ASSERT_FALSE(made.ok());
    EXPECT_NE(made.error().message.find("GPU-1111"), std::string::npos);
}

}  // namespace
}  // namespace egpu::inject
