// install and uninstall below a root of their own, with a small program in the place of edge-gpu
// and a script in the place of systemctl. The real binary on a bare root:
// tests/e2e/install_test.cpp.
#include "cli/install.h"

#include <cstdlib>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/child.h"
#include "base/files.h"
#include "cli/agent_unit.h"
#include "cli/shared_libraries.h"

namespace egpu::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

const fs::path kFixture = fs::path(EDGE_GPU_FIXTURE) / "bin/fixture";
constexpr const char* kLibrary = "libedge_gpu_fixture.so";

class InstallTest : public ::testing::Test {
  protected:
    void SetUp() override {
        folder_ = fs::path(::testing::TempDir()) / ("install." + std::to_string(::getpid()));
        fs::remove_all(folder_);
        root_ = folder_ / "root";
        fs::create_directories(root_);
        options_.root = root_;
        options_.binary = kFixture;
    }
    void TearDown() override { fs::remove_all(folder_); }

    Status install_it() {
        said_.clear();
        return install(options_, systemd_, [this](const std::string& line) {
            said_.push_back(line);
        });
    }
    Status uninstall_it(bool purge = false) {
        said_.clear();
        UninstallOptions options;
        options.root = root_;
        options.purge = purge;
        options.dry_run = options_.dry_run;
        return uninstall(options, systemd_, [this](const std::string& line) {
            said_.push_back(line);
        });
    }
    void must_install() {
        const Status done = install_it();
        ASSERT_TRUE(done) << done.error().message;
    }
    std::string refusal() {
        const Status done = install_it();
        EXPECT_FALSE(done);
        return done ? "" : done.error().message;
    }
    std::string content(const std::string& path) const {
        const auto text = read_file(root_ / path);
        return text ? *text : "";
    }

    // Path below the root -> "mode inode target" of every file and link.
    std::map<std::string, std::string> snapshot() const {
        std::map<std::string, std::string> out;
        for (const auto& entry : fs::recursive_directory_iterator(root_)) {
            if (entry.is_directory() && !entry.is_symlink()) continue;
            struct stat info {};
            ::lstat(entry.path().c_str(), &info);
            std::string text = std::to_string(info.st_mode) + " " + std::to_string(info.st_ino);
            if (entry.is_symlink()) text += " " + fs::read_symlink(entry.path()).string();
            out[entry.path().lexically_relative(root_).string()] = text;
        }
        return out;
    }

    // A systemctl that writes down how it is called and answers like a healthy system, or not.
    void fake_systemctl(const std::string& body) {
        const fs::path script = folder_ / "systemctl";
        ASSERT_TRUE(write_file_atomically(
            script,
            "#!/bin/sh\necho \"$@\" >> " + (folder_ / "calls").string() + "\n" + body + "\n",
            0755
        ));
        systemd_.running = true;
        systemd_.systemctl = script.string();
        systemd_.settle = Duration(0);
    }
    std::string calls() const {
        const auto text = read_file(folder_ / "calls");
        return text ? *text : "";
    }

    fs::path folder_;
    fs::path root_;
    InstallOptions options_;
    Systemd systemd_;
    std::vector<std::string> said_;
};

