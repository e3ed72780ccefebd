// The probes against real processes, sockets, the simulated NVML and the embedded API server.
#include <algorithm>
#include <cmath>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "doctor/gather.h"
#include "doctor/node_cards.h"
#include "doctor/nvml_probe.h"
#include "testing/apiserver/api_server.h"
#include "testing/nvml/sim_fixture.h"
#include "testing/temp_folder.h"

namespace egpu::doctor {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class NvmlProbing : public testing::SimTest {
  protected:
    NvmlFacts probe(Duration limit = Seconds(20)) {
        NvmlProbe options;
        options.library = kLibrary;
        options.limit = limit;
        return probe_nvml(HostView("/"), options);
    }
};

TEST_F(NvmlProbing, tells_the_cards) {
    sim("t4");
    const NvmlFacts facts = probe();
    ASSERT_EQ(facts.state, NvmlFacts::State::kAnswers) << facts.message;
    ASSERT_EQ(facts.gpus.size(), 2U);
    EXPECT_EQ(facts.gpus[1].name, "Tesla T4");
    EXPECT_EQ(facts.gpus[1].minor, 1);
    EXPECT_EQ(facts.gpus[1].uuid, sim_->gpu_uuids()[1]);
    EXPECT_EQ(facts.gpus[1].code, nvml::Code::kSuccess);
}

TEST_F(NvmlProbing, tells_which_card_is_sick) {
    sim("t4");
    ASSERT_TRUE(sim_->set_lost(sim_->gpu_uuids()[0], true).ok());
    sim_->set_driver_version("550.54.15");
    ASSERT_TRUE(sim_->set_recovery_action(sim_->gpu_uuids()[1], 1).ok());
    save();
    const NvmlFacts facts = probe();
    ASSERT_EQ(facts.gpus.size(), 2U);
    EXPECT_EQ(facts.gpus[0].code, nvml::Code::kGpuIsLost);
    EXPECT_EQ(facts.gpus[1].code, nvml::Code::kSuccess);
    EXPECT_EQ(facts.gpus[1].recovery_action, 1U);
}

TEST_F(NvmlProbing, tells_a_driver_that_is_not_loaded_from_one_that_hangs) {
    sim("t4");
    sim_->set_driver_loaded(false);
    save();
    const NvmlFacts unloaded = probe();
    EXPECT_EQ(unloaded.state, NvmlFacts::State::kInitError);
    EXPECT_EQ(unloaded.code, nvml::Code::kDriverNotLoaded);
    sim_->set_driver_loaded(true);
    sim_->set_slow_calls(600'000);
    save();
    const NvmlFacts stuck = probe(Millis(500));
    EXPECT_EQ(stuck.state, NvmlFacts::State::kHangs);
}

TEST_F(NvmlProbing, survives_a_library_that_is_none) {
    std::ofstream(folder_ / "libnvidia-ml.so.1") << "no library";
    NvmlProbe options;
    options.library = (folder_ / "libnvidia-ml.so.1").string();
    const NvmlFacts facts = probe_nvml(HostView("/"), options);
    EXPECT_EQ(facts.state, NvmlFacts::State::kNoLibrary);
    EXPECT_NE(facts.message, "");
}

TEST_F(NvmlProbing, facts_survive_the_way_through_json) {
    sim("h100");
    NvmlFacts facts = probe();
    facts.gpus[3].uncorrected_ecc = 7;
    facts.gpus[3].persistence = false;
    const auto back = nvml_from_json(nvml_to_json(facts));
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(nvml_to_json(*back), nvml_to_json(facts));
    EXPECT_EQ(back->gpus[3].uncorrected_ecc, 7U);
    EXPECT_EQ(back->gpus[3].fabric_state, 3);
    EXPECT_FALSE(nvml_from_json(json::value("x")).ok());
}

TEST_F(NvmlProbing, cards_are_mig_instances_where_mig_is_on) {
    sim("a100-mig");
    NvmlProbe options;
    options.library = kLibrary;
    const auto text = with_node_cards(
        HostView("/"),
        options,
        [](std::span<const inject::GivenCard> cards) -> Result<std::string> {
            return std::to_string(cards.size()) + " " + cards.front().uuid.substr(0, 4);
        }
    );
    ASSERT_TRUE(text.ok()) << text.error().message;
    EXPECT_EQ(*text, "11 MIG-");
    const auto failed = with_node_cards(
        HostView("/"),
        options,
        [](std::span<const inject::GivenCard>) -> Result<std::string> {
            return Error{ErrorCode::kNotFound, "as told"};
        }
    );
    ASSERT_FALSE(failed.ok());
    EXPECT_EQ(failed.error().message, "as told");
}

TEST(UnixSockets, are_alive_dead_or_absent_also_below_a_long_root) {
    const testing::TempFolder folder;
    const fs::path root = folder / std::string(60, 'a') / std::string(60, 'b');
    fs::create_directories(root / "run");
    const HostView files(root);
    const auto state = [&] { return try_unix_socket(root.string(), files, "/run/x.sock"); };
    EXPECT_EQ(state().error, "no such socket");
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    // A path this long does not fit: bound relative to the folder.
    const fs::path before = fs::current_path();
    fs::current_path(root / "run");
    std::snprintf(address.sun_path, sizeof address.sun_path, "x.sock");
    ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    fs::current_path(before);
    EXPECT_FALSE(state().connects);  // bound, nobody listens
    ASSERT_EQ(::listen(fd, 1), 0);
    EXPECT_TRUE(state().connects) << state().error;
    ::close(fd);
    EXPECT_THAT(state().error, HasSubstr("refused"));
}

TEST(Processes, are_listed_with_their_program) {
    const auto processes = list_processes(HostView("/"));
    const auto me = std::find_if(processes.begin(), processes.end(), [](const Process& process) {
        return process.pid == ::getpid();
    });
    ASSERT_NE(me, processes.end());
    EXPECT_THAT(me->exe, HasSubstr("doctor_test"));
    EXPECT_FALSE(me->args.empty());
}

class AskingTheApi : public ::testing::Test {
  protected:
    AskingTheApi() { fs::create_directories(root_ / "etc/kubernetes"); }
    ApiFacts ask() {
        const HostView files(root_.path());
        Facts facts;
        facts.files = &files;
        facts.root = root_.path().string();
        GatherOptions options;
        options.root = root_.path().string();
        options.node_name = "edge-7";
        options.api_limit = Seconds(20);
        return ask_api(facts, files, options);
    }
    testing::TempFolder root_;
};

TEST_F(AskingTheApi, finds_the_nodes_kubeconfig_below_the_root) {
    auto server = testing::ApiServer::start();
    ASSERT_TRUE(server.ok());
    ASSERT_TRUE(
        (*server)->create(R"({"kind":"Node","apiVersion":"v1","metadata":{"name":"edge-7"}})").ok()
    );
    for (const char* pod : {"a", "b"}) {
        ASSERT_TRUE(
            (*server)
                ->load(json::parse(
                           std::string(R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":")") +
                           pod + R"(","namespace":"default"},"spec":{"nodeName":"edge-)" +
                           (pod[0] == 'a' ? "7" : "8") +
                           R"(","containers":[{"name":"c","image":"i"}]}})"
                )
                           .value())
                .ok()
        );
    }
    ASSERT_TRUE((*server)->write_kubeconfig(root_ / "etc/kubernetes/kubelet.conf").ok());
    const ApiFacts api = ask();
    EXPECT_TRUE(api.asked);
    EXPECT_EQ(api.error, "");
    EXPECT_EQ(api.server, (*server)->url());
    EXPECT_EQ(json::get_string(api.node, {"metadata", "name"}), "edge-7");
    ASSERT_NE(json::get_array(api.pods, {"items"}), nullptr);
    EXPECT_EQ(json::get_array(api.pods, {"items"})->size(), 1U);
    ASSERT_TRUE(api.clock_ahead_s.has_value());
    EXPECT_LT(std::abs(*api.clock_ahead_s), 60);
}

TEST_F(AskingTheApi, an_unknown_node_and_a_dead_server_are_errors) {
    auto server = testing::ApiServer::start();
    ASSERT_TRUE(server.ok());
    ASSERT_TRUE((*server)->write_kubeconfig(root_ / "etc/kubernetes/kubelet.conf").ok());
    EXPECT_THAT(ask().error, HasSubstr("edge-7"));
    (*server)->stop();
    EXPECT_NE(ask().error, "");
}

TEST_F(AskingTheApi, without_a_kubeconfig_nothing_is_asked) {
    const ApiFacts api = ask();
    EXPECT_FALSE(api.asked);
    EXPECT_EQ(api.node_name, "edge-7");
}

}  // namespace
}  // namespace egpu::doctor
