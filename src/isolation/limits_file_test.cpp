#include "isolation/limits_file.h"

#include <atomic>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/files.h"
#include "guard/pages.h"
#include "isolation/ledger_copy.h"
#include "testing/temp_folder.h"

namespace egpu::isolation {
namespace {

// A file system without room for another page.
class FullDisk {
  public:
    explicit FullDisk(std::filesystem::path at) : at_(std::move(at)) {
        std::filesystem::create_directories(at_);
        mounted_ = ::mount("none", at_.c_str(), "tmpfs", 0, "size=64k") == 0;
        if (!mounted_) return;
        std::ofstream out(at_ / "fill", std::ios::binary);
        const std::string page(4096, 'x');
        for (int i = 0; i < 64 && out.write(page.data(), 4096).flush(); ++i) {
        }
    }
    ~FullDisk() {
        if (mounted_) ::umount2(at_.c_str(), MNT_DETACH);
    }
    FullDisk(const FullDisk&) = delete;
    FullDisk& operator=(const FullDisk&) = delete;
    bool mounted() const { return mounted_; }

  private:
    std::filesystem::path at_;
    bool mounted_ = false;
};

class LimitsFileTest : public ::testing::Test {
  protected:
    static guard::LimitsBody body(std::uint64_t memory) {
        guard::LimitsBody made{};
        made.device_count = 1;
        made.devices[0].mem_hard = memory;
        made.devices[0].mem_soft = memory;
        return made;
    }
    testing::TempFolder folder_;
    std::filesystem::path path_ = folder_ / "limits";
};

TEST_F(LimitsFileTest, KeepsItsInodeAndWhatWasWritten) {
    struct stat before {};
    {
        auto file = LimitsFile::open(path_);
        ASSERT_TRUE(file.ok()) << file.error().message;
        EXPECT_FALSE(file->body().has_value());
        file->publish(body(7));
        ASSERT_EQ(::stat(path_.c_str(), &before), 0);
    }
    auto file = LimitsFile::open(path_);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->body().has_value());
    EXPECT_EQ(file->body()->devices[0].mem_hard, 7U);
    file->publish(body(9));
    EXPECT_EQ(file->body()->devices[0].mem_hard, 9U);
    struct stat after {};
    ASSERT_EQ(::stat(path_.c_str(), &after), 0);
    EXPECT_EQ(before.st_ino, after.st_ino);
    EXPECT_EQ(after.st_size, static_cast<off_t>(guard::kLimitsFileSize));
    EXPECT_EQ(after.st_mode & 0777U, 0644U);
}

// A page of a file without room on the disk is SIGBUS for whoever writes it.
TEST_F(LimitsFileTest, AFullDiskIsAnErrorBeforeAnythingIsMapped) {
    const FullDisk disk(folder_ / "full");
    if (!disk.mounted()) GTEST_SKIP() << "needs the right to mount";
    const auto limits = LimitsFile::open(folder_ / "full" / "limits");
    ASSERT_FALSE(limits.ok());
    EXPECT_NE(limits.error().message.find("No space left"), std::string::npos);
    const Status ledger = make_ledger(folder_ / "full" / "ledger");
    ASSERT_FALSE(ledger.ok());
    EXPECT_NE(ledger.error().message.find("No space left"), std::string::npos);
}

TEST_F(LimitsFileTest, WhatIsNotAPageIsMadeEmpty) {
    ASSERT_TRUE(write_file_atomically(path_, std::string(5000, 'x')));
    auto file = LimitsFile::open(path_);
    ASSERT_TRUE(file.ok());
    EXPECT_FALSE(file->body().has_value());
    ASSERT_TRUE(std::filesystem::is_regular_file(path_));
    std::filesystem::remove(path_);
    std::filesystem::create_symlink("/etc/passwd", path_);
    EXPECT_FALSE(LimitsFile::open(path_).ok());
}

// A reader that follows the rules of guard/pages.h never takes a mixture of two bodies for one.
TEST_F(LimitsFileTest, ReadersNeverSeeAMixture) {
    auto file = LimitsFile::open(path_);
    ASSERT_TRUE(file.ok());
    file->publish(body(1));
    std::ifstream in(path_, std::ios::binary);
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> good{0};
    std::atomic<std::uint64_t> mixed{0};
    std::thread reader([&] {
        while (!stop) {
            // read() of the mapped file: the same page cache that containers map.
            guard::LimitsPage page;
            in.clear();
            in.seekg(0);
            in.read(reinterpret_cast<char*>(&page), sizeof page);
            const std::uint32_t before = page.generation.load();
            const guard::LimitsBody copy = page.body[before & 1U];
            in.clear();
            in.seekg(0);
            in.read(reinterpret_cast<char*>(&page), 64);
            if (page.generation.load() != before) continue;
            (copy.devices[0].mem_hard == copy.devices[0].mem_soft ? good : mixed)++;
        }
    });
    for (std::uint64_t i = 2; i < 200'000 || good == 0; ++i) file->publish(body(i));
    stop = true;
    reader.join();
    EXPECT_EQ(mixed, 0U);
}

}  // namespace
}  // namespace egpu::isolation
