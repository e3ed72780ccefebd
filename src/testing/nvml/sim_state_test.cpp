#include "testing/nvml/sim_state.h"

#include <set>

#include <gtest/gtest.h>

namespace egpu::testing {
namespace {

TEST(SimState, profiles_have_their_cards) {
    const std::pair<const char*, std::size_t> expected[] = {
        {"t4", 2}, {"a10", 4}, {"a100-mig", 11}, {"h100", 8}, {"sixteen", 16}};
    for (const auto& [profile, cards] : expected) {
        auto sim = SimGpus::make(profile, "n1");
        ASSERT_TRUE(sim.ok());
        std::set<std::string> uuids;
        for (const auto& card : sim->expected_cards()) uuids.insert(card.uuid);
        EXPECT_EQ(uuids.size(), cards) << profile;
    }
}

TEST(SimState, uuids_depend_on_node_only) {
    EXPECT_EQ(SimGpus::make("t4", "a")->gpu_uuids(), SimGpus::make("t4", "a")->gpu_uuids());
    EXPECT_NE(SimGpus::make("t4", "a")->gpu_uuids(), SimGpus::make("t4", "b")->gpu_uuids());
    EXPECT_EQ(SimGpus::make("t4", "a")->gpu_uuids()[0].size(), 40U);
}

TEST(SimState, unknown_profile_lists_what_there_is) {
    const auto sim = SimGpus::make("b200", "a");
    ASSERT_FALSE(sim.ok());
    EXPECT_NE(sim.error().message.find("sixteen"), std::string::npos);
}

TEST(SimState, text_round_trip) {
    auto sim = SimGpus::make("a100-mig", "n1");
    const auto gpus = sim->gpu_uuids();
    ASSERT_TRUE(sim->set_lost(gpus[0], true).ok());
    ASSERT_TRUE(sim->set_mig(gpus[1], false).ok());
    ASSERT_TRUE(sim->set_uncorrected_ecc(gpus[1], 5000000000ULL).ok());
    ASSERT_TRUE(sim->set_slow(gpus[1], 7).ok());
    ASSERT_TRUE(sim->push_xid(gpus[0], 79).ok());
    sim->set_driver_450(true);
    sim->set_count(1);
    const std::string text = write_state(sim->node());
    SimNode read;
    std::string error;
    ASSERT_TRUE(read_state(text, read, error)) << error;
    EXPECT_EQ(write_state(read), text);
    EXPECT_TRUE(read.gpus[0].lost);
    EXPECT_FALSE(read.gpus[1].mig);
    EXPECT_EQ(read.gpus[1].uncorrected_ecc, 5000000000ULL);
    EXPECT_EQ(read.events.back().data, 79U);
}

TEST(SimState, bad_lines_are_named) {
    for (const char* text :
         {"",
          "gpu 0 lost 1\n",
          "profile t4 n\ngpu 2 lost 1\n",
          "profile t4 n\ngpu 0 lost\n",
          "profile t4 n\ngpu 0 broken 1\n",
          "profile t4 n\nevent 1 9 8 79 0 0\n",
          "profile a100-mig n\ngpu 0 instances 7g.40gb 1g.5gb\n",
          "profile t4 n\ncount x\n"}) {
        SimNode read;
        std::string error;
        EXPECT_FALSE(read_state(text, read, error)) << text;
        EXPECT_FALSE(error.empty());
    }
}

}  // namespace
}  // namespace egpu::testing
