// The answers' form, without HTTP and API server: keys, cache modes, reasons, malformed bodies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "k8s/codec.h"
#include "scheduler/cluster_for_test.h"
#include "scheduler/handlers.h"
#include "scheduler/node_cards.h"

namespace egpu::scheduler {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class Answers : public ::testing::Test {
  protected:
    Answers() : state(StateOptions{}), handlers(state, gate) {
        GateProbes probes;
        probes.synced = [this] { return synced; };
        probes.api_error = [] { return std::string("connection refused"); };
        gate.open(probes);
        add_node(node_with_cards_json("t4", 2));
        add_node(node_with_cards_json("h100", 8, "NVIDIA H100 80GB HBM3"));
        add_node(node_json("nano", 400));
    }
    void add_node(const json::value& object) {
        const auto node = k8s::node_from_json(object);
        ASSERT_TRUE(node.ok());
        const NodeCards cards = read_node_cards(*node);
        ASSERT_EQ(cards.problem, "");
        state.upsert_node(node->meta.name, cards.inventory);
    }
    void add_pod(const TestPod& pod) {
        const auto parsed = k8s::pod_from_json(pod_json(pod));
        ASSERT_TRUE(parsed.ok());
        state.upsert_pod(read_facts(*parsed), MonoClock::now());
    }
    static json::value parse(const std::string& text) {
        auto parsed = json::parse(text);
        EXPECT_TRUE(parsed.ok()) << text;
        return parsed ? *parsed : json::value();
    }
    static std::vector<std::string> keys(const json::value& object) {
        std::vector<std::string> out;
        for (const auto& [key, value] : object.as_object()) out.emplace_back(key);
        return out;
    }

