#include "core/ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace egpu::core {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

NodeInventory t4s(int count, std::string_view prefix = "GPU-") {
    NodeInventory inventory;
    for (int i = 0; i < count; ++i) {
        inventory.cards.push_back(
            {std::string(prefix) + std::to_string(i), i, "Tesla T4", 16000, -1, true}
        );
    }
    return inventory;
}

PodRequest share(int percent, std::int64_t memory_mib = 0) {
    ContainerRequest container;
    container.name = "main";
    container.percent = percent;
    container.whole = percent == 100;
    container.memory_mib = memory_mib;
    PodRequest request;
    request.containers.push_back(container);
    return request;
}

PodRequest gpus(int count) {
    PodRequest request = share(100);
    request.containers[0].cards = count;
    request.containers[0].resource = kResourceWhole;
    return request;
}

Placement on(std::vector<CardShare> cards) {
    return {{{"main", std::move(cards)}}};
}

BoundPod bound(
    std::string uid, std::string node, PodRequest request, std::optional<Placement> placement = {}
) {
    const std::string name = "pod-" + uid;
    return {
        {std::move(uid), "default", name},
        std::move(node),
        std::move(request),
        std::move(placement)};
}

std::vector<int> used(const Ledger& ledger, std::string_view node) {
    std::vector<int> out;
    const auto info = ledger.node(node);
    if (info) {
        for (const CardInfo& card : info->cards) out.push_back(card.used_percent);
    }
    return out;
}

class LedgerTest : public testing::Test {
  protected:
    ~LedgerTest() override { EXPECT_THAT(ledger.check_invariants(), IsEmpty()); }

    std::string why(std::string_view node, const PodRequest& request) {
        Query query = ledger.query(request);
        const Verdict verdict = ledger.fits(node, query);
        if (verdict.fits) return "fits";
        return (verdict.permanent ? "!" : "") + std::string(verdict.reason);
    }

    Result<Placement> reserve(std::string uid, std::string_view node, const PodRequest& request) {
        return ledger.reserve({uid, "default", "pod-" + uid}, node, request, now, Seconds(30));
    }

    Ledger ledger;
    TimePoint now{};
};

using Ints = std::vector<int>;

TEST_F(LedgerTest, AccountsPlacedPodsInAnyOrder) {
    ledger.upsert_pod(bound("a", "n", share(30), on({{"GPU-1", 1, 30, 0}})));
    EXPECT_EQ(ledger.node_count(), 0u);
    EXPECT_EQ(why("n", share(1)), "!the node is not known to the GPU scheduler");
    ledger.upsert_node("n", t4s(2));
    EXPECT_EQ(used(ledger, "n"), (Ints{0, 30}));
    ledger.upsert_pod(bound("a", "n", share(30), on({{"GPU-1", 1, 30, 0}})));  // again
    ledger.upsert_pod(bound("b", "n", share(50), on({{"", 1, 50, 0}})));       // nano-gpu: an index
    EXPECT_EQ(used(ledger, "n"), (Ints{0, 80}));
    EXPECT_EQ(ledger.pod_count(), 2u);
    EXPECT_TRUE(ledger.remove_pod("a"));
    EXPECT_FALSE(ledger.remove_pod("a"));
    EXPECT_EQ(used(ledger, "n"), (Ints{0, 50}));
    EXPECT_TRUE(ledger.remove_node("n"));
    EXPECT_FALSE(ledger.remove_node("n"));
    EXPECT_EQ(ledger.node_names(), (std::vector<std::string>{"n"}));  // a pod is still bound to it
    EXPECT_TRUE(ledger.remove_pod("b"));
    EXPECT_THAT(ledger.node_names(), IsEmpty());
}

TEST_F(LedgerTest, AGuessedNodeIsTheOneOfThatName) {
    ledger.upsert_node("first", {});
    ledger.upsert_node("second", {});
    const NodeId second = *ledger.find_node("second");
    EXPECT_EQ(ledger.find_node("second", second), second);
    EXPECT_EQ(ledger.find_node("first", second), ledger.find_node("first"));
    EXPECT_EQ(ledger.find_node("first", 1000), ledger.find_node("first"));
    EXPECT_EQ(ledger.find_node("", second), std::nullopt);
    EXPECT_TRUE(ledger.remove_node("second"));
    EXPECT_EQ(ledger.find_node("second", second), std::nullopt);
    ledger.upsert_node("third", {});  // takes the free number
    EXPECT_EQ(ledger.find_node("second", second), std::nullopt);
    EXPECT_EQ(ledger.find_node("third", second), second);
}

