#include "k8s/codec.h"

#include <gtest/gtest.h>

namespace egpu::k8s {
namespace {

json::value parsed(std::string_view text) {
    auto v = json::parse(text);
    EXPECT_TRUE(v) << text;
    return *v;
}

TEST(Codec, Pod) {
    const auto pod = pod_from_json(parsed(R"({
        "metadata": {"name":"p","namespace":"ns","uid":"u","resourceVersion":"7","creationTimestamp":null,
                     "deletionTimestamp":"2026-01-01T00:00:00Z",
                     "annotations":{"kubernetes.io/config.hash":"h","odd":3},"labels":null},
        "spec": {"nodeName":"n1","priority":1000,"schedulerName":"s",
                 "initContainers":[{"name":"i","resources":{}},
                                   {"name":"s","restartPolicy":"Always","resources":{"limits":{"nano-gpu/gpu-percent":"20"}}}],
                 "containers":[{"name":"a","resources":{"requests":{"nvidia.com/gpu":2}}},
                               {"name":"b","resources":{"limits":{"nano-gpu/gpu-percent":2e1},"requests":{"nano-gpu/gpu-percent":"30"}}},
                               {"name":"c"}]},
        "status": {"phase":"Succeeded"}})"));
    ASSERT_TRUE(pod) << pod.error().message;
    EXPECT_EQ(pod->meta.key(), "ns/p");
    EXPECT_EQ(pod->meta.uid, "u");
    EXPECT_EQ(pod->meta.annotations.size(), 1U);
    EXPECT_EQ(pod->static_hash, "h");
    EXPECT_TRUE(pod->meta.deleting);
    EXPECT_TRUE(pod->terminal());
    EXPECT_EQ(pod->priority, 1000);
    ASSERT_EQ(pod->containers.size(), 5U);
    EXPECT_EQ(pod->containers[0].kind, core::ContainerKind::kInit);
    EXPECT_EQ(pod->containers[1].kind, core::ContainerKind::kSidecar);
    EXPECT_EQ(pod->containers[1].percent, "20");
    EXPECT_EQ(pod->containers[2].whole, "2");
    EXPECT_EQ(pod->containers[2].kind, core::ContainerKind::kApp);
    EXPECT_EQ(pod->containers[4].percent, "");
    const auto request = core::parse_request(pod->containers, pod->meta.annotations);
    ASSERT_TRUE(request) << request.error().message;
    EXPECT_EQ(request->containers.at(2).percent, 20) << "the number 2e1 is a quantity, too";
}

TEST(Codec, PodsThatAreNone) {
    for (const char* text :
         {"[]",
          "null",
          "{}",
          R"({"metadata":{}})",
          R"({"metadata":{"name":""}})",
          R"({"metadata":{"name":"p"},"spec":{"containers":{}}})",
          R"({"metadata":{"name":"p"},"spec":{"containers":[1]}})",
          R"({"metadata":{"name":"p"},"spec":{"containers":[{}]}})"}) {
        EXPECT_FALSE(pod_from_json(parsed(text))) << text;
    }
    EXPECT_TRUE(pod_from_json(parsed(R"({"metadata":{"name":"p"},"spec":null,"status":7})")));
}

TEST(Codec, Node) {
    const auto node = node_from_json(parsed(R"({
        "metadata":{"name":"n","annotations":{"edge-gpu.io/cards":"[]"}},
        "spec":{"unschedulable":true},
        "status":{"capacity":{"nano-gpu/gpu-percent":"400","nvidia.com/gpu":"4"},
                  "allocatable":{"nano-gpu/gpu-percent":"300"},
                  "conditions":[{"type":"MemoryPressure","status":"False"},{"type":"Ready","status":"True"}]}})"
    ));
    ASSERT_TRUE(node);
    EXPECT_EQ(node->meta.key(), "n");
    EXPECT_EQ(node->percent_capacity, "400");
    EXPECT_EQ(node->percent_allocatable, "300");
    EXPECT_EQ(node->whole_capacity, "4");
    EXPECT_EQ(node->whole_allocatable, "");
    EXPECT_TRUE(node->unschedulable);
    EXPECT_TRUE(node->ready);
    EXPECT_FALSE(
        node_from_json(
            parsed(
                R"({"metadata":{"name":"n"},"status":{"conditions":[{"type":"Ready","status":"Unknown"}]}})"
            )
        )
            ->ready
    );
}

TEST(Codec, QualifiedNames) {
    const std::string n63(63, 'a');
    for (const std::string& good :
         {std::string("a"),
          std::string("nano-gpu/assume"),
          "example.com/" + n63,
          std::string("nano-gpu/container-a_b.c"),
          std::string("A/b").replace(0, 1, "a")}) {
        EXPECT_TRUE(is_qualified_name(good)) << good;
    }
    for (const std::string& bad :
         {std::string(),
          std::string("/"),
          std::string("a/"),
          std::string("/a"),
          "a/" + n63 + "a",
          std::string("A/b"),
          std::string("a/b/c"),
          std::string("a/-b"),
          std::string("a/b-"),
          std::string("a b"),
          std::string("-a/b"),
          std::string("a-/b"),
          std::string("a..b/c"),
          std::string("a.-b/c"),
          std::string("a-.b/c"),
          std::string("a/b\n"),
          std::string("ü")}) {
        EXPECT_FALSE(is_qualified_name(bad)) << bad;
    }
}

}  // namespace
}  // namespace egpu::k8s
