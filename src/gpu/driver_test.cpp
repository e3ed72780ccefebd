// find_driver() on the recorded trees of tests/data/drivers.
#include "gpu/driver.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace egpu::gpu {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::filesystem::path kTrees = EDGE_GPU_TEST_DATA "/drivers";

std::unique_ptr<RecordedView> tree(const std::string& name) {
    auto view = RecordedView::load(kTrees / (name + ".txt"));
    EXPECT_TRUE(view.ok()) << view.error().message;
    return std::move(*view);
}

Driver driver_of(const std::string& name, DriverHints hints = {}) {
    return find_driver(*tree(name), hints);
}

const DriverLibrary* library(const Driver& driver, const std::string& name, bool wide = true) {
    for (const DriverLibrary& library : driver.libraries) {
        const auto& names = library.names;
        if (library.is_32bit != wide &&
            std::find(names.begin(), names.end(), name) != names.end()) {
            return &library;
        }
    }
    return nullptr;
}

std::string path_of(const Driver& driver, const std::string& name) {
    const DriverLibrary* found = library(driver, name);
    return found == nullptr ? "" : found->path;
}

std::vector<std::string> names_with(const Driver& driver, Capabilities wanted) {
    std::vector<std::string> names;
    for (const DriverLibrary& library : driver.libraries) {
        if (!library.is_32bit && (library.capabilities & wanted) != 0) {
            names.push_back(library.names[0]);
        }
    }
    std::sort(names.begin(), names.end());
    return names;
}

std::string container_path(const Driver& driver, const std::string& path) {
    for (const DriverFile& file : driver.files) {
        if (file.path == path) return file.container_path;
    }
    return "";
}

TEST(Driver, ubuntu_450) {
    const Driver driver = driver_of("450.102.04-ubuntu");
    EXPECT_EQ(driver.kind, DriverKind::kLinux);
    EXPECT_EQ(driver.version, "450.102.04");
    EXPECT_THAT(driver.notes, IsEmpty());
    EXPECT_TRUE(driver.usable());
    EXPECT_THAT(
        names_with(driver, kCompute),
        ElementsAre(
            "libcuda.so.1",
            "libnvidia-allocator.so.1",
            "libnvidia-compiler.so.450.102.04",
            "libnvidia-opencl.so.1",
            "libnvidia-ptxjitcompiler.so.1"
        )
    );
    EXPECT_THAT(
        names_with(driver, kUtility), ElementsAre("libnvidia-cfg.so.1", "libnvidia-ml.so.1")
    );
    const DriverLibrary* cuda = library(driver, "libcuda.so");
    ASSERT_NE(cuda, nullptr);
    EXPECT_EQ(cuda->path, "/usr/lib/x86_64-linux-gnu/libcuda.so.450.102.04");
    EXPECT_THAT(cuda->names, ElementsAre("libcuda.so.1", "libcuda.so"));
    EXPECT_FALSE(cuda->carries_version);
    EXPECT_TRUE(library(driver, "libnvidia-compiler.so.450.102.04")->carries_version);
    EXPECT_EQ(library(driver, "libvdpau_nvidia.so.1")->subfolder, "vdpau");
    EXPECT_EQ(
        library(driver, "libcuda.so.1", false)->path,
        "/usr/lib/i386-linux-gnu/libcuda.so.450.102.04"
    );
    EXPECT_EQ(library(driver, "libnvidia-gtk3.so.450.102.04"), nullptr);
    EXPECT_NE(library(driver, "libGLX_indirect.so.0"), nullptr);
    EXPECT_EQ(
        path_of(driver, "libnvidia-egl-wayland.so.1"),
        "/usr/lib/x86_64-linux-gnu/libnvidia-egl-wayland.so.1.1.4"
    );
    EXPECT_EQ(container_path(driver, "/usr/bin/nvidia-smi"), "/usr/bin/nvidia-smi");
    EXPECT_EQ(
        container_path(driver, "/usr/share/vulkan/icd.d/nvidia_icd.json"),
        "/etc/vulkan/icd.d/nvidia_icd.json"
    );
}

