// Threads on one allocator, without a kubelet: nothing acknowledged is missing from the disk, lists
// arrive in order.
#include "agent/allocator.h"

#include <atomic>
#include <cstdlib>
#include <map>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/identity.h"
#include "base/metrics.h"
#include "testing/temp_folder.h"

namespace egpu::agent {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

gpu::Inventory inventory(int cards) {
    gpu::Inventory out;
    out.driver_version = "535";
    for (int i = 0; i < cards; ++i) {
        gpu::CardInfo info;
        info.card = {"GPU-" + std::to_string(i), i, "Tesla T4", 15360, -1, true};
        info.index_text = std::to_string(i);
        out.cards.push_back(std::move(info));
    }
    return out;
}

class AllocatorTest : public ::testing::Test {
  protected:
    AllocatorTest() {
        file = std::make_unique<StateFile>(folder.path());
        inject::InjectOptions options;
        options.strategy = "nvidia";
        options.driver_files_dir = folder / "driver";
        auto injector = inject::make_injector(options);
        EXPECT_TRUE(injector);
        allocator = std::make_unique<Allocator>(*file, std::move(*injector));
    }
    void start(NodeState state = {}) {
        allocator->start(
            std::move(state),
            {[this](Resource r, std::vector<kubelet::Device> d) { shown[r] = std::move(d); },
             [this] { ++changes; }}
        );
    }
    int healthy(Resource resource) {
        int count = 0;
        for (const kubelet::Device& device : shown[resource]) count += device.healthy ? 1 : 0;
        return count;
    }
    static std::vector<std::string> units(int card, int from, int count) {
        std::vector<std::string> ids;
        for (int i = from; i < from + count; ++i)
            ids.push_back(unit_id("GPU-" + std::to_string(card), i));
        return ids;
    }

    testing::TempFolder folder;
    std::unique_ptr<StateFile> file;
    std::unique_ptr<Allocator> allocator;
    std::map<Resource, std::vector<kubelet::Device>>
        shown;  // written under the allocator's order lock only
    std::atomic<int> changes{0};
};

TEST_F(AllocatorTest, MetricsOfCardsThatAreGoneGoWithThem) {
    start();
    gpu::Inventory before = inventory(2);
    before.cards[1].card.uuid = "MIG-before";
    allocator->set_inventory(before);
    EXPECT_THAT(metrics::render(), HasSubstr("MIG-before"));
    gpu::Inventory after = inventory(2);
    after.cards[1].card.uuid = "MIG-after";
    allocator->set_inventory(after);
    EXPECT_THAT(metrics::render(), HasSubstr("MIG-after"));
    EXPECT_THAT(metrics::render(), Not(HasSubstr("MIG-before")));
}

TEST_F(AllocatorTest, AllocateIsDurableAndShownWhenItReturns) {
    start();
    allocator->set_inventory(inventory(2));
    EXPECT_EQ(healthy(Resource::kPercent), 200);
    const auto answer = allocator->allocate(Resource::kPercent, units(1, 0, 20), {});
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->envs.at("NVIDIA_VISIBLE_DEVICES"), "GPU-1");
    const std::string token = answer->annotations.at(std::string(kAnnotationAllocation));
    EXPECT_EQ(token.size(), 32U);
    EXPECT_EQ(healthy(Resource::kWhole), 1);
    StateFile reader(folder.path());
    const auto loaded = reader.load();
    ASSERT_TRUE(loaded);
    ASSERT_EQ(loaded->state.records.size(), 1U);
    EXPECT_EQ(loaded->state.records[0].token, token);
    EXPECT_EQ(loaded->state.cards.size(), 2U);
}

TEST_F(AllocatorTest, WholeCardsAreAnsweredAsNvidiaDoes) {
    start();
    allocator->set_inventory(inventory(2));
    const std::vector<std::string> ids{"GPU-1", "GPU-0"};
    const auto answer = allocator->allocate(Resource::kWhole, ids, {});
    ASSERT_TRUE(answer);
    EXPECT_THAT(answer->annotations, IsEmpty());
    EXPECT_EQ(answer->envs.size(), 1U);
    EXPECT_THAT(answer->envs.at("NVIDIA_VISIBLE_DEVICES"), HasSubstr("GPU-0"));
}

