// The command over simulated cards and a driver on disk, made of the simulated libraries.
#include "cli/cdi_command.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>

#include "base/files.h"
#include "base/json.h"
#include "testing/nvml/sim_fixture.h"

namespace egpu::cli {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class CdiCommand : public egpu::testing::SimTest {
  protected:
    CdiCommand() {
        sim("t4");
        const fs::path lib = folder_ / "root/usr/lib64";
        fs::create_directories(lib);
        fs::copy_file(EDGE_GPU_SIM_CUDA_LIBRARY, lib / "libcuda.so.535.161.08");
        fs::copy_file(EDGE_GPU_SIM_LIBRARY, lib / "libnvidia-ml.so.535.161.08");
        fs::create_symlink("libcuda.so.535.161.08", lib / "libcuda.so.1");
        fs::create_symlink("libnvidia-ml.so.535.161.08", lib / "libnvidia-ml.so.1");
        std::ofstream(lib / "libnvidia-simulated-state.so.535.161.08") << "profile t4 node-1\n";
    }
    int run(std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), "cdi");
        std::vector<char*> argv;
        for (std::string& argument : arguments) argv.push_back(argument.data());
        ::testing::internal::CaptureStdout();
        ::testing::internal::CaptureStderr();
        const int status = run_cdi(static_cast<int>(argv.size()), argv.data());
        out_ = ::testing::internal::GetCapturedStdout();
        error_ = ::testing::internal::GetCapturedStderr();
        return status;
    }
    std::vector<std::string> generate() {
        return {
            "generate",
            "--host-root",
            (folder_ / "root").string(),
            "--nvml-library",
            EDGE_GPU_SIM_LIBRARY};
    }

    std::string out_;
    std::string error_;
};

TEST_F(CdiCommand, generate_list_validate) {
    auto arguments = generate();
    arguments.insert(arguments.end(), {"--output", (folder_ / "root/etc/cdi/gpu.json").string()});
    ASSERT_EQ(run(arguments), 0) << error_;
    const std::string text = read_file(folder_ / "root/etc/cdi/gpu.json").value();
    EXPECT_THAT(text, HasSubstr("/usr/lib64/libcuda.so.535.161.08"));
    // What tells the simulated libraries their node travels with them.
    EXPECT_THAT(text, HasSubstr("/usr/local/nvidia/lib64/libnvidia-simulated-state.so.535.161.08"));
    ASSERT_EQ(run({"validate", (folder_ / "root/etc/cdi/gpu.json").string()}), 0) << out_;
    EXPECT_THAT(out_, HasSubstr("gpu.json: ok"));
    ASSERT_EQ(run({"list", "--host-root", (folder_ / "root").string()}), 0) << error_;
    for (const std::string& uuid : sim_->gpu_uuids()) {
        EXPECT_THAT(out_, HasSubstr("edge-gpu.io/gpu=" + uuid + "\t/etc/cdi/gpu.json\n"));
    }
}

TEST_F(CdiCommand, by_index_to_standard_output) {
    auto arguments = generate();
    arguments.emplace_back("--by-index");
    ASSERT_EQ(run(arguments), 0) << error_;
    const auto spec = json::parse(out_);
    ASSERT_TRUE(spec.ok());
    EXPECT_EQ(json::get_string(spec->at("devices").at(1), {"name"}), "1");
}

TEST_F(CdiCommand, says_what_is_wrong) {
    EXPECT_EQ(run({}), 2);
    EXPECT_EQ(run({"generate", "--frobnicate"}), 2);
    EXPECT_THAT(error_, HasSubstr("--frobnicate"));
    EXPECT_EQ(run({"validate", "/nothing"}), 1);
    std::ofstream(folder_ / "bad.json") << R"({"cdiVersion":"0.3.0","kind":"x","devices":[]})";
    EXPECT_EQ(run({"validate", (folder_ / "bad.json").string()}), 1);
    EXPECT_THAT(out_, HasSubstr("bad.json: devices: there are none"));
    fs::remove(folder_ / "root/usr/lib64/libcuda.so.535.161.08");
    EXPECT_EQ(run(generate()), 1);
    EXPECT_THAT(error_, HasSubstr("libcuda.so.1 was not found"));
}

}  // namespace
}  // namespace egpu::cli
