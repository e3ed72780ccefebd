#include "testing/kubelet/kubelet.h"

#include <atomic>
#include <fstream>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "kubelet/checkpoint.h"
#include "kubelet/pod_resources.h"
#include "pod_resources_v1.grpc.pb.h"
#include "testing/kubelet/rig.h"

namespace egpu::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsSubsetOf;
using ::testing::StartsWith;
using Ids = std::vector<std::string>;
using Param = Dialect;

constexpr const char* kResource = Rig::kResource;

bool phase_is(Rig& rig, const std::string& uid, PodPhase phase) {
    return rig.kubelet().wait_pod(
        uid, [=](const PodStatus& pod) { return pod.phase == phase; }, Seconds(10)
    );
}

bool running_again(Rig& rig, const std::string& uid, int restarts) {
    return eventually([&] {
        const auto main = rig.kubelet().container(uid, "main");
        return main && main->state == ContainerState::kRunning && main->restarts == restarts;
    });
}

class KubeletInDialect : public ::testing::TestWithParam<Param> {};
INSTANTIATE_TEST_SUITE_P(
    Kubelet,
    KubeletInDialect,
    ::testing::Values(Dialect::k1_21, Dialect::k1_34),
    [](const auto& which) { return which.param == Dialect::k1_21 ? "k1_21" : "k1_34"; }
);

TEST_P(KubeletInDialect, AdmitsWhatFitsAndFreesLazily) {
    Rig rig(GetParam());
    ASSERT_TRUE(rig.up(4));
    ASSERT_TRUE(rig.kubelet().add_pod(one_container("u1", kResource, 3))->admitted);
    const auto refused = rig.kubelet().add_pod(one_container("u2", kResource, 2));
    EXPECT_FALSE(refused->admitted);
    EXPECT_EQ(
        refused->message,
        "Allocate failed due to requested number of devices unavailable for nano-gpu/gpu-percent. "
        "Requested: 2, Available: 1, which is unexpected"
    );
    EXPECT_EQ(rig.kubelet().pod("u2")->phase, PodPhase::kFailed);
    EXPECT_FALSE(rig.kubelet().add_pod(one_container("u2", kResource, 2))->admitted);  // for good
    ASSERT_TRUE(rig.kubelet().remove_pod("u1").ok());
    EXPECT_FALSE(rig.kubelet().pod("u1").has_value());
    EXPECT_TRUE(rig.kubelet().add_pod(one_container("u3", kResource, 4))->admitted);
}

TEST_P(KubeletInDialect, AnUnknownResourceIsAdmittedWithoutDevices) {
    Rig rig(GetParam());
    ASSERT_TRUE(rig.kubelet().start().ok());
    ASSERT_TRUE(rig.kubelet().add_pod(one_container("u1", kResource, 1))->admitted);
    ASSERT_TRUE(rig.runs("u1"));
    EXPECT_TRUE(rig.kubelet().container("u1", "main")->ids.empty());
}

TEST_P(KubeletInDialect, RefusesSpecsThatMakeNoSense) {
    Rig rig(GetParam());
    EXPECT_EQ(
        rig.kubelet().add_pod(one_container("u1", kResource, 1)).error().code,
        ErrorCode::kUnavailable
    );
    ASSERT_TRUE(rig.kubelet().start().ok());
    EXPECT_FALSE(rig.kubelet().add_pod(PodSpec{}).ok());
    auto twice = one_container("u1", kResource, 1);
    twice.containers.push_back(twice.containers[0]);
    EXPECT_FALSE(rig.kubelet().add_pod(twice).ok());
    auto order = one_container("u1", kResource, 1);
    order.containers.push_back({.name = "init", .kind = ContainerKind::kInit});
    EXPECT_FALSE(rig.kubelet().add_pod(order).ok());
    EXPECT_EQ(rig.kubelet().terminate_pod("nobody").error().code, ErrorCode::kNotFound);
}