    bool synced = true;
    Gate gate;
    State state;
    Handlers handlers;
};

TEST_F(Answers, CpuAndMemoryOfNodesAndPodsArriveInTheLedger) {
    add_node(node_json("n", 100));  // 8 CPU, 32 GiB
    const auto bound = [](const char* name, const char* cpu, const char* percent) {
        json::object asks{{"cpu", cpu}, {"memory", "1Gi"}};
        if (*percent != 0) asks["nano-gpu/gpu-percent"] = percent;
        return json::value{
            {"metadata", {{"name", name}, {"namespace", "default"}, {"uid", name}}},
            {"spec",
             {{"nodeName", "n"},
              {"containers", json::array{{{"name", "main"}, {"resources", {{"limits", asks}}}}}}}},
            {"status", {{"phase", "Running"}}}};
    };
    for (const auto& pod : {bound("web", "1500m", ""), bound("train", "2", "50")}) {
        state.upsert_pod(read_facts(*k8s::pod_from_json(pod)), MonoClock::now());
    }
    EXPECT_EQ(state.host_free("n"), (core::HostAmounts{4500, 30 * 1024}));
    state.remove_pod("web", MonoClock::now());
    EXPECT_EQ(state.host_free("n"), (core::HostAmounts{6000, 31 * 1024}));
    EXPECT_EQ(state.totals().pods, 1U);
    EXPECT_FALSE(state.host_free("unknown"));
}

// Bound and deleted while the watch is away: nobody will ever tell of its end.
TEST_F(Answers, APodThatOnlyAReadHasShownIsLookedUpUntilTheWatchShowsIt) {
    TestPod pod = share_pod("p", 50);
    pod.node = "nano";
    const auto facts = read_facts(*k8s::pod_from_json(pod_json(pod)));
    const TimePoint now = MonoClock::now();
    state.upsert_pod(facts, now, State::Source::kRead);
    EXPECT_EQ(state.tick(now + Seconds(1)).size(), 0U);
    EXPECT_EQ(state.tick(now + Seconds(4)).size(), 1U);
    state.upsert_pod(facts, now + Seconds(4), State::Source::kRead);  // still there
    EXPECT_EQ(state.tick(now + Seconds(5)).size(), 0U);
    EXPECT_EQ(state.tick(now + Seconds(8)).size(), 1U);
    state.upsert_pod(facts, now + Seconds(8));  // the watch
    EXPECT_EQ(state.tick(now + Seconds(60)).size(), 0U);
    state.upsert_pod(facts, now + Seconds(60), State::Source::kRead);  // nothing new
    EXPECT_EQ(state.tick(now + Seconds(90)).size(), 0U);
}

// The look-up of a doubtful bind read the pod before the next bind of it was written.
TEST_F(Answers, ADoubtThatIsRefutedLateTakesNothingFromTheNextBind) {
    add_node(node_json("n", 100));
    const auto first = read_facts(*k8s::pod_from_json(pod_json(share_pod("first", 100))));
    const auto other = read_facts(*k8s::pod_from_json(pod_json(share_pod("other", 100))));
    const TimePoint now = MonoClock::now();
    ASSERT_EQ(state.reserve(first, "n", now).kind, Reservation::Kind::kReserved);
    state.doubt(first, "n", now);
    const auto due = state.tick(now + Seconds(3));
    ASSERT_EQ(due.size(), 1U);
    ASSERT_EQ(state.reserve(first, "n", now + Seconds(3)).kind, Reservation::Kind::kReserved);
    state.refute(due.front());
    EXPECT_NE(state.reserve(other, "n", now + Seconds(3)).kind, Reservation::Kind::kReserved);
    state.doubt(first, "n", now + Seconds(4));  // a newer doubt
    state.refute(due.front());
    EXPECT_NE(state.reserve(other, "n", now + Seconds(4)).kind, Reservation::Kind::kReserved);
    state.refute(state.tick(now + Seconds(7)).front());
    EXPECT_EQ(state.reserve(other, "n", now + Seconds(7)).kind, Reservation::Kind::kReserved);
}

// The API server is away for longer than a reservation lasts: the binding may well be there.
TEST_F(Answers, ADoubtOutlivesTheReservationUntilItIsLookedUp) {
    add_node(node_json("n", 100));
    const auto first = read_facts(*k8s::pod_from_json(pod_json(share_pod("first", 100))));
    const auto other = read_facts(*k8s::pod_from_json(pod_json(share_pod("other", 100))));
    TimePoint now = MonoClock::now();
    ASSERT_EQ(state.reserve(first, "n", now).kind, Reservation::Kind::kReserved);
    state.doubt(first, "n", now);
    std::vector<UnconfirmedPod> due;
    for (int i = 0; i < 20; ++i) {
        now += Seconds(6);
        due = state.tick(now);
        ASSERT_EQ(due.size(), 1U) << i;
        state.postpone(due.front(), now);
    }
    EXPECT_EQ(state.reserve(other, "n", now).kind, Reservation::Kind::kRefused);
    state.tick(now + Seconds(300));  // look-ups of other pods took that long
    EXPECT_EQ(state.reserve(other, "n", now + Seconds(300)).kind, Reservation::Kind::kRefused);
    state.refute(due.front());
    EXPECT_EQ(state.reserve(other, "n", now + Seconds(300)).kind, Reservation::Kind::kReserved);
}

// A list of our own may show what the watch never will, and nobody would tell of its end: waiting
// pods, and the CPU of pods without a GPU.
TEST_F(Answers, AReadLeavesNothingThatOnlyAWatchCouldEnd) {
    add_node(node_json("n", 100));
    const auto before = state.host_free("n");
    const TimePoint now = MonoClock::now();
    const json::value plain{
        {"metadata", {{"name", "web"}, {"namespace", "default"}, {"uid", "web"}}},
        {"spec",
         {{"nodeName", "n"},
          {"containers",
           json::array{{{"name", "main"}, {"resources", {{"limits", {{"cpu", "2"}}}}}}}}}},
        {"status", {{"phase", "Running"}}}};
    state.upsert_pod(read_facts(*k8s::pod_from_json(plain)), now, State::Source::kRead);
    const auto waiting = read_facts(*k8s::pod_from_json(pod_json(share_pod("w", 10))));
    state.upsert_pod(waiting, now, State::Source::kRead);
    EXPECT_EQ(state.host_free("n"), before);
    EXPECT_EQ(state.pending_count(), 0U);
}

TEST_F(Answers, FilterWithNames) {
    const json::value answer =
        parse(handlers.filter(filter_body(share_pod("p", 800), {"t4", "h100", "nano", "cpu"})));
    EXPECT_THAT(
        keys(answer),
        ElementsAre("Nodes", "NodeNames", "FailedNodes", "FailedAndUnresolvableNodes", "Error")
    );
    EXPECT_TRUE(answer.at("Nodes").is_null());
    EXPECT_EQ(json::to_text(answer.at("NodeNames")), "[\"h100\"]");
    // Eight cards will never be there: preemption cannot help.
    EXPECT_THAT(keys(answer.at("FailedNodes")), IsEmpty());
    EXPECT_THAT(keys(answer.at("FailedAndUnresolvableNodes")), ElementsAre("t4", "nano", "cpu"));
    EXPECT_EQ(answer.at("Error").as_string(), "");
}

TEST_F(Answers, NoNodeFitsIsAnEmptyListNotNull) {
    TestPod full = share_pod("full", 100);
    full.node = "t4";
    add_pod(full);
    TestPod half = share_pod("half", 50);
    half.node = "t4";
    add_pod(half);
    const std::string text = handlers.filter(filter_body(share_pod("p", 60), {"t4"}));
    EXPECT_THAT(text, HasSubstr("\"NodeNames\":[]"));
    EXPECT_THAT(text, HasSubstr("\"FailedNodes\":{\"t4\":\"no card with 60 percent free\"}"));
    EXPECT_THAT(text, Not(HasSubstr("%")));
}

TEST_F(Answers, FilterWithNodesEchoesTheSurvivors) {
    json::value nano = node_json("nano", 400);
    nano.at("metadata").as_object()["labels"] = json::object{{"note", "<a&b>\" \xC3\xA9"}};
    const json::value answer = parse(
        handlers.filter(filter_body_with_nodes(share_pod("p", 300), {node_json("t4", 200), nano}))
    );
    EXPECT_TRUE(answer.at("NodeNames").is_null());
    const json::array& items = answer.at("Nodes").at("items").as_array();
    ASSERT_EQ(items.size(), 1U);
    EXPECT_EQ(items[0], nano);
    EXPECT_THAT(keys(answer.at("FailedAndUnresolvableNodes")), ElementsAre("t4"));
}

TEST_F(Answers, PodsThatAskForNothingPassEverywhereWithScoreZero) {
    TestPod pod;
    pod.name = "p";
    pod.containers = {{.name = "main", .percent = "0"}};
    const auto body = filter_body(pod, {"t4", "cpu"});
    EXPECT_THAT(handlers.filter(body), HasSubstr("\"NodeNames\":[\"t4\",\"cpu\"]"));
    EXPECT_EQ(
        handlers.priorities(body), "[{\"Host\":\"t4\",\"Score\":0},{\"Host\":\"cpu\",\"Score\":0}]"
    );
}

TEST_F(Answers, WrongRequestsAreUnresolvableAndSayWhy) {
    for (const char* quantity : {"150", "1050", "-1"}) {
        TestPod pod = share_pod("p", 1);
        pod.containers[0].percent = quantity;
        const json::value answer = parse(handlers.filter(filter_body(pod, {"t4", "h100"})));
        EXPECT_THAT(keys(answer.at("FailedAndUnresolvableNodes")), ElementsAre("t4", "h100"));
        EXPECT_THAT(
            std::string(answer.at("FailedAndUnresolvableNodes").at("t4").as_string()),
            HasSubstr(quantity)
        );
    }
    TestPod pod = share_pod("p", 10);
    pod.annotations["edge-gpu.io/policy"] = "100% best";
    const std::string text = handlers.filter(filter_body(pod, {"t4"}));
    EXPECT_THAT(text, HasSubstr("best"));
    EXPECT_THAT(text, Not(HasSubstr("%")));
}

TEST_F(Answers, ModelsAndMemoryAreAskedFor) {
    TestPod pod = share_pod("p", 10);
    pod.annotations["edge-gpu.io/gpu-model"] = "H100";
    json::value answer = parse(handlers.filter(filter_body(pod, {"t4", "h100"})));
    EXPECT_EQ(json::to_text(answer.at("NodeNames")), "[\"h100\"]");
    EXPECT_THAT(keys(answer.at("FailedAndUnresolvableNodes")), ElementsAre("t4"));
    TestPod big = share_pod("big", 10);
    big.annotations["edge-gpu.io/memory"] = "100Gi";  // more than any card has
    answer = parse(handlers.filter(filter_body(big, {"t4", "h100"})));
    EXPECT_THAT(keys(answer.at("FailedAndUnresolvableNodes")), ElementsAre("t4", "h100"));
}

TEST_F(Answers, BoundPodPassesOnItsOwnNodeOnly) {
    TestPod pod = share_pod("p", 100);
    pod.node = "h100";
    add_pod(pod);
    const json::value answer = parse(handlers.filter(filter_body(pod, {"t4", "h100"})));
    EXPECT_EQ(json::to_text(answer.at("NodeNames")), "[\"h100\"]");
}

TEST_F(Answers, MalformedBodiesGetAnswersInForm) {
    for (const char* body :
         {"",
          "{",
          "[]",
          "null",
          "42",
          "\"x\"",
          "{\"Pod\":null,\"NodeNames\":[\"t4\"]}",
          "{\"Pod\":[],\"NodeNames\":[]}",
          "{\"Pod\":{},\"NodeNames\":7}",
          "{\"Pod\":{\"metadata\":{\"name\":\"p\"}}}",
          "\x00\x01",
          "{\"Pod\":{\"spec\":{\"containers\":3}}}"}) {
        const json::value filter = parse(handlers.filter(body));
        EXPECT_TRUE(filter.is_object()) << body;
        EXPECT_TRUE(filter.at("Nodes").is_null());
        EXPECT_TRUE(filter.at("NodeNames").is_null() || filter.at("NodeNames").as_array().empty());
        EXPECT_NE(filter.at("Error").as_string(), "") << body;
        EXPECT_TRUE(parse(handlers.priorities(body)).is_array()) << body;
        EXPECT_NE(parse(handlers.bind(body)).at("Error").as_string(), "") << body;
        EXPECT_TRUE(parse(handlers.preempt(body)).at("NodeNameToMetaVictims").is_object()) << body;
    }
}

TEST_F(Answers, KeysCompareWithoutCaseAndUnknownOnesAreSkipped) {
    const std::string pod = json::to_text(pod_json(share_pod("p", 10)));
    const std::string body =
        "{\"nodenames\":[\"t4\"],\"Future\":{\"a\":[1,2,{}]},\"POD\":" + pod + "} trailing";
    EXPECT_THAT(handlers.filter(body), HasSubstr("\"NodeNames\":[\"t4\"]"));
}

TEST_F(Answers, NotSyncedIsAnErrorThatNamesTheApiServer) {
    synced = false;
    const auto body = filter_body(share_pod("p", 10), {"t4"});
    EXPECT_THAT(
        std::string(parse(handlers.filter(body)).at("Error").as_string()),
        HasSubstr("API server: connection refused")
    );
    EXPECT_EQ(handlers.priorities(body), "[{\"Host\":\"t4\",\"Score\":0}]");
    EXPECT_THAT(
        std::string(
            parse(handlers.bind(bind_body(share_pod("p", 10), "t4"))).at("Error").as_string()
        ),
        HasSubstr("API server")
    );
}

TEST_F(Answers, BinpackPrefersTheFullerNode) {
    TestPod used = share_pod("used", 50);
    used.node = "h100";
    add_pod(used);
    const json::value answer =
        parse(handlers.priorities(filter_body(share_pod("p", 50), {"t4", "h100"})));
    EXPECT_GT(
        answer.as_array()[1].at("Score").as_int64(), answer.as_array()[0].at("Score").as_int64()
    );
    TestPod spread = share_pod("p", 50);
    spread.annotations["edge-gpu.io/policy"] = "spread";
    const json::value other = parse(handlers.priorities(filter_body(spread, {"t4", "h100"})));
    EXPECT_GT(other.as_array()[0].at("Score").as_int64(), 0);
}

// --- preempt ---

class Preempt : public Answers {
  protected:
    // Two cards of `t4`, each with two pods of 50.
    void SetUp() override {
        for (int i = 0; i < 4; ++i) {
            TestPod pod = share_pod("v" + std::to_string(i), 50);
            pod.node = "t4";
            pod.annotations = {
                {"nano-gpu/assume", "true"}, {"nano-gpu/container-main", std::to_string(i / 2)}};
            add_pod(pod);
        }
    }
    json::value ask(
        const TestPod& pod,
        const std::map<std::string, std::vector<std::string>>& victims,
        bool full = false
    ) {
        json::object nodes;
        for (const auto& [node, uids] : victims) {
            json::array pods;
            for (const auto& uid : uids) {
                if (full) {
                    TestPod victim = share_pod(uid.substr(4), 50);
                    victim.node = node;
                    pods.push_back(pod_json(victim));
                } else {
                    pods.push_back(json::object{{"UID", uid}});
                }
            }
            nodes[node] = json::object{{"Pods", pods}, {"NumPDBViolations", 1}};
        }
        json::object body{
            {"Pod", pod_json(pod)},
            {"NodeNameToVictims", nullptr},
            {"NodeNameToMetaVictims", nullptr}};
        body[full ? "NodeNameToVictims" : "NodeNameToMetaVictims"] = nodes;
        const json::value answer = parse(handlers.preempt(json::to_text(body)));
        EXPECT_THAT(keys(answer), ElementsAre("NodeNameToMetaVictims"));
        return answer.at("NodeNameToMetaVictims");
    }
    static TestPod vip(int percent) {
        TestPod pod = share_pod("vip", percent);
        pod.priority = 1000;
        return pod;
    }
};

TEST_F(Preempt, VictimsThatFreeACardAreKept) {
    for (const bool full : {false, true}) {
        const json::value answer = ask(vip(100), {{"t4", {"uid-v0", "uid-v1"}}}, full);
        EXPECT_EQ(
            json::to_text(answer),
            R"({"t4":{"Pods":[{"UID":"uid-v0"},{"UID":"uid-v1"}],"NumPDBViolations":1}})"
        );
    }
}

TEST_F(Preempt, VictimsOnTwoCardsBecomeThoseOfOneCard) {
    // 100 percent in sum, but half of each card.
    const json::value answer = ask(vip(100), {{"t4", {"uid-v0", "uid-v2"}}});
    std::set<std::string> uids;
    for (const json::value& pod : answer.at("t4").at("Pods").as_array()) {
        uids.emplace(pod.at("UID").as_string());
    }
    EXPECT_THAT(uids, AnyOf(ElementsAre("uid-v0", "uid-v1"), ElementsAre("uid-v2", "uid-v3")));
    EXPECT_EQ(answer.at("t4").at("NumPDBViolations").as_int64(), 2);
}

TEST_F(Preempt, ProposedPodsThatHoldNoCardStayVictims) {
    const json::value answer = ask(vip(100), {{"t4", {"uid-x", "uid-v0", "uid-v2"}}});
    const json::array& pods = answer.at("t4").at("Pods").as_array();
    ASSERT_EQ(pods.size(), 3U);
    EXPECT_EQ(pods[0].at("UID").as_string(), "uid-x");
}

TEST_F(Preempt, PodsOfEqualOrHigherPriorityAreNeverAdded) {
    for (const char* name : {"v1", "v3"}) {
        TestPod pod = share_pod(name, 50);
        pod.node = "t4";
        pod.priority = 1000;
        pod.annotations = {
            {"nano-gpu/assume", "true"},
            {"nano-gpu/container-main", std::string(name) == "v1" ? "0" : "1"}};
        add_pod(pod);
    }
    EXPECT_THAT(keys(ask(vip(100), {{"t4", {"uid-v0", "uid-v2"}}})), IsEmpty());
}

TEST_F(Preempt, NodesThatCannotHelpAreDropped) {
    EXPECT_THAT(keys(ask(vip(800), {{"t4", {"uid-v0"}}, {"cpu", {"uid-x"}}})), IsEmpty());
    const json::value answer = ask(vip(60), {{"t4", {"uid-v0"}}, {"gone", {"uid-y"}}});
    // 50 + 50 of one card: one victim is not enough for 60, its neighbour has to go, too.
    EXPECT_THAT(keys(answer), ElementsAre("t4"));
    EXPECT_EQ(answer.at("t4").at("Pods").as_array().size(), 2U);
}

TEST_F(Preempt, AnAnswerNeverHasANodeWithoutVictims) {
    EXPECT_THAT(keys(ask(vip(10), {{"h100", {}}})), IsEmpty());
}

// --- cards of a node ---

TEST(NodeCards, AnnotationWinsAndSurvivesAKubeletRestart) {
    json::value object = node_with_cards_json("n", 4);
    object.at_pointer("/status/allocatable").as_object()["nano-gpu/gpu-percent"] = "0";
    object.at_pointer("/status/capacity").as_object()["nano-gpu/gpu-percent"] = "0";
    const NodeCards cards = read_node_cards(*k8s::node_from_json(object));
    EXPECT_EQ(cards.problem, "");
    EXPECT_EQ(cards.inventory.cards.size(), 4U);
}

TEST(NodeCards, WithoutAnnotationAllocatableCounts) {
    json::value object = node_json("n", 400);
    object.at_pointer("/status/allocatable").as_object()["nano-gpu/gpu-percent"] = "300";
    EXPECT_EQ(read_node_cards(*k8s::node_from_json(object)).inventory.percent_units, 300);
    object.at_pointer("/status/allocatable").as_object().erase("nano-gpu/gpu-percent");
    EXPECT_EQ(read_node_cards(*k8s::node_from_json(object)).inventory.percent_units, 400);
    object.at_pointer("/status/capacity").as_object()["nano-gpu/gpu-percent"] =
        "99999999999999999999";
    EXPECT_EQ(read_node_cards(*k8s::node_from_json(object)).inventory.percent_units, 102400);
    object.at_pointer("/status/capacity").as_object()["nano-gpu/gpu-percent"] = "-5";
    EXPECT_TRUE(read_node_cards(*k8s::node_from_json(object)).empty());
}

TEST(NodeCards, ABadAnnotationIsReportedAndNotBelieved) {
    json::value object = node_json("n", 200);
    object.at("metadata").as_object()["annotations"] = json::object{{"edge-gpu.io/cards", "[1,2"}};
    const NodeCards cards = read_node_cards(*k8s::node_from_json(object));
    EXPECT_NE(cards.problem, "");
    EXPECT_TRUE(cards.inventory.cards.empty());
    EXPECT_EQ(cards.inventory.percent_units, 200);
}

// --- facts of a pod ---

TEST(PodFacts, RunningPodsWithARefusedRequestAreCountedByQuantity) {
    TestPod pod = share_pod("p", 150);
    pod.node = "n";
    PodFacts facts = read_facts(*k8s::pod_from_json(pod_json(pod)));
    EXPECT_NE(facts.request_error, "");
    ASSERT_EQ(facts.request.containers.size(), 1U);
    EXPECT_EQ(facts.request.containers[0].cards, 2);
    EXPECT_TRUE(facts.request.containers[0].whole);
    TestPod bad = share_pod("p", 30);
    bad.annotations["edge-gpu.io/policy"] = "no such policy";
    facts = read_facts(*k8s::pod_from_json(pod_json(bad)));
    EXPECT_NE(facts.request_error, "");
    ASSERT_EQ(facts.request.containers.size(), 1U);
    EXPECT_EQ(facts.request.containers[0].percent, 30);
}

}  // namespace
}  // namespace egpu::scheduler
