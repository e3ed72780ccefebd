// What is remembered of earlier requests makes answers quicker and changes none of them.
#include <algorithm>

#include <gtest/gtest.h>

#include "base/random.h"
#include "core/replay_seed.h"
#include "k8s/codec.h"
#include "scheduler/handlers.h"
#include "scheduler/node_cards.h"
#include "scheduler/objects_for_test.h"

namespace egpu::scheduler {
namespace {

class KnownNodesTest : public ::testing::Test {
  protected:
    KnownNodesTest() : state(StateOptions{}), remembering(state, gate) {
        GateProbes probes;
        probes.synced = [] { return true; };
        probes.api_error = [] { return std::string(); };
        gate.open(probes);
    }
    void add_node(const std::string& name) {
        const auto node = k8s::node_from_json(node_with_cards_json(name, 1));
        ASSERT_TRUE(node.ok());
        state.upsert_node(name, read_node_cards(*node).inventory);
    }
    // Both answers of one cycle, as kube-scheduler asks for them, and the same of handlers that
    // have never been asked before.
    void ask(const TestPod& pod, const std::vector<std::string>& candidates) {
        Handlers fresh(state, gate);
        const std::string body = filter_body(pod, candidates);
        const std::string filtered = remembering.filter(body);
        ASSERT_EQ(filtered, fresh.filter(body));
        std::vector<std::string> left;
        const auto answer = json::parse(filtered);
        ASSERT_TRUE(answer.ok());
        for (const json::value& name : answer->at("NodeNames").as_array()) {
            left.emplace_back(name.as_string());
        }
        const std::string rest = filter_body(pod, left);
        ASSERT_EQ(remembering.priorities(rest), Handlers(state, gate).priorities(rest));
    }

    Gate gate;
    State state;
    Handlers remembering;
};

TEST_F(KnownNodesTest, AnswersAreThoseOfHandlersThatRememberNothing) {
    EG_TRACE_SEED();
    Random random(core::replay_seed());
    std::vector<std::string> names;
    for (int i = 0; i < 700; ++i) {
        names.push_back("node-" + std::to_string(i) + std::string(random.below(20), 'x'));
        if (i % 10 != 0) add_node(names.back());  // some have no cards
    }
    for (int round = 0; round < 120; ++round) {
        const std::string number = std::to_string(round);
        switch (random.below(12)) {
            case 0: {  // one goes, and its place in the ledger may be another's
                state.remove_node(names[random.below(names.size())]);
                break;
            }
            case 1:
                names.insert(
                    names.begin() + static_cast<std::ptrdiff_t>(random.below(names.size())),
                    "new-" + number
                );
                add_node("new-" + number);
                break;
            case 2:  // another order from now on
                shuffle(names, random);
                break;
            default:
                break;
        }
        TestPod held = share_pod("held-" + number, 60);
        held.node = names[random.below(names.size())];
        state.upsert_pod(read_facts(*k8s::pod_from_json(pod_json(held))), MonoClock::now());

        std::vector<std::string> candidates = names;
        const auto from = static_cast<std::ptrdiff_t>(random.below(names.size()));
        std::rotate(candidates.begin(), candidates.begin() + from, candidates.end());
        switch (random.below(5)) {
            case 0:  // a caller that asks about the same nodes many times
                candidates.insert(candidates.end(), 500, candidates[random.below(3)]);
                break;
            case 1:  // only some come into question
                std::erase_if(candidates, [&](const auto&) { return random.below(3) == 0; });
                break;
            case 2:  // threads that found them one after the other
                for (std::size_t i = 0; i + 4 < candidates.size(); i += 2 + random.below(5)) {
                    std::swap(candidates[i], candidates[i + 3]);
                }
                break;
            default:
                break;
        }
        ask(share_pod("new-" + number, 30 + random.between(0, 60)), candidates);
        if (HasFatalFailure()) return;
    }
}

}  // namespace
}  // namespace egpu::scheduler