TEST(Driver, centos_450_has_32_bit_libraries_in_lib) {
    const Driver driver = driver_of("450.102.04-centos");
    EXPECT_EQ(driver.version, "450.102.04");
    EXPECT_EQ(path_of(driver, "libcuda.so.1"), "/usr/lib64/libcuda.so.450.102.04");
    EXPECT_EQ(library(driver, "libcuda.so.1", false)->path, "/usr/lib/libcuda.so.450.102.04");
    EXPECT_EQ(
        container_path(driver, "/usr/lib64/xorg/modules/drivers/nvidia_drv.so"),
        "/usr/lib/xorg/modules/drivers/nvidia_drv.so"
    );
}

TEST(Driver, debian_535_through_alternatives) {
    const Driver driver = driver_of("535.161.08-debian");
    EXPECT_EQ(driver.version, "535.161.08");
    EXPECT_EQ(
        path_of(driver, "libcuda.so.1"),
        "/usr/lib/x86_64-linux-gnu/nvidia/current/libcuda.so.535.161.08"
    );
    EXPECT_EQ(
        path_of(driver, "libnvidia-nvvm.so.4"),
        "/usr/lib/x86_64-linux-gnu/nvidia/current/libnvidia-nvvm.so.535.161.08"
    );
    EXPECT_EQ(container_path(driver, "/usr/lib/nvidia/current/nvidia-smi"), "/usr/bin/nvidia-smi");
    EXPECT_EQ(
        container_path(driver, "/usr/lib/firmware/nvidia/535.161.08/gsp_ga10x.bin"),
        "/lib/firmware/nvidia/535.161.08/gsp_ga10x.bin"
    );
}

TEST(Driver, never_mixes_versions) {
    const auto view = tree("535.161.08-stale-470");
    for (const std::string hint : {"", "535.161.08"}) {
        const Driver driver = find_driver(*view, {hint});
        EXPECT_EQ(driver.version, "535.161.08");
        EXPECT_EQ(
            path_of(driver, "libnvidia-encode.so.1"),
            "/usr/lib/x86_64-linux-gnu/libnvidia-encode.so.535.161.08"
        );
        EXPECT_THAT(driver.notes, ElementsAre(HasSubstr("files of driver 470.57.02 lie beside")));
    }
    // The old module is still loaded: its files are the ones that work.
    const Driver old = find_driver(*view, {"470.57.02"});
    EXPECT_EQ(old.version, "470.57.02");
    EXPECT_EQ(path_of(old, "libcuda.so.1"), "/usr/lib/x86_64-linux-gnu/libcuda.so.470.57.02");
    // One whose files are gone.
    const Driver gone = find_driver(*view, {"525.60.13"});
    EXPECT_EQ(gone.version, "535.161.08");
    EXPECT_THAT(gone.notes, Contains(HasSubstr("driver that runs is 525.60.13")));
}

TEST(Driver, sles_550_and_ubuntu_580_on_arm) {
    const Driver sles = driver_of("550.54.15-sles");
    EXPECT_EQ(sles.version, "550.54.15");
    EXPECT_EQ(
        path_of(sles, "libnvidia-gpucomp.so.550.54.15"), "/usr/lib64/libnvidia-gpucomp.so.550.54.15"
    );
    const Driver arm = driver_of("580.65.06-ubuntu-aarch64");
    EXPECT_EQ(arm.version, "580.65.06");
    EXPECT_EQ(path_of(arm, "libcuda.so.1"), "/usr/lib/aarch64-linux-gnu/libcuda.so.580.65.06");
    // One that the table does not know is taken for compute.
    const DriverLibrary* unknown = library(arm, "libnvidia-tileiras.so.580.65.06");
    ASSERT_NE(unknown, nullptr);
    EXPECT_EQ(unknown->capabilities, kCompute);
    EXPECT_TRUE(unknown->carries_version);
}

