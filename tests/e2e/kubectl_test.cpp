// The real kubectl against the demo's cluster: what a user of the guide types and sees.
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "base/files.h"
#include "command.h"
#include "sim/audit.h"
#include "sim/cluster.h"

namespace egpu::e2e {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

const char* const kGuidePods = R"(apiVersion: v1
kind: Pod
metadata:
  name: cuda-whole
spec:
  containers:
    - name: cuda
      image: nvidia/cuda:12.2.0-base
      resources:
        limits:
          nvidia.com/gpu: 1
---
apiVersion: v1
kind: Pod
metadata:
  name: cuda-share
spec:
  containers:
    - name: cuda
      image: nvidia/cuda:12.2.0-base
      resources:
        limits:
          nano-gpu/gpu-percent: "20"
)";

std::string share_yaml(const std::string& name, int percent) {
    return "apiVersion: v1\nkind: Pod\nmetadata:\n  name: " + name +
           "\nspec:\n  containers:\n    - name: main\n      image: i\n      resources:\n        "
           "limits:\n"
           "          nano-gpu/gpu-percent: \"" +
           std::to_string(percent) + "\"\n";
}

// "default": kubectl from PATH; "other": the one named by EDGE_GPU_KUBECTL.
class KubectlTest : public ::testing::TestWithParam<const char*> {
  protected:
    void SetUp() override {
        const bool other = std::string(GetParam()) == "other";
        const char* named = ::getenv("EDGE_GPU_KUBECTL");
        if (other && named == nullptr)
            GTEST_SKIP() << "EDGE_GPU_KUBECTL does not name another kubectl";
        kubectl_ = other ? named : find_program("kubectl").string();
        if (kubectl_.empty()) GTEST_SKIP() << "no kubectl in PATH (Debian: kubernetes-client)";
        sim::ClusterOptions options;
        options.executable = edge_gpu();
        options.nodes = {
            {"edge-t4", "t4", testing::Dialect::k1_21},
            {"edge-a10", "a10", testing::Dialect::k1_34}};
        options.tls = !find_program("openssl").empty();
        auto cluster = sim::Cluster::start(std::move(options), StopSource().token());
        ASSERT_TRUE(cluster.ok()) << cluster.error().message;
        cluster_ = std::move(*cluster);
    }

    void TearDown() override {
        if (!cluster_) return;
        const Status stopped = cluster_->stop();
        EXPECT_TRUE(stopped.ok()) << stopped.error().message;
    }

    // Fails the test when kubectl does.
    std::string kubectl(const std::vector<std::string>& arguments) {
        auto run = run_command(
            kubectl_,
            arguments,
            {{"KUBECONFIG", cluster_->kubeconfig()}, {"HOME", scratch_.path()}},
            Seconds(60)
        );
        if (!run) {
            ADD_FAILURE() << run.error().message;
            return "";
        }
        EXPECT_EQ(run->status, 0) << run->output;
        return run->output;
    }

    std::string apply(const std::string& yaml) {
        const auto file = scratch_.path() / "manifest.yaml";
        EXPECT_TRUE(write_file_atomically(file, yaml).ok());
        return kubectl({"apply", "-f", file.string()});
    }

    bool phase_becomes(const std::string& pod, std::string_view phase) {
        return cluster_->api().wait_for(
            {"pods", "default", pod},
            [&](const json::value* object) {
                return object != nullptr && json::get_string(*object, {"status", "phase"}) == phase;
            },
            Seconds(30)
        );
    }

    ScratchFolder scratch_;
    std::string kubectl_;
    std::unique_ptr<sim::Cluster> cluster_;
};

INSTANTIATE_TEST_SUITE_P(
    Program,
    KubectlTest,
    ::testing::Values("default", "other"),
    [](const auto& p) { return std::string(p.param); }
);

