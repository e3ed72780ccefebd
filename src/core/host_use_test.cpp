#include "core/host_use.h"

#include <algorithm>
#include <map>
#include <utility>

#include <gtest/gtest.h>

#include "base/random.h"
#include "core/ledger.h"
#include "core/replay_seed.h"

namespace egpu::core {
namespace {

TEST(HostUse, CountsEachPodOnce) {
    HostUse use;
    use.put("a", "n1", {1500, 100});
    use.put("a", "n1", {1500, 100});
    use.put("b", "n1", {500, 0});
    EXPECT_EQ(use.on("n1"), (HostAmounts{2000, 100}));
    EXPECT_EQ(use.node_of("a"), "n1");
    use.put("a", "n2", {100, 1});
    EXPECT_EQ(use.on("n1"), (HostAmounts{500, 0}));
    EXPECT_EQ(use.on("n2"), (HostAmounts{100, 1}));
    use.remove("a");
    use.remove("a");
    EXPECT_EQ(use.on("n2"), HostAmounts{});
    EXPECT_EQ(use.node_of("a"), "");
    use.put("b", "n1", {});
    EXPECT_EQ(use.pods(), 0U);
}

TEST(HostUse, ClampsWhatNoMachineHas) {
    HostUse use;
    use.put("a", "n", {-5, std::int64_t{1} << 50});
    EXPECT_EQ(use.on("n"), (HostAmounts{0, 0xFFFFFFFF}));
}

TEST(HostUse, IsTheSumOfTheLastWords) {
    EG_TRACE_SEED();
    Random random(replay_seed());
    HostUse use;
    std::map<std::string, std::pair<std::string, HostAmounts>> truth;
    for (int step = 0; step < 5000; ++step) {
        const std::string uid = "pod-" + std::to_string(random.below(60));
        if (random.below(3) == 0) {
            use.remove(uid);
            truth.erase(uid);
            continue;
        }
        const std::string node = "node-" + std::to_string(random.below(7));
        const HostAmounts amounts{
            static_cast<std::int64_t>(random.below(4) * 250),
            static_cast<std::int64_t>(random.below(3) * 512)};
        use.put(uid, node, amounts);
        truth[uid] = {node, amounts};
        HostAmounts sum;
        for (const auto& [other, where] : truth) {
            if (where.first != node) continue;
            sum.cpu_milli += where.second.cpu_milli;
            sum.memory_mib += where.second.memory_mib;
        }
        ASSERT_EQ(use.on(node), sum) << "step " << step;
    }
}

class LedgerHost : public ::testing::Test {
  protected:
    static PodRequest share(int percent, HostAmounts host) {
        PodRequest request;
        ContainerRequest container;
        container.name = "main";
        container.percent = percent;
        request.containers.push_back(container);
        request.host = host;
        return request;
    }
    static NodeInventory one_card(HostAmounts host) {
        NodeInventory inventory;
        inventory.percent_units = 100;
        inventory.host = host;
        return inventory;
    }
    HostAmounts left(Ledger& ledger) { return ledger.host_free(*ledger.find_node("n")); }
    std::uint64_t version(Ledger& ledger) { return ledger.version(*ledger.find_node("n")); }
};

TEST_F(LedgerHost, PodsWithAndWithoutCardsCount) {
    Ledger ledger;
    ledger.upsert_pod({{"cpu", "ns", "cpu"}, "n", share(0, {}), {}});  // no GPU, nothing else
    BoundPod cpu_only{{"cpu", "ns", "cpu"}, "n", {}, {}};
    cpu_only.request.host = {2000, 100};
    ledger.upsert_pod(cpu_only);  // before its node
    ledger.upsert_node("n", one_card({8000, 1000}));
    EXPECT_EQ(left(ledger), (HostAmounts{6000, 900}));
    ledger.upsert_pod({{"g", "ns", "g"}, "n", share(50, {1000, 200}), {}});
    EXPECT_EQ(left(ledger), (HostAmounts{5000, 700}));
    EXPECT_EQ(ledger.pod_count(), 1U);
    ledger.remove_pod("g");
    ledger.remove_pod("cpu");
    EXPECT_EQ(left(ledger), (HostAmounts{8000, 1000}));
    EXPECT_EQ(ledger.host_pod_count(), 0U);
}

TEST_F(LedgerHost, ReservationsCountUntilTheyGo) {
    Ledger ledger;
    ledger.upsert_node("n", one_card({8000, 1000}));
    const TimePoint now{};
    ASSERT_TRUE(ledger.reserve({"g", "ns", "g"}, "n", share(50, {1000, 200}), now, Seconds(5)));
    EXPECT_EQ(left(ledger), (HostAmounts{7000, 800}));
    ledger.upsert_pod({{"g", "ns", "g"}, "n", share(50, {1500, 200}), {}});  // became the pod
    EXPECT_EQ(left(ledger), (HostAmounts{6500, 800}));
    ledger.remove_pod("g");
    ASSERT_TRUE(ledger.reserve({"h", "ns", "h"}, "n", share(50, {1000, 200}), now, Seconds(5)));
    ledger.expire(now + Seconds(6));
    EXPECT_EQ(left(ledger), (HostAmounts{8000, 1000}));
}

TEST_F(LedgerHost, UnknownAmountsAreUnlimited) {
    Ledger ledger;
    ledger.upsert_node("n", one_card({kHostUnlimited, 100}));
    BoundPod cpu_only{{"cpu", "ns", "cpu"}, "n", {}, {}};
    cpu_only.request.host = {2000, 300};
    ledger.upsert_pod(cpu_only);
    EXPECT_EQ(left(ledger), (HostAmounts{kHostUnlimited, -200}));
    Ledger off({.count_host = false});
    off.upsert_node("n", one_card({8000, 1000}));
    off.upsert_pod(cpu_only);
    EXPECT_EQ(left(off), (HostAmounts{kHostUnlimited, kHostUnlimited}));
}

TEST_F(LedgerHost, VersionsMoveWithEveryChangeThatCounts) {
    Ledger ledger;
    ledger.upsert_node("n", one_card({8000, 1000}));
    ledger.upsert_node("other", one_card({8000, 1000}));
    std::uint64_t before = version(ledger);
    const auto moved = [&] { return std::exchange(before, version(ledger)) != before; };
    BoundPod cpu_only{{"cpu", "ns", "cpu"}, "n", {}, {}};
    cpu_only.request.host = {2000, 300};
    ledger.upsert_pod(cpu_only);
    EXPECT_TRUE(moved());
    cpu_only.node = "other";  // cannot happen, but a watch may say so
    ledger.upsert_pod(cpu_only);
    EXPECT_TRUE(moved());
    ledger.upsert_pod({{"g", "ns", "g"}, "n", share(50, {}), {}});
    EXPECT_TRUE(moved());
    ledger.remove_pod("cpu");
    EXPECT_FALSE(moved());
    ledger.remove_pod("g");
    EXPECT_TRUE(moved());
}

}  // namespace
}  // namespace egpu::core
