// After any changes of the cluster, kept scores equal those of a LiveFleets that has just been made
// from the same demand and had nothing to keep.
#include <deque>

#include <gtest/gtest.h>

#include "base/random.h"
#include "core/policy/live_fleets.h"
#include "core/replay_seed.h"

namespace egpu::core {
namespace {

constexpr int kNodes = 12;
constexpr std::array kPercents{10, 30, 47, 50, 65, 81, 100, 200, 400};

PodRequest request_of(int percent, int cpu, int containers = 1) {
    PodRequest out;
    for (int i = 0; i < containers; ++i) {
        ContainerRequest container;
        container.name = "c" + std::to_string(i);
        container.whole = percent >= 100;
        container.percent = percent >= 100 ? 100 : percent;
        container.cards = percent >= 100 ? percent / 100 : 1;
        out.containers.push_back(container);
    }
    out.host = {cpu * 1000, cpu * 2048};
    return out;
}

void refresh(LiveFleets& fleets, const Ledger& ledger) {
    while (auto due = fleets.begin_refresh(ledger)) {
        while (!due->refresh->step(1000)) {
        }
        fleets.end_refresh(std::move(*due));
    }
}

class LiveFleetsProperty : public ::testing::TestWithParam<const char*> {
  protected:
    static NodeInventory inventory(Random& random) {
        NodeInventory out;
        const int cards = random.between(1, 8);
        const char* const model = random.chance(0.5) ? "Tesla T4" : "NVIDIA A10";
        for (int i = 0; i < cards; ++i) {
            Card card;
            card.uuid = "GPU-" + std::to_string(i);
            card.index = i;
            card.model = model;
            card.healthy = random.below(20) != 0;
            out.cards.push_back(card);
        }
        out.host = {64'000, 131'072};
        return out;
    }
    void change(Random& random) {
        const std::string node = "n" + std::to_string(random.below(kNodes));
        const std::string uid = "p" + std::to_string(random.below(60));
        switch (random.below(8)) {
            case 0:
                ledger_.upsert_node(node, inventory(random));
                break;
            case 1:
                if (random.below(4) == 0) ledger_.remove_node(node);
                break;
            case 2:
            case 3:
                ledger_.remove_pod(uid);
                break;
            case 4: {
                BoundPod cpu_only{{"cpu-" + uid, "ns", uid}, node, {}, {}};
                cpu_only.request.host = {random.between(0, 20) * 1000, 100};
                ledger_.upsert_pod(cpu_only);
                break;
            }
            default:
                static_cast<void>(ledger_.reserve(
                    {uid, "ns", uid}, node, draw(random), TimePoint{}, Seconds(1'000'000)
                ));
        }
    }
    static PodRequest draw(Random& random) {
        const int percent = kPercents[random.below(kPercents.size())];
        PodRequest out =
            request_of(percent, random.between(0, 16), percent <= 30 && random.chance(0.2) ? 2 : 1);
        if (random.below(6) == 0) out.models = {"T4"};
        return out;
    }
    // All nodes, twice, so that what was cold is warm.
    std::vector<int> ask(LiveFleets& fleets, const PodRequest& request) {
        std::vector<std::optional<NodeId>> nodes;
        for (int i = 0; i < kNodes; ++i)
            nodes.push_back(ledger_.find_node("n" + std::to_string(i)));
        std::vector<int> out(nodes.size());
        for (int time = 0; time < 2; ++time) {
            Query query = ledger_.query(request, "asking");
            fleets.scores(ledger_, *find_scorer(GetParam()), query, nodes, out);
            while (fleets.warm_up(ledger_, 5)) {
            }
        }
        return out;
    }

    Ledger ledger_;
};

TEST_P(LiveFleetsProperty, KeptScoresEqualFreshOnes) {
    EG_TRACE_SEED();
    Random random(replay_seed());
    LiveFleets kept;
    std::vector<PodRequest> history;
    for (int i = 0; i < kNodes; ++i)
        ledger_.upsert_node("n" + std::to_string(i), inventory(random));
    static_cast<void>(ask(kept, request_of(50, 1)));  // in use from the beginning
    // The demand is looked at again each time it has doubled.
    for (std::size_t arrivals = 64; arrivals <= 512; arrivals *= 2) {
        while (history.size() < arrivals) {
            history.push_back(draw(random));
            kept.arrived(history.back(), nullptr);
        }
        // Twins: as much demand, an Outlook of the same moment, nothing kept.
        std::deque<LiveFleets> twins(5);
        for (LiveFleets& twin : twins) {
            std::vector<std::optional<NodeId>> none;
            std::vector<int> nothing;
            Query query = ledger_.query(request_of(50, 1));
            twin.scores(ledger_, *find_scorer(GetParam()), query, none, nothing);
            for (const PodRequest& request : history) twin.arrived(request, nullptr);
            refresh(twin, ledger_);
        }
        refresh(kept, ledger_);
        for (LiveFleets& twin : twins) {
            for (int i = 0; i < 30; ++i) {
                change(random);
                static_cast<void>(ask(kept, draw(random)));
            }
            for (int i = 0; i < 10; ++i) {
                const PodRequest request = draw(random);
                ASSERT_EQ(ask(kept, request), ask(twin, request)) << arrivals << " arrivals";
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(
    Scorers,
    LiveFleetsProperty,
    ::testing::Values("fill-gradient", "fgd", "best-fit", "gpu-clustering")
);

}  // namespace
}  // namespace egpu::core
