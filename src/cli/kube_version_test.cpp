#include "cli/kube_version.h"

#include <gtest/gtest.h>

namespace egpu::cli {
namespace {

TEST(KubeVersion, WhatIsPrintedIsServed) {
    for (int minor = kFirstConfigMinor; minor < 60; ++minor) {
        const ConfigApi* api = find_config_api(best_config_api(minor));
        ASSERT_NE(api, nullptr) << minor;
        EXPECT_LE(api->first, minor);
        EXPECT_GE(api->last, minor);
    }
}

TEST(KubeVersion, Texts) {
    for (const auto& [text, minor] :
         {std::pair{"1.21", 21},
          {"v1.34.2", 34},
          {"1.21.3+k3s1", 21},
          {"1.22+", 22},
          {"1.19.0-rc.1", 19}}) {
        EXPECT_EQ(*parse_kube_version("kubernetes", text), minor) << text;
    }
}

}  // namespace
}  // namespace egpu::cli
