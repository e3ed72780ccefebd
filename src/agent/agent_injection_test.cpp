// direct and cdi between a real agent and an embedded kubelet, on a node below a folder.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "agent/publisher.h"
#include "agent/rig_for_test.h"
#include "base/files.h"
#include "base/json.h"
#include "isolation/limits_file.h"

namespace egpu::agent {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class AgentInjection : public ::testing::TestWithParam<testing::Dialect> {
  protected:
    AgentInjection() : rig(GetParam()) {
        host_ = rig.folder() / "host";
        fs::create_directories(host_ / "usr/lib64");
        fs::create_directories(host_ / "dev");
        for (const char* name : {"libcuda", "libnvidia-ml"}) {
            const std::string file = std::string(name) + ".so.535.161.08";
            EXPECT_TRUE(write_file_atomically(host_ / "usr/lib64" / file, name, 0755));
            fs::create_symlink(file, host_ / "usr/lib64" / (std::string(name) + ".so.1"));
        }
        for (unsigned i = 0; i < 4; ++i) {
            const auto path = host_ / "dev" / ("nvidia" + std::to_string(i));
            can_ = can_ && ::mknod(path.c_str(), S_IFCHR | 0666, makedev(195, i)) == 0;
        }
    }
    void SetUp() override {
        if (!can_) GTEST_SKIP() << "device nodes cannot be created here";
    }
    void use(const std::string& strategy) {
        rig.adjust = [this, strategy](Options& options) {
            options.inject.strategy = strategy;
            options.inject.host_root = host_;
            options.inject.cdi_spec_dir = host_ / "run/cdi";
        };
    }
    kubelet::AllocateResponse given(const RigPod& pod) {
        return rig.kubelet().container(pod.uid, "main")->given;
    }