TEST_P(KubeletInDialect, AppContainersReuseTheDevicesOfInitContainersButNotOfSidecars) {
    Rig rig(GetParam());
    ASSERT_TRUE(rig.up(8));
    auto pod = one_container("u1", kResource, 3);
    pod.containers.insert(
        pod.containers.begin(),
        {{.name = "init", .kind = ContainerKind::kInit, .limits = {{kResource, 2}}},
         {.name = "side", .kind = ContainerKind::kSidecar, .limits = {{kResource, 1}}}}
    );
    ASSERT_TRUE(rig.kubelet().add_pod(pod)->admitted);
    ASSERT_TRUE(rig.runs("u1"));
    const auto init = rig.kubelet().container("u1", "init")->ids.at(kResource);
    const auto side = rig.kubelet().container("u1", "side")->ids.at(kResource);
    const auto main = rig.kubelet().container("u1", "main")->ids.at(kResource);
    EXPECT_THAT(side, IsSubsetOf(init));  // a sidecar may take an init container's device …
    std::set<std::string> expected(init.begin(), init.end());
    expected.erase(side.front());  // … but keeps it
    for (const auto& id : expected) EXPECT_THAT(main, ::testing::Contains(id));
    EXPECT_THAT(main, ::testing::Not(::testing::Contains(side.front())));
    // init: asked. side: re-uses, not asked. main: one re-used, two asked for.
    EXPECT_EQ(rig.calls().asked_available().size(), 2U);
    EXPECT_EQ(rig.calls().starts().size(), 3U);
    EXPECT_EQ(rig.kubelet().container("u1", "init")->state, ContainerState::kTerminated);
}

TEST_P(KubeletInDialect, MustIncludeCarriesTheReusedDevices) {
    std::vector<Ids> musts;
    Rig rig(GetParam());
    rig.calls().prefer = [&](const Ids& available, const Ids& must, int) -> Result<Ids> {
        musts.push_back(must);
        return available;
    };
    ASSERT_TRUE(rig.up(4));
    auto pod = one_container("u1", kResource, 2);
    pod.containers.insert(
        pod.containers.begin(),
        {.name = "init", .kind = ContainerKind::kInit, .limits = {{kResource, 1}}}
    );
    ASSERT_TRUE(rig.kubelet().add_pod(pod)->admitted);
    ASSERT_TRUE(rig.runs("u1"));
    ASSERT_EQ(musts.size(), 2U);
    EXPECT_TRUE(musts[0].empty());
    EXPECT_EQ(musts[1], rig.kubelet().container("u1", "init")->ids.at(kResource));
}

TEST_P(KubeletInDialect, WithoutPreferenceTheChoiceIsRandom) {
    Rig rig(GetParam());
    ASSERT_TRUE(rig.kubelet().start().ok());
    ASSERT_TRUE(rig.start_plugin(make_devices(100), {}, false).ok());
    ASSERT_TRUE(rig.offered(100));
    ASSERT_TRUE(rig.kubelet().add_pod(one_container("u1", kResource, 10))->admitted);
    const auto ids = rig.calls().allocations().at(0);
    EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 10U);
    EXPECT_GT(ids.back(), "dev-020");
    EXPECT_TRUE(rig.calls().asked_available().empty());
}

TEST_P(KubeletInDialect, ShortAndForeignPreferencesAreToppedUp) {
    Rig rig(GetParam());
    rig.calls().prefer = [](const Ids&, const Ids&, int) -> Result<Ids> {
        return Ids{"nobody", "dev-003", "dev-003"};
    };
    ASSERT_TRUE(rig.up(4));
    ASSERT_TRUE(rig.kubelet().add_pod(one_container("u1", kResource, 2))->admitted);
    const auto ids = rig.calls().allocations().at(0);
    ASSERT_EQ(ids.size(), 2U);
    EXPECT_THAT(ids, ::testing::Contains("dev-003"));
    rig.calls().prefer = [](const Ids&, const Ids&, int) -> Result<Ids> {
        return Error{ErrorCode::kInvalid, "no idea"};
    };
    const auto refused = rig.kubelet().add_pod(one_container("u2", kResource, 1));
    EXPECT_THAT(
        refused->message,
        HasSubstr("GetPreferredAllocation rpc failed with err: rpc error: code = InvalidArgument")
    );
}

