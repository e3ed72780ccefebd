// The installed binary on a node that has only what every Debian and Ubuntu node has: a root with
// glibc, libstdc++, zlib and OpenSSL, entered with chroot. Needs root.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/files.h"
#include "cli/shared_libraries.h"
#include "command.h"

namespace egpu::e2e {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

CommandResult run(const fs::path& program, const std::vector<std::string>& arguments) {
    // LeakSanitizer wants to trace its own process, which other roots and namespaces do not allow.
    const auto ran =
        run_command(program, arguments, {{"ASAN_OPTIONS", "detect_leaks=0"}}, Seconds(60));
    EXPECT_TRUE(ran) << (ran ? "" : ran.error().message);
    return ran ? *ran : CommandResult{};
}

// The libraries of the system that the program needs, and its loader, at the same places in `root`.
void copy_system_libraries(const fs::path& program, const fs::path& root) {
    const auto libraries = cli::list_libraries(program);
    EXPECT_TRUE(libraries) << (libraries ? "" : libraries.error().message);
    if (!libraries) return;
    std::vector<fs::path> files;
    for (const cli::SharedLibrary& library : *libraries) {
        if (cli::is_of_the_system(library.name)) files.push_back(library.file);
    }
    for (const char* loader : {"/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"}) {
        if (fs::exists(loader)) files.emplace_back(loader);
    }
    for (const fs::path& file : files) {
        const fs::path copy = root / file.relative_path();
        fs::create_directories(copy.parent_path());
        fs::copy_file(fs::canonical(file), copy);
    }
}

// Runs the program in `root` with nothing else around but /proc, which every node has: $ORIGIN
// needs it. In a mount namespace of its own, so that the mount is gone afterwards.
CommandResult run_in(
    const fs::path& root, const std::string& program, const std::vector<std::string>& arguments
) {
    constexpr const char* kScript =
        R"(mkdir -p "$1/proc" && mount --bind /proc "$1/proc" && exec chroot "$@")";
    std::vector<std::string> all{"--mount", "sh", "-c", kScript, "sh", root.string(), program};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run(find_program("unshare"), all);
}

TEST(Install, TheInstalledBinaryRunsOnABareNode) {
    if (::geteuid() != 0) GTEST_SKIP() << "chroot needs root";
    const ScratchFolder scratch;
    const fs::path& root = scratch.path();
    const CommandResult installed = run(edge_gpu(), {"install", "--root", root.string()});
    ASSERT_EQ(installed.status, 0) << installed.output;
    copy_system_libraries(root / "usr/local/bin/edge-gpu", root);

    const std::string program = "/usr/local/bin/edge-gpu";
    const CommandResult version = run_in(root, program, {"version"});
    EXPECT_EQ(version.status, 0) << version.output;
    EXPECT_THAT(version.output, StartsWith("edge-gpu "));
    const CommandResult config =
        run_in(root, program, {"agent", "--node-name", "edge-1", "--print-config"});
    EXPECT_EQ(config.status, 0) << config.output;
    EXPECT_THAT(config.output, HasSubstr("nodeName: \"edge-1\""));

    // Nothing else makes it run: without what was carried along it does not.
    fs::remove_all(root / "usr/local/lib/edge-gpu");
    EXPECT_EQ(run_in(root, program, {"version"}).status, 127);
}

// The archive of ./dev package, unpacked: the program with its own loader and all its libraries.
void unpack_archive(const fs::path& root) {
    const fs::path bin = root / "opt/edge-gpu/bin";
    const fs::path lib = root / "opt/edge-gpu/lib";
    fs::create_directories(bin);
    fs::create_directories(lib);
    const auto libraries = cli::list_libraries(edge_gpu());
    ASSERT_TRUE(libraries) << libraries.error().message;
    for (const cli::SharedLibrary& library : *libraries)
        fs::copy_file(library.file, lib / library.name);
    const auto loader = cli::loader_of(edge_gpu());
    ASSERT_TRUE(loader) << loader.error().message;
    fs::copy_file(fs::canonical(*loader), lib / loader->filename());
    fs::copy_file(edge_gpu(), bin / "edge-gpu");
    const CommandResult patched =
        run(find_program("patchelf"),
            {"--page-size",
             "65536",
             "--set-interpreter",
             "/opt/edge-gpu/lib/" + loader->filename().string(),
             "--force-rpath",
             "--set-rpath",
             "/opt/edge-gpu/lib",
             (bin / "edge-gpu").string()});
    ASSERT_EQ(patched.status, 0) << patched.output;
}

TEST(Install, TheUnpackedArchiveInstallsItselfInPlace) {
    if (::geteuid() != 0) GTEST_SKIP() << "chroot needs root";
    if (find_program("patchelf").empty()) GTEST_SKIP() << "needs patchelf";
    const ScratchFolder scratch;
    const fs::path& root = scratch.path();
    ASSERT_NO_FATAL_FAILURE(unpack_archive(root));
    const std::string program = "/opt/edge-gpu/bin/edge-gpu";
    const std::vector<std::string> install{"install", "--node-name", "edge-1"};
    const CommandResult installed = run_in(root, program, install);
    ASSERT_EQ(installed.status, 0) << installed.output;
    EXPECT_THAT(installed.output, HasSubstr("wrote /etc/systemd/system/edge-gpu-agent.service\n"));
    EXPECT_THAT(installed.output, ::testing::Not(HasSubstr("wrote /opt")));
    const auto unit = read_file(root / "etc/systemd/system/edge-gpu-agent.service");
    ASSERT_TRUE(unit);
    EXPECT_THAT(*unit, HasSubstr("\nExecStart=/opt/edge-gpu/bin/edge-gpu agent "));
    EXPECT_EQ(fs::read_symlink(root / "usr/local/bin/edge-gpu"), program);
    EXPECT_EQ(run_in(root, "/usr/local/bin/edge-gpu", {"version"}).status, 0);
    EXPECT_EQ(
        run_in(root, program, {"install", "--binary", program, "--prefix", "/usr/local"}).status, 1
    );

    const CommandResult gone = run_in(root, program, {"uninstall", "--purge"});
    ASSERT_EQ(gone.status, 0) << gone.output;
    EXPECT_FALSE(fs::exists(fs::symlink_status(root / "usr/local/bin/edge-gpu")));
    EXPECT_FALSE(fs::exists(root / "etc/edge-gpu"));
    EXPECT_EQ(run_in(root, program, {"version"}).status, 0);  // what tar wrote stays
}

}  // namespace
}  // namespace egpu::e2e