TEST_P(KubectlTest, TheGuideWorks) {
    const std::string nodes = kubectl({"get", "nodes"});
    EXPECT_THAT(nodes, ContainsRegex("edge-t4 +Ready .* v1.21.2"));
    EXPECT_THAT(nodes, ContainsRegex("edge-a10 +Ready .* v1.34.9"));
    EXPECT_THAT(
        kubectl({"describe", "node", "edge-t4"}),
        AllOf(HasSubstr("nvidia.com/gpu"), HasSubstr("nano-gpu/gpu-percent"))
    );

    EXPECT_THAT(
        apply(kGuidePods),
        AllOf(HasSubstr("pod/cuda-whole created"), HasSubstr("pod/cuda-share created"))
    );
    ASSERT_TRUE(phase_becomes("cuda-whole", "Running"));
    ASSERT_TRUE(phase_becomes("cuda-share", "Running"));
    EXPECT_THAT(apply(kGuidePods), HasSubstr("pod/cuda-share unchanged"));

    const std::string pods = kubectl({"get", "pods", "-o", "wide"});
    EXPECT_THAT(pods, ContainsRegex("cuda-whole +1/1 +Running .* edge-"));
    EXPECT_THAT(pods, ContainsRegex("cuda-share +1/1 +Running .* edge-"));

    const std::string described = kubectl({"describe", "pod", "cuda-share"});
    EXPECT_THAT(
        described,
        AllOf(
            HasSubstr("nano-gpu/assume"),
            HasSubstr("nano-gpu/container-cuda"),
            HasSubstr("edge-gpu.io/placement"),
            HasSubstr("Running")
        )
    );
    EXPECT_TRUE(sim::settle(*cluster_, Seconds(30), StopSource().token()).ok());

    EXPECT_THAT(kubectl({"get", "events"}), AllOf(HasSubstr("Scheduled"), HasSubstr("Started")));
    EXPECT_THAT(kubectl({"delete", "pod", "cuda-share"}), HasSubstr("\"cuda-share\" deleted"));
    EXPECT_THAT(kubectl({"get", "pods"}), Not(HasSubstr("cuda-share")));
    kubectl({"delete", "pod", "--all"});
    const Status settled = sim::settle(*cluster_, Seconds(40), StopSource().token());
    EXPECT_TRUE(settled.ok()) << settled.error().message;
}

TEST_P(KubectlTest, APodThatCannotFitSaysWhyInItsEvents) {
    // Every card gets 60 percent: the sum on each node would do for one more, no card does.
    for (int i = 0; i < 6; ++i) apply(share_yaml("fill-" + std::to_string(i), 60));
    for (int i = 0; i < 6; ++i) ASSERT_TRUE(phase_becomes("fill-" + std::to_string(i), "Running"));
    apply(share_yaml("late", 60));
    std::string described;
    for (int i = 0; i < 100; ++i) {
        described = kubectl({"describe", "pod", "late"});
        if (described.find("FailedScheduling") != std::string::npos) break;
        std::this_thread::sleep_for(Millis(100));
    }
    EXPECT_THAT(
        described,
        AllOf(
            HasSubstr("FailedScheduling"),
            HasSubstr("0/2 nodes are available: 2 no card with 60 percent free")
        )
    );
    EXPECT_THAT(kubectl({"get", "events"}), HasSubstr("no card with 60 percent free"));
    EXPECT_THAT(kubectl({"get", "pod", "late"}), HasSubstr("Pending"));
    kubectl({"delete", "pod", "fill-3"});
    EXPECT_TRUE(phase_becomes("late", "Running")) << "room was made";
}

TEST_P(KubectlTest, ABadRequestSaysWhatIsAllowed) {
    apply(share_yaml("odd", 150));
    std::string described;
    for (int i = 0; i < 100; ++i) {
        described = kubectl({"describe", "pod", "odd"});
        if (described.find("FailedScheduling") != std::string::npos) break;
        std::this_thread::sleep_for(Millis(100));
    }
    EXPECT_THAT(described, HasSubstr("neither 1..100 nor a multiple of 100"));
}

}  // namespace
}  // namespace egpu::e2e
