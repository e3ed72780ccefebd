#include "gpu/inventory.h"

#include "core/topology.h"
#include "gpu/nvml.h"
#include "testing/nvml/sim_fixture.h"

namespace egpu::gpu {
namespace {

class InventoryTest : public testing::SimTest {
  protected:
    void open() { ASSERT_TRUE(nvml_.open(kLibrary, "/").ok()); }
    Enumeration look(const std::vector<CardInfo>& known = {}) {
        auto seen = enumerate(nvml_, options_, known);
        EXPECT_TRUE(seen.ok());
        return seen.ok() ? std::move(*seen) : Enumeration{};
    }
    static std::vector<core::Card> cards(const Enumeration& seen) {
        std::vector<core::Card> out;
        for (const auto& info : seen.cards) out.push_back(info.card);
        return out;
    }
    static const CardInfo& find(const Enumeration& seen, const std::string& uuid) {
        for (const auto& info : seen.cards) {
            if (info.card.uuid == uuid) return info;
        }
        static const CardInfo none;
        ADD_FAILURE() << "no card " << uuid;
        return none;
    }

    EnumerateOptions options_;
    Nvml nvml_;
};

TEST_F(InventoryTest, all_profiles) {
    for (const char* profile : {"t4", "a10", "a100-mig", "h100", "sixteen", "dgx1", "l40s"}) {
        auto& node = sim(profile);
        options_.sysfs_root = (folder_ / profile).string();
        options_.proc_root = (folder_ / profile / "proc").string();
        ASSERT_TRUE(node.write_sysfs(options_.sysfs_root).ok());
        open();
        const auto seen = look();
        EXPECT_EQ(cards(seen), node.expected_cards(true)) << profile;
        EXPECT_EQ(seen.driver_version, "535.161.08");
        EXPECT_TRUE(seen.warnings.empty());
        EXPECT_EQ(seen.gpus.size(), node.gpu_uuids().size());
        nvml_.close();
    }
}

// Rows of "path/nvlinks" to the other cards.
std::vector<std::string> link_texts(const core::Card& card) {
    std::vector<std::string> out;
    for (const core::Link link : card.links) {
        out.push_back(
            std::to_string(static_cast<int>(core::path_of(link))) + "/" +
            std::to_string(core::nvlinks_of(link))
        );
    }
    return out;
}

TEST_F(InventoryTest, links_of_a_cube_mesh) {
    auto& node = sim("dgx1");
    open();
    const auto seen = look();
    const std::vector<std::string> expected{"0/0", "5/1", "3/1", "3/2", "1/2", "1/0", "1/0", "1/0"};
    EXPECT_EQ(link_texts(seen.cards[0].card), expected);
    // A card whose links are down still has its place on PCIe.
    ASSERT_TRUE(node.set_nvlink_down(node.gpu_uuids()[3], true).ok());
    save();
    EXPECT_EQ(look().cards[0].card.links[3], core::make_link(core::PciePath::kHostBridge, 0));
    EXPECT_EQ(look(seen.cards).cards[0].card.links, seen.cards[0].card.links);  // not asked again
}

TEST_F(InventoryTest, links_of_drivers_that_tell_less) {
    sim("h100").hide_symbol("nvmlDeviceGetNvLinkRemoteDeviceType");
    save();
    open();
    EXPECT_EQ(cards(look()), sim_->expected_cards());  // a remote end that is no GPU is a switch
    nvml_.close();
    sim("dgx1").set_driver_450(true);
    save();
    open();
    EXPECT_EQ(cards(look()), sim_->expected_cards());
    sim_->hide_symbol("nvmlDeviceGetTopologyCommonAncestor");
    sim_->hide_symbol("nvmlDeviceGetNvLinkRemotePciInfo_v2");
    save();
    EXPECT_EQ(link_texts(look().cards[0].card)[3], "0/2");
    sim_->hide_symbol("nvmlDeviceGetNvLinkState");
    save();
    const auto nothing = look();
    EXPECT_TRUE(nothing.cards[0].card.links.empty());
    EXPECT_TRUE(nothing.cards[0].card.healthy);
}

TEST_F(InventoryTest, links_of_a_card_that_is_away) {
    auto& node = sim("dgx1");
    open();
    const auto before = look();
    ASSERT_TRUE(node.set_lost(node.gpu_uuids()[3], true).ok());
    save();
    const auto without = look(before.cards);
    EXPECT_EQ(without.cards[0].card.links, before.cards[0].card.links);  // remembered
    const auto fresh = look();  // an agent that starts now; the lost one has no UUID even
    ASSERT_EQ(fresh.cards.size(), 7U);
    EXPECT_EQ(fresh.cards[0].card.links[3], 0);
    ASSERT_TRUE(node.set_lost(node.gpu_uuids()[3], false).ok());
    save();
    EXPECT_EQ(cards(look(fresh.cards)), node.expected_cards());
}

TEST_F(InventoryTest, details_of_a_t4) {
    auto& node = sim("t4");
    options_.sysfs_root = folder_.path().string();  // no NUMA there
    open();
    const auto info = find(look(), node.gpu_uuids()[1]);
    EXPECT_EQ(info.card.model, "Tesla T4");
    EXPECT_EQ(info.card.numa, -1);
    EXPECT_EQ(info.index_text, "1");
    EXPECT_EQ(info.minor, 1);
    EXPECT_EQ(info.pci_bus_id, "0000:22:00.0");
    EXPECT_EQ(info.brand, "Tesla");
    EXPECT_EQ(info.compute_capability, "7.5");
    EXPECT_EQ(info.device_nodes, std::vector<std::string>{"/dev/nvidia1"});
    EXPECT_EQ(info.parent_uuid, "");
}

TEST_F(InventoryTest, details_of_a_mig_instance) {
    auto& node = sim("a100-mig");
    options_.proc_root = folder_.path().string();
    ASSERT_TRUE(node.write_proc(folder_.path()).ok());
    open();
    const auto seen = look();
    const auto& first = seen.cards.front();
    EXPECT_EQ(first.card.index, 100);
    EXPECT_EQ(first.index_text, "0:0");
    EXPECT_EQ(first.card.model, "NVIDIA A100-SXM4-40GB MIG 3g.20gb");
    EXPECT_EQ(first.card.memory_mib, 19968);
    EXPECT_EQ(first.parent_uuid, node.gpu_uuids()[0]);
    EXPECT_EQ(first.gpu_instance, 1);
    EXPECT_EQ(first.compute_instance, 0);
    const std::vector<std::string> nodes{
        "/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap3", "/dev/nvidia-caps/nvidia-cap4"};
    EXPECT_EQ(first.device_nodes, nodes);
    EXPECT_EQ(seen.cards.back().index_text, "1:6");
    EXPECT_EQ(seen.cards.back().card.index, 206);
}

TEST_F(InventoryTest, one_lost_gpu_leaves_the_others_alone) {
    auto& node = sim("a10");
    open();
    const auto before = look();
    const auto gpus = node.gpu_uuids();
    ASSERT_TRUE(node.set_lost(gpus[1], true).ok());
    ASSERT_TRUE(node.set_fallen_off_bus(gpus[2], true).ok());
    save();
    const auto seen = look(before.cards);
    ASSERT_EQ(seen.cards.size(), 4U);
    EXPECT_TRUE(find(seen, gpus[0]).card.healthy);
    EXPECT_TRUE(find(seen, gpus[3]).card.healthy);
    const auto& lost = find(seen, gpus[1]);
    EXPECT_FALSE(lost.card.healthy);
    EXPECT_FALSE(lost.seen);
    EXPECT_EQ(lost.reason, "GPU does not answer: GPU_IS_LOST (15)");
    EXPECT_EQ(lost.card.model, "NVIDIA A10");
    EXPECT_EQ(lost.card.index, 1);
    EXPECT_EQ(find(seen, gpus[2]).reason, "GPU does not answer: UNKNOWN (999)");
    EXPECT_TRUE(seen.warnings.empty());
    ASSERT_TRUE(node.set_lost(gpus[1], false).ok());
    ASSERT_TRUE(node.set_fallen_off_bus(gpus[2], false).ok());
    save();
    EXPECT_EQ(look(seen.cards).cards, before.cards);
}

TEST_F(InventoryTest, lost_gpu_of_unknown_uuid_is_a_warning) {
    auto& node = sim("t4");
    ASSERT_TRUE(node.set_lost(node.gpu_uuids()[0], true).ok());
    save();
    open();
    const auto seen = look();
    ASSERT_EQ(seen.cards.size(), 1U);
    EXPECT_EQ(seen.cards[0].card.index, 1);
    ASSERT_EQ(seen.warnings.size(), 1U);
    EXPECT_NE(seen.warnings[0].find("GPU 0"), std::string::npos);
}

TEST_F(InventoryTest, failing_gpu_keeps_what_was_known) {
    auto& node = sim("t4");
    open();
    const auto before = look();
    ASSERT_TRUE(node.set_failing(node.gpu_uuids()[0], true).ok());
    save();
    const auto seen = look(before.cards);
    const auto& info = find(seen, node.gpu_uuids()[0]);
    EXPECT_FALSE(info.card.healthy);
    EXPECT_EQ(info.reason, "name: UNKNOWN (999)");
    EXPECT_EQ(info.card.memory_mib, 15360);
    EXPECT_EQ(info.card.model, "Tesla T4");
    EXPECT_TRUE(find(seen, node.gpu_uuids()[1]).card.healthy);
}

TEST_F(InventoryTest, removed_gpu_shifts_indexes_without_a_clash) {
    auto& node = sim("t4");
    open();
    const auto before = look();
    ASSERT_TRUE(node.set_removed(node.gpu_uuids()[0], true).ok());
    save();
    const auto seen = look(before.cards);
    ASSERT_EQ(seen.cards.size(), 2U);
    EXPECT_EQ(find(seen, node.gpu_uuids()[1]).card.index, 0);
    const auto& gone = find(seen, node.gpu_uuids()[0]);
    EXPECT_EQ(gone.card.index, 1);
    EXPECT_EQ(gone.reason, "GPU is not listed by the driver any more");
}

TEST_F(InventoryTest, mig_changes_replace_cards) {
    auto& node = sim("a100-mig");
    const auto gpus = node.gpu_uuids();
    open();
    auto seen = look();
    ASSERT_TRUE(node.set_mig(gpus[0], false).ok());
    ASSERT_TRUE(node.set_mig(gpus[1], true, {"3g.20gb"}).ok());
    save();
    seen = look(seen.cards);
    EXPECT_EQ(cards(seen).size(), 2U);
    EXPECT_EQ(seen.cards[0].card.uuid, gpus[0]);
    EXPECT_EQ(seen.cards[1].card.index, 200);
    ASSERT_TRUE(node.set_mig(gpus[1], true).ok());
    save();
    seen = look(seen.cards);
    EXPECT_EQ(seen.cards.size(), 1U);
    ASSERT_EQ(seen.warnings.size(), 1U);
    EXPECT_NE(seen.warnings[0].find("no MIG instance"), std::string::npos);
}

TEST_F(InventoryTest, lost_mig_parent_keeps_its_instances) {
    auto& node = sim("a100-mig");
    open();
    const auto before = look();
    ASSERT_TRUE(node.set_lost(node.gpu_uuids()[0], true).ok());
    save();
    const auto seen = look(before.cards);
    ASSERT_EQ(seen.cards.size(), 11U);
    for (const auto& info : seen.cards) {
        EXPECT_EQ(info.card.healthy, info.parent_uuid == node.gpu_uuids()[1]);
    }
    EXPECT_TRUE(seen.warnings.empty());
}

TEST_F(InventoryTest, fabric_and_memory_faults_are_reasons) {
    auto& node = sim("h100");
    const auto gpus = node.gpu_uuids();
    ASSERT_TRUE(node.set_fabric_state(gpus[0], 2).ok());
    ASSERT_TRUE(node.set_remap_failed(gpus[1], true).ok());
    save();
    open();
    const auto seen = look();
    EXPECT_NE(find(seen, gpus[0]).reason.find("nvidia-fabricmanager"), std::string::npos);
    EXPECT_NE(find(seen, gpus[1]).reason.find("row remapping"), std::string::npos);
    EXPECT_TRUE(find(seen, gpus[2]).card.healthy);
}

TEST_F(InventoryTest, count_change) {
    auto& node = sim("sixteen");
    node.set_count(3);
    save();
    open();
    EXPECT_EQ(look().cards.size(), 3U);
    node.set_count(-1);
    save();
    EXPECT_EQ(look().cards.size(), 16U);
}

TEST_F(InventoryTest, driver_gone_is_one_error) {
    auto& node = sim("t4");
    open();
    node.set_driver_loaded(false);
    save();
    const auto seen = enumerate(nvml_, options_, {});
    ASSERT_FALSE(seen.ok());
    EXPECT_EQ(seen.error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace egpu::gpu
