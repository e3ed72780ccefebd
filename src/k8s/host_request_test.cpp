#include "k8s/host_request.h"

#include <gtest/gtest.h>

namespace egpu::k8s {
namespace {

core::HostAmounts of(std::string_view spec) {
    const auto pod = json::parse(R"({"spec":)" + std::string(spec) + "}");
    EXPECT_TRUE(pod.ok()) << spec;
    return pod ? host_request(*pod) : core::HostAmounts{};
}

using core::HostAmounts;

TEST(HostRequest, ContainersAddUp) {
    EXPECT_EQ(
        of(R"({"containers":[
            {"name":"a","resources":{"requests":{"cpu":"1500m","memory":"1Gi"}}},
            {"name":"b","resources":{"requests":{"cpu":1,"memory":"1"}}}]})"),
        (HostAmounts{2500, 1025})
    );
}

TEST(HostRequest, LimitsStandInForRequestsThatAreMissing) {
    EXPECT_EQ(
        of(R"({"containers":[{"name":"a","resources":
            {"limits":{"cpu":"2","memory":"2Gi"},"requests":{"cpu":"1"}}}]})"),
        (HostAmounts{1000, 2048})
    );
}

TEST(HostRequest, AnInitContainerCountsWhenItAsksForMore) {
    constexpr const char* kTwo = R"({"initContainers":[
            {"name":"i","resources":{"requests":{"cpu":"3","memory":"10Mi"}}},
            {"name":"j","resources":{"requests":{"cpu":"1","memory":"20Mi"}}}],
        "containers":[{"name":"a","resources":{"requests":{"cpu":"1","memory":"30Mi"}}}]})";
    EXPECT_EQ(of(kTwo), (HostAmounts{3000, 30}));
}

TEST(HostRequest, SidecarsRunBesideWhatComesAfterThem) {
    constexpr const char* kSidecar = R"({"initContainers":[
            {"name":"i","resources":{"requests":{"cpu":"2500m"}}},
            {"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"1"}}},
            {"name":"j","resources":{"requests":{"cpu":"2"}}}],
        "containers":[{"name":"a","resources":{"requests":{"cpu":"500m"}}}]})";
    EXPECT_EQ(of(kSidecar).cpu_milli, 3000);  // s and j
    constexpr const char* kLate = R"({"initContainers":[
            {"name":"j","resources":{"requests":{"cpu":"2"}}},
            {"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"1"}}}],
        "containers":[{"name":"a","resources":{"requests":{"cpu":"500m"}}}]})";
    EXPECT_EQ(of(kLate).cpu_milli, 2000);  // j alone
}

TEST(HostRequest, OverheadAndAmountsOfTheWholePod) {
    EXPECT_EQ(
        of(R"({"overhead":{"cpu":"250m","memory":"120Mi"},"resources":{"requests":{"cpu":"4"}},
            "containers":[{"name":"a","resources":{"requests":{"cpu":"1","memory":"8Mi"}}}]})"),
        (HostAmounts{4250, 128})
    );
}

TEST(HostRequest, WhatCannotBeReadCountsAsNothing) {
    EXPECT_EQ(
        of(R"({"overhead":7,"initContainers":{},"containers":[3,
            {"name":"a","resources":{"requests":{"cpu":"much","memory":"-3Gi"}}},
            {"name":"b","resources":{"requests":{"cpu":"1e30"}}}]})"),
        (HostAmounts{std::int64_t{1} << 40, 0})
    );
    EXPECT_EQ(host_request(json::value(nullptr)), HostAmounts{});
}

}  // namespace
}  // namespace egpu::k8s
