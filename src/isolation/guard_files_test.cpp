#include "isolation/guard_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "testing/temp_folder.h"

namespace egpu::isolation {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class GuardFilesTest : public ::testing::Test {
  protected:
    testing::TempFolder folder_;
};

TEST_F(GuardFilesTest, SharedPartsFollowTheLibrary) {
    const GuardFiles files(folder_ / "guard", folder_ / "from" / "guard.so");
    const Status missing = files.install();
    ASSERT_FALSE(missing.ok());
    EXPECT_THAT(missing.error().message, HasSubstr("guard.so"));
    ASSERT_TRUE(make_directories(folder_ / "from").ok());
    for (const char* version : {"one", "two"}) {
        ASSERT_TRUE(write_file_atomically(folder_ / "from" / "guard.so", version));
        ASSERT_TRUE(files.install().ok());
        EXPECT_EQ(read_file(folder_ / "guard" / "libedge-gpu-guard.so").value(), version);
    }
    EXPECT_EQ(
        read_file(folder_ / "guard" / "ld.so.preload").value(),
        "/run/edge-gpu/libedge-gpu-guard.so\n"
    );
}

TEST_F(GuardFilesTest, AnAllocationHasItsFolder) {
    const GuardFiles files(folder_.path(), folder_ / "guard.so");
    EXPECT_THAT(files.tokens(), IsEmpty());
    ASSERT_TRUE(files.prepare("0a1b").ok());
    ASSERT_TRUE(files.prepare("0a1b").ok());
    EXPECT_THAT(files.tokens(), ElementsAre("0a1b"));
    EXPECT_EQ(std::filesystem::file_size(files.limits("0a1b")), 4096U);
    EXPECT_TRUE(std::filesystem::exists(files.ledger("0a1b")));
    inject::ContainerEdits edits;
    files.add_mounts("0a1b", edits);
    ASSERT_EQ(edits.mounts.size(), 4U);
    for (const inject::Mount& mount : edits.mounts) {
        EXPECT_EQ(mount.read_only, mount.container != "/run/edge-gpu/ledger") << mount.container;
    }
    EXPECT_EQ(edits.mounts.back().container, "/etc/ld.so.preload");
    files.remove("0a1b");
    EXPECT_THAT(files.tokens(), IsEmpty());
    for (const char* wrong : {"", "..", "../x", "0a1b/..", "UPPER", "x"}) {
        EXPECT_FALSE(files.prepare(wrong).ok()) << wrong;
        files.remove(wrong);
    }
    EXPECT_TRUE(std::filesystem::exists(folder_.path()));
}

}  // namespace
}  // namespace egpu::isolation
