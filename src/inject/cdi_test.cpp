// CDI: specifications of all recorded drivers, the validator, and the strategy on a node on disk.
#include <fstream>

#include <gmock/gmock.h>

#include "base/json.h"
#include "inject/artefacts.h"
#include "inject/cdi_validate.h"
#include "inject/node_for_test.h"

namespace egpu::inject {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const GivenCard kCard{"GPU-1111", 0, "0", {"/dev/nvidia0"}, ""};
const GivenCard kMig{
    "MIG-GPU-2222/7/0",
    100,
    "0:0",
    {"/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap66", "/dev/nvidia-caps/nvidia-cap67"},
    ""};

TEST(CdiSpec, of_every_recorded_driver_is_valid_and_names_what_exists) {
    int specs = 0;
    for (const auto& entry : std::filesystem::directory_iterator(EDGE_GPU_TEST_DATA "/drivers")) {
        SCOPED_TRACE(entry.path().filename());
        const auto node = RecordedView::load(entry.path());
        ASSERT_TRUE(node.ok());
        for (const char* root : {"/", "/run/nvidia/driver"}) {
            const SubView driver_root(**node, root);
            NodeFiles files;
            files.driver = gpu::find_driver(driver_root, {gpu::loaded_module_version(**node)});
            if (!files.driver.usable()) continue;
            files.mounts = driver_mounts(files.driver, gpu::kAllCapabilities, "x86_64");
            files.control_nodes = {"/dev/nvidiactl"};
            std::vector<GivenCard> cards{kCard};
            if (files.driver.kind != gpu::DriverKind::kLinux) cards[0].device_nodes.clear();
            const auto spec = make_cdi_spec(kCdiKind, false, files, root, **node, cards);
            ASSERT_TRUE(spec.ok());
            EXPECT_THAT(validate_cdi(to_text(*spec)), IsEmpty());
            EXPECT_GT(spec->edits.mounts.size(), 3U);
            for (const CdiMount& mount : spec->edits.mounts) {
                EXPECT_TRUE((*node)->exists(mount.host_path)) << mount.host_path;
            }
            ++specs;
        }
    }
    EXPECT_GE(specs, 10);
}

TEST(CdiSpec, text_of_a_small_one) {
    CdiSpec spec;
    spec.kind = "edge-gpu.io/gpu";
    spec.devices = {{"GPU-1111", {{}, {{"/dev/nvidia0", "", 195, 0, "rw"}}, {}}}};
    spec.edits.env = {"NVIDIA_VISIBLE_DEVICES=void"};
    spec.edits.nodes = {{"/dev/nvidiactl", "", std::nullopt, std::nullopt, "rw"}};
    spec.edits.mounts = {{"/a", "/b", {"ro", "rbind"}}};
    EXPECT_EQ(to_text(spec), R"({
  "cdiVersion": "0.3.0",
  "kind": "edge-gpu.io/gpu",
  "devices": [
    {
      "name": "GPU-1111",
      "containerEdits": {
        "deviceNodes": [
          {"path": "/dev/nvidia0", "type": "c", "major": 195, "minor": 0, "permissions": "rw"}
        ]
      }
    }
  ],
  "containerEdits": {
    "env": [
      "NVIDIA_VISIBLE_DEVICES=void"
    ],
    "deviceNodes": [
      {"path": "/dev/nvidiactl", "permissions": "rw"}
    ],
    "mounts": [
      {"hostPath": "/a", "containerPath": "/b", "options": ["ro", "rbind"]}
    ]
  }
}
)");
}

TEST(CdiSpec, takes_the_lowest_version_that_suffices) {
    CdiSpec spec;
    spec.kind = "edge-gpu.io/gpu";
    spec.devices = {{"GPU-1", {{}, {{"/dev/nvidia0", "", 195, 0, "rw"}}, {}}}};
    EXPECT_EQ(lowest_version(spec), "0.3.0");
    spec.devices[0].edits.nodes[0].host_path = "/run/nvidia/driver/dev/nvidia0";
    EXPECT_EQ(lowest_version(spec), "0.5.0");
    spec.devices[0] = {"0", {{"A=b"}, {}, {}}};
    EXPECT_EQ(lowest_version(spec), "0.5.0");
    EXPECT_THAT(validate_cdi(to_text(spec)), IsEmpty());
}

TEST(CdiSpec, names_of_files_and_devices) {
    EXPECT_EQ(
        cdi_file_name("k8s.device-plugin.nvidia.com/gpu"), "k8s.device-plugin.nvidia.com-gpu.json"
    );
    EXPECT_EQ(cdi_device_name("MIG-GPU-2222/7/0"), "MIG-GPU-2222_7_0");
    EXPECT_EQ(cdi_device_name("0:1"), "0:1");
}

