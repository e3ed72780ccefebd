#include "gpu/nvml.h"

#include <fstream>

#include "gpu/inventory.h"
#include "testing/nvml/sim_fixture.h"

namespace egpu::gpu {
namespace {

class NvmlTest : public testing::SimTest {};

TEST_F(NvmlTest, missing_library_names_code_and_fix) {
    Nvml nvml;
    const auto opened = nvml.open("/nowhere/libnvidia-ml.so.1", "/");
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(opened.error().code, ErrorCode::kNotFound);
    EXPECT_NE(opened.error().message.find("LIBRARY_NOT_FOUND (12)"), std::string::npos);
    EXPECT_NE(opened.error().message.find("install the NVIDIA driver"), std::string::npos);
    EXPECT_EQ(
        nvml.device_count().code, nvml::Code::kFunctionNotFound
    );  // closed: answers, no crash
}

TEST_F(NvmlTest, file_that_is_no_library) {
    const auto path = folder_ / "libnvidia-ml.so.1";
    { std::ofstream(path) << std::string(4096, 'x'); }
    Nvml nvml;
    const auto opened = nvml.open(path.string(), "/");
    ASSERT_FALSE(opened.ok());
    EXPECT_NE(opened.error().message.find("invalid ELF header"), std::string::npos)
        << opened.error().message;
}

TEST_F(NvmlTest, found_below_driver_root) {
    sim("t4");
    const auto lib = folder_ / "root/usr/lib/x86_64-linux-gnu";
    std::filesystem::create_directories(lib);
    std::filesystem::copy_file(kLibrary, lib / "libnvidia-ml.so.1");
    Nvml nvml;
    ASSERT_TRUE(nvml.open("libnvidia-ml.so.1", (folder_ / "root/").string()).ok());
    EXPECT_EQ(nvml.path(), (lib / "libnvidia-ml.so.1").string());
    EXPECT_EQ(nvml.device_count().value, 2U);
}

TEST_F(NvmlTest, link_out_of_the_driver_root_is_passed_over) {
    sim("t4");
    const auto lib = folder_ / "root/usr/lib/x86_64-linux-gnu";
    std::filesystem::create_directories(lib / "nvidia/current");
    std::filesystem::create_symlink("/etc/alternatives/no-such-nvml", lib / "libnvidia-ml.so.1");
    std::filesystem::copy_file(kLibrary, lib / "nvidia/current/libnvidia-ml.so.1");
    Nvml nvml;
    ASSERT_TRUE(nvml.open("libnvidia-ml.so.1", (folder_ / "root").string()).ok());
    EXPECT_EQ(nvml.path(), (lib / "nvidia/current/libnvidia-ml.so.1").string());
}

TEST(LibraryCandidates, loader_first_on_the_host_and_never_below_a_driver_root) {
    EXPECT_EQ(library_candidates("/a/lib.so", "/root"), std::vector<std::string>{"/a/lib.so"});
    EXPECT_EQ(library_candidates("lib.so", "/").front(), "lib.so");
    EXPECT_EQ(library_candidates("lib.so", "").front(), "lib.so");
    for (const std::string& candidate : library_candidates("lib.so", "/root/")) {
        EXPECT_TRUE(candidate.starts_with("/root/usr/lib") || candidate.starts_with("/root/lib"))
            << candidate;
        EXPECT_TRUE(candidate.ends_with("/lib.so")) << candidate;
    }
}

TEST_F(NvmlTest, driver_not_loaded_names_the_module) {
    sim("t4").set_driver_loaded(false);
    save();
    Nvml nvml;
    const auto opened = nvml.open(kLibrary, "/");
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(opened.error().code, ErrorCode::kUnavailable);
    EXPECT_NE(opened.error().message.find("DRIVER_NOT_LOADED (9)"), std::string::npos);
    EXPECT_NE(opened.error().message.find("modprobe nvidia"), std::string::npos);
}

TEST_F(NvmlTest, calls_after_close_answer) {
    sim("t4");
    Nvml nvml;
    ASSERT_TRUE(nvml.open(kLibrary, "/").ok());
    nvml.close();
    nvml.close();
    EXPECT_FALSE(nvml.is_open());
    EXPECT_EQ(nvml.device(0).code, nvml::Code::kFunctionNotFound);
    ASSERT_TRUE(nvml.open(kLibrary, "/").ok());
    EXPECT_TRUE(nvml.device(0).ok());
}

TEST_F(NvmlTest, every_symbol_falls_back_or_says_so) {
    // Symbol hidden -> does this question still get an answer from an older version?
    auto& node = sim("t4");
    node.hide_symbol("nvmlDeviceGetCount_v2");
    node.hide_symbol("nvmlDeviceGetHandleByIndex_v2");
    node.hide_symbol("nvmlDeviceGetPciInfo_v3");
    node.hide_symbol("nvmlEventSetWait_v2");
    node.hide_symbol("nvmlDeviceGetBrand");
    save();
    Nvml nvml;
    ASSERT_TRUE(nvml.open(kLibrary, "/").ok());
    EXPECT_EQ(nvml.device_count().value, 2U);
    const auto device = nvml.device(1);
    ASSERT_TRUE(device.ok());
    EXPECT_EQ(nvml.pci_bus_id(device.value).value, "0000:22:00.0");
    EXPECT_EQ(nvml.brand(device.value).code, nvml::Code::kFunctionNotFound);
    const auto set = nvml.create_event_set();
    ASSERT_TRUE(set.ok());
    EXPECT_EQ(nvml.wait_event(set.value, 1).code, nvml::Code::kTimeout);
    nvml.free_event_set(set.value);
}

TEST_F(NvmlTest, library_of_driver_450) {
    sim("a100-mig").set_driver_450(true);
    save();
    Nvml nvml;
    ASSERT_TRUE(nvml.open(kLibrary450, "/").ok());
    EXPECT_EQ(nvml.driver_version().value, "450.102.04");
    const auto device = nvml.device(0);
    ASSERT_TRUE(device.ok());
    EXPECT_EQ(nvml.recovery_action(device.value).code, nvml::Code::kFunctionNotFound);
    EXPECT_EQ(nvml.fabric_state(device.value).code, nvml::Code::kFunctionNotFound);
    EXPECT_EQ(nvml.remapped_rows(device.value).code, nvml::Code::kFunctionNotFound);
    const auto seen = enumerate(nvml, {}, {});
    ASSERT_TRUE(seen.ok());
    EXPECT_EQ(seen->cards.size(), 11U);
    for (const auto& info : seen->cards) EXPECT_TRUE(info.card.healthy) << info.reason;
}

TEST_F(NvmlTest, events_are_delivered_once_and_keep_the_instance) {
    auto& node = sim("a100-mig");
    const auto gpus = node.gpu_uuids();
    ASSERT_TRUE(node.push_xid(gpus[0], 31).ok());  // before open: never delivered
    save();
    Nvml nvml;
    ASSERT_TRUE(nvml.open(kLibrary, "/").ok());
    const auto device = nvml.device(0);
    const auto set = nvml.create_event_set();
    ASSERT_EQ(nvml.register_events(device.value, nvml::kEventXid, set.value), nvml::Code::kSuccess);
    EXPECT_EQ(nvml.wait_event(set.value, 1).code, nvml::Code::kTimeout);
    ASSERT_TRUE(node.push_xid(gpus[0], 48, 7, 0).ok());
    ASSERT_TRUE(node.push_xid(gpus[1], 79).ok());  // that GPU is not registered
    save();
    const auto event = nvml.wait_event(set.value, 1000);
    ASSERT_TRUE(event.ok());
    EXPECT_EQ(event.value.device, device.value);
    EXPECT_EQ(event.value.data, 48U);
    EXPECT_EQ(event.value.gpu_instance, 7U);
    EXPECT_EQ(nvml.wait_event(set.value, 1).code, nvml::Code::kTimeout);
    nvml.free_event_set(set.value);
}

// The real thing, where there is one: our declarations against the driver's.
TEST(NvmlReal, enumerates) {
    Nvml nvml;
    if (const auto opened = nvml.open("libnvidia-ml.so.1", "/"); !opened) {
        GTEST_SKIP() << opened.error().message;
    }
    const auto seen = enumerate(nvml, {}, {});
    ASSERT_TRUE(seen.ok()) << seen.error().message;
    for (const auto& info : seen->cards) {
        EXPECT_TRUE(info.card.uuid.starts_with("GPU-") || info.card.uuid.starts_with("MIG-"));
        EXPECT_FALSE(info.card.model.empty());
        EXPECT_GT(info.card.memory_mib, 0);
        EXPECT_TRUE(std::filesystem::exists("/sys/bus/pci/devices/" + info.pci_bus_id));
    }
}

}  // namespace
}  // namespace egpu::gpu
