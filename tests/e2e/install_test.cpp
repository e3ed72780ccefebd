// The installed binary on a node that has only what every Debian and Ubuntu node has: a root with
// glibc, libstdc++, zlib and OpenSSL, entered with chroot. Needs root.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "cli/shared_libraries.h"
#include "command.h"

namespace egpu::e2e {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

CommandResult run(const fs::path& program, const std::vector<std::string>& arguments) {
    // A sanitized binary looks for leaks with the help of /proc, which a bare root has not.
    const auto ran =
        run_command(program, arguments, {{"ASAN_OPTIONS", "detect_leaks=0"}}, Seconds(60));
    EXPECT_TRUE(ran) << (ran ? "" : ran.error().message);
    return ran ? *ran : CommandResult{};
}

// The libraries of the system that the program needs, and its loader, at the same places in `root`.
// The loader's path.
std::string copy_system_libraries(const fs::path& program, const fs::path& root) {
    const auto libraries = cli::list_libraries(program);
    EXPECT_TRUE(libraries) << (libraries ? "" : libraries.error().message);
    if (!libraries) return "";
    std::vector<fs::path> files;
    for (const cli::SharedLibrary& library : *libraries) {
        if (cli::is_of_the_system(library.name)) files.push_back(library.file);
    }
    std::string loader;
    for (const char* one : {"/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"}) {
        if (fs::exists(one)) loader = one;
    }
    files.emplace_back(loader);
    for (const fs::path& file : files) {
        const fs::path copy = root / file.relative_path();
        fs::create_directories(copy.parent_path());
        fs::copy_file(fs::canonical(file), copy);
    }
    return loader;
}

TEST(Install, TheInstalledBinaryRunsOnABareNode) {
    if (::geteuid() != 0) GTEST_SKIP() << "chroot needs root";
    const ScratchFolder scratch;
    const fs::path& root = scratch.path();
    const CommandResult installed = run(edge_gpu(), {"install", "--root", root.string()});
    ASSERT_EQ(installed.status, 0) << installed.output;
    const std::string loader = copy_system_libraries(root / "usr/local/bin/edge-gpu", root);

    // By the loader: $ORIGIN would need /proc, which every node has and this root has not.
    const auto in_root = [&](const std::vector<std::string>& arguments) {
        std::vector<std::string> all{root.string(), loader, "/usr/local/bin/edge-gpu"};
        all.insert(all.end(), arguments.begin(), arguments.end());
        return run(find_program("chroot"), all);
    };
    const CommandResult version = in_root({"version"});
    EXPECT_EQ(version.status, 0) << version.output;
    EXPECT_THAT(version.output, StartsWith("edge-gpu "));
    const CommandResult config = in_root({"agent", "--node-name", "edge-1", "--print-config"});
    EXPECT_EQ(config.status, 0) << config.output;
    EXPECT_THAT(config.output, HasSubstr("nodeName: \"edge-1\""));

    // Nothing else makes it run: without what was carried along it does not.
    fs::remove_all(root / "usr/local/lib/edge-gpu");
    EXPECT_EQ(in_root({"version"}).status, 127);
}

}  // namespace
}  // namespace egpu::e2e
