// `edge-gpu demo` as a user runs it: what it prints, its exit status, and that nothing is left.
#include <regex>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "base/files.h"
#include "command.h"
#include "sim/demo_pods.h"
#include "sim/process.h"

namespace egpu::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class DemoTest : public ::testing::Test {
  protected:
    Result<CommandResult> demo(
        std::vector<std::string> arguments, Duration deadline = Seconds(240)
    ) {
        arguments.insert(arguments.begin(), "demo");
        return run_command(edge_gpu(), arguments, {{"TMPDIR", folder_.path()}}, deadline);
    }

    sim::ProcessOptions background() {
        sim::ProcessOptions options;
        options.executable = edge_gpu();
        options.arguments = {"demo"};
        options.environment["TMPDIR"] = folder_.path();
        options.log_file = logs_.path() / "demo.log";
        return options;
    }

    std::string printed() {
        auto text = read_file(logs_.path() / "demo.log");
        return text ? *text : "";
    }

    bool wait_until(const std::function<bool()>& done, Duration timeout) {
        const TimePoint until = MonoClock::now() + timeout;
        while (!done()) {
            if (MonoClock::now() >= until) return false;
            std::this_thread::sleep_for(Millis(10));
        }
        return true;
    }

    void expect_nothing_left() {
        EXPECT_TRUE(wait_until([&] { return processes_with(folder_.path()).empty(); }, Seconds(10))
        );
        EXPECT_THAT(processes_with(folder_.path()), IsEmpty());
        EXPECT_THAT(folder_.entries(), IsEmpty());
    }

    ScratchFolder folder_;
    ScratchFolder logs_;
};

TEST_F(DemoTest, OncePlacesEveryPodAndLeavesNothingBehind) {
    auto run = demo({"--once"});
    ASSERT_TRUE(run.ok()) << run.error().message;
    EXPECT_EQ(run->status, 0) << run->output;
    for (const auto& pod : sim::demo_pods()) EXPECT_THAT(run->output, HasSubstr(pod.name));
    EXPECT_THAT(run->output, HasSubstr("export KUBECONFIG="));
    EXPECT_THAT(run->output, HasSubstr("no card with 60 percent free"));
    EXPECT_THAT(run->output, HasSubstr("NVIDIA_VISIBLE_DEVICES=GPU-"));
    EXPECT_THAT(run->output, HasSubstr("every card is free again"));
    expect_nothing_left();
}

TEST_F(DemoTest, OnceWithWholeNodesInTheExtendersCallsAndWithoutTls) {
    auto run = demo({"--once", "--cache-mode", "nodes", "--plain-http", "--policy", "spread"});
    ASSERT_TRUE(run.ok()) << run.error().message;
    EXPECT_EQ(run->status, 0) << run->output;
    expect_nothing_left();
}

TEST_F(DemoTest, CtrlCEndsTheLiveTableInOrder) {
    auto process = sim::Process::start(background());
    ASSERT_TRUE(process.ok()) << process.error().message;
    const auto shows = [&](const char* text) { return printed().find(text) != std::string::npos; };
    ASSERT_TRUE(
        wait_until([&] { return shows("export KUBECONFIG=") && shows("no-room"); }, Seconds(90))
    ) << printed();
    ASSERT_TRUE(process->signal(SIGINT).ok());
    auto status = process->wait(Seconds(30));
    ASSERT_TRUE(status.ok()) << status.error().message;
    EXPECT_EQ(*status, 0) << printed();
    expect_nothing_left();
}

// The README's promise, with the flags that it names: none.
TEST_F(DemoTest, KubectlGetsInWithTheKubeconfigThatIsPrinted) {
    const auto kubectl = find_program("kubectl");
    if (kubectl.empty()) GTEST_SKIP() << "no kubectl in PATH (Debian: kubernetes-client)";
    auto process = sim::Process::start(background());
    ASSERT_TRUE(process.ok()) << process.error().message;
    const std::string before = "export KUBECONFIG=";
    ASSERT_TRUE(wait_until([&] { return printed().find(before) != std::string::npos; }, Seconds(90))
    ) << printed();
    const std::string text = printed();
    const std::size_t at = text.find(before) + before.size();
    const auto manifest = logs_.path() / "fifth.yaml";
    ASSERT_TRUE(write_file_atomically(
                    manifest,
                    "apiVersion: v1\nkind: Pod\nmetadata: {name: fifth}\nspec:\n  containers:\n"
                    "  - name: main\n    image: nvidia/cuda:11.0-base\n"
                    "    resources: {limits: {nano-gpu/gpu-percent: \"20\"}}\n"
    )
                    .ok());
    auto applied = run_command(
        kubectl,
        {"apply", "-f", manifest.string()},
        {{"KUBECONFIG", text.substr(at, text.find('\n', at) - at)}, {"HOME", logs_.path()}},
        Seconds(60)
    );
    ASSERT_TRUE(applied.ok()) << applied.error().message;
    EXPECT_EQ(applied->status, 0) << applied->output;
    EXPECT_TRUE(wait_until(
        [&] { return std::regex_search(printed(), std::regex("\nfifth +Running +")); }, Seconds(60)
    )) << printed();
    ASSERT_TRUE(process->stop(Seconds(30)).ok());
    expect_nothing_left();
}

