// The scheduler and the agents are killed with SIGKILL at random points under a churn of pods, with
// kubelet restarts and faults of the API server in between. After every kill: no card above 100
// percent, no container without its placement, and once nothing moves, no leaked share.
//
// EDGE_GPU_KILLS: how many (default 200). EDGE_GPU_SEED: replays the decisions of a run.
// EDGE_GPU_KEEP: the cluster's folder (logs, state files, checkpoints) is kept after a failure.
#include <chrono>
#include <iostream>
#include <thread>

#include <gtest/gtest.h>
#include <stdlib.h>
#include <time.h>

#include "base/random.h"
#include "churn.h"
#include "command.h"
#include "sim/audit.h"
#include "sim/cluster.h"

namespace egpu::e2e {
namespace {

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
    const char* text = ::getenv(name);
    if (text == nullptr || *text == '\0') return otherwise;
    return std::strtoull(text, nullptr, 10);
}

std::string indented(const std::vector<std::string>& lines) {
    std::string out;
    for (const std::string& line : lines) out += "\n  " + line;
    return out;
}

class KillTest : public ::testing::Test {
  protected:
    void SetUp() override {
        const auto now = std::chrono::system_clock::now().time_since_epoch().count();
        seed_ =
            number_from_environment("EDGE_GPU_SEED", static_cast<std::uint64_t>(now) % 1'000'000);
        std::cout << "EDGE_GPU_SEED=" << seed_ << std::endl;
        random_ = Random(seed_);
    }

    void start(bool node_cache_capable) {
        sim::ClusterOptions options;
        options.executable = edge_gpu();
        options.nodes = {
            {"old", "t4", testing::Dialect::k1_21},
            {"new", "a10", testing::Dialect::k1_34},
            {"big", "h100", testing::Dialect::k1_34}};
        options.node_cache_capable = node_cache_capable;
        options.queue = {Millis(20), Millis(200), Seconds(5)};
        options.kubelet_tick = Millis(50);
        options.kubelet_sources_ready = Millis(30);
        options.seed = seed_;
        auto cluster = sim::Cluster::start(std::move(options), stop_.token());
        ASSERT_TRUE(cluster.ok()) << cluster.error().message;
        cluster_ = std::move(*cluster);
    }

    // What must hold at any instant; checked all the time.
    void expect_safe(const std::string& when) {
        const auto lines = sim::unsafe(sim::look_at(*cluster_, false));
        ASSERT_TRUE(lines.empty()) << when << ", seed " << seed_ << ":" << indented(lines);
    }

    void wander(int most_ms, const std::string& when) {
        const TimePoint until = MonoClock::now() + Millis(random_.between(0, most_ms));
        do {
            expect_safe(when);
            std::this_thread::sleep_for(Millis(2));
        } while (MonoClock::now() < until && !HasFatalFailure());
    }

    // One fault of the API server, at random; those that last are taken back by clear().
    std::string some_fault() {
        auto& faults = cluster_->api().faults();
        const int count = random_.between(1, 3);
        switch (random_.below(7)) {
            case 0:
                faults.fail_next(count, "POST", "/binding$", 409);
                return "409 on bind";
            case 1:
                faults.fail_next(count, "POST", "/binding$", 500);
                return "500 on bind";
            case 2:
                faults.drop_after_commit(count, "POST", "/binding$");
                return "bind answer lost";
            case 3:
                faults.break_watches();
                return "watches broken";
            case 4:
                faults.expire_history();
                return "history expired";
            case 5:
                faults.fail_next(count, "", "/api/v1/", 500);
                return "500 on anything";
            default:
                faults.drop_before(count, "", "/api/v1/pods");
                return "connections cut";
        }
    }

    // What is killed or restarted; true when it was a kill.
    bool some_crash(std::string& what) {
        const auto kind = random_.below(10);
        auto& nodes = cluster_->nodes();
        sim::SimulatedNode& node = *nodes[random_.below(nodes.size())];
        if (kind < 4) {
            what = "scheduler killed";
            cluster_->kill_scheduler();
            wander(40, what);
            const Status up = cluster_->start_scheduler();
            EXPECT_TRUE(up.ok()) << up.error().message;
            return true;
        }
        if (kind < 9) {
            what = "agent of " + node.spec().name + " killed";
            cluster_->kill_agent(node);
            wander(40, what);
            const Status up = cluster_->start_agent(node);
            EXPECT_TRUE(up.ok()) << up.error().message;
            return true;
        }
        what = "kubelet of " + node.spec().name + " restarted";
        const Status up = node.restart_kubelet();
        EXPECT_TRUE(up.ok()) << up.error().message;
        return false;
    }

