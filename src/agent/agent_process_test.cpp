// The agent as a process of its own: start, stop, wrong flags, and killed at any moment. This
// test's own program is the agent when its first argument is "agent".
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/app.h"
#include "agent/rig_for_test.h"
#include "base/files.h"
#include "base/random.h"
#include "gpu/cards_annotation.h"

extern char** environ;

namespace egpu::agent {
namespace {

using testing::Dialect;
using ::testing::HasSubstr;

class Child {
  public:
    Child(const std::vector<std::string>& arguments, const std::string& log) {
        std::vector<std::string> all{"/proc/self/exe", "agent"};
        all.insert(all.end(), arguments.begin(), arguments.end());
        std::vector<char*> argv;
        for (std::string& argument : all) argv.push_back(argument.data());
        argv.push_back(nullptr);
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        for (const int fd : {1, 2}) {
            posix_spawn_file_actions_addopen(
                &actions, fd, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600
            );
        }
        if (::posix_spawn(&pid_, all[0].c_str(), &actions, nullptr, argv.data(), environ) != 0)
            pid_ = -1;
        posix_spawn_file_actions_destroy(&actions);
    }
    ~Child() { kill(); }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    void kill() {
        if (pid_ <= 0) return;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
        pid_ = -1;
    }
    // The exit status, or -1 when it did not end by itself in time.
    int stop(int signal, Duration timeout) {
        if (signal != 0) ::kill(pid_, signal);
        int status = 0;
        const bool ended =
            eventually([&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; }, timeout);
        if (!ended) return -1;
        pid_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    long resident_kib() const {
        std::ifstream file("/proc/" + std::to_string(pid_) + "/status");
        std::string word;
        while (file >> word) {
            long value = 0;
            if (word == "VmRSS:" && file >> value) return value;
        }
        return -1;
    }
    long cpu_ticks() const {
        std::ifstream file("/proc/" + std::to_string(pid_) + "/stat");
        std::string word;
        long user = 0;
        long system = 0;
        for (int i = 1; i <= 13; ++i) file >> word;
        file >> user >> system;
        return user + system;
    }

  private:
    pid_t pid_ = -1;
};

std::vector<std::string> arguments_of(const AgentRig& rig) {
    const Options options = rig.options();
    return {
        "--node-name=" + options.node_name,
        "--kubeconfig=" + options.kubeconfig,
        "--device-plugin-dir=" + options.device_plugin_dir.string(),
        "--pod-resources-socket=" + options.pod_resources_socket.string(),
        "--state-dir=" + options.state_dir.string(),
        "--nvml-library=" + options.nvml_library,
        "--injection=nvidia",
        "--listen=127.0.0.1:0"};
}

TEST(AgentProcess, StartsServesAndStops) {
    AgentRig rig;
    ASSERT_TRUE(rig.up_without_agent());
    const std::string log = rig.folder() / "log";
    const TimePoint start = MonoClock::now();
    Child agent(arguments_of(rig), log);
    ASSERT_TRUE(eventually([&] { return rig.healthy(AgentRig::kPercent) == 400; }));
    const auto registered = std::chrono::duration_cast<Millis>(MonoClock::now() - start);
    const RigPod pod = rig.run("p", {{.name = "main", .percent = 30, .cards = {1}}});
    ASSERT_TRUE(pod.admission.admitted) << pod.admission.message;
    ASSERT_TRUE(rig.running(pod));
    ASSERT_TRUE(eventually([&] {
        const auto node = rig.api().get({"nodes", "", AgentRig::kNode});
        return node &&
               !json::get_string(*node, {"metadata", "annotations", gpu::kAnnotationCards}).empty();
    }));
    std::this_thread::sleep_for(Seconds(3));
    const long ticks = agent.cpu_ticks();
    const long resident = agent.resident_kib();
    std::this_thread::sleep_for(Seconds(3));
    // For the record (docs/benchmarks.md); budgets are not asserted by timed tests.
    std::printf(
        "start to registered: %lld ms; resident: %ld KiB; CPU while idle: %ld ticks in 3 s\n",
        static_cast<long long>(registered.count()),
        resident,
        agent.cpu_ticks() - ticks
    );
    EXPECT_EQ(agent.stop(SIGTERM, Seconds(10)), 0) << *read_file(log);
    EXPECT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 0, Seconds(10)));
    EXPECT_TRUE(rig.running(pod));
    for (const auto& entry : std::filesystem::directory_iterator(rig.kubelet().plugin_folder())) {
        EXPECT_FALSE(entry.path().filename().string().starts_with("edge-gpu")) << entry.path();
    }
}

TEST(AgentProcess, WrongFlagsExitWithTwo) {
    AgentRig rig;
    const std::string log = rig.folder() / "log";
    EXPECT_EQ(Child({"--injection=docker"}, log).stop(0, Seconds(10)), 2);
    EXPECT_THAT(*read_file(log), HasSubstr("edge-gpu agent: --injection=docker is not possible"));
    EXPECT_EQ(Child({"--help"}, log).stop(0, Seconds(10)), 0);
    EXPECT_EQ(Child({"--print-config", "-nodename=n"}, log).stop(0, Seconds(10)), 0);
    EXPECT_THAT(*read_file(log), HasSubstr("nodeName: \"n\""));
}

TEST(AgentProcess, StateFolderThatIsAFileExitsWithOne) {
    AgentRig rig;
    const std::string log = rig.folder() / "log";
    std::ofstream(rig.folder() / "state") << "x";
    EXPECT_EQ(Child(arguments_of(rig), log).stop(0, Seconds(10)), 1);
    EXPECT_THAT(*read_file(log), HasSubstr("the agent cannot start"));
}

TEST(AgentProcess, TermDuringStart) {
    AgentRig rig;
    ASSERT_TRUE(rig.up_without_agent());
    for (int delay = 0; delay < 120; delay += 20) {
        Child agent(arguments_of(rig), rig.folder() / "log");
        std::this_thread::sleep_for(Millis(20 + delay));
        const int status = agent.stop(SIGTERM, Seconds(10));
        // Before the signal is blocked the kernel ends the process.
        EXPECT_TRUE(status == 0 || status == 128 + SIGTERM) << status;
    }
}

// Pods come and go while the agent is killed at random points. What runs never overcommits a card,
// and nothing leaks.
TEST(AgentProcess, KilledAtAnyMoment) {
    const char* given_seed = std::getenv("EDGE_GPU_SEED");
    const std::uint64_t seed = given_seed != nullptr ? std::strtoull(given_seed, nullptr, 10) : 42;
    SCOPED_TRACE("EDGE_GPU_SEED=" + std::to_string(seed));
    Random random(seed);
    AgentRig rig(Dialect::k1_34);
    ASSERT_TRUE(rig.up_without_agent());
    struct Live {
        RigPod pod;
        int percent = 0;
    };
    std::vector<Live> live;
    int admitted = 0;
    int number = 0;
    for (int round = 0; round < 12; ++round) {
        Child agent(arguments_of(rig), rig.folder() / "log");
        std::thread killer([&, delay = random.between(20, 600)] {
            std::this_thread::sleep_for(Millis(delay));
            agent.kill();
        });
        const int steps = random.between(4, 10);
        for (int i = 0; i < steps; ++i) {
            if (!live.empty() && random.chance(0.4)) {
                const std::size_t at = random.below(live.size());
                rig.remove(live[at].pod);
                live.erase(live.begin() + static_cast<std::ptrdiff_t>(at));
                continue;
            }
            const int percent = random.chance(0.2) ? 100 : random.between(5, 60);
            std::vector<RigContainer> containers{{.name = "main", .percent = percent}};
            if (random.chance(0.6)) containers[0].cards = {random.between(0, 3)};
            const RigPod pod = rig.run("p" + std::to_string(++number), containers);
            if (pod.admission.admitted) {
                ++admitted;
                live.push_back({pod, percent});
            } else {
                rig.set_phase(pod, "Failed");
            }
            std::this_thread::sleep_for(Millis(random.between(0, 60)));
        }
        killer.join();
    }
    // A last agent; containers that waited for one start now.
    Child agent(arguments_of(rig), rig.folder() / "log");
    std::map<int, int> used;
    for (const Live& l : live) {
        ASSERT_TRUE(rig.running(l.pod));
        const auto cards = rig.given(l.pod, "main");
        ASSERT_EQ(cards.size(), 1U);
        used[cards[0]] += l.percent;
    }
    for (const auto& [card, percent] : used) EXPECT_LE(percent, 100) << "card " << card;
    EXPECT_GT(admitted, 5);
    for (const Live& l : live) rig.remove(l.pod);
    EXPECT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kWhole, 4, Seconds(30)));
    EXPECT_TRUE(rig.kubelet().wait_allocatable(AgentRig::kPercent, 400, Seconds(10)));
    EXPECT_EQ(agent.stop(SIGTERM, Seconds(10)), 0);
}

}  // namespace
}  // namespace egpu::agent

int main(int argc, char** argv) {
    if (argc > 1 && std::strcmp(argv[1], "agent") == 0)
        return egpu::agent::run_agent(argc - 1, argv + 1);
    ::testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
