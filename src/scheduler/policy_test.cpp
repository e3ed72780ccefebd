// Policies over rooms, live: what they choose is what kube-scheduler sees first and what a bind
// gives, they learn from pods that arrive, and nobody waits for them.
#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "k8s/codec.h"
#include "scheduler/cluster_for_test.h"
#include "scheduler/handlers.h"
#include "scheduler/node_cards.h"
#include "scheduler/policy_worker.h"

namespace egpu::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

PodFacts facts(const TestPod& pod) {
    return read_facts(*k8s::pod_from_json(pod_json(pod)));
}

class Policies : public ::testing::Test {
  protected:
    explicit Policies(const char* policy = "fill-gradient") : state(options(policy)) {}

    static StateOptions options(const char* policy) {
        StateOptions out;
        out.policy = policy;
        return out;
    }
    void add_node(const char* name, int cards) {
        const auto node = k8s::node_from_json(node_with_cards_json(name, cards));
        state.upsert_node(name, read_node_cards(*node).inventory);
    }
    void hold(const char* node, int card, int percent) {
        TestPod pod = share_pod("held-" + std::to_string(++pods), percent);
        pod.node = node;
        pod.annotations = {
            {"nano-gpu/assume", "true"}, {"nano-gpu/container-main", std::to_string(card)}};
        state.upsert_pod(facts(pod), MonoClock::now());
    }
    // Half of the pods that come and go ask for 50 percent, half for 30.
    void learn() {
        for (int i = 0; i < 64; ++i) {
            const TestPod pod = share_pod("seen-" + std::to_string(i), i % 2 == 0 ? 50 : 30);
            state.upsert_pod(facts(pod), MonoClock::now());
            state.remove_pod(uid_of(pod), MonoClock::now());
        }
    }
    void work_off() { PolicyWorker::work_off(state, StopSource().token()); }
    std::vector<int> scores(const TestPod& pod, const std::vector<std::string>& nodes) {
        k8s::ExtenderReader reader;
        const std::string body = filter_body(pod, nodes);
        EG_CHECK(reader.feed(std::span(body.data(), body.size())).ok());
        return state.scores(**reader.args(), facts(pod));
    }
    // Asked twice: the first question about a shape only has it prepared.
    std::vector<int> warm_scores(const TestPod& pod, const std::vector<std::string>& nodes) {
        static_cast<void>(scores(pod, nodes));
        work_off();
        return scores(pod, nodes);
    }
    int card_of(const TestPod& pod, const char* node) {
        const Reservation out = state.reserve(facts(pod), node, MonoClock::now());
        EXPECT_EQ(out.kind, Reservation::Kind::kReserved) << out.reason;
        if (out.kind != Reservation::Kind::kReserved) return -1;
        return out.placement.containers.at(0).cards.at(0).index;
    }

    int pods = 0;
    State state;
};

// Fifty percent left on one card, sixty on the other: thirty more belong on the second, where
// another thirty will fit, and not, as best-fit has it, where fifty would have.
TEST_F(Policies, TheCardThatWasScoredIsTheCardThatIsGiven) {
    add_node("n", 2);
    hold("n", 0, 50);
    hold("n", 1, 40);
    EXPECT_EQ(card_of(share_pod("early", 30), "n"), 0);  // nothing learned yet: binpack
    state.rollback("uid-early");
    learn();
    work_off();
    EXPECT_EQ(card_of(share_pod("p", 30), "n"), 1);
    TestPod packed = share_pod("q", 30);
    packed.annotations["edge-gpu.io/policy"] = "binpack";
    state.rollback("uid-p");
    EXPECT_EQ(card_of(packed, "n"), 0);
}

