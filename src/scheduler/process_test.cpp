// The real main function in a child process: exit statuses, messages, SIGTERM.
#include <csignal>
#include <cstdlib>
#include <filesystem>

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

// The real main function in a child process. `environment` and flags as nano-gpu's Deployment has
// them.
class Process : public ::testing::Test {
  protected:
    void SetUp() override {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "egpu-scheduler-XXXXXX").string();
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        folder = pattern;
    }
    void TearDown() override { std::filesystem::remove_all(folder); }
    pid_t spawn(std::vector<std::string> arguments) {
        const pid_t child = fork();
        if (child != 0) return child;
        arguments.insert(arguments.begin(), "nano-gpu-scheduler");
        std::vector<char*> argv;
        for (auto& argument : arguments) argv.push_back(argument.data());
        argv.push_back(nullptr);
        if (std::freopen((folder / "out").c_str(), "w", stdout) == nullptr) _exit(90);
        if (std::freopen((folder / "err").c_str(), "w", stderr) == nullptr) _exit(91);
        const int status = run_scheduler(static_cast<int>(argv.size()) - 1, argv.data());
        std::fflush(nullptr);
        _exit(status);
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
    // The child is forked before this process has threads; its API server never answers, which is
    // no reason not to serve and not to stop.
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
