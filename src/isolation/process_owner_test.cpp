#include "isolation/process_owner.h"

#include <fstream>

#include <gtest/gtest.h>
#include <unistd.h>

#include "testing/temp_folder.h"

namespace egpu::isolation {
namespace {

namespace fs = std::filesystem;

const std::string kRoot = "24 1 0:30 / / rw,relatime shared:1 - overlay overlay rw\n";
const std::string kPod = "0a1b2c3d-1111-2222-3333-444455556666";

// A /proc that says what the test wants; containers' roots are folders with (hard links to) the
// files that are mounted there.
class ProcessOwnerTest : public ::testing::Test {
  protected:
    ProcessOwnerTest() : owners_(folder_ / "proc", Duration::zero()) {
        fs::create_directories(folder_ / "proc");
        for (const char* token : {"aa", "bb"}) {
            fs::create_directories(folder_ / token);
            std::ofstream(folder_ / token / "limits") << "limits";
            fs::create_directories(root(token) / "run/edge-gpu");
            fs::create_hard_link(folder_ / token / "limits", root(token) / "run/edge-gpu/limits");
        }
        fs::create_directories(root("empty"));
    }
    fs::path root(const std::string& name) { return folder_ / "root" / name; }
    fs::path of(unsigned pid) { return folder_ / "proc" / std::to_string(pid); }

    void stat(unsigned pid, unsigned start) {
        std::ofstream(of(pid) / "stat")
            << pid << " (a) Z (b) S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 " << start
            << " 1 2 3\n";
    }
    void make(unsigned pid, const std::string& root_name, char container, unsigned start = 500) {
        fs::create_directories(of(pid) / "ns");
        stat(pid, start);
        std::ofstream(of(pid) / "status") << "Name:\tx\nPid:\t" << pid << "\nNSpid:\t" << pid
                                          << "\t" << pid - 100 << "\nNSpgid:\t1\t1\n";
        std::ofstream(of(pid) / "cgroup")
            << "4:memory:/kubepods/pod" << kPod << "/" << std::string(64, container) << "\n";
        fs::create_symlink(root(root_name), of(pid) / "root");
        std::ofstream(of(pid) / "mountinfo") << kRoot;
        fs::create_symlink("pid:[4026539999]", of(pid) / "ns/pid");
    }
    void allocations(const std::string& pod = kPod) {
        owners_.set_allocations(
            {{"aa", pod, folder_ / "aa/limits"}, {"bb", pod, folder_ / "bb/limits"}}
        );
    }
    std::string token(unsigned pid) {
        const auto owner = owners_.owner(pid, MonoClock::now() + Seconds(5));
        return owner ? owner->token + (owner->certain ? "" : "?") : "";
    }

