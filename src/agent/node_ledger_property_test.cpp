// Random sequences of what kubelets do, their double hand-outs and init re-use included, against a
// model that knows which container really runs where. EDGE_GPU_SEED replays a failure.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "agent/node_ledger.h"
#include "base/random.h"

namespace egpu::agent {
namespace {

using core::ContainerKind;

std::uint64_t base_seed() {
    const char* text = std::getenv("EDGE_GPU_SEED");
    return text != nullptr ? std::strtoull(text, nullptr, 10) : 20'260'101;
}

// A kubelet without the plugin protocol: hands out IDs, sometimes twice, re-uses init containers'
// IDs.
class Model {
  public:
    Model(std::uint64_t seed, int cards) : random_(seed) {
        for (int i = 0; i < cards; ++i) {
            cards_.push_back({"GPU-" + std::to_string(i), i, "T4", 15360, i / 2, true});
        }
        ledger_.set_cards(cards_);
    }

    void step() {
        const int dice = random_.between(0, 99);
        if (dice < 55) {
            add_pod();
        } else if (dice < 85 && !pods_.empty()) {
            remove_pod();
        } else if (dice < 92) {
            flip_health();
        } else {
            names_come_late();
        }
        check();
    }

    void drain() {
        while (!pods_.empty()) remove_pod();
        for (const Resource resource : {Resource::kPercent, Resource::kWhole}) {
            EXPECT_TRUE(in_use_[resource].empty());
        }
        EXPECT_TRUE(ledger_.records().empty());
        for (const CardUse& use : ledger_.usage()) EXPECT_EQ(use.percent, 0);
    }

    int admitted = 0;
    int refused = 0;
    int overridden = 0;

  private:
    struct Container {
        std::string token;
        ContainerKind kind;
        Resource resource;
        std::vector<std::string> ids;
        std::vector<core::CardShare> cards;
    };
    struct Pod {
        std::string uid;
        std::vector<Container> containers;
    };

    std::vector<std::string> free_ids(Resource resource) {
        const bool race = random_.chance(0.15);
        std::vector<std::string> ids;
        for (const DeviceState& device : ledger_.devices(resource)) {
            if (!device.healthy) continue;
            const bool used = in_use_[resource].contains(device.id);
            if (!used || (race && random_.chance(0.5))) ids.push_back(device.id);
        }
        return ids;
    }

    int random_size(Resource resource) {
        if (resource == Resource::kWhole) return random_.between(1, 2);
        return random_.chance(0.2) ? 100 * random_.between(1, 2) : random_.between(1, 99);
    }

    // What the kubelet does for one container; false: the pod fails.
    bool admit(
        Pod& pod,
        std::map<Resource, std::set<std::string>>& reusable,
        const std::string& name,
        ContainerKind kind,
        Resource resource,
        int size
    ) {
        std::vector<std::string> must;
        for (const std::string& id : reusable[resource]) {
            if (static_cast<int>(must.size()) < size) must.push_back(id);
        }
        std::vector<Candidate> candidates;
        const Holder holder{pod.uid, "ns", pod.uid, name, kind, false};
        if (random_.chance(0.7)) {
            Candidate candidate{holder, {}};
            const int index = random_.between(0, static_cast<int>(cards_.size()) - 1);
            candidate.cards.push_back(
                {"GPU-" + std::to_string(index), index, std::min(size, 100), 0}
            );
            candidates.push_back(candidate);
        }
        std::vector<std::string> ids = must;
        if (static_cast<int>(must.size()) < size) {
            std::vector<std::string> offered = free_ids(resource);
            offered.insert(offered.end(), must.begin(), must.end());
            if (static_cast<int>(as_id_set(offered).size()) < size) return false;
            ids = ledger_.prefer(resource, offered, must, size, candidates);
            EXPECT_EQ(static_cast<int>(ids.size()), size);
            EXPECT_EQ(as_id_set(ids).size(), ids.size());
            const auto set = as_id_set(offered);
            for (const auto& id : ids) EXPECT_TRUE(std::binary_search(set.begin(), set.end(), id));
            for (const auto& id : must) EXPECT_NE(std::find(ids.begin(), ids.end(), id), ids.end());
            if (random_.chance(0.1)) {  // a kubelet that does not follow
                ids = must;
                std::shuffle(offered.begin(), offered.end(), random_);
                for (const auto& id : offered) {
                    if (static_cast<int>(ids.size()) < size &&
                        std::find(ids.begin(), ids.end(), id) == ids.end()) {
                        ids.push_back(id);
                    }
                }
            }
        }
        const std::string token = "t" + std::to_string(++tokens_);
        const auto record = ledger_.admit(resource, ids, token, tokens_, candidates);
        if (!record) {
            ++refused;
            return false;
        }
        ++admitted;
        if (record->overridden()) ++overridden;
        EXPECT_EQ(
            static_cast<int>(record->cards.size()),
            std::max(1, resource == Resource::kWhole ? size : size / 100)
        );
        pod.containers.push_back({token, kind, resource, record->ids, record->cards});
        in_use_[resource].insert(ids.begin(), ids.end());
        if (record->holder.container != name || record->holder.pod_uid != pod.uid ||
            random_.chance(0.8)) {
            Holder confirmed = holder;
            confirmed.confirmed = true;
            ledger_.confirm(token, confirmed);
        }
        for (const std::string& id : ids) {
            if (kind == ContainerKind::kInit) {
                reusable[resource].insert(id);
            } else {
                reusable[resource].erase(id);
            }
        }
        return true;
    }

