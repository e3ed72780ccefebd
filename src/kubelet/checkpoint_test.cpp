#include "kubelet/checkpoint.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>

namespace egpu::kubelet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

TEST(Checkpoint, ReadsTheMapByNumaNode) {
    const auto got = parse_checkpoint(
        R"({"Data":{"PodDeviceEntries":[{"PodUID":"u1","ContainerName":"main",)"
        R"("ResourceName":"nano-gpu/gpu-percent","DeviceIDs":{"1":["b","a"],"0":["c"]},)"
        R"("AllocResp":"CgYKAWESAWI="}],"RegisteredDevices":)"
        R"({"nano-gpu/gpu-percent":["c","b","a","d"]}},"Checksum":1234567890})"
    );
    ASSERT_TRUE(got.ok()) << got.error().message;
    ASSERT_EQ(got->entries.size(), 1U);
    const auto& entry = got->entries[0];
    EXPECT_EQ(entry.pod_uid, "u1");
    EXPECT_EQ(entry.container, "main");
    EXPECT_EQ(entry.resource, "nano-gpu/gpu-percent");
    EXPECT_THAT(entry.device_ids, ElementsAre("a", "b", "c"));
    EXPECT_THAT(
        got->registered, ElementsAre(Pair("nano-gpu/gpu-percent", ElementsAre("a", "b", "c", "d")))
    );
    const auto answer = decode_allocate_response(entry.allocate_response);
    ASSERT_TRUE(answer.ok());
    EXPECT_THAT(answer->envs, ElementsAre(Pair("a", "b")));
}

TEST(Checkpoint, ReadsTheFlatListAndNulls) {
    const auto got = parse_checkpoint(
        R"({"Data":{"PodDeviceEntries":[)"
        R"({"PodUID":"u","ContainerName":"c","ResourceName":"x/y","DeviceIDs":["2","1","2"]},)"
        R"({"PodUID":"u","ContainerName":"d","ResourceName":"x/y","DeviceIDs":null,"AllocResp":null},)"
        R"({"PodUID":"u","ContainerName":"e","ResourceName":"x/y","DeviceIDs":{"-1":null}}],)"
        R"("RegisteredDevices":{"x/y":null}},"Checksum":0})"
    );
    ASSERT_TRUE(got.ok()) << got.error().message;
    ASSERT_EQ(got->entries.size(), 3U);
    EXPECT_THAT(got->entries[0].device_ids, ElementsAre("1", "2"));
    EXPECT_TRUE(got->entries[1].device_ids.empty());
    EXPECT_TRUE(got->entries[2].device_ids.empty());

    const auto empty =
        parse_checkpoint(R"({"Data":{"PodDeviceEntries":null,"RegisteredDevices":{}},"Checksum":9})"
        );
    ASSERT_TRUE(empty.ok());
    EXPECT_TRUE(empty->entries.empty());
}

TEST(Checkpoint, RefusesNonsenseAndNamesIt) {
    const auto message = [](std::string_view text) {
        const auto got = parse_checkpoint(text);
        EXPECT_FALSE(got.ok()) << text;
        if (got.ok()) return std::string();
        EXPECT_EQ(got.error().code, ErrorCode::kCorrupt);
        return got.error().message;
    };
    EXPECT_THAT(message(""), HasSubstr("not valid JSON"));
    EXPECT_THAT(message("[]"), HasSubstr("Data"));
    EXPECT_THAT(message(R"({"Data":3,"Checksum":1})"), HasSubstr("Data"));
    EXPECT_THAT(message(R"({"Data":{}})"), HasSubstr("Checksum"));
    EXPECT_THAT(message(R"({"Data":{},"Checksum":"1"})"), HasSubstr("Checksum"));
    EXPECT_THAT(
        message(R"({"Data":{"PodDeviceEntries":{}},"Checksum":1})"), HasSubstr("PodDeviceEntries")
    );
    EXPECT_THAT(message(R"({"Data":{"PodDeviceEntries":[7]},"Checksum":1})"), HasSubstr("PodUID"));
    const std::string head =
        R"({"Data":{"PodDeviceEntries":[{"PodUID":"u","ContainerName":"c","ResourceName":"r/s",)";
    EXPECT_THAT(message(head + R"("DeviceIDs":"a"}]},"Checksum":1})"), HasSubstr("DeviceIDs"));
    EXPECT_THAT(message(head + R"("DeviceIDs":[1]}]},"Checksum":1})"), HasSubstr("DeviceIDs"));
    EXPECT_THAT(message(head + R"("AllocResp":"%%"}]},"Checksum":1})"), HasSubstr("AllocResp"));
    EXPECT_THAT(
        message(R"({"Data":{"RegisteredDevices":[]},"Checksum":1})"), HasSubstr("RegisteredDevices")
    );
    EXPECT_FALSE(decode_allocate_response("\xff\xff\xff").ok());
}

TEST(Checkpoint, MissingFileIsNotFound) {
    const auto got = read_checkpoint("/nonexistent/kubelet_internal_checkpoint");
    ASSERT_FALSE(got.ok());
    EXPECT_EQ(got.error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace egpu::kubelet