    testing::TempFolder folder_;
    ProcessOwners owners_;
};

TEST_F(ProcessOwnerTest, ByTheFileThatItsContainerHas) {
    allocations();
    make(101, "aa", 'a');
    make(102, "bb", 'b');
    const auto owner = owners_.owner(101, MonoClock::now() + Seconds(5));
    ASSERT_TRUE(owner.has_value());
    EXPECT_EQ(owner->token, "aa");
    EXPECT_TRUE(owner->certain);
    EXPECT_EQ(owner->start_time, 500U);
    EXPECT_EQ(owner->inner_pid, 1U);
    EXPECT_EQ(owner->pid_namespace, 4026539999U);
    EXPECT_EQ(owner->command, "a) Z (b");
    EXPECT_EQ(owner->container_id, std::string(64, 'a'));
    EXPECT_EQ(token(102), "bb");
    EXPECT_EQ(token(103), "");  // there is none
}

TEST_F(ProcessOwnerTest, OneThatHidesTheFileByAnotherOfItsContainer) {
    allocations();
    make(101, "empty", 'a');
    EXPECT_EQ(token(101), "");  // two containers of the pod: it may be of either
    make(150, "aa", 'a');
    EXPECT_EQ(token(101), "");  // a negative answer is remembered …
    EXPECT_TRUE(owners_.owner_now(101, MonoClock::now() + Seconds(5)));
    EXPECT_EQ(token(101), "aa");
    fs::remove_all(of(150));
    make(102, "empty", 'a');
    EXPECT_EQ(token(102), "aa");  // the container is known
}

TEST_F(ProcessOwnerTest, OneThatHidesTheFileInAPodWithOneContainer) {
    owners_.set_allocations({{"aa", kPod, folder_ / "aa/limits"}});
    make(101, "empty", 'a');
    EXPECT_EQ(token(101), "aa?");
    make(150, "aa", 'a');
    EXPECT_EQ(token(101), "aa");
}

TEST_F(ProcessOwnerTest, AFileOfAnotherContainerBehindALinkDoesNotCount) {
    allocations();
    fs::create_directories(root("liar") / "run");
    fs::create_directory_symlink(root("bb") / "run/edge-gpu", root("liar") / "run/edge-gpu");
    make(101, "liar", 'a');
    EXPECT_EQ(token(101), "");
    fs::remove(root("liar") / "run/edge-gpu");
    fs::create_directories(root("liar") / "run/edge-gpu");
    fs::create_symlink(folder_ / "bb/limits", root("liar") / "run/edge-gpu/limits");
    make(102, "liar", 'a');
    EXPECT_EQ(token(102), "");
}

TEST_F(ProcessOwnerTest, OtherPodsAndOtherProcessesAreNotOurs) {
    allocations("99999999-1111-2222-3333-444455556666");
    make(101, "aa", 'a');
    EXPECT_EQ(token(101), "");
    make(102, "empty", 'a');
    std::ofstream(of(102) / "cgroup") << "0::/system.slice/sshd.service\n";
    EXPECT_EQ(token(102), "");
    // A record whose pod is not known yet: the file says it.
    allocations("");
    EXPECT_EQ(token(101), "aa");
}

TEST_F(ProcessOwnerTest, ANewProcessWithAnOldPidIsLookedAtAnew) {
    allocations();
    make(101, "aa", 'a');
    EXPECT_EQ(token(101), "aa");
    fs::remove_all(of(101));
    make(101, "bb", 'b', 501);
    EXPECT_EQ(token(101), "bb");
    EXPECT_EQ(owners_.owner(101, MonoClock::now() + Seconds(5))->start_time, 501U);
}

TEST_F(ProcessOwnerTest, WhatWasNotFoundOutInTimeIsNotRemembered) {
    allocations();
    make(101, "empty", 'a');
    for (unsigned pid = 1000; pid < 1300; ++pid) {
        fs::create_directories(of(pid));
        std::ofstream(of(pid) / "cgroup") << "0::/system.slice\n";
    }
    make(5000, "aa", 'a');
    // Time for a few files, not for all.
    EXPECT_FALSE(owners_.owner(101, MonoClock::now() + std::chrono::microseconds(300)).has_value());
    EXPECT_EQ(token(101), "aa");
}

TEST_F(ProcessOwnerTest, NothingIsFoundOutAfterTheDeadline) {
    allocations();
    make(101, "aa", 'a');
    EXPECT_FALSE(owners_.owner(101, MonoClock::now() - Seconds(1)).has_value());
    EXPECT_EQ(token(101), "aa");
    owners_.sweep();
    owners_.sweep();
    EXPECT_EQ(token(101), "aa");
}

TEST(ParseStat, NamesMayHoldAnything) {
    const auto line = parse_stat("7 (a) R 1) x)) S 1 2 3 4 5 0 7 8 9 0 1 2 3 4 5 6 7 8 123 9\n");
    ASSERT_TRUE(line.has_value());
    EXPECT_EQ(line->command, "a) R 1) x)");
    EXPECT_FALSE(line->ending);
    EXPECT_EQ(line->start_time, 123U);
    for (const char* bad : {"", "7", "7 (x", "7 (x) S", "7 )x( S 1 2 3 4"}) {
        EXPECT_FALSE(parse_stat(bad).has_value()) << bad;
    }
}

TEST_F(ProcessOwnerTest, OneWithAFileSystemOfItsOwnIsNotLookedInto) {
    allocations();
    make(101, "aa", 'a');
    std::ofstream(of(101) / "mountinfo")
        << kRoot << "30 24 0:50 / /run rw - fuse.mine mine rw,user_id=0\n";
    EXPECT_EQ(token(101), "");
}

TEST(MountsAreSafe, OnTheWayToTheGuardsFiles) {
    const std::string limits = "31 24 8:1 /x/limits /run/edge-gpu/limits ro - ext4 /dev/sda1 ro\n";
    EXPECT_TRUE(mounts_are_safe(kRoot + limits));
    EXPECT_TRUE(mounts_are_safe(kRoot + "32 24 0:9 / /data rw - fuse.sshfs host: rw\n"));
    EXPECT_FALSE(mounts_are_safe(kRoot + "32 24 0:9 / /run/edge-gpu rw a:1 b:2 - fuse me rw\n"));
    EXPECT_FALSE(mounts_are_safe("24 1 0:30 / / rw - fuse.root me rw\n"));
    EXPECT_FALSE(mounts_are_safe(limits));  // in a chroot, nobody knows of what
    EXPECT_FALSE(mounts_are_safe(""));
    EXPECT_FALSE(mounts_are_safe("24 1 0:30 / / rw\n"));
}

TEST(ParseStat, OneWithoutThreadsIsEnding) {
    const auto ending = [](const char* state, const char* flags, const char* threads) {
        return parse_stat(
                   std::string("7 (x) ") + state + " 1 2 3 4 5 " + flags + " 7 8 9 0 1 2 3 4 5 6 " +
                   threads + " 8 123 9"
        )
            ->ending;
    };
    EXPECT_TRUE(ending("Z", "0", "1"));
    EXPECT_TRUE(ending("D", "4194308", "1"));  // gives its memory back
    EXPECT_FALSE(ending("D", "4194304", "1"));
    EXPECT_FALSE(ending("Z", "4", "2"));  // its first thread has ended, another goes on
}

TEST(ProcessOwners, TheRealProcKnowsThisProcess) {
    ProcessOwners owners;
    owners.set_allocations({{"aa", "", "/nowhere"}});
    EXPECT_FALSE(owners.owner(static_cast<unsigned>(::getpid()), MonoClock::now() + Seconds(5)));
}

}  // namespace
}  // namespace egpu::isolation