std::vector<std::string> faults_of(const std::string& members, const std::string& edits = "{}") {
    return validate_cdi(
        R"({"cdiVersion":"0.3.0","kind":"a.com/b","containerEdits":)" + edits +
        R"(,"devices":[{"name":"x","containerEdits":{"env":["A=b"]}}])" + members + "}"
    );
}

TEST(CdiValidate, each_rule) {
    EXPECT_THAT(faults_of(""), IsEmpty());
    const std::pair<const char*, const char*> of_spec[] = {
        {"not json", "JSON"},
        {"[]", "is not an object"},
        {R"({"kind":"a/b","devices":[{"name":"x","containerEdits":{"env":["A=b"]}}]})",
         "cdiVersion: is missing"},
        {R"({"cdiVersion":"9.0.0","kind":"a/b","devices":[{"name":"x","containerEdits":{"env":["A=b"]}}]})",
         "\"9.0.0\""},
        {R"({"cdiVersion":"0.3.0","kind":"a","devices":[{"name":"x","containerEdits":{"env":["A=b"]}}]})",
         "VENDOR/CLASS"},
        {R"({"cdiVersion":"0.3.0","kind":"1a/b","devices":[{"name":"x","containerEdits":{"env":["A=b"]}}]})",
         "VENDOR/CLASS"},
        {R"({"cdiVersion":"0.5.0","kind":"a/b.c","devices":[{"name":"x","containerEdits":{"env":["A=b"]}}]})",
         "dot in a class; that needs 0.6.0"},
        {R"({"cdiVersion":"0.3.0","kind":"a/b","devices":[]})", "there are none"},
        {R"({"cdiVersion":"0.3.0","kind":"a/b","devices":[{"name":"x","containerEdits":{}}]})",
         "is empty"},
        {R"({"cdiVersion":"0.3.0","kind":"a/b","devices":[{"name":"x"}]})",
         "containerEdits: is missing"},
        {R"({"cdiVersion":"0.3.0","kind":"a/b","devices":[{"name":"-x","containerEdits":{"env":["A=b"]}}]})",
         "not a device's name"},
        {R"({"cdiVersion":"0.4.0","kind":"a/b","devices":[{"name":"0","containerEdits":{"env":["A=b"]}}]})",
         "needs 0.5.0"},
        {R"({"cdiVersion":"0.3.0","kind":"a/b","devices":[{"name":"x","containerEdits":{"env":["A=b"]}},{"name":"x","containerEdits":{"env":["A=b"]}}]})",
         "is there twice"},
    };
    for (const auto& [text, fault] : of_spec) {
        EXPECT_THAT(validate_cdi(text), Contains(HasSubstr(fault))) << text;
    }
    const std::pair<const char*, const char*> of_edits[] = {
        {R"({"env":["A"]})", "NAME=VALUE"},
        {R"({"env":["=A"]})", "NAME=VALUE"},
        {R"({"env":"A=b"})", "is not a list"},
        {R"({"mount":[]})", "containerEdits.mount: unknown field"},
        {R"({"mounts":[{"hostPath":"/a"}]})", "mounts[0].containerPath: is missing"},
        {R"({"mounts":[{"hostPath":"/a","containerPath":"/b","type":"tmpfs"}]})", "needs 0.4.0"},
        {R"({"mounts":[{"hostPath":"/a","containerPath":"/b","options":[1]}]})", "not a string"},
        {R"({"deviceNodes":[{"path":""}]})", "deviceNodes[0].path: is empty"},
        {R"({"deviceNodes":[{"path":"/d","type":"x"}]})", "none of b, c, u, p"},
        {R"({"deviceNodes":[{"path":"/d","permissions":"rx"}]})", "not of r, w, m"},
        {R"({"deviceNodes":[{"path":"/d","major":-1}]})", "is not a number"},
        {R"({"deviceNodes":[{"path":"/d","hostPath":"/e"}]})", "needs 0.5.0"},
        {R"({"hooks":[{"hookName":"x","path":"/h"}]})", "is not a hook"},
        {R"({"hooks":[{"hookName":"prestart"}]})", "path: is missing"},
        {R"({"additionalGids":[1]})", "needs 0.7.0"},
        {R"({"intelRdt":{}})", "needs 0.7.0"},
        {R"({"netDevices":[{"hostInterfaceName":"a","name":"b"}]})", "needs 1.1.0"},
    };
    for (const auto& [edits, fault] : of_edits) {
        EXPECT_THAT(faults_of("", edits), Contains(HasSubstr(fault))) << edits;
    }
    EXPECT_THAT(faults_of(R"(,"annotations":{"a":"b"})"), Contains(HasSubstr("needs 0.6.0")));
    EXPECT_THAT(faults_of(R"(,"extra":1)"), ElementsAre("extra: unknown field"));
}

