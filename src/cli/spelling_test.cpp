#include "cli/spelling.h"

#include <gtest/gtest.h>

namespace egpu::cli {
namespace {

constexpr std::string_view kNames[] = {
    "filterVerb", "weight", "nodeCacheCapable", "nano-gpu/gpu-percent"};

TEST(Spelling, Close) {
    EXPECT_EQ(closest("filterverb", kNames), "filterVerb");
    EXPECT_EQ(closest("fliterVerb", kNames), "filterVerb");
    EXPECT_EQ(closest("wieght", kNames), "weight");
    EXPECT_EQ(closest("nodeCacheCapabel", kNames), "nodeCacheCapable");
    EXPECT_EQ(closest("nano_gpu/gpu_percent", kNames), "nano-gpu/gpu-percent");
}

TEST(Spelling, NotClose) {
    for (const char* word : {"weight", "", "x", "height1", "filter", "amd.com/gpu"}) {
        EXPECT_EQ(closest(word, kNames), "") << word;
    }
    EXPECT_EQ(closest(std::string(100'000, 'w'), kNames), "");
}

}  // namespace
}  // namespace egpu::cli