TEST_F(DemoTest, EndsInOrderWhenNobodyReadsItsTable) {
    auto run = run_command(
        "/bin/sh",
        {"-c", "\"$0\" demo | head -n 1; sleep 1", edge_gpu().string()},
        {{"TMPDIR", folder_.path()}},
        Seconds(60)
    );
    ASSERT_TRUE(run.ok()) << run.error().message;
    EXPECT_THAT(run->output, HasSubstr("14 simulated cards are up"));
    expect_nothing_left();
}

TEST_F(DemoTest, CtrlCWhileStartingLeavesNothing) {
    auto process = sim::Process::start(background());
    ASSERT_TRUE(process.ok());
    ASSERT_TRUE(wait_until([&] { return !folder_.entries().empty(); }, Seconds(30)));
    ASSERT_TRUE(process->signal(SIGINT).ok());
    auto status = process->wait(Seconds(30));
    ASSERT_TRUE(status.ok()) << status.error().message;
    expect_nothing_left();
}

TEST_F(DemoTest, ChildrenDieWithADemoThatIsKilled) {
    auto process = sim::Process::start(background());
    ASSERT_TRUE(process.ok());
    ASSERT_TRUE(wait_until([&] { return processes_with(folder_.path()).size() >= 5; }, Seconds(60)))
        << printed();
    process->kill();
    EXPECT_TRUE(wait_until([&] { return processes_with(folder_.path()).empty(); }, Seconds(10)));
    EXPECT_THAT(processes_with(folder_.path()), IsEmpty());
}

TEST_F(DemoTest, AFailureHalfWayIsOneSentenceAndLeavesNothing) {
    auto first = sim::Process::start(background());
    ASSERT_TRUE(first.ok());
    ASSERT_TRUE(
        wait_until([&] { return printed().find("KUBECONFIG=") != std::string::npos; }, Seconds(60))
    );
    const std::string text = printed();
    auto config = read_file(text.substr(
        text.find("KUBECONFIG=") + 11,
        text.find('\n', text.find("KUBECONFIG=")) - text.find("KUBECONFIG=") - 11
    ));
    ASSERT_TRUE(config.ok()) << config.error().message;
    const std::string host = "127.0.0.1:";
    const std::string port =
        std::to_string(std::stoi(config->substr(config->find(host) + host.size())));
    ScratchFolder other;
    auto second =
        run_command(edge_gpu(), {"demo", "--port", port}, {{"TMPDIR", other.path()}}, Seconds(60));
    ASSERT_TRUE(second.ok()) << second.error().message;
    EXPECT_EQ(second->status, 1) << second->output;
    EXPECT_THAT(second->output, HasSubstr(port));
    EXPECT_THAT(other.entries(), IsEmpty());
    EXPECT_THAT(processes_with(other.path()), IsEmpty());
    ASSERT_TRUE(first->stop(Seconds(30)).ok());
    expect_nothing_left();
}

TEST_F(DemoTest, FlagsAreExplainedAndChecked) {
    auto help = demo({"--help"});
    ASSERT_TRUE(help.ok());
    EXPECT_EQ(help->status, 0);
    EXPECT_THAT(help->output, HasSubstr("--once"));
    auto wrong = demo({"--onse"});
    ASSERT_TRUE(wrong.ok());
    EXPECT_EQ(wrong->status, 2);
    EXPECT_THAT(wrong->output, HasSubstr("--onse"));
    auto policy = demo({"--policy", "tightest"});
    ASSERT_TRUE(policy.ok());
    EXPECT_EQ(policy->status, 2);
    EXPECT_THAT(policy->output, HasSubstr("--policy: \"tightest\" is not binpack"));
    auto library = demo({"--once", "--sim-nvml", "/nowhere/libnvidia-ml.so.1"});
    ASSERT_TRUE(library.ok());
    EXPECT_EQ(library->status, 1);
    EXPECT_THAT(library->output, HasSubstr("/nowhere/libnvidia-ml.so.1"));
    expect_nothing_left();
}

}  // namespace
}  // namespace egpu::e2e