TEST_F(InstallTest, AFreshNode) {
    options_.kubeconfig = "/etc/kubernetes/kubelet.conf";
    options_.node_name = "edge-1";
    must_install();
    EXPECT_THAT(
        snapshot(),
        ::testing::AllOf(
            Contains(Key("usr/local/bin/edge-gpu")),
            Contains(Key(std::string("usr/local/lib/edge-gpu/") + kLibrary)),
            Contains(Key("etc/systemd/system/edge-gpu-agent.service")),
            Contains(Key("etc/systemd/system/multi-user.target.wants/edge-gpu-agent.service")),
            Contains(Key("etc/systemd/system/kubelet.service.wants/edge-gpu-agent.service")),
            Contains(Key("etc/edge-gpu/agent.conf")),
            Contains(Key("etc/edge-gpu/installed.json"))
        )
    );
    EXPECT_EQ(fs::status(root_ / "usr/local/bin/edge-gpu").permissions(), fs::perms(0755));
    EXPECT_EQ(content("etc/systemd/system/edge-gpu-agent.service"), agent_unit_text());
    EXPECT_THAT(
        content("etc/edge-gpu/agent.conf"),
        HasSubstr("\nKUBECONFIG=\"/etc/kubernetes/kubelet.conf\"\n")
    );
    EXPECT_THAT(content("etc/edge-gpu/agent.conf"), HasSubstr("\nNODE_NAME=\"edge-1\"\n"));
    EXPECT_EQ(
        fs::read_symlink(
            root_ / "etc/systemd/system/multi-user.target.wants/edge-gpu-agent.service"
        ),
        "/etc/systemd/system/edge-gpu-agent.service"
    );
    const auto ran = run_program({(root_ / "usr/local/bin/edge-gpu").string()}, {});
    ASSERT_TRUE(ran) << ran.error().message;
    EXPECT_EQ(ran->output, "fixture 7\n");
}

TEST_F(InstallTest, TheInstalledProgramTakesTheInstalledLibrary) {
    must_install();
    const auto libraries = list_libraries(root_ / "usr/local/bin/edge-gpu");
    ASSERT_TRUE(libraries) << libraries.error().message;
    bool found = false;
    for (const SharedLibrary& library : *libraries) {
        if (library.name != kLibrary) continue;
        found = true;
        EXPECT_TRUE(fs::equivalent(library.file, root_ / "usr/local/lib/edge-gpu" / kLibrary));
    }
    EXPECT_TRUE(found);
}

TEST_F(InstallTest, ASecondRunChangesNothing) {
    options_.kubeconfig = "/k";
    must_install();
    const auto before = snapshot();
    must_install();
    EXPECT_EQ(snapshot(), before);
    for (const std::string& line : said_) {
        EXPECT_THAT(
            line,
            Not(::testing::AnyOf(HasSubstr("wrote"), HasSubstr("replaced"), HasSubstr("linked")))
        );
    }
}

TEST_F(InstallTest, ADryRunWritesNothing) {
    options_.dry_run = true;
    must_install();
    EXPECT_THAT(snapshot(), IsEmpty());
    EXPECT_THAT(said_, Contains("would write /usr/local/bin/edge-gpu"));
    EXPECT_THAT(
        said_,
        Contains("would link /etc/systemd/system/kubelet.service.wants/edge-gpu-agent.service")
    );
    options_.dry_run = false;
    must_install();
    const auto before = snapshot();
    options_.dry_run = true;
    ASSERT_TRUE(uninstall_it(true));
    EXPECT_EQ(snapshot(), before);
    EXPECT_THAT(said_, Contains("would remove /usr/local/bin/edge-gpu"));
}

TEST_F(InstallTest, WhatTheOperatorWroteIntoTheConfStays) {
    must_install();
    const std::string conf = "# mine\nKUBECONFIG=/mine\nNVIDIA_DRIVER_ROOT=/run/nvidia/driver\n";
    ASSERT_TRUE(write_file_atomically(root_ / "etc/edge-gpu/agent.conf", conf, 0600));
    must_install();
    EXPECT_EQ(content("etc/edge-gpu/agent.conf"), conf);
    options_.node_name = "edge-2";
    options_.kubeconfig = "/other";
    must_install();
    EXPECT_EQ(
        content("etc/edge-gpu/agent.conf"),
        "# "
        "mine\nKUBECONFIG=\"/other\"\nNVIDIA_DRIVER_ROOT=/run/nvidia/driver\nNODE_NAME=\"edge-2\"\n"
    );
    EXPECT_EQ(fs::status(root_ / "etc/edge-gpu/agent.conf").permissions(), fs::perms(0600));
}

