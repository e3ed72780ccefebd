// The ledger under random events: the order in which they arrive is irrelevant, no card passes 100,
// every unit is accounted, the quick answers equal the planner's.
#include <algorithm>
#include <functional>
#include <map>
#include <memory>

#include <gtest/gtest.h>

#include "base/random.h"
#include "core/card_use.h"
#include "core/ledger.h"
#include "core/replay_seed.h"

namespace egpu::core {
namespace {

PodRequest random_request(Random& random) {
    PodRequest request;
    const int containers = random.chance(0.7) ? 1 : random.between(2, 3);
    for (int i = 0; i < containers; ++i) {
        ContainerRequest c;
        c.name = "c" + std::to_string(i);
        if (containers > 1 && i == 0 && random.chance(0.4)) c.kind = ContainerKind::kInit;
        c.whole = random.chance(0.15);
        c.percent = c.whole ? 100 : random.between(1, 8) * 10;
        if (c.whole && random.chance(0.3)) c.cards = 2;
        if (c.whole && random.chance(0.5)) c.resource = kResourceWhole;
        if (random.chance(0.1)) c.memory_mib = random.between(1, 10) * 100;
        request.containers.push_back(c);
    }
    if (random.chance(0.1)) request.models = {"T4"};
    return request;
}

NodeInventory random_inventory(Random& random, int node) {
    NodeInventory inventory;
    if (random.chance(0.15)) {
        inventory.percent_units = random.between(0, 4) * 100;
        return inventory;
    }
    const bool mixed = random.chance(0.2);
    const int cards = random.between(1, random.chance(0.05) ? 20 : 5);
    const int replicas = random.chance(0.2) ? random.between(2, 4) : 1;
    for (int i = 0; i < cards; ++i) {
        Card card;
        card.uuid = "GPU-" + std::to_string(node) + "-" + std::to_string(i);
        card.index = i;
        card.model = mixed && random.chance(0.5) ? "NVIDIA A10" : "Tesla T4";
        card.memory_mib = mixed && random.chance(0.5) ? 2400 : 1600;
        card.healthy = !random.chance(0.1);
        card.replicas = replicas;
        inventory.cards.push_back(card);
    }
    return inventory;
}

// Mostly of the right shape, sometimes forged.
std::optional<Placement> random_placement(Random& random, const PodRequest& request, int node) {
    if (random.chance(0.2)) return std::nullopt;
    Placement placement;
    for (const ContainerRequest& c : request.containers) {
        if (random.chance(0.03)) continue;
        ContainerPlacement where{c.name, {}};
        const int cards = c.cards + (random.chance(0.03) ? 1 : 0);
        const int first = random.between(0, 4);
        for (int n = 0; n < cards; ++n) {
            const int index = first + n - (random.chance(0.02) ? 9 : 0);
            std::string uuid = "GPU-" + std::to_string(node) + "-" + std::to_string(index);
            if (random.chance(0.2)) uuid.clear();
            where.cards.push_back({std::move(uuid), index, c.percent, 0});
        }
        placement.containers.push_back(std::move(where));
    }
    return placement;
}

struct World {
    std::map<std::string, NodeInventory> nodes;
    std::map<std::string, BoundPod> pods;
};

World random_world(Random& random) {
    World world;
    for (int node = 0; node < 4; ++node) {
        if (random.chance(0.9)) {
            world.nodes["n" + std::to_string(node)] = random_inventory(random, node);
        }
        const int pods = random.between(0, 12);
        for (int i = 0; i < pods; ++i) {
            BoundPod pod;
            pod.id = {std::to_string(random()), "ns", "p" + std::to_string(i)};
            pod.node = "n" + std::to_string(node);
            pod.request = random_request(random);
            pod.placement = random_placement(random, pod.request, node);
            world.pods[pod.id.uid] = pod;
        }
    }
    return world;
}

// Events that end in `world`: everything once, and before it stale states, removals, duplicates.
void play(Ledger& ledger, const World& world, Random& random) {
    std::vector<std::function<void()>> events;
    const auto stale_first = [&](std::function<void()> stale, std::function<void()> last) {
        auto done = std::make_shared<bool>(false);
        const int times = random.between(0, 2);
        for (int i = 0; i < times; ++i)
            events.push_back([done, stale, last] {
                *done ? last() : stale();  // after the last word only repetitions of it
            });
        events.push_back([done, last] {
            *done = true;
            last();
        });
    };
    for (const auto& [name, inventory] : world.nodes) {
        const auto old = random_inventory(random, name[1] - '0');
        const bool removed = random.chance(0.5);
        stale_first(
            [&ledger, name, old, removed] {
                if (removed)
                    ledger.remove_node(name);
                else
                    ledger.upsert_node(name, old);
            },
            [&ledger, name, inventory] { ledger.upsert_node(name, inventory); }
        );
    }
    for (const auto& [uid, pod] : world.pods) {
        BoundPod old = pod;
        old.node = "n" + std::to_string(random.below(4));
        old.request = random_request(random);
        const int kind = random.between(0, 2);
        stale_first(
            [&ledger, old, kind] {
                if (kind == 0) ledger.upsert_pod(old);
                if (kind == 1) ledger.remove_pod(old.id.uid);
                if (kind == 2) {
                    (void)ledger.reserve(old.id, old.node, old.request, TimePoint{}, Seconds(1));
                }
            },
            [&ledger, pod] { ledger.upsert_pod(pod); }
        );
    }
    for (int i = 0; i < 5; ++i) {  // pods and nodes that come and go
        BoundPod pod;
        pod.id = {"gone-" + std::to_string(i), "ns", "gone"};
        pod.node = random.chance(0.2) ? "nowhere" : "n" + std::to_string(random.below(4));
        pod.request = random_request(random);
        stale_first(
            [&ledger, pod] { ledger.upsert_pod(pod); },
            [&ledger, pod] { ledger.remove_pod(pod.id.uid); }
        );
    }
    std::shuffle(events.begin(), events.end(), random);
    for (const auto& event : events) {
        event();
        ASSERT_TRUE(ledger.check_invariants().empty()) << ledger.check_invariants()[0];
    }
}

class LedgerProperty : public testing::Test {};

TEST_F(LedgerProperty, TheOrderOfEventsIsIrrelevant) {
    EG_TRACE_SEED();
    Random random(replay_seed());
    for (int round = 0; round < 150; ++round) {
        SCOPED_TRACE("round " + std::to_string(round));
        World world = random_world(random);
        for (auto& [uid, pod] : world.pods) {
            for (auto& c : pod.request.containers) c.memory_mib = 0;
        }
        Ledger plain;
        for (const auto& [name, inventory] : world.nodes) plain.upsert_node(name, inventory);
        for (const auto& [uid, pod] : world.pods) plain.upsert_pod(pod);
        const auto expected = plain.nodes();
        for (const NodeInfo& node : expected) {
            for (const CardInfo& card : node.cards) ASSERT_LE(card.used_percent, 100);
        }
        for (int again = 0; again < 3; ++again) {
            Ledger ledger;
            Ledger* target = &ledger;
            play(*target, world, random);
            if (HasFatalFailure()) return;
            ASSERT_EQ(ledger.nodes(), expected);
            ASSERT_EQ(ledger.reservation_count(), 0u);
            ASSERT_EQ(ledger.pod_count(), world.pods.size());
        }
    }
}

TEST_F(LedgerProperty, QuickAnswersEqualThePlanner) {
    EG_TRACE_SEED();
    Random random(replay_seed() + 1);
    int fitting = 0;
    int refused = 0;
    for (int round = 0; round < 400; ++round) {
        const World world = random_world(random);
        Ledger ledger({.policy = "binpack", .seed = 5});
        for (const auto& [name, inventory] : world.nodes) ledger.upsert_node(name, inventory);
        for (const auto& [uid, pod] : world.pods) ledger.upsert_pod(pod);
        for (int i = 0; i < 10; ++i) {
            PodRequest request = random_request(random);
            const Policy& policy = policies()[random.below(policies().size())];
            request.policy = policy.name;
            const std::string uid = "new-" + std::to_string(i);
            Query query = ledger.query(request, uid);
            for (const NodeInfo& node : ledger.nodes()) {
                if (!node.known) continue;
                std::vector<CardState> states;
                std::vector<CardView> views;
                std::vector<Card> cards;
                for (const CardInfo& card : node.cards) {
                    states.push_back({card.card, card.used_percent, card.used_memory_mib});
                    cards.push_back(card.card);
                    views.push_back({});
                    views.back().free_percent = 100 - card.used_percent;
                    views.back().empty = card.used_percent == 0;
                    views.back().healthy = card.card.healthy;
                }
                const PolicyContext context{5, stable_key(uid), stable_key(node.name)};
                const PlanResult expected = plan(states, request, policy, context);
                const Verdict verdict = ledger.fits(node.name, query);
                const int score = ledger.score(node.name, query);
                ASSERT_EQ(verdict.fits, std::holds_alternative<Placement>(expected));
                if (const auto* misfit = std::get_if<Misfit>(&expected)) {
                    ++refused;
                    ASSERT_EQ(verdict.reason, misfit->text);
                    ASSERT_EQ(verdict.permanent, misfit->permanent);
                    ASSERT_EQ(score, 0);
                    continue;
                }
                ++fitting;
                const auto use = use_of(cards, request, std::get<Placement>(expected));
                ASSERT_TRUE(use.ok());
                std::vector<CardUse> uses;
                for (std::size_t k = 0; k < cards.size(); ++k) {
                    const CardState& s = (*use)[k];
                    const bool whole = std::any_of(
                        request.containers.begin(),
                        request.containers.end(),
                        [&](const auto& c) {
                            if (!c.whole) return false;
                            for (const auto& p : std::get<Placement>(expected).containers) {
                                if (p.container != c.name) continue;
                                for (const auto& share : p.cards) {
                                    if (share.index == s.card.index) return share.percent == 100;
                                }
                            }
                            return false;
                        }
                    );
                    if (s.used_percent > 0) {
                        uses.push_back({static_cast<int>(k), s.used_percent, 0, whole});
                    }
                }
                ASSERT_EQ(score, policy.node_score(node_change(views, uses), context));
            }
        }
    }
    EXPECT_GT(fitting, 1000);
    EXPECT_GT(refused, 500);
}

// Pods come by reserve, are kept longer, seen, lost, expire, finish; nodes flap.
TEST_F(LedgerProperty, ChurnNeverOverbooksAndLeaksNothing) {
    EG_TRACE_SEED();
    Random random(replay_seed() + 2);
    Ledger ledger;
    std::map<std::string, BoundPod> reserved;
    std::map<std::string, std::string> running;
    TimePoint now{};
    const auto inventory = [](int node) {
        NodeInventory out;
        for (int i = 0; i < 4; ++i) {
            out.cards.push_back(
                {"GPU-" + std::to_string(node) + std::to_string(i), i, "T4", 1600, -1, true}
            );
        }
        return out;
    };
    for (int node = 0; node < 5; ++node)
        ledger.upsert_node("n" + std::to_string(node), inventory(node));
    int placed = 0;
    for (int step = 0; step < 8000; ++step) {
        now += Millis(100);
        const int what = random.between(0, 9);
        if (what <= 4) {
            BoundPod pod;
            pod.id = {"u" + std::to_string(step), "ns", "p"};
            pod.node = "n" + std::to_string(random.below(5));
            pod.request = random_request(random);
            const auto placement = ledger.reserve(pod.id, pod.node, pod.request, now, Seconds(5));
            if (placement) {
                ++placed;
                pod.placement = *placement;
                reserved[pod.id.uid] = pod;
            }
        } else if (what <= 6 && !reserved.empty()) {
            const auto it =
                std::next(reserved.begin(), static_cast<long>(random.below(reserved.size())));
            if (random.chance(0.8)) {
                ledger.upsert_pod(it->second);
                running[it->first] = it->second.node;
            } else if (random.chance(0.5)) {
                ledger.release_reservation(it->first);
            } else {
                ledger.extend(it->first, now, Seconds(20));
            }
            reserved.erase(it);  // or lost: it expires
        } else if (what <= 8 && !running.empty()) {
            const auto it =
                std::next(running.begin(), static_cast<long>(random.below(running.size())));
            ASSERT_TRUE(ledger.remove_pod(it->first));
            running.erase(it);
        } else {
            const int node = static_cast<int>(random.below(5));
            if (random.chance(0.1)) ledger.remove_node("n" + std::to_string(node));
            ledger.upsert_node("n" + std::to_string(node), inventory(node));
        }
        ledger.expire(now);
        std::erase_if(reserved, [&](const auto& r) { return !ledger.pod(r.first).has_value(); });
        const auto broken = ledger.check_invariants();
        ASSERT_TRUE(broken.empty()) << "step " << step << ": " << broken[0];
        const auto totals = ledger.totals();
        ASSERT_EQ(totals.cards_over_memory, 0u);
        if (totals.unplaced_pods == 0) continue;
        for (const NodeInfo& node : ledger.nodes()) {
            for (const auto& pod : node.unplaced) {
                ADD_FAILURE() << "step " << step << " " << node.name << ": " << pod.reason;
            }
        }
        return;
    }
    EXPECT_GT(placed, 500);
    for (const auto& [uid, node] : running) ledger.remove_pod(uid);
    ledger.expire(now + Seconds(100));
    EXPECT_EQ(ledger.totals().used_percent, 0);
    EXPECT_EQ(ledger.totals().empty_cards, 20u);
    EXPECT_EQ(ledger.pod_count() + ledger.reservation_count(), 0u);
}

}  // namespace
}  // namespace egpu::core