    void add_pod() {
        Pod pod;
        pod.uid = "u" + std::to_string(++uids_);
        std::map<Resource, std::set<std::string>> reusable;
        bool ok = true;
        const int inits = random_.chance(0.35) ? random_.between(1, 2) : 0;
        const int apps = random_.between(1, 3);
        for (int i = 0; ok && i < inits + apps; ++i) {
            const ContainerKind kind = i >= inits             ? ContainerKind::kApp
                                       : random_.chance(0.25) ? ContainerKind::kSidecar
                                                              : ContainerKind::kInit;
            const Resource resource = random_.chance(0.2) ? Resource::kWhole : Resource::kPercent;
            ok = admit(
                pod, reusable, "c" + std::to_string(i), kind, resource, random_size(resource)
            );
        }
        pods_.push_back(std::move(pod));
        if (!ok) {
            // The kubelet frees what the pod had; the agent releases on the same evidence.
            std::swap(pods_.back(), pods_[random_.below(pods_.size())]);
            const auto failed = std::find_if(pods_.begin(), pods_.end(), [&](const Pod& p) {
                return p.uid == "u" + std::to_string(uids_);
            });
            drop(static_cast<std::size_t>(failed - pods_.begin()));
        }
    }

    void remove_pod() { drop(random_.below(pods_.size())); }

    void drop(std::size_t at) {
        const Pod pod = pods_[at];
        pods_.erase(pods_.begin() + static_cast<std::ptrdiff_t>(at));
        for (const Container& c : pod.containers) EXPECT_TRUE(ledger_.release(c.token));
        in_use_.clear();
        for (const Pod& other : pods_) {
            for (const Container& c : other.containers) {
                in_use_[c.resource].insert(c.ids.begin(), c.ids.end());
            }
        }
    }

    void flip_health() {
        core::Card& card = cards_[random_.below(cards_.size())];
        card.healthy = !card.healthy;
        ledger_.set_cards(cards_);
    }

    void names_come_late() {
        for (const Pod& pod : pods_) {
            int i = 0;
            for (const Container& c : pod.containers) {
                ledger_.confirm(
                    c.token, {pod.uid, "ns", pod.uid, "c" + std::to_string(i++), c.kind, true}
                );
            }
        }
    }

    // What really runs on each card: all apps and sidecars of a pod at once, or one init container
    // beside the sidecars that were started before it.
    void check() {
        for (const core::Card& card : cards_) {
            int total = 0;
            int pods_on = 0;
            bool whole = false;
            for (const Pod& pod : pods_) {
                int running = 0;
                int peak = 0;
                for (const Container& c : pod.containers) {
                    for (const core::CardShare& share : c.cards) {
                        if (share.uuid != card.uuid) continue;
                        peak = std::max(peak, running + share.percent);
                        if (c.kind != ContainerKind::kInit) running += share.percent;
                        whole = whole || share.percent == 100;
                    }
                }
                peak = std::max(peak, running);
                total += peak;
                pods_on += peak > 0 ? 1 : 0;
            }
            ASSERT_LE(total, 100) << "card " << card.index;
            if (whole) {
                ASSERT_EQ(pods_on, 1) << "card " << card.index << " is held whole and shared";
            }
        }
        const auto violations = ledger_.violations();
        ASSERT_TRUE(violations.empty()) << violations.front();
    }

    Random random_;
    std::vector<core::Card> cards_;
    NodeLedger ledger_;
    std::vector<Pod> pods_;
    std::map<Resource, std::set<std::string>> in_use_;
    int tokens_ = 0;
    int uids_ = 0;
};

TEST(NodeLedgerProperty, NoCardAboveHundredAndNothingLeaked) {
    const std::uint64_t seed = base_seed();
    int admitted = 0;
    int refused = 0;
    int overridden = 0;
    for (std::uint64_t round = 0; round < 60; ++round) {
        SCOPED_TRACE("EDGE_GPU_SEED=" + std::to_string(seed) + " round " + std::to_string(round));
        Model model(seed + round, 1 + static_cast<int>(round % 6));
        for (int i = 0; i < 120; ++i) {
            model.step();
            if (testing::Test::HasFailure()) return;
        }
        model.drain();
        admitted += model.admitted;
        refused += model.refused;
        overridden += model.overridden;
    }
    // The sequences must exercise all outcomes, or the test proves nothing.
    EXPECT_GT(admitted, 1000);
    EXPECT_GT(refused, 20);
    EXPECT_GT(overridden, 20);
}

}  // namespace
}  // namespace egpu::agent