TEST(Driver, in_usr_local_of_a_real_machine) {
    const Driver driver = driver_of("580.159.04-usr-local");
    EXPECT_EQ(driver.version, "580.159.04");
    EXPECT_THAT(driver.notes, IsEmpty());
    EXPECT_EQ(path_of(driver, "libcuda.so"), "/usr/local/nvidia/lib64/libcuda.so.580.159.04");
    EXPECT_THAT(
        names_with(driver, kCompute | kUtility),
        ElementsAre(
            "libcuda.so.1",
            "libcudadebugger.so.1",
            "libnvidia-allocator.so.1",
            "libnvidia-cfg.so.1",
            "libnvidia-gpucomp.so.580.159.04",
            "libnvidia-ml.so.1",
            "libnvidia-nvvm.so.4",
            "libnvidia-opencl.so.1",
            "libnvidia-pkcs11-openssl3.so.580.159.04",
            "libnvidia-ptxjitcompiler.so.1"
        )
    );
    EXPECT_EQ(library(driver, "libcuda.so.1", false), nullptr);  // the links in /usr/lib
    EXPECT_EQ(container_path(driver, "/usr/local/nvidia/bin/nvidia-smi"), "/usr/bin/nvidia-smi");
}

TEST(Driver, in_a_driver_container) {
    const auto node = tree("550.90.07-driver-container");
    EXPECT_EQ(find_driver(*node).kind, DriverKind::kNone);
    const SubView root(*node, "/var/run/nvidia/driver");
    const Driver driver = find_driver(root, {loaded_module_version(*node)});
    EXPECT_EQ(driver.version, "550.90.07");
    EXPECT_EQ(path_of(driver, "libcuda.so.1"), "/usr/lib/x86_64-linux-gnu/libcuda.so.550.90.07");
}

TEST(Driver, in_a_folder_that_only_the_loader_knows) {
    const Driver driver = driver_of("535.161.08-ld-cache");
    EXPECT_EQ(path_of(driver, "libcuda.so.1"), "/opt/drivers/lib/libcuda.so.535.161.08");
}

TEST(Driver, of_a_jetson_board) {
    const Driver driver = driver_of("jetson-l4t-35.4.1");
    EXPECT_EQ(driver.kind, DriverKind::kTegra);
    EXPECT_TRUE(driver.usable());
    EXPECT_THAT(
        driver.device_nodes,
        ElementsAre("/dev/nvhost-ctrl", "/dev/nvhost-gpu", "/dev/nvhost-prof-gpu", "/dev/nvmap")
    );
    EXPECT_THAT(driver.notes, ElementsAre(HasSubstr("2 files named in")));
    EXPECT_THAT(
        driver.files,
        Contains(DriverFile{
            DriverFile::Kind::kConfig,
            "/usr/lib/aarch64-linux-gnu/tegra/libcuda.so.1.1",
            "/usr/lib/aarch64-linux-gnu/libcuda.so.1",
            kAllCapabilities})
    );
    EXPECT_THAT(
        driver.files,
        Contains(DriverFile{
            DriverFile::Kind::kFolder,
            "/usr/lib/firmware/tegra19x",
            "/usr/lib/firmware/tegra19x",
            kAllCapabilities})
    );
}

TEST(Driver, of_windows) {
    const Driver driver = driver_of("wsl2");
    EXPECT_EQ(driver.kind, DriverKind::kWsl);
    EXPECT_TRUE(driver.usable());
    EXPECT_THAT(driver.device_nodes, ElementsAre("/dev/dxg"));
    EXPECT_EQ(path_of(driver, "libcuda.so.1"), "/usr/lib/wsl/lib/libcuda.so.1.1");
    EXPECT_EQ(container_path(driver, "/usr/lib/wsl/drivers"), "/usr/lib/wsl/drivers");
}

TEST(Driver, absent) {
    const Driver driver = driver_of("none");
    EXPECT_EQ(driver, Driver{});
    EXPECT_FALSE(driver.usable());
}

