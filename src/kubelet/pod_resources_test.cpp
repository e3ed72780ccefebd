#include "kubelet/pod_resources.h"

#include <gmock/gmock.h>

#include "testing/kubelet/rig.h"

namespace egpu::kubelet {
namespace {

using egpu::testing::ContainerKind;
using egpu::testing::Dialect;
using egpu::testing::one_container;
using egpu::testing::Rig;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using Ids = std::vector<std::string>;

TimePoint soon() {
    return MonoClock::now() + Seconds(5);
}

class PodResourcesInDialect : public ::testing::TestWithParam<Dialect> {};
INSTANTIATE_TEST_SUITE_P(
    PodResources,
    PodResourcesInDialect,
    ::testing::Values(Dialect::k1_21, Dialect::k1_34),
    [](const auto& which) { return which.param == Dialect::k1_21 ? "k1_21" : "k1_34"; }
);

TEST_P(PodResourcesInDialect, JoinsTheEntriesOfOneContainer) {
    Rig rig(GetParam());
    ASSERT_TRUE(rig.up(8));
    auto pod = one_container("u1", Rig::kResource, 3);
    pod.containers.insert(
        pod.containers.begin(),
        {{.name = "init", .kind = ContainerKind::kInit, .limits = {{Rig::kResource, 1}}},
         {.name = "side", .kind = ContainerKind::kSidecar}}
    );
    pod.containers.push_back({.name = "plain"});
    ASSERT_TRUE(rig.kubelet().add_pod(pod)->admitted);
    PodResourcesClient client(rig.kubelet().pod_resources_socket());
    const auto listed = client.list(soon());
    ASSERT_TRUE(listed.ok()) << listed.error().message;
    ASSERT_EQ(listed->size(), 1U);
    const auto& one = listed->front();
    EXPECT_EQ(one.ns, "default");
    EXPECT_EQ(one.name, "pod-u1");
    Ids names;
    for (const auto& container : one.containers) names.push_back(container.name);
    // Plain init containers are never listed; 1.21 knows no sidecars.
    if (GetParam() == Dialect::k1_21) {
        EXPECT_THAT(names, ElementsAre("main", "plain"));
    } else {
        EXPECT_THAT(names, ElementsAre("side", "main", "plain"));
    }
    for (const auto& container : one.containers) {
        if (container.name == "main") {
            EXPECT_THAT(
                container.devices,
                ElementsAre(Pair(Rig::kResource, ElementsAre("dev-000", "dev-001", "dev-002")))
            );
        } else {
            EXPECT_TRUE(container.devices.empty());
        }
    }
}

TEST_P(PodResourcesInDialect, ShowsThePodUnderAdmissionWithoutDevices) {
    Rig rig(GetParam());
    PodResourcesClient client(rig.kubelet().pod_resources_socket());
    Result<std::vector<PodResources>> seen = std::vector<PodResources>();
    rig.calls().prefer = [&](const Ids& available, const Ids&, int) -> Result<Ids> {
        seen = client.list(soon());
        return Ids{available.front()};
    };
    ASSERT_TRUE(rig.up(4));
    ASSERT_TRUE(rig.kubelet().add_pod(one_container("u1", Rig::kResource, 1))->admitted);
    ASSERT_TRUE(seen.ok()) << seen.error().message;
    ASSERT_EQ(seen->size(), 1U);
    EXPECT_EQ(seen->front().name, "pod-u1");
    EXPECT_TRUE(seen->front().containers.front().devices.empty());
}

TEST_P(PodResourcesInDialect, OutlivesAKubeletRestart) {
    Rig rig(GetParam());
    ASSERT_TRUE(rig.up(2));
    PodResourcesClient client(rig.kubelet().pod_resources_socket());
    ASSERT_TRUE(client.list(soon()).ok());
    rig.kubelet().stop();
    const auto gone = client.list(MonoClock::now() + Millis(500));
    ASSERT_FALSE(gone.ok());
    EXPECT_EQ(gone.error().code, ErrorCode::kUnavailable);
    EXPECT_THAT(gone.error().message, HasSubstr("pod-resources/kubelet.sock"));
    ASSERT_TRUE(rig.kubelet().start().ok());
    const auto back = client.list(soon());
    EXPECT_TRUE(back.ok()) << back.error().message;
}

TEST(PodResources, FallsBackToV1Alpha1) {
    Rig rig(Dialect::k1_21, [](egpu::testing::KubeletOptions& options) {
        options.serve_pod_resources_v1 = false;
    });
    ASSERT_TRUE(rig.up(2));
    ASSERT_TRUE(rig.kubelet().add_pod(one_container("u1", Rig::kResource, 2))->admitted);
    PodResourcesClient client(rig.kubelet().pod_resources_socket());
    for (int i = 0; i < 2; ++i) {
        const auto listed = client.list(soon());
        ASSERT_TRUE(listed.ok()) << listed.error().message;
        EXPECT_THAT(
            listed->front().containers.front().devices,
            ElementsAre(Pair(Rig::kResource, ElementsAre("dev-000", "dev-001")))
        );
    }
}

TEST(PodResources, WaitsOutTheRateLimit) {
    Rig rig(Dialect::k1_34);
    ASSERT_TRUE(rig.up(1));
    PodResourcesClient client(rig.kubelet().pod_resources_socket());
    for (int i = 0; i < 40; ++i) {
        const auto listed = client.list(soon());
        ASSERT_TRUE(listed.ok()) << i << ": " << listed.error().message;
    }
    // Without time to wait the limit shows.
    int limited = 0;
    for (int i = 0; i < 40; ++i) {
        const auto listed = client.list(MonoClock::now() + Millis(9));
        if (!listed.ok() && listed.error().code == ErrorCode::kExhausted) ++limited;
    }
    EXPECT_GT(limited, 0);
}

}  // namespace
}  // namespace egpu::kubelet