TEST_P(KubeletInDialect, APluginsDeathMakesItsDevicesUnhealthyAndThenGone) {
    std::atomic<int> capacity_changes{0};
    Rig rig(GetParam(), [](KubeletOptions& options) { options.endpoint_grace = Millis(400); });
    rig.kubelet().on_capacity_change([&] { ++capacity_changes; });
    ASSERT_TRUE(rig.up(3));
    ASSERT_TRUE(rig.kubelet().add_pod(one_container("u1", kResource, 1))->admitted);
    ASSERT_TRUE(rig.runs("u1"));
    const int before = capacity_changes;
    const std::string socket = rig.plugin().socket();
    rig.stop_plugin();
    ASSERT_TRUE(rig.offered(0));
    EXPECT_EQ(rig.kubelet().capacity().at(kResource), 3);
    EXPECT_GT(capacity_changes, before);
    EXPECT_EQ(rig.kubelet().pod("u1")->phase, PodPhase::kRunning);
    EXPECT_FALSE(rig.kubelet().add_pod(one_container("u2", kResource, 1))->admitted);
    ASSERT_TRUE(rig.kubelet().restart_container("u1", "main").ok());
    std::string why;
    ASSERT_TRUE(rig.kubelet().wait_pod(
        "u1",
        [&](const PodStatus& pod) {
            why = pod.containers[0].message;
            return pod.containers[0].reason == "CreateContainerConfigError";
        },
        Seconds(5)
    ));
    // The kubelet shows its own struct; to 1.24 that has the plugin's socket.
    EXPECT_THAT(
        why, StartsWith("device plugin PreStartContainer rpc failed with err: endpoint &{")
    );
    EXPECT_THAT(why, HasSubstr(std::string(" ") + kResource + " "));
    EXPECT_THAT(why, EndsWith("} has been stopped"));
    EXPECT_EQ(why.find(socket) != std::string::npos, GetParam() == Dialect::k1_21);
    // After the grace period: capacity 0, the key stays.
    ASSERT_TRUE(eventually([&] { return rig.kubelet().capacity().at(kResource) == 0; }));
    ASSERT_TRUE(rig.start_plugin(make_devices(3)).ok());
    ASSERT_TRUE(running_again(rig, "u1", 1));
}

TEST_P(KubeletInDialect, TheCheckpointIsTheRealFormatAndIsReadBack) {
    Rig rig(GetParam());
    ASSERT_TRUE(rig.up(4));
    ASSERT_TRUE(rig.kubelet().add_pod(one_container("u1", kResource, 2))->admitted);
    ASSERT_TRUE(rig.runs("u1"));
    const auto read = egpu::kubelet::read_checkpoint(rig.kubelet().checkpoint_path());
    ASSERT_TRUE(read.ok()) << read.error().message;
    ASSERT_EQ(read->entries.size(), 1U);
    EXPECT_EQ(read->entries[0].pod_uid, "u1");
    EXPECT_EQ(read->entries[0].container, "main");
    EXPECT_THAT(read->entries[0].device_ids, ElementsAre("dev-000", "dev-001"));
    EXPECT_EQ(read->registered.at(kResource).size(), 4U);
    const auto answer = egpu::kubelet::decode_allocate_response(read->entries[0].allocate_response);
    ASSERT_TRUE(answer.ok());
    EXPECT_EQ(answer->envs.at("TOKEN"), "1");
    std::ifstream file(rig.kubelet().checkpoint_path());
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    EXPECT_THAT(text, HasSubstr(GetParam() == Dialect::k1_21 ? R"({"0":[)" : R"({"-1":[)"));

    // The devices are still taken after a restart; a corrupt file is an empty state.
    rig.kubelet().stop();
    ASSERT_TRUE(rig.kubelet().start().ok());
    ASSERT_TRUE(rig.offered(4));
    ASSERT_TRUE(rig.kubelet().wait_synced(Seconds(5)));
    EXPECT_FALSE(rig.kubelet().add_pod(one_container("u2", kResource, 3))->admitted);
    rig.kubelet().stop();
    std::ofstream(rig.kubelet().checkpoint_path()) << "{";
    ASSERT_TRUE(rig.kubelet().start().ok());
}

