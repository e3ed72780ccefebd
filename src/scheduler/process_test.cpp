// The real main function in a child process: exit statuses, messages, SIGTERM.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/files.h"
#include "http/client.h"
#include "scheduler/app.h"
#include "scheduler/objects_for_test.h"

namespace egpu::scheduler {
namespace {

using ::testing::HasSubstr;

// 0 when nobody listens.
int status_of(const std::string& address, std::string_view path) {
    http::ClientOptions options;
    options.base_url = "http://" + address;
    auto client = http::Client::open(options);
    EG_CHECK(client.ok());
    http::Request request;
    request.target = path;
    const auto response = (*client)->call(request, MonoClock::now() + Seconds(10));
    return response ? response->status : 0;
}

constexpr const char* kFlags = "EDGE_GPU_TEST_SCHEDULER_FLAGS";

// In the child: runs the scheduler's main function in place of the tests.
class MainInstead : public ::testing::Environment {
  public:
    void SetUp() override {
        const char* flags = std::getenv(kFlags);
        if (flags == nullptr) return;
        std::vector<std::string> arguments{"nano-gpu-scheduler"};
        std::istringstream lines(flags);
        for (std::string line; std::getline(lines, line);) arguments.push_back(line);
        std::vector<char*> argv;
        for (auto& argument : arguments) argv.push_back(argument.data());
        argv.push_back(nullptr);
        std::exit(run_scheduler(static_cast<int>(argv.size()) - 1, argv.data()));
    }
};
[[maybe_unused]] const auto* const kMainInstead =
    ::testing::AddGlobalTestEnvironment(new MainInstead);

class Process : public ::testing::Test {
  protected:
    void SetUp() override {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "egpu-scheduler-XXXXXX").string();
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        folder = pattern;
    }
    void TearDown() override { std::filesystem::remove_all(folder); }
    // The flags travel in the environment of this same executable: see MainInstead.
    pid_t spawn(const std::vector<std::string>& arguments) {
        std::string flags;
        for (const auto& argument : arguments) flags += argument + "\n";
        setenv(kFlags, flags.c_str(), 1);
        const std::string out = (folder / "out").string();
        const std::string err = (folder / "err").string();
        const pid_t child = fork();
        if (child == 0) {
            const int out_fd = open(out.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
            const int err_fd = open(err.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
            if (dup2(out_fd, 1) < 0 || dup2(err_fd, 2) < 0) _exit(90);
            execl("/proc/self/exe", "scheduler_test", "--gtest_filter=Options.Defaults", nullptr);
            _exit(91);
        }
        unsetenv(kFlags);
        return child;
    }
    static int wait_for(pid_t child, Duration limit) {
        int status = -1;
        const bool ended =
            eventually([&] { return waitpid(child, &status, WNOHANG) == child; }, limit);
        if (!ended) {
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            return -1;
        }
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    std::filesystem::path folder;
};

TEST_F(Process, WrongFlagsEndWithStatusTwoAndOneSentence) {
    EXPECT_EQ(wait_for(spawn({"-priority", "fastest"}), Seconds(10)), 2);
    EXPECT_THAT(*read_file(folder / "err"), HasSubstr("--priority: \"fastest\" is not a policy"));
    EXPECT_EQ(wait_for(spawn({"--nonsense"}), Seconds(10)), 2);
    EXPECT_EQ(wait_for(spawn({"--help"}), Seconds(10)), 0);
    EXPECT_EQ(wait_for(spawn({"--print-config", "-priority", "spread"}), Seconds(10)), 0);
    EXPECT_THAT(*read_file(folder / "out"), HasSubstr("policy: \"spread\""));
    EXPECT_EQ(wait_for(spawn({"--kubeconfig", "/no/such/file"}), Seconds(10)), 1);
    EXPECT_THAT(*read_file(folder / "err"), HasSubstr("/no/such/file"));
}

TEST_F(Process, NanoGpuDefect_D24_SigtermEndsIt) {
    // The API server never answers, which is no reason not to serve and not to stop.
    const std::string kubeconfig = (folder / "config").string();
    ASSERT_TRUE(write_file_atomically(kubeconfig, R"(apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: u, user: {}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
)")
                    .ok());
    const int port = 20000 + getpid() % 20000;
    setenv("KUBECONFIG", kubeconfig.c_str(), 1);
    setenv("PORT", std::to_string(port).c_str(), 1);
    setenv("THREADNESS", "2", 1);
    const pid_t child = spawn({"-priority", "binpack", "--v", "2"});
    unsetenv("KUBECONFIG");
    unsetenv("PORT");
    unsetenv("THREADNESS");
    const std::string address = "127.0.0.1:" + std::to_string(port);
    ASSERT_TRUE(eventually([&] { return status_of(address, "/healthz") == 200; }));
    EXPECT_EQ(status_of(address, "/readyz"), 503);
    kill(child, SIGTERM);
    EXPECT_EQ(wait_for(child, Seconds(5)), 0);
    EXPECT_EQ(status_of(address, "/healthz"), 0);  // nobody listens any more
}

}  // namespace
}  // namespace egpu::scheduler