TEST_F(Policies, OnlyTheWinnerGetsTen) {
    add_node("fifty", 1);
    add_node("sixty", 1);
    add_node("empty", 1);
    hold("fifty", 0, 50);
    hold("sixty", 0, 40);
    learn();
    const std::vector<int> got =
        warm_scores(share_pod("p", 30), {"fifty", "nowhere", "sixty", "empty"});
    EXPECT_EQ(got[2], core::kMaxScore);
    EXPECT_EQ(std::count(got.begin(), got.end(), core::kMaxScore), 1);
    EXPECT_EQ(got[1], 0);
    EXPECT_EQ(*std::min_element(got.begin(), got.end()), 0);
}

TEST_F(Policies, NodesThatAreAlikeWinTogether) {
    add_node("a", 1);
    add_node("b", 1);
    learn();
    EXPECT_THAT(warm_scores(share_pod("p", 30), {"a", "b"}), ElementsAre(10, 10));
}

TEST_F(Policies, ANodeThatIsFullGetsNothing) {
    add_node("a", 1);
    add_node("full", 1);
    hold("full", 0, 90);
    learn();
    EXPECT_THAT(warm_scores(share_pod("p", 30), {"full", "a"}), ElementsAre(0, 10));
}

TEST_F(Policies, APodOfSeveralContainersIsScoredByWhatItsPlanLeaves) {
    add_node("fifty", 1);
    add_node("sixty", 1);
    hold("fifty", 0, 50);
    hold("sixty", 0, 40);
    learn();
    TestPod pod = share_pod("p", 20);
    pod.containers.push_back({.name = "side", .percent = "10"});
    EXPECT_THAT(warm_scores(pod, {"fifty", "sixty"})[1], 10);
    EXPECT_LT(warm_scores(pod, {"fifty", "sixty"})[0], 10);
}

TEST_F(Policies, APodMayNameAPolicy) {
    add_node("used", 2);
    add_node("empty", 2);
    hold("used", 0, 50);
    for (const char* name : {"fgd", "best-fit", "gpu-packing", "auto", "binpack"}) {
        TestPod pod = share_pod(std::string("p-") + name, 50);
        pod.annotations["edge-gpu.io/policy"] = name;
        learn();
        const std::vector<int> got = warm_scores(pod, {"empty", "used"});
        EXPECT_EQ(got[1], core::kMaxScore) << name;
        EXPECT_LT(got[0], core::kMaxScore) << name;
    }
    TestPod wrong = share_pod("wrong", 50);
    wrong.annotations["edge-gpu.io/policy"] = "fastest";
    EXPECT_THAT(facts(wrong).request_error, HasSubstr("fill-gradient"));
}

TEST_F(Policies, EachPodIsLearnedFromOnce) {
    add_node("n", 8);
    TestPod pod = share_pod("p", 30);
    state.upsert_pod(facts(pod), MonoClock::now());
    state.upsert_pod(facts(pod), MonoClock::now());
    const Reservation out = state.reserve(facts(pod), "n", MonoClock::now());
    state.commit(facts(pod), "n", out.placement, MonoClock::now());
    pod.node = "n";
    state.upsert_pod(facts(pod), MonoClock::now());
    EXPECT_EQ(state.policy_totals().arrivals, 1U);
    hold("n", 7, 20);  // after a restart they are seen running
    EXPECT_EQ(state.policy_totals().arrivals, 2U);
    EXPECT_EQ(state.policy_totals().shapes, 2U);
}

TEST_F(Policies, TheWorkerRefreshesByItself) {
    add_node("n", 2);
    PolicyWorker worker(state);
    worker.start();
    static_cast<void>(scores(share_pod("p", 30), {"n"}));
    learn();
    EXPECT_TRUE(eventually([&] { return state.policy_totals().refreshes > 0; }));
    worker.stop();
    worker.stop();
}

class BinpackByDefault : public Policies {
  protected:
    BinpackByDefault() : Policies("binpack") {}
};

TEST_F(BinpackByDefault, HasNothingToComputeAnew) {
    add_node("n", 2);
    learn();
    static_cast<void>(scores(share_pod("p", 30), {"n"}));
    EXPECT_FALSE(state.begin_refresh());
    EXPECT_FALSE(state.warm_up(100));
}

}  // namespace
}  // namespace egpu::scheduler