TEST_F(LedgerTest, HoldersFollowTheUuid) {
    ledger.upsert_node("n", t4s(2));
    ledger.upsert_pod(bound("a", "n", share(30), on({{"GPU-1", 1, 30, 0}})));
    NodeInventory swapped = t4s(2);
    std::swap(swapped.cards[0].uuid, swapped.cards[1].uuid);
    ledger.upsert_node("n", swapped);
    EXPECT_EQ(used(ledger, "n"), (Ints{30, 0}));
    // The card falls off the bus: the pod is accounted on what is left, and says so.
    ledger.upsert_node("n", {{swapped.cards[1]}, 0, 0});
    EXPECT_EQ(used(ledger, "n"), (Ints{30}));
    EXPECT_EQ(
        ledger.node("n")->unplaced[0].reason,
        "container main is placed on card GPU-1, which is not on this node"
    );
    ledger.upsert_node("n", t4s(2));
    EXPECT_EQ(used(ledger, "n"), (Ints{0, 30}));
    EXPECT_THAT(ledger.node("n")->unplaced, IsEmpty());
}

TEST_F(LedgerTest, PlacementsAreNotTrusted) {
    ledger.upsert_node("n", t4s(2));
    ledger.upsert_pod(bound("a", "n", share(60), on({{"", 99, 60, 0}})));
    ledger.upsert_pod(bound("b", "n", share(60), on({{"", -1, 60, 0}})));
    ledger.upsert_pod(bound("c", "n", share(20), on({})));
    ledger.upsert_pod(bound("d", "n", share(10), on({{"", 0, 10, 0}, {"", 1, 10, 0}})));
    EXPECT_EQ(used(ledger, "n"), (Ints{90, 60}));  // best-fit, in UID order
    EXPECT_EQ(ledger.totals().unplaced_pods, 4u);
    // A forged percent changes nothing: the request counts.
    ledger.upsert_pod(bound("e", "n", share(30), on({{"", 1, 1, 0}})));
    EXPECT_EQ(used(ledger, "n"), (Ints{80, 100}));
    // Nor can a placement push a card above 100.
    ledger.upsert_pod(bound("f", "n", share(60), on({{"GPU-1", 1, 60, 0}})));
    for (const int percent : used(ledger, "n")) EXPECT_LE(percent, 100);
}

TEST_F(LedgerTest, PodsBoundByOthersAreCountedBestFit) {
    ledger.upsert_node("n", t4s(3));
    ledger.upsert_pod(bound("z", "n", share(40), on({{"GPU-2", 2, 40, 0}})));
    ledger.upsert_pod(bound("a", "n", share(50)));
    EXPECT_EQ(used(ledger, "n"), (Ints{0, 0, 90}));
    ledger.upsert_pod(bound("b", "n", gpus(2)));
    EXPECT_EQ(used(ledger, "n"), (Ints{100, 100, 90}));
    const auto info = ledger.node("n");
    EXPECT_TRUE(info->cards[0].whole);
    EXPECT_TRUE(info->cards[0].holders[0].guessed);
    EXPECT_FALSE(info->cards[2].whole);
    ASSERT_EQ(info->unplaced.size(), 2u);
    EXPECT_EQ(info->unplaced[0].reason, "the pod has no placement");
    // 50 more: the kubelet counts them, 10 percent of them are found, 40 are missing.
    ledger.upsert_pod(bound("c", "n", share(50)));
    EXPECT_EQ(used(ledger, "n"), (Ints{100, 100, 100}));
    EXPECT_EQ(ledger.node("n")->unplaced[2].missing_percent, 40);
    EXPECT_TRUE(ledger.pod("c")->placement.containers.empty());
}

TEST_F(LedgerTest, SyntheticCardsFromAllocatableUnits) {
    ledger.upsert_node("nano", {{}, 450, 0});
    ledger.upsert_node("nvidia", {{}, 0, 2});
    ledger.upsert_node("none", {{}, 0, 0});
    EXPECT_EQ(used(ledger, "nano"), (Ints{0, 0, 0, 0}));
    EXPECT_EQ(used(ledger, "nvidia"), (Ints{0, 0}));
    EXPECT_TRUE(ledger.node("nano")->synthetic);
    EXPECT_EQ(why("none", share(1)), "!the node has no GPU cards");
    const auto placement = reserve("a", "nano", share(20));
    ASSERT_TRUE(placement.ok());
    EXPECT_EQ(placement->containers[0].cards[0], (CardShare{"", 0, 20, 0}));
    // The plugin restarts: no units for a moment. Nothing is forgotten.
    ledger.upsert_node("nano", {{}, 0, 0});
    ledger.upsert_node("nano", {{}, 400, 0});
    EXPECT_EQ(used(ledger, "nano"), (Ints{20, 0, 0, 0}));
    // Our agent arrives with real cards: the index is kept.
    ledger.upsert_node("nano", t4s(4));
    EXPECT_EQ(used(ledger, "nano"), (Ints{20, 0, 0, 0}));
}