TEST_P(KubeletInDialect, AtItsStartItDeletesPluginSockets) {
    Rig rig(GetParam());
    fs::create_directories(rig.kubelet().plugin_folder());
    const auto file = rig.kubelet().plugin_folder() / "note";
    std::ofstream(file) << "x";
    ASSERT_TRUE(rig.start_plugin(make_devices(1)).ok());
    const auto socket = rig.plugin().socket();
    rig.plugin().stop();
    ASSERT_TRUE(rig.start_plugin(make_devices(1)).ok());
    const auto own = rig.plugin().socket();
    ASSERT_TRUE(rig.kubelet().start().ok());
    ASSERT_TRUE(rig.offered(1));
    EXPECT_FALSE(fs::exists(own));
    EXPECT_EQ(fs::exists(file), GetParam() == Dialect::k1_34);
}

// After a reboot 1.34 fails every pod it admits before the plugin is registered; 1.21 starts them
// from its checkpoint, without PreStartContainer.
TEST_P(KubeletInDialect, ARebootWithoutThePlugin) {
    Rig rig(GetParam());
    ASSERT_TRUE(rig.up(4));
    ASSERT_TRUE(rig.kubelet().add_pod(one_container("u1", kResource, 2))->admitted);
    ASSERT_TRUE(rig.runs("u1"));
    const auto before = rig.kubelet().container("u1", "main");
    rig.kubelet().power_off();
    rig.stop_plugin();
    ASSERT_TRUE(rig.kubelet().start().ok());
    ASSERT_TRUE(rig.kubelet().wait_synced(Seconds(5)));
    if (GetParam() == Dialect::k1_34) {
        EXPECT_EQ(rig.kubelet().pod("u1")->phase, PodPhase::kFailed);
        EXPECT_EQ(
            rig.kubelet().pod("u1")->message,
            "Allocate failed due to no healthy devices present; cannot allocate unhealthy devices "
            "nano-gpu/gpu-percent, which is unexpected"
        );
    } else {
        ASSERT_TRUE(running_again(rig, "u1", 1));
        EXPECT_EQ(rig.kubelet().container("u1", "main")->given, before->given);
        EXPECT_EQ(rig.calls().starts().size(), 1U);
    }
}

