// The planner against brute force: every assignment of cards to containers, checked by playing the
// kubelet's allocation of device IDs and the pod's life step by step.
#include <algorithm>
#include <functional>

#include <gtest/gtest.h>

#include "base/random.h"
#include "core/card_use.h"
#include "core/planner.h"
#include "core/replay_seed.h"

namespace egpu::core {
namespace {

using Assignment = std::vector<std::vector<int>>;  // cards by container

struct Case {
    std::vector<CardState> cards;
    PodRequest request;
};

// Is this what the kubelet's IDs can say, with room on every card at every moment? `held` becomes
// the percent units the pod holds of each card in the end.
class Kubelet {
  public:
    explicit Kubelet(const Case& test) : test_(test), n_(test.cards.size()) {}

    bool admits(const Assignment& where, std::vector<int>& held) {
        reusable_.assign(n_, 0);
        held.assign(n_, 0);
        gpu_reusable_.assign(n_, false);
        gpu_held_.assign(n_, false);
        for (std::size_t i = 0; i < where.size(); ++i) {
            const ContainerRequest& c = test_.request.containers[i];
            for (const int card : where[i]) {
                if (!test_.cards[card].card.healthy) return false;
                if (c.whole && test_.cards[card].used_percent > 0) return false;
            }
            const bool ok = c.resource == kResourceWhole ? give_gpus(c, where[i], held)
                                                         : give_percent(c, where[i], held);
            if (!ok) return false;
        }
        for (std::size_t card = 0; card < n_; ++card) {
            if (gpu_held_[card]) held[card] = 100;
        }
        return memory_suffices(where);
    }

  private:
    bool give_percent(
        const ContainerRequest& c, const std::vector<int>& where, std::vector<int>& held
    ) {
        int pool = 0;
        for (const int r : reusable_) pool += r;
        int draw = std::min(pool, c.percent * c.cards);
        for (const int card : where) {
            if (gpu_held_[card]) return false;
            // Of the card's IDs it takes re-usable ones first; the others must be free.
            const int reused = std::min({reusable_[card], c.percent, draw});
            draw -= reused;
            reusable_[card] -= reused;
            held[card] += c.percent - reused;
            if (test_.cards[card].used_percent + held[card] > 100) return false;
        }
        if (draw > 0) return false;  // it would get IDs of another card
        if (c.kind == ContainerKind::kInit) {
            for (const int card : where) reusable_[card] += c.percent;
        }
        return true;
    }

    bool give_gpus(
        const ContainerRequest& c, const std::vector<int>& where, const std::vector<int>& held
    ) {
        const int pool =
            static_cast<int>(std::count(gpu_reusable_.begin(), gpu_reusable_.end(), true));
        int draw = std::min(pool, c.cards);
        for (const int card : where) {
            if (gpu_reusable_[card] && draw > 0) {
                --draw;
            } else if (gpu_held_[card] || held[card] > 0) {
                return false;
            }
            gpu_held_[card] = true;
            gpu_reusable_[card] = false;
        }
        if (draw > 0) return false;
        if (c.kind == ContainerKind::kInit) {
            for (const int card : where) gpu_reusable_[card] = true;
        }
        return true;
    }

    // Plays the life: who is alive beside whom.
    bool memory_suffices(const Assignment& where) const {
        const auto& containers = test_.request.containers;
        const auto check = [&](const std::vector<std::size_t>& alive) {
            for (std::size_t card = 0; card < n_; ++card) {
                const std::int64_t all = test_.cards[card].card.memory_mib;
                if (all == 0) continue;
                std::int64_t used = test_.cards[card].used_memory_mib;
                for (const std::size_t i : alive) {
                    const ContainerRequest& c = containers[i];
                    if (!std::count(where[i].begin(), where[i].end(), static_cast<int>(card)))
                        continue;
                    if (c.memory_mib > all) return false;
                    if (c.whole) {
                        used += all;
                    } else {
                        used += c.memory_mib > 0 ? c.memory_mib : all * c.percent / 100;
                    }
                }
                if (used > all) return false;
            }
            return true;
        };
        std::vector<std::size_t> lasting;
        for (std::size_t i = 0; i < containers.size(); ++i) {
            if (containers[i].kind == ContainerKind::kInit) {
                auto now = lasting;
                now.push_back(i);
                if (!check(now)) return false;
            } else {
                lasting.push_back(i);
            }
        }
        return check(lasting);
    }