TEST_F(LedgerTest, UnhealthyCardsTakeNothingNewAndKeepWhatTheyHold) {
    ledger.upsert_node("n", t4s(2));
    ledger.upsert_pod(bound("a", "n", share(30), on({{"GPU-0", 0, 30, 0}})));
    NodeInventory sick = t4s(2);
    sick.cards[0].healthy = false;
    ledger.upsert_node("n", sick);
    EXPECT_EQ(used(ledger, "n"), (Ints{30, 0}));
    EXPECT_EQ(why("n", share(70)), "fits");
    EXPECT_EQ(
        why("n", gpus(2)), "!asks for 2 cards in one container, the node has 1 that could serve"
    );
    ASSERT_TRUE(reserve("b", "n", share(100)).ok());
    EXPECT_EQ(why("n", share(10)), "no card with 10 percent free");
    sick.cards[1].healthy = false;
    ledger.upsert_node("n", sick);
    EXPECT_EQ(why("n", share(10)), "!no healthy card");
}

TEST_F(LedgerTest, MisfitTexts) {
    ledger.upsert_node("n", t4s(2));
    ledger.upsert_pod(bound("a", "n", share(50), on({{"GPU-0", 0, 50, 0}})));
    ledger.upsert_pod(bound("b", "n", share(45), on({{"GPU-1", 1, 45, 0}})));
    EXPECT_EQ(why("n", share(60)), "no card with 60 percent free");
    EXPECT_EQ(why("n", share(55)), "fits");
    EXPECT_EQ(why("n", share(100)), "no completely free card");
    EXPECT_EQ(why("n", gpus(2)), "2 completely free cards needed, 0 there");
    EXPECT_EQ(why("n", share(10, 9000)), "no card with 10 percent and 9000 MiB free");
    EXPECT_EQ(why("n", share(10, 17000)), "!no card with 17000 MiB of memory");
    PodRequest model = share(10);
    model.models = {"A100"};
    EXPECT_EQ(why("n", model), "!no healthy card of model A100");
    model.models = {"A100", "t4"};
    EXPECT_EQ(why("n", model), "fits");
    EXPECT_EQ(why("other", share(10)), "!the node is not known to the GPU scheduler");
    EXPECT_EQ(why("n", PodRequest{}), "fits");
}

TEST_F(LedgerTest, MemoryCapsAreAccounted) {
    ledger.upsert_node("n", t4s(1));
    ASSERT_TRUE(reserve("a", "n", share(10, 12000)).ok());
    EXPECT_EQ(why("n", share(20)), "fits");  // 3,200 of the 4,000 MiB left
    EXPECT_EQ(why("n", share(30)), "no card with memory left for 30 percent");
    EXPECT_EQ(why("n", share(30, 1000)), "fits");
    EXPECT_EQ(ledger.node("n")->cards[0].used_memory_mib, 12000);
}