    AgentRig rig;
    fs::path host_;
    bool can_ = true;
};

TEST_P(AgentInjection, IsolationByMigStartsWholeCardsOnly) {
    rig.adjust = [](Options& options) { options.isolation = "mig"; };
    ASSERT_TRUE(rig.up());
    const RigPod share = rig.run("share", {{.name = "main", .percent = 25, .cards = {1}}});
    const RigPod all = rig.run("all", {{.name = "main", .percent = 100, .cards = {2}}});
    ASSERT_TRUE(share.admission.admitted) << share.admission.message;
    EXPECT_TRUE(rig.running(all));
    EXPECT_TRUE(rig.kubelet().wait_pod(
        share.uid,
        [](const testing::PodStatus& pod) {
            return !pod.containers.empty() &&
                   pod.containers[0].state == testing::ContainerState::kWaiting &&
                   pod.containers[0].message.find("whole MIG instances") != std::string::npos;
        },
        Seconds(15)
    )) << "nothing would keep it to a quarter";
}

TEST_P(AgentInjection, AutoIsolationTakesWhatIsThere) {
    rig.adjust = [&](Options& options) {
        options.isolation = "auto";
        options.guard_library = rig.folder() / "missing.so";
    };
    ASSERT_TRUE(rig.up());
    const RigPod share = rig.run("share", {{.name = "main", .percent = 25, .cards = {1}}});
    ASSERT_TRUE(rig.running(share));
    for (const kubelet::Mount& mount : given(share).mounts)
        EXPECT_NE(mount.container_path, "/etc/ld.so.preload");
    rig.stop_agent();
    Options options = rig.options();
    rig.adjust(options);
    options.isolation = "guard";
    const auto agent = Agent::start(options, rig.timing);
    ASSERT_FALSE(agent) << "what was asked for cannot be had";
    EXPECT_NE(agent.error().message.find("--isolation guard"), std::string::npos);
}

// The guard's files are mounted into containers with a share, and the quota is there when they
// start.
TEST_P(AgentInjection, SharesAreMountedTheirLimits) {
    const fs::path library = rig.folder() / "guard.so";
    ASSERT_TRUE(write_file_atomically(library, "the guard"));
    rig.adjust = [&](Options& options) {
        options.isolation = "guard";
        options.guard_library = library;
    };
    ASSERT_TRUE(rig.up());
    const RigPod share = rig.run("share", {{.name = "main", .percent = 25, .cards = {1}}});
    const RigPod whole = rig.run("whole", {{.name = "main", .whole = 1, .cards = {2}}});
    ASSERT_TRUE(share.admission.admitted) << share.admission.message;
    ASSERT_TRUE(rig.running(share));
    ASSERT_TRUE(rig.running(whole));
    std::map<std::string, kubelet::Mount> mounts;
    for (const kubelet::Mount& mount : given(share).mounts) mounts[mount.container_path] = mount;
    ASSERT_TRUE(mounts.contains("/etc/ld.so.preload"));
    EXPECT_TRUE(mounts["/run/edge-gpu/limits"].read_only);
    EXPECT_FALSE(mounts["/run/edge-gpu/ledger"].read_only);
    for (const kubelet::Mount& mount : given(whole).mounts) {
        EXPECT_FALSE(mount.container_path.starts_with("/run/edge-gpu")) << mount.container_path;
    }
    const fs::path limits = mounts["/run/edge-gpu/limits"].host_path;
    const auto quota = [&] {
        auto file = isolation::LimitsFile::open(limits);
        return file && file->body() ? file->body()->devices[0].mem_hard >> 20U : 0;
    };
    const auto quarter = quota();
    EXPECT_GT(quarter, 5000U);  // of an A10
    ASSERT_TRUE(rig.api().patch(
        {"pods", "default", "share"},
        json::object{
            {"metadata",
             json::object{{"annotations", json::object{{"edge-gpu.io/memory", "1000Mi"}}}}}}
    ));
    EXPECT_TRUE(eventually([&] { return quota() == 1000; }));

    rig.stop_agent();  // what is written stays; what is lost comes back before a start
    EXPECT_EQ(quota(), 1000U);
    ASSERT_TRUE(rig.start_agent());
    EXPECT_EQ(quota(), 1000U);
    rig.remove(share);
    EXPECT_TRUE(eventually([&] { return !fs::exists(limits); }));
}

TEST_P(AgentInjection, CdiSpecificationIsThereBeforeEveryContainerStart) {
    use("cdi");
    ASSERT_TRUE(rig.up());
    const RigPod pod = rig.run("p", {{.name = "main", .percent = 30, .cards = {2}}});
    ASSERT_TRUE(pod.admission.admitted) << pod.admission.message;
    ASSERT_TRUE(rig.running(pod));
    bool named = false;
    for (const auto& [key, value] : given(pod).annotations) {
        named =
            named || (key.starts_with("cdi.k8s.io/") && value == "edge-gpu.io/gpu=" + rig.uuid(2));
    }
    EXPECT_TRUE(named);
    const fs::path spec = host_ / "run/cdi/edge-gpu.io-gpu.json";
    EXPECT_THAT(*read_file(spec), HasSubstr(rig.uuid(2)));
    // A reboot empties /run; the answer is replayed.
    fs::remove_all(host_ / "run");
    ASSERT_TRUE(rig.kubelet().restart_container(pod.uid, "main"));
    ASSERT_TRUE(eventually([&] { return fs::exists(spec); }, Seconds(10)));
    ASSERT_TRUE(rig.running(pod));
    const auto node = rig.api().get({"nodes", "", AgentRig::kNode});
    EXPECT_EQ(
        json::get_string(*node, {"metadata", "annotations", kAnnotationInjection}),
        "cdi: chosen by --injection"
    );
}

TEST_P(AgentInjection, ContainersAreNotStartedWithoutWhatTheirAnswerNames) {
    use("direct");
    ASSERT_TRUE(rig.up());
    const RigPod pod = rig.run("p", {{.name = "main", .percent = 30, .cards = {1}}});
    ASSERT_TRUE(pod.admission.admitted) << pod.admission.message;
    ASSERT_TRUE(rig.running(pod));
    int cards = 0;
    for (const auto& device : given(pod).devices) {
        EXPECT_EQ(device.host_path, "/dev/nvidia1");
        ++cards;
    }
    EXPECT_EQ(cards, 1);
    fs::remove(host_ / "dev/nvidia1");
    ASSERT_TRUE(rig.kubelet().restart_container(pod.uid, "main"));
    ASSERT_TRUE(eventually(
        [&] {
            return rig.kubelet().container(pod.uid, "main")->state ==
                   testing::ContainerState::kWaiting;
        },
        Seconds(10)
    ));
    ASSERT_EQ(::mknod((host_ / "dev/nvidia1").c_str(), S_IFCHR | 0666, makedev(195, 1)), 0);
    EXPECT_TRUE(rig.running(pod));
}

// The state file is lost: the card is known from the answer in the kubelet's checkpoint.
TEST_P(AgentInjection, CardsAreRecognisedInAnswersOfBothStrategies) {
    use("direct");
    ASSERT_TRUE(rig.up());
    const RigPod direct = rig.run("direct", {{.name = "main", .percent = 40, .cards = {3}}});
    ASSERT_TRUE(rig.running(direct));
    rig.stop_agent();
    use("cdi");
    ASSERT_TRUE(rig.start_agent());
    ASSERT_TRUE(eventually([&] { return rig.healthy(AgentRig::kPercent) == 400; }));
    const RigPod cdi = rig.run("cdi", {{.name = "main", .percent = 30, .cards = {1}}});
    ASSERT_TRUE(rig.running(cdi));
    rig.stop_agent();
    for (const auto& entry : fs::directory_iterator(rig.folder() / "state")) {
        if (entry.is_regular_file()) fs::remove(entry.path());
    }
    ASSERT_TRUE(rig.start_agent());
    EXPECT_TRUE(eventually([&] { return rig.used(3) == 40 && rig.used(1) == 30; }));
}

INSTANTIATE_TEST_SUITE_P(
    Kubelets,
    AgentInjection,
    ::testing::Values(testing::Dialect::k1_21, testing::Dialect::k1_34),
    [](const auto& which) { return which.param == testing::Dialect::k1_21 ? "v121" : "v134"; }
);

}  // namespace
}  // namespace egpu::agent