    const Case& test_;
    std::size_t n_;
    std::vector<int> reusable_;
    std::vector<bool> gpu_reusable_;
    std::vector<bool> gpu_held_;
};

bool brute_force(const Case& test) {
    const int n = static_cast<int>(test.cards.size());
    Assignment where(test.request.containers.size());
    std::vector<int> held;
    Kubelet kubelet(test);
    std::function<bool(std::size_t, int)> choose = [&](std::size_t i, int from) {
        if (i == where.size()) return kubelet.admits(where, held);
        if (static_cast<int>(where[i].size()) == test.request.containers[i].cards) {
            return choose(i + 1, 0);
        }
        for (int card = from; card < n; ++card) {
            where[i].push_back(card);
            if (choose(i, card + 1)) return true;
            where[i].pop_back();
        }
        return false;
    };
    return choose(0, 0);
}

Case random_case(Random& random) {
    Case test;
    const int cards = random.between(1, 4);
    const bool memory = random.chance(0.6);
    for (int i = 0; i < cards; ++i) {
        CardState state;
        state.card.index = i;
        state.card.memory_mib = memory ? (random.chance(0.3) ? 4000 : 1600) : 0;
        state.card.healthy = !random.chance(0.05);
        if (random.chance(0.5)) state.used_percent = random.between(1, 10) * 10;
        state.used_memory_mib = state.card.memory_mib * state.used_percent / 100;
        if (state.used_percent > 0 && random.chance(0.2)) state.used_memory_mib /= 2;
        test.cards.push_back(state);
    }
    const int containers = random.between(1, 5);
    const double init = random.chance(0.5) ? 0.4 : 0.0;
    const double whole = random.chance(0.5) ? 0.3 : 0.05;
    bool apps = false;
    for (int i = 0; i < containers; ++i) {
        ContainerRequest c;
        c.name = "c" + std::to_string(i);
        apps = apps || i + 1 == containers || !random.chance(init * 2);
        if (!apps) c.kind = random.chance(0.6) ? ContainerKind::kInit : ContainerKind::kSidecar;
        c.whole = random.chance(whole);
        c.percent = c.whole ? 100 : random.between(1, 9) * 10 + (random.chance(0.2) ? 5 : 0);
        if (c.whole) c.cards = random.between(1, std::min(cards, 3));
        if (c.whole && random.chance(0.5)) c.resource = kResourceWhole;
        if (memory && random.chance(0.2)) c.memory_mib = random.between(1, 18) * 100;
        test.request.containers.push_back(c);
    }
    return test;
}

std::string describe(const Case& test) {
    std::string text = "cards:";
    for (const CardState& s : test.cards) {
        text += " " + std::to_string(s.used_percent) + "%/" + std::to_string(s.used_memory_mib) +
                "of" + std::to_string(s.card.memory_mib) + (s.card.healthy ? "" : "sick");
    }
    text += " pod:";
    for (const ContainerRequest& c : test.request.containers) {
        text += std::string(" ") + "isa"[static_cast<int>(c.kind)] +
                (c.resource == kResourceWhole ? "g" : "p") + std::to_string(c.percent) + "x" +
                std::to_string(c.cards) +
                (c.memory_mib > 0 ? "m" + std::to_string(c.memory_mib) : "");
    }
    return text;
}

TEST(PlannerProperty, FeasibleExactlyWhenBruteForceFindsAWay) {
    EG_TRACE_SEED();
    Random random(replay_seed());
    int feasible = 0;
    int permanent = 0;
    for (int round = 0; round < 20000; ++round) {
        const Case test = random_case(random);
        SCOPED_TRACE(describe(test));
        const Policy& policy = policies()[random.below(policies().size())];
        const PlanResult result = plan(test.cards, test.request, policy, {1, random(), 3});
        const auto* placement = std::get_if<Placement>(&result);
        ASSERT_EQ(placement != nullptr, brute_force(test));
        if (placement == nullptr) {
            Case emptied = test;
            for (CardState& s : emptied.cards) s.used_percent = 0, s.used_memory_mib = 0;
            ASSERT_EQ(std::get<Misfit>(result).permanent, !brute_force(emptied));
            permanent += std::get<Misfit>(result).permanent;
            continue;
        }
        ++feasible;
        Assignment where;
        for (const auto& container : placement->containers) {
            where.emplace_back();
            for (const CardShare& card : container.cards) where.back().push_back(card.index);
        }
        std::vector<int> held;
        ASSERT_TRUE(Kubelet(test).admits(where, held));
        // What we account is what the kubelet's IDs say, card by card.
        std::vector<Card> cards;
        for (const CardState& s : test.cards) cards.push_back(s.card);
        const auto use = use_of(cards, test.request, *placement);
        ASSERT_TRUE(use.ok()) << use.error().message;
        for (std::size_t i = 0; i < cards.size(); ++i) {
            ASSERT_EQ((*use)[i].used_percent, held[i]);
            ASSERT_LE(held[i] + test.cards[i].used_percent, 100);
            if (cards[i].memory_mib == 0) continue;
            ASSERT_LE(
                (*use)[i].used_memory_mib + test.cards[i].used_memory_mib, cards[i].memory_mib
            );
        }
        // And the kubelet's own sum is never above what the cards are held for.
        int sum = 0;
        for (const int units : held) sum += units;
        ASSERT_GE(sum, total_units(demands_of(test.request)));
    }
    EXPECT_GT(feasible, 2000);  // the cases are worth something
    EXPECT_GT(permanent, 500);
}

// Shares only, many containers: the search must stay exact and fast beyond what best-fit finds.
TEST(PlannerProperty, PerfectPackingsAreFound) {
    EG_TRACE_SEED();
    Random random(replay_seed() + 1);
    int found = 0;
    constexpr int kRounds = 300;
    for (int round = 0; round < kRounds; ++round) {
        Case test;
        for (int i = 0; i < 4; ++i) {
            test.cards.push_back({});
            test.cards.back().card.index = i;
            int left = 100;  // cut the card into pieces that fill it exactly
            while (left > 0) {
                ContainerRequest c;
                c.percent = std::min(left, random.between(15, 60));
                c.name = "c" + std::to_string(test.request.containers.size());
                c.whole = c.percent == 100;
                left -= c.percent;
                test.request.containers.push_back(c);
            }
        }
        const PlanResult result = plan(test.cards, test.request, default_policy());
        found += std::holds_alternative<Placement>(result);
        if (const auto* misfit = std::get_if<Misfit>(&result)) {
            EXPECT_FALSE(misfit->permanent);
        }
    }
    EXPECT_GT(found, kRounds * 9 / 10);
}

}  // namespace
}  // namespace egpu::core