TEST_F(LedgerTest, ReservationsAreIdempotentAndConflict) {
    ledger.upsert_node("n", t4s(1));
    ledger.upsert_node("m", t4s(1));
    const auto first = reserve("a", "n", share(60));
    ASSERT_TRUE(first.ok());
    const auto again = reserve("a", "n", share(60));
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(*first, *again);
    EXPECT_EQ(used(ledger, "n"), (Ints{60}));
    EXPECT_EQ(reserve("a", "m", share(60)).error().code, ErrorCode::kConflict);
    EXPECT_EQ(reserve("b", "n", share(60)).error().code, ErrorCode::kExhausted);
    EXPECT_EQ(reserve("b", "n", share(60)).error().message, "no card with 60 percent free");
    EXPECT_EQ(reserve("b", "x", share(60)).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(reserve("", "n", share(60)).error().code, ErrorCode::kInvalid);
    EXPECT_EQ(ledger.reservation_count(), 1u);
    // It becomes the pod.
    ledger.upsert_pod(bound("a", "n", share(60), *first));
    EXPECT_EQ(ledger.reservation_count(), 0u);
    EXPECT_EQ(ledger.pod_count(), 1u);
    EXPECT_EQ(used(ledger, "n"), (Ints{60}));
    EXPECT_FALSE(ledger.release_reservation("a"));
    EXPECT_FALSE(ledger.extend("a", now, Seconds(60)));
    EXPECT_EQ(ledger.expire(now + Seconds(1000)), 0u);
    EXPECT_EQ(*reserve("a", "n", share(60)), *first);  // bound already: the same answer
    EXPECT_EQ(reserve("a", "m", share(60)).error().message, "pod default/pod-a is bound to node n");
}

// Kubelets write their nodes' status all the time.
TEST_F(LedgerTest, NewsThatChangeNothingLeaveTheVersion) {
    NodeInventory inventory = t4s(3);
    inventory.host = {8000, 1000};
    ledger.upsert_node("n", inventory);
    const NodeId id = *ledger.find_node("n");
    std::uint64_t version = ledger.version(id);
    const auto moves = [&](bool expected) {
        ledger.upsert_node("n", inventory);
        EXPECT_EQ(ledger.version(id) != version, expected);
        version = ledger.version(id);
    };
    moves(false);
    inventory.cards[1].healthy = false;
    moves(true);
    moves(false);
    inventory.cards[0].replicas = 4;
    moves(true);
    inventory.host.cpu_milli = 9000;
    moves(true);
    inventory.percent_units += 100;
    moves(true);
    inventory.cards[0].links = {0, 7};
    moves(true);
    moves(false);
    inventory.cards.clear();
    moves(true);
    moves(false);
    ledger.remove_node("n");
    ledger.upsert_node("n", inventory);
    EXPECT_TRUE(ledger.find_node("n"));
}

TEST_F(LedgerTest, ReservationsExpire) {
    ledger.upsert_node("n", t4s(1));
    ledger.upsert_node("m", t4s(1));
    ASSERT_TRUE(reserve("a", "n", share(60)).ok());
    ASSERT_TRUE(reserve("b", "n", share(20)).ok());
    EXPECT_TRUE(ledger.extend("b", now, Seconds(300)));
    EXPECT_EQ(ledger.expire(now + Seconds(29)), 0u);
    EXPECT_EQ(ledger.expire(now + Seconds(30)), 1u);
    EXPECT_EQ(used(ledger, "n"), (Ints{20}));
    ASSERT_EQ(ledger.reservations().size(), 1u);
    EXPECT_EQ(ledger.reservations()[0].node, "n");
    EXPECT_EQ(ledger.expire(now + Seconds(300)), 1u);
    EXPECT_EQ(used(ledger, "n"), (Ints{0}));
    // One that is due does not bind its pod to a node any more.
    ASSERT_TRUE(reserve("a", "n", share(60)).ok());
    now += Seconds(31);
    ASSERT_TRUE(reserve("a", "m", share(60)).ok());
    EXPECT_EQ(used(ledger, "n"), (Ints{0}));
    EXPECT_TRUE(ledger.release_reservation("a"));
    EXPECT_EQ(used(ledger, "m"), (Ints{0}));
}

TEST_F(LedgerTest, APodSeenOnAnotherNodeThanReservedIsBelieved) {
    ledger.upsert_node("n", t4s(1));
    ledger.upsert_node("m", t4s(1));
    ASSERT_TRUE(reserve("a", "n", share(60)).ok());
    ledger.upsert_pod(bound("a", "m", share(60), on({{"GPU-0", 0, 60, 0}})));
    EXPECT_EQ(used(ledger, "n"), (Ints{0}));
    EXPECT_EQ(used(ledger, "m"), (Ints{60}));
    EXPECT_EQ(ledger.reservation_count(), 0u);
}

TEST_F(LedgerTest, AskingAgainForTheSamePodCountsItsOwnShareAsFree) {
    ledger.upsert_node("n", t4s(1));
    ASSERT_TRUE(reserve("a", "n", share(60)).ok());
    Query own = ledger.query(share(60), "a");
    EXPECT_TRUE(ledger.fits("n", own).fits);
    EXPECT_GT(ledger.score("n", own), 0);
    Query other = ledger.query(share(60), "b");
    EXPECT_FALSE(ledger.fits("n", other).fits);
    EXPECT_EQ(ledger.score("n", other), 0);
}

TEST_F(LedgerTest, PreemptionAsksWithoutTheVictims) {
    ledger.upsert_node("n", t4s(2));
    ledger.upsert_pod(bound("a", "n", share(50), on({{"GPU-0", 0, 50, 0}})));
    ledger.upsert_pod(bound("b", "n", share(30), on({{"GPU-0", 0, 30, 0}})));
    ledger.upsert_pod(bound("c", "n", share(60), on({{"GPU-1", 1, 60, 0}})));
    Query query = ledger.query(share(80));
    const auto without = [&](std::vector<std::string_view> victims) {
        return ledger.fits_without("n", query, victims).fits;
    };
    EXPECT_FALSE(without({}));
    EXPECT_FALSE(without({"b"}));
    EXPECT_TRUE(without({"a", "b"}));
    EXPECT_FALSE(without({"a"}));
    EXPECT_TRUE(without({"c", "nobody"}));
    EXPECT_FALSE(ledger.fits_without("x", query, {}).fits);
    EXPECT_EQ(used(ledger, "n"), (Ints{80, 60}));  // nothing changed
}

TEST_F(LedgerTest, ShowsWhoHoldsWhat) {
    ledger.upsert_node("n", t4s(2));
    ASSERT_TRUE(reserve("a", "n", share(25, 3000)).ok());
    ledger.upsert_pod(bound("b", "n", gpus(1), on({{"GPU-1", 1, 100, 0}})));
    const auto info = ledger.node("n");
    ASSERT_EQ(info->cards[0].holders.size(), 1u);
    EXPECT_EQ(
        info->cards[0].holders[0],
        (HolderInfo{"a", "default", "pod-a", "main", 25, 3000, false, true, false})
    );
    EXPECT_EQ(
        info->cards[1].holders[0],
        (HolderInfo{"b", "default", "pod-b", "main", 100, 16000, true, false, false})
    );
    EXPECT_EQ(info->cards[0].card.model, "Tesla T4");
    const auto totals = ledger.totals();
    EXPECT_EQ(totals.cards, 2u);
    EXPECT_EQ(totals.used_percent, 125);
    EXPECT_EQ(totals.pods, 1u);
    EXPECT_EQ(totals.reservations, 1u);
    EXPECT_EQ(totals.empty_cards, 0u);
    EXPECT_EQ(ledger.pod("a")->placement.containers[0].cards[0].uuid, "GPU-0");
    EXPECT_FALSE(ledger.pod("x").has_value());
    EXPECT_FALSE(ledger.node("x").has_value());
}

// Names of every length the API server allows, many with the same beginning, added and removed.
TEST_F(LedgerTest, NodesAreFoundByTheirWholeName) {
    const auto name = [](std::size_t length, char last) {
        return std::string(length - 1, 'n') + last;
    };
    for (int round = 0; round < 2; ++round) {
        for (std::size_t length = 1; length <= 253; ++length) {
            ledger.upsert_node(name(length, 'a'), t4s(1));
            ledger.upsert_node(name(length, 'b'), t4s(1));
        }
        for (std::size_t length = 1; length <= 253; ++length) {
            const auto a = ledger.find_node(name(length, 'a'));
            const auto b = ledger.find_node(name(length, 'b'));
            ASSERT_TRUE(a && b && a != b) << length;
            EXPECT_EQ(ledger.find_node(name(length, 'c')), std::nullopt);
            EXPECT_EQ(ledger.find_node(name(length, 'a') + "a"), std::nullopt);
        }
        EXPECT_EQ(ledger.find_node(""), std::nullopt);
        for (std::size_t length = 253; length > 0; --length) {
            EXPECT_TRUE(ledger.remove_node(name(length, 'a')));
            EXPECT_EQ(ledger.find_node(name(length, 'a')), std::nullopt);
            EXPECT_TRUE(ledger.find_node(name(length, 'b')));
        }
        EXPECT_THAT(ledger.check_invariants(), IsEmpty());
    }
}

TEST_F(LedgerTest, StrangeInputIsIgnored) {
    ledger.upsert_pod(bound("", "n", share(10)));
    ledger.upsert_pod(bound("a", "", share(10)));
    EXPECT_EQ(ledger.pod_count(), 0u);
    NodeInventory twice = t4s(3);
    twice.cards[1].uuid = "GPU-0";
    twice.cards[2].index = 0;
    twice.cards[0].memory_mib = -5;
    ledger.upsert_node("n", twice);
    EXPECT_EQ(used(ledger, "n"), (Ints{0}));
    ledger.upsert_pod(bound("a", "n", share(10)));
    ledger.upsert_pod(bound("a", "n", PodRequest{}));  // asks for nothing now
    EXPECT_EQ(ledger.pod_count(), 0u);
    ledger.upsert_node("big", {{}, std::int64_t{1} << 60, -1});
    EXPECT_EQ(used(ledger, "big").size(), 1024u);
    EXPECT_EQ(why("big", gpus(1000)), "fits");
}

// NVIDIA's time-slicing: the node offers each card four times through nvidia.com/gpu.
class ReplicasTest : public LedgerTest {
  protected:
    ReplicasTest() { ledger.upsert_node("n1", replicated(2, 4)); }
    static NodeInventory replicated(int cards, int replicas) {
        NodeInventory inventory = t4s(cards);
        for (Card& card : inventory.cards) card.replicas = replicas;
        return inventory;
    }
    Result<Placement> reserve(const std::string& uid, const PodRequest& request) {
        return ledger.reserve({uid, "default", "pod-" + uid}, "n1", request, {}, Seconds(30));
    }
};

TEST_F(ReplicasTest, ADeviceIsAShare) {
    for (int i = 0; i < 8; ++i) {
        const auto placement = reserve("p" + std::to_string(i), gpus(1));
        ASSERT_TRUE(placement) << placement.error().message;
        EXPECT_EQ(placement->containers[0].cards[0].percent, 25);
    }
    EXPECT_EQ(used(ledger, "n1"), (std::vector<int>{100, 100}));
    EXPECT_EQ(ledger.node("n1")->cards[0].used_memory_mib, 16000);
    EXPECT_EQ(why("n1", gpus(1)), "no card with 25 percent free");
    EXPECT_TRUE(ledger.release_reservation("p3"));
    EXPECT_EQ(why("n1", gpus(1)), "fits");
}

TEST_F(ReplicasTest, SeveralOfOneContainerLieOnDifferentCards) {
    const auto placement = reserve("two", gpus(2));
    ASSERT_TRUE(placement);
    EXPECT_EQ(used(ledger, "n1"), (std::vector<int>{25, 25}));
    EXPECT_NE(why("n1", gpus(3)), "fits");
    // Beside shares of the other resource, but never on a card taken whole.
    ASSERT_TRUE(reserve("share", share(70)));
    ASSERT_FALSE(reserve("whole", share(100)));
    EXPECT_EQ(used(ledger, "n1"), (std::vector<int>{95, 25}));
}

TEST_F(ReplicasTest, PodsFollowTheirNode) {
    ledger.upsert_pod(bound("u1", "n1", gpus(1), on({{"GPU-0", 0, 100, 0}})));
    ledger.upsert_pod(bound("u2", "n1", share(50), on({{"GPU-0", 0, 50, 0}})));
    EXPECT_EQ(used(ledger, "n1"), (std::vector<int>{75, 0}));
    EXPECT_TRUE(ledger.pod("u1")->uses_whole);
    EXPECT_FALSE(ledger.pod("u1")->uses_percent);
    ledger.upsert_node("n1", t4s(2));  // time-slicing was switched off under them
    EXPECT_EQ(used(ledger, "n1"), (std::vector<int>{100, 50}));
    ledger.upsert_node("n1", replicated(2, 10));
    EXPECT_EQ(used(ledger, "n1"), (std::vector<int>{60, 0}));
    EXPECT_EQ(ledger.node("n1")->cards[0].card.replicas, 10);
}

TEST_F(ReplicasTest, TheSamePodMeetsBothKindsOfNodes) {
    ledger.upsert_node("n2", t4s(1));
    Query query = ledger.query(gpus(1));
    EXPECT_TRUE(ledger.fits("n1", query).fits);
    EXPECT_TRUE(ledger.fits("n2", query).fits);
    ledger.upsert_pod(bound("u1", "n2", share(10), on({{"GPU-0", 0, 10, 0}})));
    ledger.upsert_pod(bound("u2", "n1", share(10), on({{"GPU-0", 0, 10, 0}})));
    Query again = ledger.query(gpus(1));
    EXPECT_TRUE(ledger.fits("n1", again).fits);
    EXPECT_FALSE(ledger.fits("n2", again).fits);
    EXPECT_GT(ledger.score("n1", again), 0);
}

}  // namespace
}  // namespace egpu::core