// 1.21 asks for devices only where its checkpoint has none: pods that were bound while the machine
// was off fail, those that ran before start. 1.34 fails both.
TEST_P(KubeletInDialect, ARebootWithoutThePluginAndWithAPodBoundMeanwhile) {
    Rig rig(GetParam(), [](KubeletOptions& options) { options.endpoint_grace = Seconds(2); });
    ASSERT_TRUE(rig.up(4));
    ASSERT_TRUE(rig.kubelet().add_pod(one_container("old", kResource, 2))->admitted);
    ASSERT_TRUE(rig.runs("old"));
    rig.kubelet().power_off();
    rig.stop_plugin();
    ASSERT_TRUE(rig.kubelet().start().ok());
    const auto refused = rig.kubelet().add_pod(one_container("new", kResource, 1));
    ASSERT_TRUE(refused.ok());
    EXPECT_FALSE(refused->admitted);
    const bool old_fails = GetParam() == Dialect::k1_34;
    EXPECT_EQ(
        refused->message,
        std::string("Allocate failed due to ") +
            (old_fails ? "no healthy devices present; cannot allocate unhealthy devices "
                         "nano-gpu/gpu-percent"
                       : "requested number of devices unavailable for nano-gpu/gpu-percent. "
                         "Requested: 1, Available: 0") +
            ", which is unexpected"
    );
    EXPECT_EQ(rig.kubelet().pod("old")->phase == PodPhase::kFailed, old_fails);
    if (old_fails) return;
    ASSERT_TRUE(running_again(rig, "old", 1));
    int lates = 0;
    // When the plugin's grace is over the resource is known by its devices in use only.
    ASSERT_TRUE(eventually([&] {
        std::this_thread::sleep_for(Millis(100));
        const auto late =
            rig.kubelet().add_pod(one_container("late" + std::to_string(++lates), kResource, 1));
        return late && late->message ==
                           "Allocate failed due to can't allocate unregistered device "
                           "nano-gpu/gpu-percent, which is unexpected";
    }));
}

TEST_P(KubeletInDialect, PodResourcesBeyondList) {
    Rig rig(GetParam());
    ASSERT_TRUE(rig.up(2));
    const auto channel = grpc::CreateChannel(
        "unix:" + rig.kubelet().pod_resources_socket().string(), grpc::InsecureChannelCredentials()
    );
    const auto stub = v1::PodResourcesLister::NewStub(channel);
    const auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(5);
    grpc::ClientContext first;
    first.set_deadline(deadline);
    v1::AllocatableResourcesResponse allocatable;
    const auto all = stub->GetAllocatableResources(&first, {}, &allocatable);
    grpc::ClientContext second;
    second.set_deadline(deadline);
    v1::GetPodResourcesRequest request;
    request.set_pod_name("nobody");
    request.set_pod_namespace("default");
    v1::GetPodResourcesResponse pod;
    const auto one = stub->Get(&second, request, &pod);
    if (GetParam() == Dialect::k1_21) {  // the first is behind a gate, the second came later
        EXPECT_EQ(all.error_code(), grpc::StatusCode::UNKNOWN);
        EXPECT_EQ(all.error_message(), "Pod Resources API GetAllocatableResources disabled");
        EXPECT_EQ(one.error_code(), grpc::StatusCode::UNIMPLEMENTED);
        EXPECT_EQ(one.error_message(), "unknown method Get for service v1.PodResourcesLister");
        return;
    }
    EXPECT_TRUE(all.ok()) << all.error_message();
    EXPECT_EQ(allocatable.devices_size(), 2);
    EXPECT_EQ(one.error_code(), grpc::StatusCode::UNKNOWN);
    EXPECT_EQ(one.error_message(), "pod nobody in namespace default not found");
    EXPECT_TRUE(eventually([&] {  // the limit holds for every method
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
        const auto again = stub->GetAllocatableResources(&context, {}, &allocatable);
        return again.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED;
    }));
}

TEST_P(KubeletInDialect, ARebootWithThePluginInTime) {
    Rig rig(GetParam(), [](KubeletOptions& options) { options.sources_ready = Millis(500); });
    ASSERT_TRUE(rig.up(4));
    ASSERT_TRUE(rig.kubelet().add_pod(one_container("u1", kResource, 2))->admitted);
    ASSERT_TRUE(rig.runs("u1"));
    const auto before = rig.kubelet().container("u1", "main");
    rig.kubelet().power_off();
    ASSERT_TRUE(rig.start_plugin(make_devices(4)).ok());
    ASSERT_TRUE(rig.kubelet().start().ok());
    ASSERT_TRUE(running_again(rig, "u1", 1));
    EXPECT_EQ(rig.kubelet().container("u1", "main")->ids, before->ids);
    EXPECT_EQ(rig.calls().starts().size(), 2U);
    EXPECT_EQ(rig.calls().allocations().size(), 1U);
}