TEST_F(InstallTest, AnotherPrefixLeavesNothingBehind) {
    must_install();
    options_.prefix = "/opt/gpu";
    must_install();
    EXPECT_THAT(
        content("etc/systemd/system/edge-gpu-agent.service"),
        HasSubstr("\nExecStart=/opt/gpu/bin/edge-gpu agent ")
    );
    EXPECT_THAT(snapshot(), Contains(Key(std::string("opt/gpu/lib/edge-gpu/") + kLibrary)));
    EXPECT_FALSE(fs::exists(root_ / "usr/local/bin/edge-gpu"));
    EXPECT_FALSE(fs::exists(root_ / "usr/local/lib/edge-gpu"));
}

TEST_F(InstallTest, AnUpgradeRemovesLibrariesThatAreNeededNoMore) {
    must_install();
    const fs::path old = root_ / "usr/local/lib/edge-gpu" / kLibrary;
    ASSERT_TRUE(fs::exists(old));
    options_.binary = fs::path(EDGE_GPU_FIXTURE) / "bin/alone";
    must_install();
    EXPECT_FALSE(fs::exists(old));
    EXPECT_THAT(said_, Contains("replaced /usr/local/bin/edge-gpu"));
}

TEST_F(InstallTest, UninstallRemovesWhatInstallWroteAndNothingElse) {
    for (const char* other :
         {"usr/local/bin/other",
          "usr/local/lib/other.so",
          "etc/systemd/system/other.service",
          "etc/systemd/system/multi-user.target.wants/other.service",
          "var/lib/other/file"}) {
        fs::create_directories((root_ / other).parent_path());
        ASSERT_TRUE(write_file_atomically(root_ / other, other));
    }
    const auto before = snapshot();
    must_install();
    fs::create_directories(root_ / "var/lib/edge-gpu");
    ASSERT_TRUE(write_file_atomically(root_ / "var/lib/edge-gpu/state.json", "{}"));
    ASSERT_TRUE(uninstall_it());
    auto kept = before;
    for (const auto& [path, text] : snapshot()) {
        if (!before.contains(path)) kept[path] = text;
    }
    EXPECT_EQ(kept.size(), before.size() + 2);
    EXPECT_THAT(kept, Contains(Key("etc/edge-gpu/agent.conf")));
    EXPECT_THAT(kept, Contains(Key("var/lib/edge-gpu/state.json")));
    EXPECT_THAT(said_, Contains(HasSubstr("kept /etc/edge-gpu/agent.conf")));

    ASSERT_TRUE(uninstall_it(true));
    EXPECT_EQ(snapshot(), before);
    for (const char* ours :
         {"etc/edge-gpu",
          "usr/local/lib/edge-gpu",
          "var/lib/edge-gpu",
          "etc/systemd/system/kubelet.service.wants"}) {
        EXPECT_FALSE(fs::exists(root_ / ours)) << ours;
    }
    ASSERT_TRUE(uninstall_it(true));
    EXPECT_THAT(said_, Contains(HasSubstr("nothing is installed")));
}

TEST_F(InstallTest, AnInstallThatWasCutOffCanBeFinishedOrUndone) {
    fs::create_directories(root_ / "etc");
    ASSERT_TRUE(write_file_atomically(root_ / "etc/systemd", "in the way"));
    EXPECT_THAT(refusal(), HasSubstr("/etc/systemd"));
    EXPECT_TRUE(fs::exists(root_ / "usr/local/bin/edge-gpu"));
    ASSERT_TRUE(uninstall_it(true));
    EXPECT_THAT(snapshot(), ElementsAre(Key("etc/systemd")));
    EXPECT_FALSE(install_it());
    fs::remove(root_ / "etc/systemd");
    must_install();
}

TEST_F(InstallTest, ALinkThatLeadsOutOfTheRootIsNotFollowed) {
    const fs::path outside = folder_ / "outside";
    fs::create_directories(outside);
    fs::create_directories(root_ / "usr");
    fs::create_directory_symlink(outside, root_ / "usr/local");
    EXPECT_THAT(refusal(), HasSubstr("leads out of"));
    EXPECT_TRUE(fs::is_empty(outside));
}

