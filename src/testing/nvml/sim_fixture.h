// For tests that load the simulated NVML: a node in a fresh folder, and the paths of the libraries.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <gtest/gtest.h>
#include <stdlib.h>

#include "testing/nvml/sim_state.h"
#include "testing/temp_folder.h"

namespace egpu::testing {

class SimTest : public ::testing::Test {
  protected:
    SimTest() { ::setenv(kSimNvmlEnv, state_.c_str(), 1); }

    // Makes the node and writes its state file.
    SimGpus& sim(std::string_view profile) {
        auto made = SimGpus::make(profile, "node-1");
        EXPECT_TRUE(made.ok());
        sim_.emplace(std::move(*made));
        save();
        return *sim_;
    }
    void save() { ASSERT_TRUE(sim_->write(state_).ok()); }

    static constexpr const char* kLibrary = EDGE_GPU_SIM_LIBRARY;
    static constexpr const char* kLibrary450 = EDGE_GPU_SIM_450_LIBRARY;

    TempFolder folder_;
    std::filesystem::path state_ = folder_ / "nvml";
    std::optional<SimGpus> sim_;
};

}  // namespace egpu::testing