class Cdi : public NodeOnDisk {
  protected:
    Cdi() { driver("535.161.08"); }
    void SetUp() override {
        for (const char* node :
             {"nvidiactl", "nvidia0", "nvidia-caps/nvidia-cap66", "nvidia-caps/nvidia-cap67"}) {
            if (!device(std::string("/dev/") + node, 195, minor_++)) {
                GTEST_SKIP() << "device nodes cannot be created here";
            }
        }
    }
    std::filesystem::path file_ = root_ / "var/run/cdi/edge-gpu.io-gpu.json";
    unsigned minor_ = 0;
};

TEST_F(Cdi, names_travel_twice) {
    auto cdi = make_injector(options("cdi"));
    const auto made = (*cdi)->edits(std::vector{kCard, kCard, kMig}, "abc");
    ASSERT_TRUE(made.ok());
    ContainerEdits expected;
    expected.cdi_devices = {"edge-gpu.io/gpu=GPU-1111", "edge-gpu.io/gpu=MIG-GPU-2222_7_0"};
    expected.annotations["cdi.k8s.io/edge-gpu_abc"] =
        "edge-gpu.io/gpu=GPU-1111,edge-gpu.io/gpu=MIG-GPU-2222_7_0";
    EXPECT_EQ(*made, expected);
}

TEST_F(Cdi, the_specification_follows_driver_cards_and_an_emptied_run) {
    auto cdi = make_injector(options("cdi"));
    ASSERT_TRUE((*cdi)->ensure(std::vector{kCard}).ok());
    EXPECT_THAT(validate_cdi(content(file_)), IsEmpty());
    EXPECT_THAT(content(file_), HasSubstr("libcuda.so.535.161.08"));
    EXPECT_THAT(content(file_), Not(HasSubstr("MIG-")));
    ASSERT_TRUE((*cdi)->ensure(std::vector{kCard, kMig}).ok());
    EXPECT_THAT(content(file_), HasSubstr("\"MIG-GPU-2222_7_0\""));
    remove_driver("535.161.08");
    driver("550.54.15");
    ASSERT_TRUE((*cdi)->ensure(std::vector{kCard, kMig}).ok());
    EXPECT_THAT(content(file_), HasSubstr("libcuda.so.550.54.15"));
    EXPECT_THAT(content(file_), Not(HasSubstr("535.161.08")));
    remove("/var/run");
    ASSERT_TRUE((*cdi)->ensure(std::vector{kCard, kMig}).ok());
    EXPECT_THAT(content(file_), HasSubstr("libcuda.so.550.54.15"));
    // Without cards, at a start without the driver, the last one stays.
    ASSERT_TRUE((*cdi)->ensure({}).ok());
    EXPECT_THAT(content(file_), HasSubstr("GPU-1111"));
}

TEST_F(Cdi, is_kept_after_the_strategy_changed) {
    ASSERT_TRUE((*make_injector(options("cdi")))->ensure(std::vector{kCard}).ok());
    remove("/var/run");
    ASSERT_TRUE((*make_injector(options("direct")))->ensure(std::vector{kCard}).ok());
    EXPECT_THAT(content(file_), HasSubstr("GPU-1111"));
}

TEST_F(Cdi, of_nvidias_strategies_by_index) {
    auto with = options("nvidia");
    with.device_list_strategy = {"cdi-cri"};
    with.device_id_strategy = "index";
    ASSERT_TRUE((*make_injector(with))->ensure(std::vector{kCard}).ok());
    const auto spec =
        json::parse(content(root_ / "var/run/cdi/k8s.device-plugin.nvidia.com-gpu.json"));
    ASSERT_TRUE(spec.ok());
    EXPECT_EQ(json::get_string(*spec, {"cdiVersion"}), "0.5.0");
    EXPECT_EQ(json::get_string(spec->at("devices").at(0), {"name"}), "0");
    EXPECT_FALSE(std::filesystem::exists(file_));
}

TEST_F(Cdi, a_folder_that_cannot_be_written_is_named) {
    auto with = options("cdi");
    with.cdi_spec_dir = root_ / "usr/bin/nvidia-smi";
    const Status ensured = (*make_injector(with))->ensure(std::vector{kCard});
    ASSERT_FALSE(ensured.ok());
    EXPECT_THAT(ensured.error().message, HasSubstr("nvidia-smi"));
}

}  // namespace
}  // namespace egpu::inject
