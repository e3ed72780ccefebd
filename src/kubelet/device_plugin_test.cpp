#include "kubelet/device_plugin.h"

#include <atomic>
#include <cstring>
#include <future>
#include <thread>

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"
#include "testing/kubelet/plugin_client.h"
#include "testing/kubelet/rig.h"

namespace egpu::kubelet {
namespace {

namespace fs = std::filesystem;
using egpu::testing::ContainerState;
using egpu::testing::Dialect;
using egpu::testing::eventually;
using egpu::testing::Kubelet;
using egpu::testing::make_devices;
using egpu::testing::one_container;
using egpu::testing::PluginClient;
using egpu::testing::PodPhase;
using egpu::testing::PodStatus;
using egpu::testing::Rig;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Ids = std::vector<std::string>;

constexpr const char* kResource = Rig::kResource;

Fd bound_socket(const fs::path& path, bool listening) {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.native().size());
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    if (listening) {
        EXPECT_EQ(::listen(fd.get(), 8), 0);
    }
    return fd;
}

class InDialect : public ::testing::TestWithParam<Dialect> {};
INSTANTIATE_TEST_SUITE_P(
    DevicePlugin,
    InDialect,
    ::testing::Values(Dialect::k1_21, Dialect::k1_34),
    [](const auto& which) { return which.param == Dialect::k1_21 ? "k1_21" : "k1_34"; }
);

TEST_P(InDialect, OffersItsDevicesAndTheirHealth) {
    Rig rig(GetParam());
    ASSERT_TRUE(rig.kubelet().start().ok());
    auto devices = make_devices(4);
    devices[1].healthy = false;
    devices[2].numa = 1;
    ASSERT_TRUE(rig.start_plugin(devices).ok());
    ASSERT_TRUE(rig.offered(3));
    EXPECT_EQ(rig.kubelet().capacity().at(kResource), 4);
    EXPECT_TRUE(rig.plugin().wait_for(PluginState::kStreaming, Seconds(5)));
    EXPECT_EQ(rig.plugin().registrations(), 1);

    devices[1].healthy = true;
    rig.plugin().set_devices(devices);
    ASSERT_TRUE(rig.offered(4));
    rig.plugin().set_devices(make_devices(2));
    ASSERT_TRUE(rig.offered(2));
    EXPECT_EQ(rig.kubelet().capacity().at(kResource), 2);
}

TEST_P(InDialect, AContainerGetsWhatTheHandlersAnswered) {
    Rig rig(GetParam());
    rig.calls().prefer = [](const Ids&, const Ids&, int size) -> Result<Ids> {
        EXPECT_EQ(size, 2);
        return Ids{"dev-002", "dev-005"};
    };
    ASSERT_TRUE(rig.up(8));
    auto pod = one_container("u1", kResource, 2);
    pod.containers[0].env["SHARED"] = "pod";
    const auto admission = rig.kubelet().add_pod(pod);
    ASSERT_TRUE(admission.ok());
    ASSERT_TRUE(admission->admitted) << admission->message;
    ASSERT_TRUE(rig.runs("u1"));
    EXPECT_THAT(rig.calls().allocations(), ElementsAre(Ids{"dev-002", "dev-005"}));
    EXPECT_THAT(rig.calls().starts(), ElementsAre(Ids{"dev-002", "dev-005"}));
    const auto main = rig.kubelet().container("u1", "main");
    ASSERT_TRUE(main.has_value());
    EXPECT_EQ(main->ids.at(kResource), (Ids{"dev-002", "dev-005"}));
    EXPECT_EQ(main->given.envs.at("TOKEN"), "1");
    EXPECT_EQ(main->given.envs.at("SHARED"), "pod");  // the pod's own environment wins
    EXPECT_EQ(main->given.mounts, (std::vector<Mount>{{"/in", "/out", true}}));
    EXPECT_EQ(main->given.devices, (std::vector<DeviceNode>{{"/dev/a", "/dev/b", "rw"}}));
    EXPECT_EQ(main->given.annotations.at("k"), "v");
    EXPECT_EQ(main->given.cdi_names.size(), GetParam() == Dialect::k1_21 ? 0U : 1U);
}

TEST_P(InDialect, AnAllocateErrorEndsInThePodsStatus) {
    Rig rig(GetParam());
    rig.calls().before_allocate = [](const Ids&) -> Status {
        return Error{ErrorCode::kConflict, "no card with 60 percent free"};
    };
    ASSERT_TRUE(rig.up(4));
    const auto admission = rig.kubelet().add_pod(one_container("u1", kResource, 2));
    ASSERT_TRUE(admission.ok());
    EXPECT_FALSE(admission->admitted);
    EXPECT_EQ(admission->reason, "UnexpectedAdmissionError");
    EXPECT_EQ(
        admission->message,
        "Allocate failed due to rpc error: code = FailedPrecondition desc = no card with 60 "
        "percent "
        "free, which is unexpected"
    );
    EXPECT_EQ(rig.kubelet().pod("u1")->phase, PodPhase::kFailed);
    // The devices are free again.
    rig.calls().before_allocate = nullptr;
    const auto second = rig.kubelet().add_pod(one_container("u2", kResource, 4));
    ASSERT_TRUE(second.ok());
    EXPECT_TRUE(second->admitted) << second->message;
}

TEST_P(InDialect, APreStartErrorIsRetried) {
    std::atomic<int> refusals{3};
    Rig rig(GetParam());
    rig.calls().before_start = [&](const Ids&) -> Status {
        if (refusals-- > 0) return Error{ErrorCode::kUnavailable, "card is not ready"};
        return {};
    };
    ASSERT_TRUE(rig.up(4));
    ASSERT_TRUE(rig.kubelet().add_pod(one_container("u1", kResource, 1)).ok());
    EXPECT_TRUE(rig.kubelet().wait_pod(
        "u1",
        [](const PodStatus& pod) {
            return pod.containers[0].reason == "CreateContainerConfigError" &&
                   pod.containers[0].message.find("card is not ready") != std::string::npos;
        },
        Seconds(5)
    ));
    ASSERT_TRUE(rig.runs("u1"));
    EXPECT_EQ(rig.calls().starts().size(), 4U);
}

TEST_P(InDialect, AHandlersExceptionIsAnError) {
    Rig rig(GetParam());
    rig.calls().before_allocate = [](const Ids&) -> Status { throw std::runtime_error("boom"); };
    ASSERT_TRUE(rig.up(1));
    const auto admission = rig.kubelet().add_pod(one_container("u1", kResource, 1));
    ASSERT_TRUE(admission.ok());
    EXPECT_THAT(admission->message, HasSubstr("code = Internal desc = internal error: boom"));
}

TEST_P(InDialect, RegistersAgainAfterAKubeletRestart) {
    for (const auto delay : {Millis(0), Millis(300)}) {
        Rig rig(GetParam());
        ASSERT_TRUE(rig.up(4));
        ASSERT_TRUE(rig.kubelet().add_pod(one_container("u1", kResource, 2))->admitted);
        ASSERT_TRUE(rig.runs("u1"));
        const auto before = rig.kubelet().container("u1", "main");
        const auto socket = rig.plugin().socket();

        rig.kubelet().stop();
        std::this_thread::sleep_for(delay);
        ASSERT_TRUE(rig.kubelet().start().ok());
        ASSERT_TRUE(rig.offered(4));
        ASSERT_TRUE(rig.kubelet().wait_synced(Seconds(5)));
        EXPECT_NE(rig.plugin().socket(), socket);  // the kubelet deleted it
        EXPECT_EQ(rig.kubelet().pod("u1")->phase, PodPhase::kRunning);

        ASSERT_TRUE(rig.kubelet().restart_container("u1", "main").ok());
        ASSERT_TRUE(eventually([&] { return rig.calls().starts().size() == 2; }));
        ASSERT_TRUE(eventually([&] {
            return rig.kubelet().container("u1", "main")->restarts == 1 &&
                   rig.kubelet().container("u1", "main")->state == ContainerState::kRunning;
        }));
        EXPECT_EQ(rig.kubelet().container("u1", "main")->ids, before->ids);
        EXPECT_EQ(rig.kubelet().container("u1", "main")->given, before->given);
        EXPECT_EQ(rig.calls().allocations().size(), 1U);  // replayed from the checkpoint
        EXPECT_EQ(rig.calls().starts()[1], before->ids.at(kResource));
    }
}

TEST_P(InDialect, KeepsUpWithManyKubeletRestarts) {
    Rig rig(GetParam());
    ASSERT_TRUE(rig.up(2));
    for (int i = 0; i < 8; ++i) {
        rig.kubelet().stop();
        ASSERT_TRUE(rig.kubelet().start().ok());
        if (i % 2 == 0) {
            ASSERT_TRUE(rig.offered(2)) << i;
        }
    }
    ASSERT_TRUE(rig.offered(2));
}

TEST_P(InDialect, ComesBackWhenOnlyItsSocketIsDeleted) {
    Rig rig(GetParam());
    ASSERT_TRUE(rig.up(3));
    const auto socket = rig.plugin().socket();
    fs::remove(socket);
    ASSERT_TRUE(eventually([&] { return rig.plugin().registrations() >= 2; }));
    ASSERT_TRUE(rig.offered(3));
    EXPECT_TRUE(rig.plugin().wait_for(PluginState::kStreaming, Seconds(5)));
    EXPECT_NE(rig.plugin().socket(), socket);
    ASSERT_TRUE(rig.kubelet().add_pod(one_container("u1", kResource, 3))->admitted);
}

// From 1.25 on the end of an old stream disconnects whoever holds the resource now.
TEST_P(InDialect, SurvivesTheDeathOfItsPredecessor) {
    Rig rig(GetParam());
    ASSERT_TRUE(rig.kubelet().start().ok());
    egpu::testing::Recorder old_calls;
    auto old_options = rig.plugin_options();
    old_options.socket_prefix = "predecessor";
    auto predecessor = std::make_unique<DevicePlugin>(old_options, old_calls.handlers());
    predecessor->set_devices(make_devices(2));
    ASSERT_TRUE(predecessor->start().ok());
    ASSERT_TRUE(rig.offered(2));

    ASSERT_TRUE(rig.start_plugin(make_devices(5)).ok());
    ASSERT_TRUE(rig.offered(5));
    predecessor.reset();
    if (GetParam() == Dialect::k1_34) {
        ASSERT_TRUE(eventually([&] { return rig.plugin().registrations() == 2; }));
    }
    ASSERT_TRUE(rig.offered(5));
    std::this_thread::sleep_for(Millis(100));
    EXPECT_EQ(rig.kubelet().allocatable().at(kResource), 5);
    EXPECT_EQ(rig.plugin().registrations(), GetParam() == Dialect::k1_34 ? 2 : 1);
}

TEST_P(InDialect, WaitsForAKubeletThatIsNotThere) {
    Rig rig(GetParam());
    fs::create_directories(rig.kubelet().plugin_folder());
    ASSERT_TRUE(rig.start_plugin(make_devices(2)).ok());
    EXPECT_TRUE(rig.plugin().wait_for(PluginState::kNoKubelet, Seconds(5)));
    EXPECT_TRUE(fs::is_socket(rig.plugin().socket()));
    std::this_thread::sleep_for(Millis(300));
    ASSERT_TRUE(rig.kubelet().start().ok());
    ASSERT_TRUE(rig.offered(2));
    // A kubelet that was killed leaves a socket file on which nobody listens.
    rig.kubelet().stop();
    EXPECT_TRUE(rig.plugin().wait_for(PluginState::kNoKubelet, Seconds(5)));
    ASSERT_TRUE(rig.kubelet().start().ok());
    ASSERT_TRUE(rig.offered(2));
}

TEST_P(InDialect, WaitsForTheFolder) {
    Rig rig(GetParam());
    ASSERT_TRUE(rig.start_plugin(make_devices(2)).ok());
    EXPECT_EQ(rig.plugin().state(), PluginState::kNotServing);
    ASSERT_TRUE(rig.kubelet().start().ok());
    ASSERT_TRUE(rig.offered(2));
    // The whole folder replaced under a running plugin.
    rig.kubelet().stop();
    // The plugin may put a new socket into it meanwhile.
    ASSERT_TRUE(eventually([&] {
        std::error_code error;
        fs::remove_all(rig.kubelet().plugin_folder(), error);
        return !error;
    }));
    ASSERT_TRUE(eventually([&] { return rig.plugin().state() == PluginState::kNotServing; }));
    ASSERT_TRUE(rig.kubelet().start().ok());
    ASSERT_TRUE(rig.offered(2));
}

TEST_P(InDialect, WorksWithoutInotify) {
    Rig rig(GetParam());
    ASSERT_TRUE(rig.kubelet().start().ok());
    ASSERT_TRUE(rig.start_plugin(
                       make_devices(2),
                       [](DevicePluginOptions& options) {
                           options.use_inotify = false;
                           options.rescan_polling = Millis(30);
                       }
    ).ok());
    ASSERT_TRUE(rig.offered(2));
    rig.kubelet().stop();
    ASSERT_TRUE(rig.kubelet().start().ok());
    ASSERT_TRUE(rig.offered(2));
    fs::remove(rig.plugin().socket());
    ASSERT_TRUE(eventually([&] { return rig.plugin().registrations() >= 3; }));
    ASSERT_TRUE(rig.offered(2));
}

TEST_P(InDialect, ARefusedRegistrationIsRetriedAndStopsAtOnce) {
    Rig rig(GetParam());
    ASSERT_TRUE(rig.kubelet().start().ok());
    ASSERT_TRUE(rig.start_plugin(
                       make_devices(1),
                       [](DevicePluginOptions& options) {
                           options.resource =
                               "requests.example.com/gpu";  // not an extended resource
                       }
    ).ok());
    EXPECT_TRUE(rig.plugin().wait_for(PluginState::kRefused, Seconds(5)));
    EXPECT_EQ(rig.plugin().registrations(), 0);
    const auto start = MonoClock::now();
    rig.plugin().stop();
    EXPECT_LT(MonoClock::now() - start, Seconds(2));
    EXPECT_EQ(rig.plugin().state(), PluginState::kStopped);
}

TEST_P(InDialect, OffersTenThousandDevices) {
    Rig rig(GetParam());
    ASSERT_TRUE(rig.up(10'000));
    ASSERT_TRUE(rig.kubelet().add_pod(one_container("u1", kResource, 9'000))->admitted);
    EXPECT_EQ(rig.calls().allocations()[0].size(), 9'000U);
}

TEST(DevicePluginAlone, RefusesOptionsThatCannotWork) {
    egpu::testing::Recorder calls;
    DevicePluginOptions options;
    options.resource = "gpu";
    options.socket_prefix = "p";
    EXPECT_THAT(DevicePlugin(options, calls.handlers()).start().error().message, HasSubstr("gpu"));
    options.resource = "a/gpu";
    options.socket_prefix = "../p";
    EXPECT_THAT(DevicePlugin(options, calls.handlers()).start().error().message, HasSubstr("../p"));
    options.socket_prefix = "p";
    EXPECT_FALSE(DevicePlugin(options, {}).start().ok());
    options.folder = "/" + std::string(100, 'x');
    EXPECT_THAT(
        DevicePlugin(options, calls.handlers()).start().error().message, HasSubstr("107 bytes")
    );
}

TEST(DevicePluginAlone, RemovesDeadSocketsOfItsOwnOnly) {
    Rig rig(Dialect::k1_34);
    const auto folder = rig.kubelet().plugin_folder();
    fs::create_directories(folder);
    const auto dead = folder / "edge-gpu-percent-123-abcdef.sock";
    const auto alive = folder / "edge-gpu-percent-124-abcdef.sock";
    const auto other = folder / "edge-gpu-percent-more-125-abcdef.sock";
    bound_socket(dead, false).reset();
    const Fd listener = bound_socket(alive, true);
    bound_socket(other, false).reset();
    ASSERT_TRUE(rig.start_plugin(make_devices(1)).ok());
    EXPECT_FALSE(fs::exists(dead));
    EXPECT_TRUE(fs::exists(alive));
    EXPECT_TRUE(fs::exists(other));
    const auto own = rig.plugin().socket();
    EXPECT_TRUE(fs::exists(own));
    rig.stop_plugin();
    EXPECT_FALSE(fs::exists(own));
}

TEST(DevicePluginAlone, ServesTwoStreamsAndSendsChangesOnly) {
    Rig rig(Dialect::k1_34);
    fs::create_directories(rig.kubelet().plugin_folder());
    ASSERT_TRUE(rig.start_plugin(make_devices(2)).ok());
    const std::atomic<bool> never{false};
    std::atomic<int> messages{0};
    std::atomic<std::size_t> last{0};
    std::vector<std::shared_ptr<PluginClient>> clients;
    std::vector<std::thread> readers;
    for (const auto dialect : {Dialect::k1_21, Dialect::k1_34}) {  // both kinds of :authority
        auto client = PluginClient::dial(rig.plugin().socket(), dialect, Seconds(5), never);
        ASSERT_TRUE(client.ok());
        clients.push_back(*client);
        readers.emplace_back([&, one = *client] {
            one->follow([&](const std::vector<Device>& devices) {
                last = devices.size();
                ++messages;
            });
        });
    }
    ASSERT_TRUE(eventually([&] { return messages == 2; }));
    rig.plugin().set_devices(make_devices(2));  // equal: nothing is sent
    auto twice = make_devices(3);
    twice.push_back(twice.front());  // a duplicate ID is dropped
    rig.plugin().set_devices(twice);
    ASSERT_TRUE(eventually([&] { return messages == 4; }));
    EXPECT_EQ(last, 3U);
    std::this_thread::sleep_for(Millis(50));
    EXPECT_EQ(messages, 4);
    // One stream ends; the other goes on.
    clients[0]->disconnect();
    readers[0].join();
    rig.plugin().set_devices(make_devices(1));
    ASSERT_TRUE(eventually([&] { return messages == 5; }));
    clients[1]->disconnect();
    readers[1].join();
}

TEST(DevicePluginAlone, PassesOddPreferencesToTheHandler) {
    Rig rig(Dialect::k1_34);
    fs::create_directories(rig.kubelet().plugin_folder());
    std::vector<int> sizes;
    std::vector<Ids> musts;
    rig.calls().prefer = [&](const Ids& available, const Ids& must, int size) -> Result<Ids> {
        sizes.push_back(size);
        musts.push_back(must);
        if (size > static_cast<int>(available.size())) {
            return Error{ErrorCode::kInvalid, "more than there is"};
        }
        return available;
    };
    ASSERT_TRUE(rig.start_plugin(make_devices(2)).ok());
    const std::atomic<bool> never{false};
    auto client = PluginClient::dial(rig.plugin().socket(), Dialect::k1_34, Seconds(5), never);
    ASSERT_TRUE(client.ok());
    EXPECT_THAT(*(*client)->preferred({"b", "a", "a"}, {"a"}, 2), ElementsAre("b", "a", "a"));
    EXPECT_TRUE((*client)->preferred({}, {}, 0)->empty());
    const auto refused = (*client)->preferred({"nobody"}, {}, 7);
    ASSERT_FALSE(refused.ok());
    EXPECT_THAT(refused.error().message, HasSubstr("code = InvalidArgument desc = more than"));
    EXPECT_THAT(sizes, ElementsAre(2, 0, 7));
    EXPECT_THAT(musts[0], ElementsAre("a"));
}

TEST(DevicePluginAlone, StopsDuringRegister) {
    Rig rig(Dialect::k1_34);
    fs::create_directories(rig.kubelet().plugin_folder());
    // Accepts the connection and never answers.
    const Fd mute = bound_socket(rig.kubelet().plugin_folder() / "kubelet.sock", true);
    ASSERT_TRUE(rig.start_plugin(make_devices(1)).ok());
    std::this_thread::sleep_for(Millis(200));
    EXPECT_EQ(rig.plugin().registrations(), 0);
    const auto start = MonoClock::now();
    rig.plugin().stop();
    EXPECT_LT(MonoClock::now() - start, Seconds(3));
}

TEST(DevicePluginAlone, StopsWhileAHandlerRunsAndWaitsForIt) {
    std::promise<void> entered;
    std::atomic<bool> left{false};
    Rig rig(Dialect::k1_34);
    rig.calls().before_allocate = [&](const Ids&) -> Status {
        entered.set_value();
        std::this_thread::sleep_for(Millis(200));
        left = true;
        return {};
    };
    ASSERT_TRUE(rig.up(1));
    auto admission = std::async(std::launch::async, [&] {
        return rig.kubelet().add_pod(one_container("u1", kResource, 1));
    });
    entered.get_future().wait();
    rig.plugin().stop();
    EXPECT_TRUE(left);
    ASSERT_TRUE(admission.get().ok());
}

// Another kubelet takes the name by rename; it accepts the registration (1.21 answers before it
// dials) and never opens a stream, because it looks for the socket in its own folder.
TEST(DevicePluginAlone, RegistersAgainWhenTheSocketIsReplacedAndWhenNoStreamComes) {
    Rig rig(Dialect::k1_21);
    Rig other(Dialect::k1_21, [](egpu::testing::KubeletOptions& options) {
        options.dial_deadline = Millis(50);
    });
    ASSERT_TRUE(rig.kubelet().start().ok());
    ASSERT_TRUE(rig.start_plugin(
                       make_devices(2),
                       [](DevicePluginOptions& options) { options.stream_wait = Millis(150); }
    ).ok());
    ASSERT_TRUE(rig.offered(2));
    ASSERT_TRUE(other.kubelet().start().ok());
    fs::rename(
        other.kubelet().plugin_folder() / "kubelet.sock",
        rig.kubelet().plugin_folder() / "kubelet.sock"
    );
    ASSERT_TRUE(eventually([&] { return rig.plugin().registrations() >= 4; }));
}

}  // namespace
}  // namespace egpu::kubelet
