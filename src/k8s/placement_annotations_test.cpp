#include "k8s/placement_annotations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "k8s/codec.h"

namespace egpu::k8s {
namespace {

using testing::HasSubstr;

core::PodRequest request_of(
    std::vector<std::pair<std::string, std::pair<int, int>>> containers  // name, percent, cards
) {
    core::PodRequest request;
    for (auto& [name, want] : containers) {
        core::ContainerRequest& c = request.containers.emplace_back();
        c.name = name;
        c.percent = want.first;
        c.cards = want.second;
        c.whole = want.first == 100;
    }
    return request;
}

TEST(PlacementAnnotations, WritesWhatNanoGpuReads) {
    const core::Placement placement{
        {{"main", {{"GPU-1", 3, 20, 0}}},
         {"pair", {{"GPU-1", 0, 100, 0}, {"GPU-2", 2, 100, 4096}}},
         {std::string(63, 'x'), {{"GPU-1", 1, 5, 0}}}}};
    const StringMap out = to_annotations(placement);
    EXPECT_EQ(out.size(), 4U) << "the long name has no key of its own";
    EXPECT_EQ(out.at("nano-gpu/assume"), "true");
    EXPECT_EQ(out.at("nano-gpu/container-main"), "3");
    EXPECT_EQ(out.at("nano-gpu/container-pair"), "0,2");
    EXPECT_EQ(
        out.at("edge-gpu.io/placement").substr(0, 110),
        R"({"version":1,"containers":[{"name":"main","cards":[{"uuid":"GPU-1","index":3,"percent":20}]},{"name":"pair",)" +
            std::string("\"c")
    );
    for (const auto& [key, v] : out) EXPECT_TRUE(is_qualified_name(key)) << key;
}

TEST(PlacementAnnotations, RoundTripsAtRandom) {
    Random random(20260101);
    for (int round = 0; round < 500; ++round) {
        core::Placement placement;
        core::PodRequest request;
        const int count = random.between(1, 5);
        for (int c = 0; c < count; ++c) {
            const int cards = random.chance(0.3) ? random.between(1, 4) : 1;
            const int percent = cards > 1 ? 100 : random.between(1, 100);
            core::ContainerRequest& wanted = request.containers.emplace_back();
            wanted.name = "c" + std::to_string(c);
            wanted.percent = percent;
            wanted.cards = cards;
            core::ContainerPlacement& given = placement.containers.emplace_back();
            given.container = wanted.name;
            for (int i = 0; i < cards; ++i) {
                given.cards.push_back(
                    {"GPU-" + std::to_string(i), i * 3, percent, random.between(0, 1) * 512}
                );
            }
        }
        const auto back = from_annotations(to_annotations(placement), request);
        ASSERT_TRUE(back) << back.error().message;
        ASSERT_TRUE(*back);
        EXPECT_EQ(**back, placement);
        EXPECT_EQ(*parse_placement(placement_text(placement)), placement);

        StringMap theirs = to_annotations(placement);
        theirs.erase("edge-gpu.io/placement");
        const auto nano = from_annotations(theirs, request);
        ASSERT_TRUE(nano && *nano);
        for (std::size_t c = 0; c < placement.containers.size(); ++c) {
            for (std::size_t i = 0; i < placement.containers[c].cards.size(); ++i) {
                const core::CardShare& card = (**nano).containers[c].cards[i];
                EXPECT_EQ(card.index, placement.containers[c].cards[i].index);
                EXPECT_EQ(card.percent, placement.containers[c].cards[i].percent);
                EXPECT_EQ(card.uuid, "");
            }
        }
    }
}

// A node has up to 1,024 cards, whose indexes are its agent's affair, and a pod up to 128
// containers: what bind writes must be believed when it comes back.
TEST(PlacementAnnotations, TheLargestPlacementsAreReadBack) {
    core::Placement wide{{{"main", {}}}};
    for (int i = 0; i < 1024; ++i) {
        wide.containers[0].cards.push_back({"GPU-" + std::to_string(i), i * 900, 100, 0});
    }
    const auto back = from_annotations(to_annotations(wide), request_of({{"main", {100, 1024}}}));
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(**back, wide);
    core::Placement deep;
    core::PodRequest request;
    for (int c = 0; c < 128; ++c) {
        core::ContainerPlacement& container = deep.containers.emplace_back();
        container.container = "init-" + std::to_string(c);
        for (int i = 0; i < 16; ++i) {
            const std::string uuid = "GPU-01234567-89ab-cdef-0123-45678901234" + std::to_string(i);
            container.cards.push_back({uuid, i, 100, 0});
        }
        core::ContainerRequest& wanted = request.containers.emplace_back();
        wanted.name = container.container;
        wanted.percent = 100;
        wanted.cards = 16;
    }
    const auto all = from_annotations(to_annotations(deep), request);
    ASSERT_TRUE(all) << all.error().message;
    EXPECT_EQ(**all, deep);
}

TEST(PlacementAnnotations, NoneIsNone) {
    const auto request = request_of({{"a", {20, 1}}});
    EXPECT_FALSE(*from_annotations({}, request));
    EXPECT_FALSE(*from_annotations({{"nano-gpu/container-a", "1"}}, request)) << "without assume";
    EXPECT_FALSE(*from_annotations({{"nano-gpu/assume", "true"}}, core::PodRequest{}))
        << "no GPU asked for";
    EXPECT_FALSE(*from_annotations({{"edge-gpu.io/placement", "rubbish"}}, core::PodRequest{}));
}

TEST(PlacementAnnotations, NanoGpuContainersWithoutAGpuAreNone) {
    const auto got = from_annotations(
        {{"nano-gpu/assume", "true"},
         {"nano-gpu/container-a", "2"},
         {"nano-gpu/container-b", "-1"}},
        request_of({{"a", {20, 1}}})
    );
    ASSERT_TRUE(got && *got);
    EXPECT_EQ((**got).containers.size(), 1U);
}

TEST(PlacementAnnotations, UntrustedNanoGpuValues) {
    const auto request = request_of({{"a", {20, 1}}});
    const auto wide = request_of({{"a", {100, 2}}});
    for (const char* value :
         {"", "x", "-1", "-2", "1000001", "1,2", "0x1", "1 2", "99999999999999999999", ",", "1,"}) {
        const auto got = from_annotations(
            {{"nano-gpu/assume", "true"}, {"nano-gpu/container-a", value}}, request
        );
        ASSERT_FALSE(got) << value;
        EXPECT_EQ(got.error().code, ErrorCode::kInvalid);
        EXPECT_THAT(got.error().message, HasSubstr("nano-gpu/container-a"));
    }
    for (const char* value : {"1", "1,1", "1,2,3"}) {
        EXPECT_FALSE(
            from_annotations({{"nano-gpu/assume", "true"}, {"nano-gpu/container-a", value}}, wide)
        ) << value;
    }
    const auto spaced =
        from_annotations({{"nano-gpu/assume", "true"}, {"nano-gpu/container-a", "1, 2"}}, wide);
    ASSERT_TRUE(spaced) << spaced.error().message;
    const auto missing = from_annotations({{"nano-gpu/assume", "true"}}, request);
    ASSERT_FALSE(missing);
    EXPECT_THAT(missing.error().message, HasSubstr("missing"));
}

TEST(PlacementAnnotations, UntrustedPlacements) {
    const auto card = [](const std::string& fields) {
        return R"({"version":1,"containers":[{"name":"a","cards":[)" + fields + "]}]}";
    };
    for (const std::string& text :
         {std::string(),
          std::string("7"),
          std::string("{}"),
          std::string(R"({"version":2,"containers":[]})"),
          std::string(R"({"version":1,"containers":{}})"),
          std::string(R"({"version":1,"containers":[3]})"),
          std::string(R"({"version":1,"containers":[{"name":"","cards":[]}]})"),
          card(""),
          card("3"),
          card(R"({"uuid":"GPU-1","index":0})"),
          card(R"({"uuid":"GPU-1","index":0,"percent":0})"),
          card(R"({"uuid":"GPU-1","index":0,"percent":101})"),
          card(R"({"uuid":"GPU-1","index":-1,"percent":5})"),
          card(R"({"uuid":"GPU-1","index":1000001,"percent":5})"),
          card(R"({"uuid":"GPU 1","index":0,"percent":5})"),
          card(R"({"uuid":"GPU-1","index":0.5,"percent":5})"),
          card(R"({"uuid":"GPU-1","index":0,"percent":5,"memoryMiB":-1})"),
          card(R"({"uuid":"GPU-1","index":0,"percent":5,"memoryMiB":"1"})"),
          card(R"({"uuid":"GPU-1","index":0,"percent":5},{"uuid":"GPU-2","index":0,"percent":5})"),
          card(R"({"uuid":"GPU-1","index":0,"percent":5},{"uuid":"GPU-1","index":1,"percent":5})"),
          std::string(70'000, ' ')}) {
        const auto got = parse_placement(text);
        EXPECT_FALSE(got) << text.substr(0, 120);
    }
    EXPECT_TRUE(parse_placement(card(R"({"uuid":"","index":0,"percent":5,"new":[1]})")));
}

// With time-slicing a device of nvidia.com/gpu is a part of a card.
TEST(PlacementAnnotations, ADeviceOfNvidiaMayBeAShare) {
    core::PodRequest request = request_of({{"main", {100, 2}}});
    const StringMap annotations =
        to_annotations({{{"main", {{"GPU-1", 1, 25, 0}, {"GPU-2", 2, 25, 0}}}}});
    EXPECT_FALSE(from_annotations(annotations, request).ok()) << "of nano-gpu/gpu-percent";
    request.containers[0].resource = core::kResourceWhole;
    const auto placement = from_annotations(annotations, request);
    ASSERT_TRUE(placement.ok()) << placement.error().message;
    EXPECT_EQ((*placement)->containers[0].cards[1].percent, 25);
}

TEST(PlacementAnnotations, MustAgreeWithTheRequest) {
    const core::Placement placement{{{"a", {{"GPU-1", 0, 20, 0}}}, {"b", {{"GPU-1", 0, 30, 0}}}}};
    const StringMap annotations = to_annotations(placement);
    EXPECT_TRUE(from_annotations(annotations, request_of({{"b", {30, 1}}, {"a", {20, 1}}})));
    for (const auto& request :
         {request_of({{"a", {20, 1}}}),
          request_of({{"a", {20, 1}}, {"c", {30, 1}}}),
          request_of({{"a", {20, 1}}, {"b", {31, 1}}}),
          request_of({{"a", {20, 1}}, {"b", {30, 2}}})}) {
        const auto got = from_annotations(annotations, request);
        ASSERT_FALSE(got);
        EXPECT_THAT(got.error().message, HasSubstr("edge-gpu.io/placement"));
    }
}

}  // namespace
}  // namespace egpu::k8s
