#include "base/files.h"

#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "testing/temp_folder.h"

namespace egpu {
namespace {

class Files : public ::testing::Test {
  protected:
    std::filesystem::path path(const char* name) const { return folder_ / name; }
    testing::TempFolder folder_;
};

TEST_F(Files, WritesReplacesAndReadsBack) {
    ASSERT_TRUE(write_file_atomically(path("a"), "one", 0640));
    ASSERT_TRUE(write_file_atomically(path("a"), "two", 0640));
    EXPECT_EQ(read_file(path("a")).value(), "two");
    struct stat info {};
    ASSERT_EQ(::stat(path("a").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0640U);
    int entries = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder_.path()))
        ++entries;
    EXPECT_EQ(entries, 1) << "a temporary file was left behind";
}

TEST_F(Files, NamesTheFileInErrors) {
    const auto missing = read_file(path("missing"));
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
    EXPECT_NE(missing.error().message.find("missing"), std::string::npos);
    EXPECT_FALSE(write_file_atomically(path("no/such/folder/file"), "x"));
}

TEST_F(Files, RefusesFilesOverTheLimit) {
    ASSERT_TRUE(write_file_atomically(path("big"), std::string(1000, 'x')));
    EXPECT_EQ(read_file(path("big"), 999).error().code, ErrorCode::kExhausted);
    EXPECT_EQ(read_file(path("big"), 1000).value().size(), 1000U);
}

TEST_F(Files, MakesFoldersAndRefusesAFileInTheWay) {
    EXPECT_TRUE(make_directories(path("x/y/z")));
    EXPECT_TRUE(make_directories(path("x/y/z")));
    std::ofstream(path("file")) << "x";
    EXPECT_FALSE(make_directories(path("file")));
}

}  // namespace
}  // namespace egpu
