#include "doctor/repair.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/files.h"
#include "doctor/check.h"
#include "doctor/recorded_node_for_test.h"
#include "doctor/render.h"
#include "testing/temp_folder.h"

namespace egpu::doctor {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// A recorded node made real below a folder.
class RealNode : public ::testing::Test {
  protected:
    // False where this user may not make device nodes.
    bool make(const std::string& fault) {
        node_ = load_broken_node(fault);
        bool all = true;
        copy("/", all);
        view_ = std::make_unique<HostView>(root_.path());
        node_.facts.files = view_.get();
        node_.facts.root = root_.path().string();
        return all;
    }
    Report check() const { return run_checks(node_.facts); }
    RepairPlan plan() const {
        return plan_repairs(check(), node_.facts, {"before", "libnvidia-ml.so.1"});
    }

    testing::TempFolder root_;
    RecordedNode node_;

  private:
    void copy(const std::string& folder, bool& all) {
        const FileView& from = *node_.files;
        const auto names = from.list(folder);
        ASSERT_TRUE(names.ok());
        for (const std::string& name : *names) {
            const std::string path = (folder == "/" ? "" : folder) + "/" + name;
            const FileInfo info = *from.look_at_link(path);
            const std::string real = root_.path().string() + path;
            if (info.type == FileType::kFolder) {
                fs::create_directories(real);
                copy(path, all);
            } else if (info.type == FileType::kLink) {
                fs::create_symlink(info.target, real);
            } else if (info.type == FileType::kChar) {
                all = ::mknod(real.c_str(), S_IFCHR | info.mode, makedev(info.major, info.minor)) ==
                          0 &&
                      all;
                ::chmod(real.c_str(), info.mode);
            } else if (info.type == FileType::kRegular) {
                const auto content = from.read(path);
                std::ofstream(real) << (content ? *content : "");
                ::chmod(real.c_str(), info.mode);
            }
        }
    }
    std::unique_ptr<HostView> view_;
};

TEST_F(RealNode, a_real_tree_is_judged_like_its_recording) {
    if (!make("node-mode")) GTEST_SKIP() << "may not make device nodes";
    const Report report = check();
    EXPECT_EQ(report.severity(), Severity::kWarning) << render_text(report, {});
    EXPECT_NE(report.find("device-nodes-mode"), nullptr);
}

TEST_F(RealNode, device_nodes_and_links_are_made_and_then_nothing_is_left_to_do) {
    if (!make("nodes-missing")) GTEST_SKIP() << "may not make device nodes";
    EXPECT_NE(check().find("device-nodes-missing"), nullptr);
    const RepairPlan first = plan();
    ASSERT_EQ(first.repairs.size(), 1U);
    EXPECT_THAT(first.repairs[0].preview, HasSubstr("mknod /dev/nvidia-uvm c 237 0\n"));
    EXPECT_THAT(first.repairs[0].preview, HasSubstr("ln -s ../nvidia0 /dev/char/195:0\n"));
    const Status done = first.repairs[0].apply();
    ASSERT_TRUE(done.ok()) << done.error().message;
    EXPECT_EQ(check().find("device-nodes-missing"), nullptr);
    EXPECT_EQ(check().find("dev-char-links-missing"), nullptr);
    EXPECT_TRUE(plan().repairs.empty());
    EXPECT_TRUE(first.repairs[0].apply().ok());  // again: no harm
}

TEST_F(RealNode, a_node_of_the_last_boot_is_replaced) {
    if (!make("uvm-node-of-last-boot")) GTEST_SKIP() << "may not make device nodes";
    const RepairPlan first = plan();
    ASSERT_EQ(first.repairs.size(), 1U);
    ASSERT_TRUE(first.repairs[0].apply().ok());
    EXPECT_EQ(check().severity(), Severity::kOk) << render_text(check(), {});
}

TEST_F(RealNode, containerds_configuration_is_changed_with_a_copy_kept) {
    (void)make("containerd-cdi-off");
    const fs::path file = root_ / "etc/containerd/config.toml";
    const std::string before = read_file(file).value();
    ::chmod(file.c_str(), 0640);
    const RepairPlan first = plan();
    ASSERT_EQ(first.repairs.size(), 1U) << render_text(check(), {});
    EXPECT_THAT(first.repairs[0].preview, HasSubstr("--- /etc/containerd/config.toml\n"));
    EXPECT_THAT(first.repairs[0].preview, HasSubstr("+  enable_cdi = true\n"));
    EXPECT_EQ(first.repairs[0].after, "systemctl restart containerd");
    EXPECT_EQ(read_file(file).value(), before);  // nothing happens before it is applied
    ASSERT_TRUE(first.repairs[0].apply().ok());
    EXPECT_EQ(read_file(file.string() + ".before").value(), before);
    EXPECT_THAT(read_file(file).value(), HasSubstr("enable_cdi = true"));
    struct stat info {};
    ASSERT_EQ(::stat(file.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777U, 0640U);
    EXPECT_EQ(check().find("containerd-cdi-off"), nullptr);
    EXPECT_TRUE(plan().repairs.empty());
    // The plan was made for what the file was.
    EXPECT_EQ(first.repairs[0].apply().error().code, ErrorCode::kConflict);
}

TEST_F(RealNode, what_has_no_repair_is_left_alone) {
    (void)make("module-not-loaded");
    EXPECT_TRUE(plan().repairs.empty());
}

}  // namespace
}  // namespace egpu::doctor