TEST_F(InstallTest, BinariesThatCannotBeInstalled) {
    options_.binary = folder_ / "missing";
    EXPECT_THAT(refusal(), HasSubstr("missing"));
    ASSERT_TRUE(write_file_atomically(folder_ / "script", "#!/bin/sh\n", 0755));
    options_.binary = folder_ / "script";
    EXPECT_THAT(refusal(), HasSubstr("is no executable (ELF) file"));

    auto other_machine = read_file(kFixture, 1U << 30);
    ASSERT_TRUE(other_machine);
    (*other_machine)[18] = 8;  // e_machine: MIPS
    ASSERT_TRUE(write_file_atomically(folder_ / "mips", *other_machine, 0755));
    options_.binary = folder_ / "mips";
    EXPECT_THAT(refusal(), HasSubstr("for another machine"));
    ASSERT_TRUE(write_file_atomically(folder_ / "short", other_machine->substr(0, 70), 0755));
    EXPECT_FALSE(list_libraries(folder_ / "short"));

    // bin/ of an archive without its lib/
    fs::copy_file(kFixture, folder_ / "lonely");
    options_.binary = folder_ / "lonely";
    EXPECT_THAT(refusal(), HasSubstr(std::string("needs ") + kLibrary));
    EXPECT_THAT(snapshot(), IsEmpty());

    options_.binary = fs::path(EDGE_GPU_FIXTURE) / "bin/elsewhere";
    EXPECT_THAT(refusal(), HasSubstr("was not linked for installing"));
}

TEST_F(InstallTest, ADamagedManifestRemovesNothing) {
    must_install();
    const auto before = snapshot();
    for (const char* text :
         {"{",
          "{}",
          R"({"format":1})",
          R"({"format":2,"files":[]})",
          R"({"format":1,"files":["/etc/passwd"]})",
          R"({"format":1,"files":["/usr/local/lib/edge-gpu/../../../../etc/x"]})",
          R"({"format":1,"files":["bin/edge-gpu"]})",
          R"({"format":1,"files":[7]})",
          R"({"format":1,"files":["/etc/systemd/system/sshd.service"]})"}) {
        ASSERT_TRUE(write_file_atomically(root_ / "etc/edge-gpu/installed.json", text));
        const Status done = uninstall_it(true);
        ASSERT_FALSE(done) << text;
        EXPECT_EQ(done.error().code, ErrorCode::kCorrupt) << text;
        EXPECT_EQ(snapshot().size(), before.size()) << text;
        EXPECT_FALSE(install_it()) << text;
    }
}

TEST_F(InstallTest, ABrokenKubeconfigIsRefusedAMissingOneIsNoted) {
    options_.kubeconfig = "/etc/k.conf";
    must_install();
    EXPECT_THAT(said_, Contains(HasSubstr("is not there yet")));
    ASSERT_TRUE(write_file_atomically(root_ / "etc/k.conf", "kind: Config\n"));
    EXPECT_THAT(refusal(), HasSubstr("current-context"));
}

// The archive for nodes at another place than its own, as when an image is made.
TEST_F(InstallTest, ASelfContainedProgramGoesWhereItIsMadeFor) {
    constexpr const char* kPatchelf = "/usr/bin/patchelf";
    if (!fs::exists(kPatchelf)) GTEST_SKIP() << "needs patchelf";
    const fs::path home = folder_ / "home/edge-gpu";  // what is built into it
    const fs::path unpacked = folder_ / "unpacked";
    fs::create_directories(unpacked / "bin");
    fs::create_directories(unpacked / "lib");
    const auto loader = loader_of(kFixture);
    ASSERT_TRUE(loader) << loader.error().message;
    fs::copy_file(fs::canonical(*loader), unpacked / "lib/loader.so");
    fs::copy_file(kFixture, unpacked / "bin/edge-gpu");
    ASSERT_TRUE(write_file_atomically(unpacked / "lib/libother.so.1", "any library", 0644));
    ChildOptions child;
    const auto patched = run_program(
        {kPatchelf,
         "--set-interpreter",
         (home / "lib/loader.so").string(),
         (unpacked / "bin/edge-gpu").string()},
        child
    );
    ASSERT_TRUE(patched);
    ASSERT_EQ(patched->exit_status, 0) << patched->output;

    options_.binary = unpacked / "bin/edge-gpu";
    must_install();
    const fs::path there = root_ / home.relative_path();
    EXPECT_TRUE(fs::exists(there / "bin/edge-gpu"));
    EXPECT_EQ(content((home / "lib/libother.so.1").relative_path().string()), "any library");
    EXPECT_EQ(
        fs::status(there / "lib/loader.so").permissions() & fs::perms::owner_exec,
        fs::perms::owner_exec
    );
    EXPECT_EQ(fs::read_symlink(root_ / "usr/local/bin/edge-gpu"), home / "bin/edge-gpu");
    EXPECT_THAT(
        content("etc/systemd/system/edge-gpu-agent.service"),
        HasSubstr("\nExecStart=" + home.string() + "/bin/edge-gpu agent ")
    );

    options_.prefix = "/usr/local";
    EXPECT_THAT(refusal(), HasSubstr("runs from " + home.string() + " only"));
    ASSERT_TRUE(uninstall_it(true));
    EXPECT_THAT(snapshot(), IsEmpty());
    EXPECT_FALSE(fs::exists(there));
}