TEST(Driver, a_library_without_version_is_taken_where_there_is_no_other) {
    const auto view = RecordedView::parse("file /usr/lib64/libnvidia-ml.so.1 755 100\n");
    const Driver driver = find_driver(**view, {"535.161.08"});
    EXPECT_EQ(driver.version, "535.161.08");
    EXPECT_EQ(path_of(driver, "libnvidia-ml.so.1"), "/usr/lib64/libnvidia-ml.so.1");
    EXPECT_FALSE(driver.usable());
}

// Of every tree: what comes out exists, is named once, and is of one version.
TEST(Driver, property_of_all_trees) {
    int trees = 0;
    for (const auto& entry : std::filesystem::directory_iterator(kTrees)) {
        SCOPED_TRACE(entry.path().filename());
        const auto node = RecordedView::load(entry.path());
        ASSERT_TRUE(node.ok()) << node.error().message;
        for (const char* folder : {"/", "/run/nvidia/driver"}) {
            const SubView root(**node, folder);
            const Driver driver = find_driver(root, {loaded_module_version(**node)});
            std::set<std::string> paths;
            std::set<std::string> names;
            for (const DriverLibrary& library : driver.libraries) {
                EXPECT_TRUE(paths.insert(library.path).second) << library.path;
                EXPECT_EQ(root.look_at_link(library.path).value().type, FileType::kRegular);
                EXPECT_FALSE(library.names.empty()) << library.path;
                for (const std::string& name : library.names) {
                    EXPECT_TRUE(names.insert(name + (library.is_32bit ? "/32" : "")).second)
                        << name;
                }
                const std::size_t so = library.path.find(".so.");
                if (driver.kind != DriverKind::kLinux ||
                    library.names[0].find("egl") != std::string::npos)
                    continue;
                EXPECT_EQ(library.path.substr(so + 4), driver.version) << library.path;
            }
            std::set<std::string> places;
            for (const DriverFile& file : driver.files) {
                EXPECT_TRUE(root.exists(file.path)) << file.path;
                EXPECT_TRUE(places.insert(file.container_path).second) << file.container_path;
            }
            for (const std::string& device : driver.device_nodes) EXPECT_TRUE(root.exists(device));
        }
        ++trees;
    }
    EXPECT_GE(trees, 11);
}

TEST(Driver, capabilities_as_words) {
    EXPECT_EQ(parse_capabilities("compute,utility").value(), kCompute | kUtility);
    EXPECT_EQ(parse_capabilities("all").value(), kAllCapabilities);
    EXPECT_EQ(capabilities_text(kCompute | kVideo), "compute,video");
    EXPECT_EQ(capabilities_text(kAllCapabilities), "all");
    EXPECT_EQ(parse_capabilities("").value(), 0U);
    const auto wrong = parse_capabilities("compute,cuda");
    ASSERT_FALSE(wrong.ok());
    EXPECT_THAT(wrong.error().message, HasSubstr("\"cuda\""));
}

TEST(Driver, versions_are_ordered_by_number) {
    EXPECT_TRUE(older_version("470.57.02", "535.161.08"));
    EXPECT_TRUE(older_version("535.54.03", "535.161.08"));
    EXPECT_TRUE(older_version("550", "550.1"));
    EXPECT_FALSE(older_version("550.54.15", "550.54.15"));
    EXPECT_FALSE(older_version("1000.1", "999.9"));
}

TEST(Driver, module_version_of_either_file) {
    EXPECT_EQ(loaded_module_version(*tree("450.102.04-ubuntu")), "450.102.04");
    EXPECT_EQ(loaded_module_version(*tree("none")), "");
    const auto view = RecordedView::parse(
        "file /proc/driver/nvidia/version 444 0\n"
        "| NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n"
    );
    EXPECT_EQ(loaded_module_version(**view), "570.86.15");
}

}  // namespace
}  // namespace egpu::gpu