// A kubelet restart while the plugin is away: running containers go on in both dialects, but 1.34
// fails a pod whose init container held devices and has exited.
TEST_P(KubeletInDialect, AKubeletRestartWithoutThePlugin) {
    Rig rig(GetParam());
    ASSERT_TRUE(rig.up(4));
    ASSERT_TRUE(rig.kubelet().add_pod(one_container("plain", kResource, 1))->admitted);
    auto pod = one_container("with-init", kResource, 1);
    pod.containers.insert(
        pod.containers.begin(),
        {.name = "init", .kind = ContainerKind::kInit, .limits = {{kResource, 1}}}
    );
    ASSERT_TRUE(rig.kubelet().add_pod(pod)->admitted);
    ASSERT_TRUE(rig.runs("plain"));
    ASSERT_TRUE(rig.runs("with-init"));
    rig.kubelet().stop();
    rig.stop_plugin();
    ASSERT_TRUE(rig.kubelet().start().ok());
    ASSERT_TRUE(rig.kubelet().wait_synced(Seconds(5)));
    EXPECT_EQ(rig.kubelet().capacity().at(kResource), 0);
    EXPECT_EQ(rig.kubelet().pod("plain")->phase, PodPhase::kRunning);
    EXPECT_EQ(
        rig.kubelet().pod("with-init")->phase,
        GetParam() == Dialect::k1_34 ? PodPhase::kFailed : PodPhase::kRunning
    );
    // The stub's gap: a container that restarts now starts without PreStartContainer.
    const auto starts = rig.calls().starts().size();
    ASSERT_TRUE(rig.kubelet().restart_container("plain", "main").ok());
    ASSERT_TRUE(running_again(rig, "plain", 1));
    EXPECT_EQ(rig.calls().starts().size(), starts);
}

// List while an Allocate is in flight frees its IDs when a pod has left: the next pod gets them
// too.
TEST_P(KubeletInDialect, HandsDevicesOutTwiceWhenListComesDuringAllocate) {
    for (const bool race : {true, false}) {
        Rig rig(GetParam(), [race](KubeletOptions& options) {
            options.double_handout_race = race;
        });
        ASSERT_TRUE(rig.up(4));
        ASSERT_TRUE(rig.kubelet().add_pod(one_container("old", kResource, 1))->admitted);
        ASSERT_TRUE(rig.runs("old"));
        egpu::kubelet::PodResourcesClient client(rig.kubelet().pod_resources_socket());
        std::atomic<bool> second_asked{false};
        rig.calls().before_allocate = [&](const Ids&) -> Status {
            if (second_asked.exchange(true)) return {};
            EG_TRY_VOID(rig.kubelet().remove_pod("old"));
            EG_TRY(const auto pods, client.list(MonoClock::now() + Seconds(5)));
            EXPECT_FALSE(pods.empty());
            return {};
        };
        auto pod = one_container("new", kResource, 2);
        pod.containers.push_back({.name = "twin", .limits = {{kResource, 2}}});
        ASSERT_TRUE(rig.kubelet().add_pod(pod)->admitted);
        const auto calls = rig.calls().allocations();
        ASSERT_EQ(calls.size(), 3U);
        // old held dev-000; main was given 001 and 002, which the race freed: twin gets 000 and
        // 001.
        std::set<std::string> all(calls[1].begin(), calls[1].end());
        all.insert(calls[2].begin(), calls[2].end());
        EXPECT_EQ(all.size(), race ? 3U : 4U);
    }
}

