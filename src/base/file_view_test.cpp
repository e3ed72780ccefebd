#include "base/file_view.h"

#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testing/temp_folder.h"

namespace egpu {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTree = R"(# a node
dir /empty 750
file /etc/motd 644 -
| hello
|
|  indented
file /lib/big.so 755 123456
link /lib64 lib
link /lib/out /../../etc/motd
link /lib/up ../../../etc/motd
link /lib/circle circle
link /lib/dangling /nowhere
file /bin%20dir/a%25b 644 -
= AAEC
= /w==
char /dev/nvidia0 666 195:0
socket /run/x.sock 755
file /proc/zero 444 0
)";

void write(const fs::path& path, std::string_view text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
}

// The same tree once recorded and once on disk: both must answer alike.
class FileViews : public ::testing::TestWithParam<bool> {
  protected:
    void SetUp() override {
        if (GetParam()) {
            auto made = RecordedView::parse(kTree);
            ASSERT_TRUE(made.ok()) << made.error().message;
            view_ = std::move(*made);
            return;
        }
        fs::create_directories(root_ / "empty");
        fs::permissions(root_ / "empty", fs::perms(0750));
        write(root_ / "etc/motd", "hello\n\n indented\n");
        write(root_ / "lib/big.so", std::string(123456, 'x'));
        fs::permissions(root_ / "lib/big.so", fs::perms(0755));
        fs::create_symlink("lib", root_ / "lib64");
        fs::create_symlink("/../../etc/motd", root_ / "lib/out");
        fs::create_symlink("../../../etc/motd", root_ / "lib/up");
        fs::create_symlink("circle", root_ / "lib/circle");
        fs::create_symlink("/nowhere", root_ / "lib/dangling");
        write(root_ / "bin dir/a%b", std::string("\0\1\2\xff", 4));
        write(root_ / "proc/zero", "");
        view_ = std::make_unique<HostView>(root_.path().string() + "/");
    }
    testing::TempFolder root_;
    std::unique_ptr<FileView> view_;
};

TEST_P(FileViews, links_stay_inside) {
    EXPECT_EQ(view_->resolve("/lib64/out").value(), "/etc/motd");
    EXPECT_EQ(view_->resolve("/lib/up").value(), "/etc/motd");
    EXPECT_EQ(view_->resolve("/../lib64/./../etc//motd").value(), "/etc/motd");
    EXPECT_EQ(view_->resolve("/").value(), "/");
    EXPECT_EQ(view_->read("/lib64/up").value(), "hello\n\n indented\n");
    EXPECT_EQ(view_->resolve("/lib/circle").error().code, ErrorCode::kInvalid);
    EXPECT_EQ(view_->resolve("/lib/dangling").error().code, ErrorCode::kNotFound);
    EXPECT_EQ(view_->look_at_link("/lib/dangling").value().target, "/nowhere");
    EXPECT_EQ(view_->look_at_link("/lib64").value().type, FileType::kLink);
    EXPECT_EQ(view_->look("/lib64").value().type, FileType::kFolder);
    EXPECT_FALSE(view_->exists("/etc/motd/x"));
    EXPECT_EQ(view_->look("etc").error().code, ErrorCode::kInvalid);
}

TEST_P(FileViews, looks_lists_and_reads_within_limits) {
    EXPECT_EQ(view_->look("/lib/big.so").value().size, 123456U);
    EXPECT_EQ(view_->look("/lib/big.so").value().mode, 0755U);
    EXPECT_EQ(view_->look("/empty").value().mode, 0750U);
    EXPECT_TRUE(view_->list("/empty").value().empty());
    EXPECT_EQ(
        view_->list("/lib64").value(),
        (std::vector<std::string>{"big.so", "circle", "dangling", "out", "up"})
    );
    EXPECT_EQ(view_->list("/etc/motd").error().code, ErrorCode::kNotFound);
    EXPECT_EQ(view_->read("/bin dir/a%b").value(), std::string("\0\1\2\xff", 4));
    EXPECT_EQ(view_->read("/bin dir/a%b", 3).error().code, ErrorCode::kExhausted);
    EXPECT_EQ(view_->read("/proc/zero").value(), "");
    EXPECT_EQ(view_->read("/empty").error().code, ErrorCode::kInvalid);
    EXPECT_EQ(view_->read("/nothing").error().code, ErrorCode::kNotFound);
}

TEST_P(FileViews, matches_patterns_as_a_shell) {
    using Paths = std::vector<std::string>;
    EXPECT_EQ(view_->matching("/lib*/b*.so"), (Paths{"/lib/big.so", "/lib64/big.so"}));
    EXPECT_EQ(view_->matching("/etc/motd"), Paths{"/etc/motd"});
    EXPECT_EQ(view_->matching("/lib/*gl*"), Paths{"/lib/dangling"});
    EXPECT_EQ(view_->matching("/*/nothing"), Paths{});
    EXPECT_EQ(view_->matching("/etc/motd/*"), Paths{});
}

TEST_P(FileViews, a_view_below_a_folder_is_a_root_of_its_own) {
    const SubView below(*view_, "/lib64");
    EXPECT_EQ(below.resolve("/big.so").value(), "/big.so");
    EXPECT_FALSE(below.exists("/out"));  // /etc/motd is not below /lib
    EXPECT_EQ(below.list("/").value().size(), 5U);
    EXPECT_FALSE(SubView(*view_, "/nowhere").exists("/"));
    EXPECT_EQ(SubView(*view_, "/").read("/etc/motd").value(), "hello\n\n indented\n");
}

INSTANTIATE_TEST_SUITE_P(both, FileViews, ::testing::Bool(), [](const auto& which) {
    return which.param ? "recorded" : "host";
});

TEST(RecordedView, has_what_a_test_cannot_create) {
    const auto view = RecordedView::parse(kTree);
    ASSERT_TRUE(view.ok());
    const FileInfo node = (*view)->look("/dev/nvidia0").value();
    EXPECT_EQ(node.type, FileType::kChar);
    EXPECT_EQ(node.major, 195U);
    EXPECT_EQ(node.mode, 0666U);
    EXPECT_EQ((*view)->look("/run/x.sock").value().type, FileType::kSocket);
    EXPECT_EQ((*view)->read("/lib/big.so").error().code, ErrorCode::kUnavailable);
}

TEST(RecordedView, refuses_what_it_cannot_read_and_names_the_line) {
    for (const char* bad :
         {"what /x 755",
          "dir x 755",
          "dir /x/../y 755",
          "dir /x 888",
          "dir /x",
          "link /x",
          "char /x 666 195",
          "char /x 666 195:a",
          "file /x 644 many",
          "file /x 644 -",
          "| text",
          "= AAAA",
          "file /x 644 4\n= A*",
          "file /%zz 644 4",
          "file /%00 644 4",
          "file /x 644 4\nfile /x 644 4",
          "file /x 644 4\nfile /x/y 644 4"}) {
        const auto view = RecordedView::parse(std::string("dir /a 755\n") + bad);
        ASSERT_FALSE(view.ok()) << bad;
        EXPECT_EQ(view.error().message.find("manifest line "), 0U) << view.error().message;
    }
    EXPECT_TRUE(RecordedView::parse("").ok());
}

TEST(HostView, sees_a_device_node_of_this_machine) {
    const FileInfo null = HostView().look("/dev/null").value();
    EXPECT_EQ(null.type, FileType::kChar);
    EXPECT_EQ(null.major, 1U);
    EXPECT_EQ(null.minor, 3U);
}

}  // namespace
}  // namespace egpu
