#include "doctor/node_model.h"

#include <gtest/gtest.h>

#include "doctor/proc_tables.h"

namespace egpu::doctor {
namespace {

TEST(FirstVersion, is_found_in_what_programs_print) {
    EXPECT_EQ(first_version("Kubernetes v1.29.3"), (Version{1, 29, 3}));
    EXPECT_EQ(
        first_version("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1"),
        (Version{1, 6, 20})
    );
    EXPECT_EQ(first_version("runc version 1.1.5+ds1\ncommit: 1.1"), (Version{1, 1, 5}));
    EXPECT_EQ(first_version("NVIDIA Container Toolkit CLI version 1.17.8"), (Version{1, 17, 8}));
    EXPECT_EQ(first_version("1.2"), (Version{1, 2, 0}));
    EXPECT_EQ(first_version("99999999999.1"), std::nullopt);
    EXPECT_EQ(first_version("351.-1"), std::nullopt);
    EXPECT_EQ(first_version("no version, 7 times"), std::nullopt);
    EXPECT_EQ(first_version(""), std::nullopt);
}

TEST(FlagValue, knows_every_way_go_writes_a_flag) {
    Process process;
    process.args = {"kubelet", "--root-dir=/a", "--config", "/b", "-v", "--last", "--empty="};
    EXPECT_EQ(flag_value(process, "root-dir"), "/a");
    EXPECT_EQ(flag_value(process, "config"), "/b");
    EXPECT_EQ(flag_value(process, "v"), "");
    EXPECT_EQ(flag_value(process, "last"), "");
    EXPECT_EQ(flag_value(process, "empty"), "");
    EXPECT_EQ(flag_value(process, "root"), std::nullopt);
    EXPECT_EQ(flag_value(process, "conf"), std::nullopt);
    EXPECT_EQ(flag_value(Process{}, "x"), std::nullopt);
}

TEST(XidOf, reads_the_lines_of_old_and_new_drivers) {
    const auto new_style =
        xid_of("NVRM: Xid (PCI:0000:3b:00): 79, pid=1034, name=x, GPU has fallen off the bus.");
    ASSERT_TRUE(new_style);
    EXPECT_EQ(new_style->pci, "0000:3b:00");
    EXPECT_EQ(new_style->xid, 79);
    EXPECT_EQ(xid_of("[ 1.0] NVRM: Xid (0000:05:00): 31, Ch 00000010")->xid, 31);
    for (const char* line : {"", "NVRM: Xid (", "NVRM: Xid (PCI:0): x", "NVRM: loading"}) {
        EXPECT_FALSE(xid_of(line)) << line;
    }
}

TEST(DpkgVersion, counts_installed_packages_only) {
    const std::string status =
        "Package: a\nStatus: deinstall ok config-files\nVersion: 1\n\n"
        "Package: nvidia-container-toolkit\nStatus: install ok installed\nVersion: "
        "1.13.5-1\nDescription: x\n Package: fake\n";
    EXPECT_EQ(dpkg_version(status, "nvidia-container-toolkit"), "1.13.5-1");
    EXPECT_EQ(dpkg_version(status, "a"), "");
    EXPECT_EQ(dpkg_version(status, "fake"), "");
}

TEST(KernelGpus, come_from_the_drivers_tables) {
    const auto view = RecordedView::parse(
        "file /proc/driver/nvidia/gpus/0000:3b:00.0/information 444 -\n| Model: \t\t Tesla T4\n| "
        "Device Minor: \t 3\n"
        "dir /proc/driver/nvidia/gpus/0000:d8:00.0 555\n"
    );
    ASSERT_TRUE(view.ok());
    const auto gpus = kernel_gpus(**view);
    ASSERT_EQ(gpus.size(), 2U);
    EXPECT_EQ(gpus[0].model, "Tesla T4");
    EXPECT_EQ(gpus[0].minor, 3);
    EXPECT_FALSE(gpus[1].minor);
}

}  // namespace
}  // namespace egpu::doctor