TEST_F(AllocatorTest, CardsOfTheLastRunAreProvisional) {
    NodeState state;
    for (const gpu::CardInfo& info : inventory(2).cards) state.cards.push_back(info.card);
    state.records.push_back(
        {"t", Resource::kPercent, as_id_set(units(0, 0, 30)), {{"GPU-0", 0, 30, 0}}, "t", {}, 1}
    );
    start(state);
    allocator->show_devices();
    EXPECT_EQ(healthy(Resource::kPercent), 30);
    gpu::Inventory broken;
    broken.error = "driver not loaded";
    allocator->set_inventory(broken);
    EXPECT_FALSE(allocator->driver_answered());
    EXPECT_EQ(healthy(Resource::kPercent), 30);
    const auto refused = allocator->allocate(Resource::kPercent, units(1, 0, 30), {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
    allocator->set_inventory(inventory(2));
    EXPECT_TRUE(allocator->driver_answered());
    EXPECT_EQ(healthy(Resource::kPercent), 200);
}

TEST_F(AllocatorTest, NothingIsShownBeforeAnythingIsKnown) {
    start();
    gpu::Inventory broken;
    broken.error = "no library";
    allocator->set_inventory(broken);
    allocator->show_devices();
    EXPECT_TRUE(shown.empty());
}

TEST_F(AllocatorTest, ARefusalLeavesNothing) {
    start();
    allocator->set_inventory(inventory(1));
    ASSERT_TRUE(allocator->allocate(Resource::kPercent, units(0, 0, 60), {}));
    allocator->edit([](NodeLedger& ledger) {
        return ledger.confirm(
            ledger.records()[0].token, {"u", "ns", "p", "c", core::ContainerKind::kApp, true}
        );
    });
    const auto refused = allocator->allocate(Resource::kPercent, units(0, 20, 60), {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(allocator->records().size(), 1U);
    EXPECT_EQ(StateFile(folder.path()).load()->state.records.size(), 1U);
}

TEST_F(AllocatorTest, AFailedWriteDoesNotFailThePodAndIsRepeated) {
    start();
    allocator->set_inventory(inventory(1));
    std::filesystem::remove_all(folder.path());  // the disk is gone
    const auto answer = allocator->allocate(Resource::kPercent, units(0, 0, 60), {});
    EXPECT_TRUE(answer);
    std::filesystem::create_directories(folder.path());
    allocator->retry_save();
    EXPECT_EQ(StateFile(folder.path()).load()->state.records.size(), 1U);
}

TEST_F(AllocatorTest, ThreadsAllocateReleaseAndChangeHealth) {
    start();
    allocator->set_inventory(inventory(8));
    std::atomic<int> admitted{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 25; ++i) {
                const auto ids = units(t, (i * 4) % 100, 4);
                const auto answer = allocator->allocate(Resource::kPercent, ids, {});
                if (!answer) continue;
                ++admitted;
                const std::string token =
                    answer->annotations.at(std::string(kAnnotationAllocation));
                // What was acknowledged is on the disk, whichever thread wrote last.
                bool found = false;
                const auto loaded = StateFile(folder.path()).load();
                ASSERT_TRUE(loaded);
                for (const Record& r : loaded->state.records) found = found || r.token == token;
                EXPECT_TRUE(found);
                if (i % 2 == 0)
                    allocator->edit([&](NodeLedger& ledger) { return ledger.release(token); });
            }
        });
    }
    threads.emplace_back([&] {
        for (int i = 0; i < 40; ++i) {
            gpu::Inventory changed = inventory(8);  // the cards that nobody allocates from
            for (std::size_t c = 4; c < 8; ++c) changed.cards[c].card.healthy = i % 2 == 0;
            allocator->set_inventory(changed);
        }
        allocator->set_inventory(inventory(8));
    });
    threads.emplace_back([&] {
        for (int i = 0; i < 200; ++i) {
            static_cast<void>(allocator->cards());
            static_cast<void>(allocator->quiet_for());
            allocator->look([](const NodeLedger& ledger) {
                EXPECT_THAT(ledger.violations(), IsEmpty());
            });
        }
    });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(admitted.load(), 100);
    allocator->show_devices();
    EXPECT_EQ(StateFile(folder.path()).load()->state.records.size(), allocator->records().size());
    EXPECT_EQ(shown[Resource::kPercent].size(), 800U);
}

TEST(Token, IsUniqueAndHexadecimal) {
    std::set<std::string> tokens;
    for (int i = 0; i < 1000; ++i) tokens.insert(new_token());
    EXPECT_EQ(tokens.size(), 1000U);
    EXPECT_EQ(tokens.begin()->find_first_not_of("0123456789abcdef"), std::string::npos);
}

}  // namespace
}  // namespace egpu::agent