    void settle(const std::string& when) {
        const TimePoint begin = MonoClock::now();
        const Status settled =
            sim::settle(*cluster_, Seconds(30), stop_.token(), sim::Overrides::kAllowed);
        slowest_ = std::max(slowest_, MonoClock::now() - begin);
        most_overridden_ =
            std::max(most_overridden_, sim::overridden(sim::look_at(*cluster_, false)).size());
        ASSERT_TRUE(settled.ok()) << when << ", seed " << seed_ << ": " << settled.error().message;
    }

    void delete_all() {
        for (const json::value& pod : cluster_->api().list("pods")) {
            (void)cluster_->api().remove(
                {"pods", "default", std::string(json::get_string(pod, {"metadata", "name"}))}
            );
        }
        ASSERT_TRUE(cluster_->api().wait_until(
            [&] { return cluster_->api().count("pods") == 0; }, Seconds(30)
        ));
    }

    // Kills until `kills` of them are done; settles after each.
    void run(std::uint64_t kills, bool with_faults) {
        Churn churn(*cluster_, seed_ + 1, 24);
        std::uint64_t done = 0;
        while (done < kills) {
            churn.resume();
            wander(80, "under churn");
            if (HasFatalFailure()) return;
            std::string what;
            if (with_faults && random_.chance(0.4)) what = some_fault() + ", ";
            std::string crash;
            done += some_crash(crash) ? 1 : 0;
            what += crash;
            wander(60, "after: " + what);
            if (HasFatalFailure()) return;
            churn.pause();
            const Status cleared = cluster_->api().faults().clear();
            ASSERT_TRUE(cleared.ok()) << cleared.error().message;
            settle("kill " + std::to_string(done) + " (" + what + ")");
            if (HasFatalFailure()) return;
        }
        churn.pause();
        delete_all();
        settle("after deleting all pods");
        const auto stats = cluster_->kube_scheduler().stats();
        std::cout << done << " kills, " << churn.created() << " pods created, " << stats.bound
                  << " bound, " << stats.bind_errors << " bind errors; slowest to settle "
                  << std::chrono::duration_cast<Millis>(slowest_).count() << " ms; at most "
                  << most_overridden_ << " containers on other cards than their device IDs name"
                  << std::endl;
        EXPECT_GT(stats.bound, 0U);
        EXPECT_LT(most_overridden_, 8U) << "of at most 24 pods: they should be rare";
    }

    void TearDown() override {
        if (!cluster_) return;
        if (HasFailure()) {
            show_logs();
        } else {
            const Status stopped = cluster_->stop();
            EXPECT_TRUE(stopped.ok()) << stopped.error().message;
        }
    }

    void show_logs() {
        if (::getenv("EDGE_GPU_KEEP") != nullptr) {
            cluster_->keep_folder();
            std::cout << "kept: " << cluster_->folder().string() << "\n";
            for (const json::value& pod : cluster_->api().list("pods")) {
                std::cout << json::to_text(pod) << "\n";
            }
        }
        std::cout << "scheduler:\n" << sim::tail_of(cluster_->log_folder() / "scheduler.log", 15);
        for (const auto& node : cluster_->nodes()) {
            const std::string name = node->spec().name;
            std::cout << "agent of " << name << ":\n"
                      << sim::tail_of(cluster_->log_folder() / ("agent-" + name + ".log"), 25);
        }
    }

    std::uint64_t seed_ = 0;
    Random random_{0};
    StopSource stop_;
    Duration slowest_{};
    std::size_t most_overridden_ = 0;  // containers at one time
    std::unique_ptr<sim::Cluster> cluster_;
};

TEST_F(KillTest, NoOvercommitNoLeakNoNakedContainer) {
    start(true);
    if (HasFatalFailure()) return;
    run(number_from_environment("EDGE_GPU_KILLS", 200) / 2, false);
}

TEST_F(KillTest, TheSameWithFaultsOfTheApiServer) {
    start(false);
    if (HasFatalFailure()) return;
    run(number_from_environment("EDGE_GPU_KILLS", 200) / 2, true);
}

}  // namespace
}  // namespace egpu::e2e