TEST_P(KubeletInDialect, PodsEndByThemselves) {
    std::mutex mutex;
    std::vector<PodPhase> seen;
    Rig rig(GetParam());
    rig.kubelet().on_pod_status([&](const PodStatus& pod) {
        const std::scoped_lock lock(mutex);
        if (pod.uid == "job" && (seen.empty() || seen.back() != pod.phase)) {
            seen.push_back(pod.phase);
        }
    });
    ASSERT_TRUE(rig.up(2));
    auto job = one_container("job", kResource, 2);
    job.restart = RestartPolicy::kNever;
    job.containers[0].run_for = Millis(30);
    ASSERT_TRUE(rig.kubelet().add_pod(job)->admitted);
    ASSERT_TRUE(phase_is(rig, "job", PodPhase::kSucceeded));
    EXPECT_TRUE(eventually([&] {
        const std::scoped_lock lock(mutex);
        return seen == std::vector{PodPhase::kPending, PodPhase::kRunning, PodPhase::kSucceeded};
    }));
    auto broken = one_container("broken", kResource, 2);  // the finished pod's devices are free
    broken.restart = RestartPolicy::kOnFailure;
    broken.containers[0].run_for = Millis(5);
    broken.containers[0].exit_code = 3;
    ASSERT_TRUE(rig.kubelet().add_pod(broken)->admitted);
    ASSERT_TRUE(eventually([&] { return rig.kubelet().container("broken", "main")->restarts >= 2; })
    );
    EXPECT_GE(rig.calls().starts().size(), 4U);  // before every start
    ASSERT_TRUE(rig.kubelet().remove_pod("broken").ok());
    ASSERT_TRUE(rig.kubelet().remove_pod("job").ok());
    EXPECT_TRUE(rig.kubelet().pods().empty());
}

TEST_P(KubeletInDialect, ATerminatingPodKeepsItsDevicesUntilItEnds) {
    std::atomic<bool> gone{false};
    Rig rig(GetParam());
    rig.kubelet().on_pod_status([&](const PodStatus& pod) {
        if (pod.gone) gone = true;
    });
    ASSERT_TRUE(rig.up(2));
    auto pod = one_container("slow", kResource, 2);
    pod.termination = Millis(300);
    ASSERT_TRUE(rig.kubelet().add_pod(pod)->admitted);
    ASSERT_TRUE(rig.runs("slow"));
    ASSERT_TRUE(rig.kubelet().terminate_pod("slow").ok());
    EXPECT_FALSE(rig.kubelet().add_pod(one_container("early", kResource, 1))->admitted);
    EXPECT_FALSE(gone);
    ASSERT_TRUE(eventually([&] { return gone.load(); }));
    EXPECT_TRUE(rig.kubelet().add_pod(one_container("late", kResource, 1))->admitted);
}

TEST_P(KubeletInDialect, AStopDuringAdmissionLeavesThePodForTheNextStart) {
    std::atomic<bool> inside{false};
    std::atomic<bool> once{false};
    Rig rig(GetParam());
    rig.calls().before_allocate = [&](const Ids&) -> Status {
        if (once.exchange(true)) return {};
        inside = true;
        std::this_thread::sleep_for(Millis(150));
        return {};
    };
    ASSERT_TRUE(rig.up(2));
    std::thread killer([&] {
        ASSERT_TRUE(eventually([&] { return inside.load(); }));
        rig.kubelet().stop();
    });
    const auto admission = rig.kubelet().add_pod(one_container("u1", kResource, 1));
    killer.join();
    ASSERT_FALSE(admission.ok());
    EXPECT_EQ(admission.error().code, ErrorCode::kUnavailable);
    ASSERT_TRUE(rig.kubelet().start().ok());
    if (GetParam() == Dialect::k1_34) {
        // Whether the plugin was registered in time decides; either way the pod is answered for.
        ASSERT_TRUE(rig.kubelet().wait_synced(Seconds(5)));
        EXPECT_TRUE(eventually([&] { return rig.kubelet().pod("u1")->phase != PodPhase::kPending; })
        );
    } else {
        ASSERT_TRUE(rig.kubelet().wait_synced(Seconds(5)));
    }
}

}  // namespace
}  // namespace egpu::testing
