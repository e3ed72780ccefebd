#include "core/request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/model.h"

namespace egpu::core {
namespace {

using testing::HasSubstr;
using Annotations = std::map<std::string, std::string>;

ContainerSpec percent(std::string name, std::string amount) {
    return {std::move(name), ContainerKind::kApp, std::move(amount), ""};
}
ContainerSpec whole(std::string name, std::string amount) {
    return {std::move(name), ContainerKind::kApp, "", std::move(amount)};
}

// More than an annotation of a placement may say, so bind could not write it down.
TEST(Request, AMemoryCapBeyondAnyCardIsRefused) {
    EXPECT_TRUE(parse_request({percent("main", "20")}, {{"edge-gpu.io/memory", "1Pi"}}).ok());
    for (const char* amount : {"2Pi", "8Ei", "99999999999999999999"}) {
        for (const char* key : {"edge-gpu.io/memory", "edge-gpu.io/memory-main"}) {
            const auto request = parse_request({percent("main", "20")}, {{key, amount}});
            ASSERT_FALSE(request.ok()) << amount;
            EXPECT_THAT(request.error().message, HasSubstr(key));
            EXPECT_THAT(request.error().message, HasSubstr(amount));
        }
    }
}

TEST(Request, SharesAndWholeCards) {
    const auto request = parse_request(
        {{"prepare", ContainerKind::kInit, "10", ""},
         {"proxy", ContainerKind::kSidecar, "5", ""},
         percent("main", "2e1"),
         percent("all", "100"),
         percent("more", "300"),
         whole("nv", "2")},
        {}
    );
    ASSERT_TRUE(request.ok()) << request.error().message;
    ASSERT_EQ(request->containers.size(), 6);
    const auto& c = request->containers;
    EXPECT_EQ(c[0].kind, ContainerKind::kInit);
    EXPECT_EQ(c[1].kind, ContainerKind::kSidecar);
    EXPECT_EQ(c[2].percent, 20);
    EXPECT_FALSE(c[2].whole);
    EXPECT_EQ(c[2].units(), 20);
    EXPECT_TRUE(c[3].whole);
    EXPECT_EQ(c[3].cards, 1);
    EXPECT_EQ(c[4].cards, 3);
    EXPECT_EQ(c[4].units(), 300);
    EXPECT_EQ(c[5].resource, kResourceWhole);
    EXPECT_EQ(c[5].units(), 2);
    EXPECT_TRUE(c[5].whole);
}

TEST(Request, NothingAskedIsEmptyAndIgnoresAnnotations) {
    const auto request = parse_request(
        {percent("a", "0"), percent("b", ""), whole("c", "0")},
        {{"edge-gpu.io/policy", "nonsense"}, {"edge-gpu.io/memory", "nonsense"}}
    );
    ASSERT_TRUE(request.ok());
    EXPECT_TRUE(request->empty());
}

TEST(Request, RefusesWithTheContainerAndTheFix) {
    const auto message = [](std::vector<ContainerSpec> containers) {
        const auto request = parse_request(containers, {});
        EXPECT_FALSE(request.ok());
        return request.ok() ? "" : request.error().message;
    };
    EXPECT_EQ(
        message({percent("main", "150")}),
        "container main: nano-gpu/gpu-percent 150 is neither 1..100 nor a multiple of 100"
    );
    EXPECT_THAT(message({percent("main", "101")}), HasSubstr("multiple of 100"));
    EXPECT_THAT(message({percent("main", "-5")}), HasSubstr("negative"));
    EXPECT_THAT(message({percent("main", "x")}), HasSubstr("not a quantity"));
    EXPECT_THAT(message({whole("main", "1e18")}), HasSubstr("more than 1024 cards"));
    EXPECT_THAT(message({percent("main", "1E")}), HasSubstr("more than 1024 cards"));
    EXPECT_THAT(message({{"main", ContainerKind::kApp, "20", "1"}}), HasSubstr("asks for both"));
    EXPECT_THAT(
        message(std::vector<ContainerSpec>(129, percent("c", "1"))), HasSubstr("129 containers")
    );
}

TEST(Request, NamesAreUnique) {
    const auto request =
        parse_request({percent("a", "10"), percent("b", "20"), percent("b", "")}, {});
    ASSERT_FALSE(request.ok());
    EXPECT_EQ(request.error().message, "two containers are named \"b\"");
}

TEST(Request, MemoryAnnotation) {
    const std::vector<ContainerSpec> pod = {
        percent("main", "20"), percent("side", "10"), {"none", ContainerKind::kApp, "", ""}};
    const auto caps = [&](Annotations annotations) {
        const auto request = parse_request(pod, annotations);
        EXPECT_TRUE(request.ok()) << request.error().message;
        return std::pair(request->containers[0].memory_mib, request->containers[1].memory_mib);
    };
    EXPECT_EQ(caps({}), std::pair(0L, 0L));
    EXPECT_EQ(caps({{"edge-gpu.io/memory", "4Gi"}}), std::pair(4096L, 4096L));
    EXPECT_EQ(caps({{"edge-gpu.io/memory", " main = 4Gi , side=1Gi"}}), std::pair(4096L, 1024L));
    EXPECT_EQ(caps({{"edge-gpu.io/memory", "side=1Gi"}}), std::pair(0L, 1024L));
    EXPECT_EQ(caps({{"edge-gpu.io/memory-main", "2Gi"}}), std::pair(2048L, 0L));
    EXPECT_EQ(caps({{"edge-gpu.io/memory-none", "2Gi"}}), std::pair(0L, 0L));
    EXPECT_EQ(
        caps({{"edge-gpu.io/memory", "4Gi"}, {"edge-gpu.io/memory-side", "2Gi"}}),
        std::pair(4096L, 2048L)
    );
    const auto message = [&](std::string key, std::string value) {
        const auto request = parse_request(pod, {{key, value}});
        EXPECT_FALSE(request.ok()) << key << "=" << value;
        return request.ok() ? "" : request.error().message;
    };
    EXPECT_THAT(message("edge-gpu.io/memory", "other=4Gi"), HasSubstr("\"other\""));
    EXPECT_THAT(message("edge-gpu.io/memory-other", "4Gi"), HasSubstr("does not have"));
    EXPECT_THAT(message("edge-gpu.io/memory", "main=1Gi,main=2Gi"), HasSubstr("twice"));
    EXPECT_THAT(message("edge-gpu.io/memory", "main=1Gi,2Gi"), HasSubstr("<container>=<amount>"));
    EXPECT_THAT(message("edge-gpu.io/memory", "main=1Gi,"), HasSubstr("<container>=<amount>"));
    EXPECT_THAT(message("edge-gpu.io/memory", "4"), HasSubstr("4Gi"));
    EXPECT_THAT(message("edge-gpu.io/memory", ""), HasSubstr("edge-gpu.io/memory"));
    EXPECT_THAT(message("edge-gpu.io/memory-main", "lots"), HasSubstr("edge-gpu.io/memory-main"));
}

TEST(Request, PolicyModelAndCompute) {
    const std::vector<ContainerSpec> pod = {percent("main", "20")};
    const auto request = parse_request(
        pod,
        {{"edge-gpu.io/policy", "spread"},
         {"edge-gpu.io/gpu-model", "Tesla T4 | A10"},
         {"edge-gpu.io/compute", "burst"},
         {"edge-gpu.io/priority", " best-effort "}}
    );
    ASSERT_TRUE(request.ok()) << request.error().message;
    EXPECT_EQ(request->policy, "spread");
    EXPECT_EQ(request->models, (std::vector<std::string>{"Tesla T4", "A10"}));
    EXPECT_EQ(request->compute, ComputeMode::kBurst);
    EXPECT_EQ(request->priority, GpuPriority::kBestEffort);
    const auto message = [&](std::string key, std::string value) {
        const auto bad = parse_request(pod, {{key, value}});
        EXPECT_FALSE(bad.ok()) << key << "=" << value;
        return bad.ok() ? "" : bad.error().message;
    };
    EXPECT_THAT(message("edge-gpu.io/policy", "best"), HasSubstr("binpack, spread, random"));
    EXPECT_THAT(message("edge-gpu.io/compute", "Hard"), HasSubstr("hard, soft, burst, off"));
    EXPECT_THAT(
        message("edge-gpu.io/priority", "high"),
        HasSubstr("edge-gpu.io/priority \"high\" is none of guaranteed, best-effort")
    );
    EXPECT_THAT(message("edge-gpu.io/priority", ""), HasSubstr("guaranteed, best-effort"));
    EXPECT_THAT(message("edge-gpu.io/gpu-model", "T4||A10"), HasSubstr("Tesla T4|A10"));
    EXPECT_THAT(message("edge-gpu.io/gpu-model", ""), HasSubstr("edge-gpu.io/gpu-model"));
    EXPECT_THAT(message("edge-gpu.io/gpu-model", "--"), HasSubstr("edge-gpu.io/gpu-model"));
}

TEST(Model, MatchesWholeWordsWithoutCase) {
    EXPECT_TRUE(model_matches("Tesla T4", "Tesla T4"));
    EXPECT_TRUE(model_matches("tesla-t4", "Tesla T4"));
    EXPECT_TRUE(model_matches("t4", "Tesla T4"));
    EXPECT_TRUE(model_matches("A10", "NVIDIA A10"));
    EXPECT_TRUE(model_matches("NVIDIA A10", "A10"));
    EXPECT_TRUE(model_matches("NVIDIA", "NVIDIA A10") == false);  // a vendor is no model
    EXPECT_TRUE(model_matches("H100 80GB", "NVIDIA H100 80GB HBM3"));
    EXPECT_TRUE(model_matches("A100", "NVIDIA A100-SXM4-40GB"));
    EXPECT_FALSE(model_matches("A10", "NVIDIA A100-SXM4-40GB"));
    EXPECT_FALSE(model_matches("100", "NVIDIA A100-SXM4-40GB"));
    EXPECT_FALSE(model_matches("T4", ""));
    EXPECT_FALSE(model_matches("", "Tesla T4"));
    EXPECT_TRUE(model_acceptable({}, ""));
    EXPECT_TRUE(model_acceptable({"A10", "T4"}, "Tesla T4"));
    EXPECT_FALSE(model_acceptable({"A10", "V100"}, "Tesla T4"));
}

}  // namespace
}  // namespace egpu::core