TEST_F(InstallTest, AFileOfSomebodyElseInThePathStays) {
    fs::create_directories(root_ / "usr/local/bin");
    ASSERT_TRUE(write_file_atomically(root_ / "usr/local/bin/edge-gpu", "mine", 0755));
    options_.prefix = "/opt/gpu";
    must_install();
    ASSERT_TRUE(uninstall_it(true));
    EXPECT_EQ(content("usr/local/bin/edge-gpu"), "mine");
}

TEST_F(InstallTest, FlagsThatTheAgentRefusesChangeNothing) {
    options_.agent_flags = "--fine";
    must_install();
    const auto before = snapshot();
    options_.agent_flags = "--fine --refused";
    EXPECT_THAT(refusal(), HasSubstr("unknown flag --refused"));
    EXPECT_EQ(snapshot(), before);
    options_.agent_flags.reset();
    ASSERT_TRUE(
        write_file_atomically(root_ / "etc/edge-gpu/agent.conf", "EDGE_GPU_AGENT_FLAGS=--refused\n")
    );
    EXPECT_THAT(refusal(), HasSubstr("/etc/edge-gpu/agent.conf"));
}

TEST_F(InstallTest, SystemdIsToldAndTheAgentMustStayUp) {
    fake_systemctl("printf 'ActiveState=active\\nNRestarts=0\\n'");
    must_install();
    EXPECT_EQ(
        calls(),
        "daemon-reload\nrestart edge-gpu-agent.service\n"
        "show --property=ActiveState,NRestarts edge-gpu-agent.service\n"
    );
    fs::remove(folder_ / "calls");
    must_install();  // nothing changed: no restart
    EXPECT_EQ(calls(), "daemon-reload\nstart edge-gpu-agent.service\n");
    fs::remove(folder_ / "calls");
    options_.node_name = "edge-9";
    must_install();
    EXPECT_THAT(calls(), HasSubstr("\nrestart "));
    fs::remove(folder_ / "calls");
    ASSERT_TRUE(uninstall_it());
    EXPECT_EQ(calls(), "stop edge-gpu-agent.service\ndaemon-reload\n");
}

TEST_F(InstallTest, AnAgentThatKeepsFailingIsReported) {
    fake_systemctl("printf 'ActiveState=activating\\nNRestarts=3\\n'");
    EXPECT_THAT(refusal(), HasSubstr("journalctl --unit=edge-gpu-agent.service"));
    fake_systemctl("test \"$1\" = restart && echo Access denied && exit 4; exit 0");
    options_.node_name = "edge-9";
    EXPECT_THAT(refusal(), ::testing::AllOf(HasSubstr("status 4"), HasSubstr("Access denied")));
    systemd_.systemctl = "/no/such/systemctl";
    EXPECT_THAT(refusal(), HasSubstr("/no/such/systemctl"));
}

}  // namespace
}  // namespace egpu::cli
