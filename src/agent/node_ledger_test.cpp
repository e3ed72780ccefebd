#include "agent/node_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/topology.h"

namespace egpu::agent {
namespace {

using core::ContainerKind;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<core::Card> make_cards(int count) {
    std::vector<core::Card> cards;
    for (int i = 0; i < count; ++i) {
        cards.push_back({"GPU-" + std::to_string(i), i, "Tesla T4", 15360, -1, true});
    }
    return cards;
}

std::vector<std::string> units(int card, int from, int count) {
    std::vector<std::string> ids;
    for (int i = from; i < from + count; ++i)
        ids.push_back(unit_id("GPU-" + std::to_string(card), i));
    return ids;
}

std::vector<std::string> join(std::vector<std::string> a, const std::vector<std::string>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

Candidate candidate(
    std::string uid,
    std::string container,
    std::vector<core::CardShare> cards,
    ContainerKind kind = ContainerKind::kApp
) {
    return {{uid, "default", "pod-" + uid, std::move(container), kind, false}, std::move(cards)};
}

core::CardShare share(int card, int percent) {
    return {"GPU-" + std::to_string(card), card, percent, 0};
}

// Drives the ledger as a kubelet does: asks for a preference, then allocates what it was told.
class Ledger : public testing::Test {
  protected:
    Ledger() { ledger.set_cards(make_cards(4)); }

    Result<Record> allocate(
        int size,
        std::vector<Candidate> candidates = {},
        Resource resource = Resource::kPercent,
        std::vector<std::string> must = {}
    ) {
        std::vector<std::string> available = must;
        for (const DeviceState& device : ledger.devices(resource)) {
            const std::vector<std::string> one{device.id};
            if (device.healthy && ledger.overlapping(resource, one).empty())
                available.push_back(device.id);
        }
        const auto ids = ledger.prefer(resource, available, must, size, candidates);
        return ledger.admit(resource, ids, next_token(), 1, {});
    }
    std::string next_token() { return "t" + std::to_string(++tokens_); }
    int percent(int card) { return ledger.usage().at(static_cast<std::size_t>(card)).percent; }
    int healthy(Resource resource) {
        int count = 0;
        for (const DeviceState& device : ledger.devices(resource)) count += device.healthy ? 1 : 0;
        return count;
    }

    NodeLedger ledger;

  private:
    int tokens_ = 0;
};

TEST_F(Ledger, PrefersUnitsOfThePlannedCard) {
    const auto record = allocate(20, {candidate("u1", "main", {share(2, 20)})});
    ASSERT_TRUE(record) << record.error().message;
    EXPECT_EQ(record->cards, std::vector{share(2, 20)});
    EXPECT_FALSE(record->overridden());
    EXPECT_EQ(record->holder.pod_uid, "u1");
    EXPECT_EQ(record->holder.container, "main");
    EXPECT_EQ(percent(2), 20);
}

TEST_F(Ledger, WithoutAPlanFitsBest) {
    ASSERT_TRUE(allocate(50, {candidate("u1", "c", {share(1, 50)})}));
    ASSERT_TRUE(allocate(70, {candidate("u2", "c", {share(3, 70)})}));
    const auto record = allocate(30);
    ASSERT_TRUE(record);
    EXPECT_EQ(record->cards, std::vector{share(3, 30)});
}

TEST_F(Ledger, TakesTheCandidateWhosePlanCanBeKept) {
    ASSERT_TRUE(allocate(90, {candidate("u0", "c", {share(0, 90)})}));
    const auto record =
        allocate(20, {candidate("u1", "c", {share(0, 20)}), candidate("u2", "c", {share(1, 20)})});
    ASSERT_TRUE(record);
    EXPECT_EQ(record->holder.pod_uid, "u2");
    EXPECT_EQ(record->cards, std::vector{share(1, 20)});
}

TEST_F(Ledger, FollowsIdsThatNameOneCardWithRoom) {
    const auto ids = units(3, 10, 40);
    const auto record = ledger.admit(Resource::kPercent, ids, "t", 1, {});
    ASSERT_TRUE(record);
    EXPECT_EQ(record->cards, std::vector{share(3, 40)});
}

TEST_F(Ledger, ScatteredIdsGoToThePlannedCard) {
    const std::vector<Candidate> candidates{candidate("u1", "c", {share(1, 40)})};
    const auto ids = join(units(2, 0, 30), units(3, 0, 10));
    ledger.prefer(Resource::kPercent, ids, {}, 40, candidates);
    const auto record = ledger.admit(Resource::kPercent, ids, "t", 1, {});
    ASSERT_TRUE(record);
    EXPECT_EQ(record->cards, std::vector{share(1, 40)});
    EXPECT_TRUE(record->overridden());
    EXPECT_EQ(percent(1), 40);
    EXPECT_EQ(percent(2), 0);
}

TEST_F(Ledger, WholeCardsByPercentAndByCount) {
    const auto two = allocate(200, {candidate("u1", "c", {share(1, 100), share(3, 100)})});
    ASSERT_TRUE(two);
    EXPECT_EQ(two->cards, (std::vector{share(1, 100), share(3, 100)}));
    EXPECT_FALSE(two->overridden());
    const auto one = allocate(1, {candidate("u2", "c", {share(2, 100)})}, Resource::kWhole);
    ASSERT_TRUE(one);
    EXPECT_EQ(one->cards, std::vector{share(2, 100)});
    const auto refused =
        ledger.admit(Resource::kPercent, join(units(0, 0, 100), units(2, 0, 100)), "x", 1, {});
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, HasSubstr("2 free cards are needed, 1 of 4 is free"));
}

TEST_F(Ledger, OddSizesAreRefused) {
    const auto record =
        ledger.admit(Resource::kPercent, join(units(0, 0, 100), units(1, 0, 50)), "t", 1, {});
    ASSERT_FALSE(record);
    EXPECT_EQ(record.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(record.error().message, HasSubstr("150 is neither 1..100 nor a multiple of 100"));
    EXPECT_THAT(ledger.records(), IsEmpty());
}

TEST_F(Ledger, UnknownDevicesAreRefused) {
    for (const std::string id : {"GPU-9::0", "nano-0-07", "GPU-0::100", "GPU-0", "::1", ""}) {
        const std::vector<std::string> ids{id};
        const auto record = ledger.admit(Resource::kPercent, ids, "t", 1, {});
        ASSERT_FALSE(record) << id;
        EXPECT_EQ(record.error().code, ErrorCode::kInvalid);
    }
}

TEST_F(Ledger, RefusalSaysWhatIsFree) {
    for (int card = 0; card < 4; ++card) {
        ASSERT_TRUE(allocate(60 + card, {candidate("u" + std::to_string(card), "c", {})}));
    }
    const auto refused = allocate(50);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kExhausted);
    EXPECT_EQ(
        refused.error().message,
        "nano-gpu/gpu-percent: no card has 50 percent free (the most is 40 percent, on card 0)"
    );
}

TEST_F(Ledger, DoubleHandOutIsMovedToARoomyCard) {
    const auto ids = units(0, 0, 60);
    ASSERT_TRUE(ledger.admit(Resource::kPercent, ids, "a", 1, {}));
    ASSERT_TRUE(ledger.confirm("a", {"u1", "ns", "p1", "c", ContainerKind::kApp, true}));
    // The kubelet says these are free, and hands them out again.
    ledger.prefer(Resource::kPercent, ids, {}, 60, {});
    const auto second = ledger.admit(Resource::kPercent, ids, "b", 1, {});
    ASSERT_TRUE(second);
    EXPECT_NE(second->cards.front().uuid, "GPU-0");
    EXPECT_TRUE(second->overridden());
    EXPECT_EQ(percent(0), 60);
    EXPECT_THAT(ledger.violations(), IsEmpty());
}

TEST_F(Ledger, DoubleHandOutWithinOnePodCountsTwice) {
    const auto ids = units(0, 0, 60);
    ledger.prefer(
        Resource::kPercent, ids, {}, 60, std::vector{candidate("u1", "a", {share(0, 60)})}
    );
    ASSERT_TRUE(ledger.admit(Resource::kPercent, ids, "a", 1, {}));
    ledger.prefer(
        Resource::kPercent, ids, {}, 60, std::vector{candidate("u1", "b", {share(0, 60)})}
    );
    const auto second = ledger.admit(Resource::kPercent, ids, "b", 1, {});
    ASSERT_TRUE(second);
    EXPECT_NE(second->cards.front().uuid, "GPU-0");
    EXPECT_THAT(ledger.violations(), IsEmpty());
}

TEST_F(Ledger, AppReusesItsInitContainersCardAndAddsNothing) {
    const auto init = allocate(40, {candidate("u1", "init", {share(2, 40)}, ContainerKind::kInit)});
    ASSERT_TRUE(init);
    // Re-use: no preference is asked for.
    const std::vector<std::string> half(init->ids.begin(), init->ids.begin() + 20);
    const std::vector<Candidate> containers{
        candidate("u1", "init", {share(2, 40)}, ContainerKind::kInit),
        candidate("u1", "a", {share(2, 20)}),
        candidate("u1", "b", {share(2, 20)})};
    const auto a = ledger.admit(Resource::kPercent, half, "a", 1, containers);
    ASSERT_TRUE(a);
    EXPECT_EQ(a->holder.container, "a");
    EXPECT_EQ(a->cards, std::vector{share(2, 20)});
    const std::vector<std::string> rest(init->ids.begin() + 20, init->ids.end());
    const auto b = ledger.admit(Resource::kPercent, rest, "b", 1, containers);
    ASSERT_TRUE(b);
    EXPECT_EQ(b->holder.container, "b");
    EXPECT_EQ(percent(2), 40);
    // Partly new: only the new part adds.
    const auto more =
        allocate(30, {candidate("u1", "c", {share(2, 30)})}, Resource::kPercent, half);
    ASSERT_TRUE(more);
    EXPECT_EQ(more->cards, std::vector{share(2, 30)});
}

TEST_F(Ledger, ReuseFollowsTheRealCardOfAnOverride) {
    ASSERT_TRUE(allocate(80, {candidate("u0", "c", {share(0, 80)})}));
    const auto ids = units(0, 0, 50);
    ledger.prefer(
        Resource::kPercent, ids, {}, 50, std::vector{candidate("u1", "i", {}, ContainerKind::kInit)}
    );
    const auto init = ledger.admit(Resource::kPercent, ids, "i", 1, {});
    ASSERT_TRUE(init);
    ASSERT_TRUE(init->overridden());
    const auto app =
        ledger.admit(Resource::kPercent, ids, "a", 1, std::vector{candidate("u1", "a", {})});
    ASSERT_TRUE(app);
    EXPECT_EQ(app->cards.front().uuid, init->cards.front().uuid);
    EXPECT_EQ(percent(app->cards.front().index), 50);
    EXPECT_EQ(percent(0), 80);
}

TEST_F(Ledger, TwoAppsThatReuseWholeCardsGetOneEach) {
    const auto init = allocate(200, {candidate("u1", "i", {}, ContainerKind::kInit)});
    ASSERT_TRUE(init);
    const std::vector<Candidate> containers{candidate("u1", "a", {}), candidate("u1", "b", {})};
    std::vector<std::string> mixed;
    std::vector<std::string> rest;
    for (std::size_t i = 0; i < init->ids.size(); ++i) {
        (i % 2 == 0 ? mixed : rest).push_back(init->ids[i]);
    }
    const auto a = ledger.admit(Resource::kPercent, mixed, "a", 1, containers);
    const auto b = ledger.admit(Resource::kPercent, rest, "b", 1, containers);
    ASSERT_TRUE(a);
    ASSERT_TRUE(b);
    EXPECT_NE(a->cards.front().uuid, b->cards.front().uuid);
    EXPECT_TRUE(init->on_card(a->cards.front().uuid));
    EXPECT_TRUE(init->on_card(b->cards.front().uuid));
    EXPECT_THAT(ledger.violations(), IsEmpty());
}

TEST_F(Ledger, SidecarsIdsAddUp) {
    ASSERT_TRUE(allocate(60, {candidate("u1", "side", {share(0, 60)}, ContainerKind::kSidecar)}));
    const auto app = allocate(60, {candidate("u1", "app", {share(0, 60)})});
    ASSERT_TRUE(app);
    EXPECT_NE(app->cards.front().uuid, "GPU-0");
}

TEST_F(Ledger, ResourcesWithdrawEachOthersCards) {
    EXPECT_EQ(healthy(Resource::kWhole), 4);
    EXPECT_EQ(healthy(Resource::kPercent), 400);
    const auto small = allocate(20, {candidate("u1", "c", {share(1, 20)})});
    ASSERT_TRUE(small);
    EXPECT_EQ(healthy(Resource::kWhole), 3);
    EXPECT_EQ(healthy(Resource::kPercent), 400);
    const auto whole = allocate(1, {}, Resource::kWhole);
    ASSERT_TRUE(whole);
    EXPECT_EQ(whole->cards.front().uuid, "GPU-0");
    EXPECT_EQ(healthy(Resource::kPercent), 300);
    EXPECT_EQ(healthy(Resource::kWhole), 3);  // the held one stays healthy
    ASSERT_TRUE(ledger.release(whole->token));
    ASSERT_TRUE(ledger.release(small->token));
    EXPECT_EQ(healthy(Resource::kWhole), 4);
    EXPECT_EQ(healthy(Resource::kPercent), 400);
}

TEST_F(Ledger, WholeAllocateRefusesWhatSlipsThrough) {
    for (int card = 0; card < 4; ++card) {
        ASSERT_TRUE(ledger.admit(Resource::kPercent, units(card, 0, 10), next_token(), 1, {}));
    }
    const std::vector<std::string> ids{"GPU-1"};
    const auto refused = ledger.admit(Resource::kWhole, ids, "w", 1, {});
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, HasSubstr("1 free card is needed, 0 of 4 are free"));
}

TEST_F(Ledger, SickCardsTakeNothingNewAndKeepWhatTheyHold) {
    const auto held = allocate(20, {candidate("u1", "c", {share(0, 20)})});
    ASSERT_TRUE(held);
    auto cards = make_cards(4);
    cards[0].healthy = false;
    ledger.set_cards(cards);
    EXPECT_EQ(healthy(Resource::kPercent), 300);
    EXPECT_EQ(percent(0), 20);
    const auto moved = ledger.admit(Resource::kPercent, units(0, 50, 20), "t", 1, {});
    ASSERT_TRUE(moved);
    EXPECT_NE(moved->cards.front().uuid, "GPU-0");
    ledger.set_cards(make_cards(4));
    EXPECT_EQ(healthy(Resource::kPercent), 400);
}

TEST_F(Ledger, ProvisionalCardsOfferOnlyWhatIsHeld) {
    ASSERT_TRUE(allocate(20, {candidate("u1", "c", {share(0, 20)})}));
    ledger.set_cards(make_cards(4), true);
    EXPECT_EQ(healthy(Resource::kPercent), 20);
    EXPECT_EQ(healthy(Resource::kWhole), 0);
    const auto refused = ledger.admit(Resource::kPercent, units(1, 0, 20), "t", 1, {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
}

TEST_F(Ledger, AConfirmedNameReachesTheWholeChain) {
    const auto ids = units(0, 0, 30);
    ASSERT_TRUE(ledger.admit(Resource::kPercent, ids, "i", 1, {}));
    ASSERT_TRUE(ledger.admit(Resource::kPercent, ids, "a", 1, {}));
    EXPECT_EQ(percent(0), 30);  // linked by re-use
    ASSERT_TRUE(ledger.confirm("i", {"u1", "ns", "p", "init", ContainerKind::kInit, true}));
    EXPECT_EQ(ledger.find("a")->holder.pod_uid, "u1");
    EXPECT_EQ(ledger.find("a")->group, "u1");
    EXPECT_FALSE(ledger.confirm("i", {"u1", "ns", "p", "init", ContainerKind::kInit, true}));
    EXPECT_FALSE(ledger.confirm("nobody", {}));
    EXPECT_EQ(percent(0), 30);
}

TEST_F(Ledger, WithIdsFindsTheNewestFirst) {
    const auto ids = units(0, 0, 30);
    ASSERT_TRUE(ledger.restore({"a", Resource::kPercent, ids, {share(0, 30)}, "", {}, 1}));
    ASSERT_TRUE(ledger.restore({"b", Resource::kPercent, ids, {share(0, 30)}, "", {}, 2}));
    EXPECT_FALSE(ledger.restore({"b", Resource::kPercent, ids, {share(0, 30)}, "", {}, 2}));
    const auto found = ledger.with_ids(Resource::kPercent, std::vector(ids.rbegin(), ids.rend()));
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(found[0]->token, "b");
    EXPECT_TRUE(ledger.with_ids(Resource::kWhole, ids).empty());
}

TEST_F(Ledger, PreferIsTotal) {
    const auto all = units(0, 0, 100);
    EXPECT_THAT(ledger.prefer(Resource::kPercent, {}, {}, 20, {}), IsEmpty());
    EXPECT_THAT(ledger.prefer(Resource::kPercent, all, {}, 0, {}), IsEmpty());
    EXPECT_THAT(ledger.prefer(Resource::kPercent, all, {}, -5, {}), IsEmpty());
    EXPECT_EQ(ledger.prefer(Resource::kPercent, all, {}, 150, {}).size(), 100U);
    const std::vector<std::string> odd{"x", "x", "GPU-7::3", "GPU-0::1"};
    EXPECT_THAT(ledger.prefer(Resource::kPercent, odd, {}, 1, {}), ElementsAre("GPU-0::1"));
}

TEST_F(Ledger, NumaKeepsWholeCardsTogether) {
    auto cards = make_cards(4);
    for (auto& card : cards) card.numa = card.index % 2;
    ledger.set_cards(cards);
    const auto two = allocate(2, {}, Resource::kWhole);
    ASSERT_TRUE(two);
    EXPECT_EQ(two->cards[0].index % 2, two->cards[1].index % 2);
}

std::vector<int> indexes(const Result<Record>& record) {
    std::vector<int> out;
    if (record) {
        for (const core::CardShare& share : record->cards) out.push_back(share.index);
    }
    return out;
}

TEST_F(Ledger, WholeCardsAreThoseWithLinks) {
    auto cards = make_cards(8);
    const std::pair<int, int> pairs[] = {{0, 5}, {1, 4}, {2, 7}, {3, 6}};
    for (const auto& [a, b] : pairs) {
        core::set_link(cards[a], cards[b], core::make_link(core::PciePath::kSwitch, 4));
    }
    ledger.set_cards(cards);
    EXPECT_THAT(indexes(allocate(1, {}, Resource::kWhole)), ElementsAre(0));
    EXPECT_THAT(indexes(allocate(2, {}, Resource::kWhole)), ElementsAre(1, 4));
    // Its other card would break no pair.
    EXPECT_THAT(indexes(allocate(1, {}, Resource::kWhole)), ElementsAre(5));
    EXPECT_THAT(indexes(allocate(200)), ElementsAre(2, 7));
    // What the kubelet insists on comes first, then what is close to it.
    std::vector<std::string> offered;
    for (const int card : {3, 6}) offered.push_back(cards[card].uuid);
    const std::vector<std::string> must{cards[6].uuid};
    EXPECT_THAT(
        ledger.prefer(Resource::kWhole, offered, must, 2, {}),
        ElementsAre(cards[6].uuid, cards[3].uuid)
    );
}

}  // namespace
}  // namespace egpu::agent
