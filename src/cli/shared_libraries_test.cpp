#include "cli/shared_libraries.h"

#include <gtest/gtest.h>

namespace egpu::cli {
namespace {

TEST(SharedLibraries, TheLoadersOutput) {
    const auto libraries = parse_loader_output(
        "\tlinux-vdso.so.1 (0x00007fb163ba9000)\n"
        "\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007fb163b77000)\n"
        "\tlibfmt.so.9 => not found\n"
        "\tlibodd.so => /opt/a b (0xc)/libodd.so (0x00007fb163b77000)\n"
        "\t/lib64/ld-linux-x86-64.so.2 (0x00007fb163bab000)\n"
        "garbage"
    );
    ASSERT_EQ(libraries.size(), 3U);
    EXPECT_EQ(libraries[0].name, "libz.so.1");
    EXPECT_EQ(libraries[0].file, "/lib/x86_64-linux-gnu/libz.so.1");
    EXPECT_EQ(libraries[1].name, "libfmt.so.9");
    EXPECT_EQ(libraries[1].file, "");
    EXPECT_EQ(libraries[2].file, "/opt/a b (0xc)/libodd.so");
}

TEST(SharedLibraries, WhatTheSystemHas) {
    for (const char* name :
         {"libc.so.6", "libstdc++.so.6", "libssl.so.3", "libgcc_s.so.1", "ld-linux-x86-64.so.2"}) {
        EXPECT_TRUE(is_of_the_system(name)) << name;
    }
    for (const char* name :
         {"libspdlog.so.1.10",
          "libfmt.so.9",
          "libprometheus-cpp-core.so.1.0",
          "libcares.so.2",
          ""}) {
        EXPECT_FALSE(is_of_the_system(name)) << name;
    }
}

}  // namespace
}  // namespace egpu::cli
