#include "core/planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace egpu::core {
namespace {

using testing::HasSubstr;

// Cards of 16,000 MiB, used to these percents.
std::vector<CardState> cards(std::vector<int> used, std::int64_t memory_mib = 16000) {
    std::vector<CardState> out;
    for (const int percent : used) {
        CardState state;
        state.card.index = static_cast<int>(out.size());
        state.card.uuid = "GPU-" + std::to_string(state.card.index);
        state.card.model = "Tesla T4";
        state.card.memory_mib = memory_mib;
        state.used_percent = percent;
        state.used_memory_mib = memory_mib * percent / 100;
        out.push_back(state);
    }
    return out;
}

ContainerRequest share(std::string name, int percent, ContainerKind kind = ContainerKind::kApp) {
    ContainerRequest request;
    request.name = std::move(name);
    request.kind = kind;
    request.percent = percent;
    request.whole = percent == 100;
    return request;
}

ContainerRequest wholes(
    std::string name, int count, std::string_view resource, ContainerKind kind = ContainerKind::kApp
) {
    ContainerRequest request = share(std::move(name), 100, kind);
    request.cards = count;
    request.resource = resource;
    return request;
}

PodRequest pod(std::vector<ContainerRequest> containers) {
    PodRequest request;
    request.containers = std::move(containers);
    return request;
}

// "main:0 side:1,2", or the misfit's text with "!" before it when permanent.
std::string planned(
    const std::vector<CardState>& on, const PodRequest& request, std::string_view policy = "binpack"
) {
    const PlanResult result = plan(on, request, *find_policy(policy));
    if (const auto* misfit = std::get_if<Misfit>(&result)) {
        return (misfit->permanent ? "!" : "") + misfit->text;
    }
    std::string text;
    for (const auto& container : std::get<Placement>(result).containers) {
        text += (text.empty() ? "" : " ") + container.container + ":";
        for (const auto& card : container.cards) {
            text += (text.back() == ':' ? "" : ",") + std::to_string(card.index);
            EXPECT_EQ(card.uuid, "GPU-" + std::to_string(card.index));
        }
    }
    return text;
}

TEST(Planner, PolicyChoosesTheCard) {
    const auto on = cards({0, 30, 60, 10});
    EXPECT_EQ(planned(on, pod({share("a", 20)})), "a:2");
    EXPECT_EQ(planned(on, pod({share("a", 50)})), "a:1");
    EXPECT_EQ(planned(on, pod({share("a", 20)}), "spread"), "a:0");
    EXPECT_EQ(planned(cards({0, 0}), pod({share("a", 20)})), "a:0");  // ties: lowest index
    EXPECT_EQ(planned(cards({0, 0}), pod({share("a", 20)}), "spread"), "a:0");
    EXPECT_EQ(planned(cards({0, 0}), pod({share("a", 20), share("b", 20)}), "spread"), "a:0 b:1");
    EXPECT_EQ(planned(cards({0, 0}), pod({share("a", 20), share("b", 20)})), "a:0 b:0");
}

TEST(Planner, RandomIsAFunctionOfItsKeys) {
    const auto on = cards(std::vector<int>(8, 0));
    const Policy& random = *find_policy("random");
    std::vector<int> seen(8);
    for (std::uint64_t key = 0; key < 200; ++key) {
        const auto once = plan(on, pod({share("a", 20)}), random, {1, key, 7});
        EXPECT_EQ(once, plan(on, pod({share("a", 20)}), random, {1, key, 7}));
        ++seen[std::get<Placement>(once).containers[0].cards[0].index];
    }
    for (const int times : seen) EXPECT_GT(times, 5);
}

TEST(Planner, WholeCardsNeedCompletelyFreeOnes) {
    EXPECT_EQ(planned(cards({0, 1, 0, 0}), pod({wholes("a", 2, kResourceWhole)})), "a:0,2");
    EXPECT_EQ(planned(cards({1, 0}), pod({share("a", 100)})), "a:1");
    EXPECT_EQ(planned(cards({1, 2}), pod({share("a", 100)})), "no completely free card");
    EXPECT_EQ(
        planned(cards({1, 0, 0}), pod({wholes("a", 3, kResourcePercent)})),
        "3 completely free cards needed, 2 there"
    );
    EXPECT_EQ(planned(cards({100, 0}), pod({share("a", 1)})), "a:1");
}

TEST(Planner, SaysWhatIsMissing) {
    EXPECT_EQ(planned(cards({50, 60}), pod({share("a", 60)})), "no card with 60 percent free");
    EXPECT_EQ(
        planned(cards({0}), pod({wholes("a", 2, kResourceWhole)})),
        "!asks for 2 cards in one container, the node has 1 that could serve"
    );
    EXPECT_EQ(planned({}, pod({share("a", 1)})), "!the node has no GPU cards");
    auto sick = cards({0, 0});
    sick[0].card.healthy = sick[1].card.healthy = false;
    EXPECT_EQ(planned(sick, pod({share("a", 1)})), "!no healthy card");
    sick[1].card.healthy = true;
    EXPECT_EQ(planned(sick, pod({share("a", 1)})), "a:1");
    PodRequest request = pod({share("a", 1)});
    request.models = {"A100", "H100"};
    EXPECT_EQ(planned(cards({0}), request), "!no healthy card of model A100 or H100");
    EXPECT_EQ(
        planned(cards({0}), pod({share("a", 60), share("b", 60)})),
        "!no room for the pod's 2 GPU containers together, not even on empty cards"
    );
    EXPECT_EQ(
        planned(cards({30, 30}), pod({share("a", 60), share("b", 60), share("c", 20)})),
        "no room for the pod's 3 GPU containers together"
    );
    EXPECT_EQ(planned(cards({30}), PodRequest{}), "");
}

TEST(Planner, MemoryIsAccounted) {
    PodRequest request = pod({share("a", 10)});
    request.containers[0].memory_mib = 12000;
    EXPECT_EQ(planned(cards({50, 20}), request), "a:1");
    EXPECT_EQ(planned(cards({50, 30}), request), "no card with 10 percent and 12000 MiB free");
    request.containers[0].memory_mib = 16001;
    EXPECT_EQ(planned(cards({0}), request), "!no card with 16001 MiB of memory");
    EXPECT_EQ(planned(cards({0}, 0), request), "a:0");  // unknown size: not accounted
    auto full = cards({10});
    full[0].used_memory_mib = 15000;  // a small share with a large cap
    EXPECT_EQ(planned(full, pod({share("a", 10)})), "no card with memory left for 10 percent");
    EXPECT_EQ(planned(full, pod({share("a", 6)})), "a:0");
    // On a whole card the cap must fit too.
    PodRequest big = pod({share("a", 100)});
    big.containers[0].memory_mib = 20000;
    EXPECT_EQ(planned(cards({0}), big), "!no card with 20000 MiB of memory");
}

TEST(Planner, InitContainersShareTheirCardWithWhatReusesTheirIds) {
    using enum ContainerKind;
    // One after another on one card; the app container draws from their IDs.
    EXPECT_EQ(
        planned(
            cards({0, 30}), pod({share("i", 50, kInit), share("j", 60, kInit), share("a", 20)})
        ),
        "i:1 j:1 a:1"
    );
    // The app container has to lie on the init container's card, so that card must hold it.
    EXPECT_EQ(planned(cards({80, 50}), pod({share("i", 10, kInit), share("a", 40)})), "i:1 a:1");
    EXPECT_EQ(
        planned(cards({80, 65}), pod({share("i", 10, kInit), share("a", 30), share("b", 10)})),
        "i:1 a:1 b:0"
    );
    // Peaks, not sums: 90 first, then 50 + 40.
    EXPECT_EQ(
        planned(cards({10}), pod({share("i", 90, kInit), share("a", 50), share("b", 40)})),
        "i:0 a:0 b:0"
    );
    // A sidecar started before an init container runs beside it and keeps its IDs.
    EXPECT_THAT(
        planned(cards({0}), pod({share("s", 20, kSidecar), share("i", 90, kInit), share("a", 10)})),
        HasSubstr("not even on empty cards")
    );
    EXPECT_EQ(
        planned(cards({0}), pod({share("i", 90, kInit), share("s", 20, kSidecar), share("a", 70)})),
        "i:0 s:0 a:0"
    );
    // Once the pool is used up, the rest is free to go elsewhere, and the next pool too.
    EXPECT_EQ(
        planned(
            cards({20, 40}),
            pod(
                {share("i", 30, kInit),
                 share("s", 70, kSidecar),
                 share("j", 30, kInit),
                 share("a", 50)}
            )
        ),
        "i:0 s:0 j:1 a:1"
    );
    EXPECT_EQ(
        planned(cards({40, 70}), pod({share("i", 60, kInit), share("a", 60), share("b", 30)})),
        "i:0 a:0 b:1"
    );
}

TEST(Planner, WholeCardsAreReused) {
    using enum ContainerKind;
    const auto nv = kResourceWhole;
    EXPECT_EQ(
        planned(
            cards({0, 0}), pod({wholes("i", 2, nv, kInit), wholes("a", 1, nv), wholes("b", 1, nv)})
        ),
        "i:0,1 a:0 b:1"
    );
    EXPECT_EQ(
        planned(cards({0, 0, 0}), pod({wholes("i", 1, nv, kInit), wholes("a", 3, nv)})),
        "i:0 a:0,1,2"
    );
    EXPECT_EQ(
        planned(cards({0, 0}), pod({share("i", 30, kInit), wholes("a", 2, kResourcePercent)})),
        "i:0 a:0,1"
    );
    // The two resources have pools of their own: the card of the one never serves the other.
    EXPECT_EQ(planned(cards({0, 0}), pod({wholes("i", 1, nv, kInit), share("a", 30)})), "i:0 a:1");
    EXPECT_THAT(
        planned(cards({0}), pod({wholes("i", 1, nv, kInit), share("a", 30)})),
        HasSubstr("not even on empty cards")
    );
    EXPECT_EQ(planned(cards({0, 0}), pod({share("a", 30), wholes("b", 1, nv)})), "a:1 b:0");
}

TEST(Planner, FindsWhatBestFitAloneMisses) {
    // Best-fit decreasing puts 36 beside 46 and is left with 27 and nowhere to put it.
    EXPECT_EQ(
        planned(
            cards({0, 0}),
            pod(
                {share("a", 46),
                 share("b", 36),
                 share("c", 36),
                 share("d", 28),
                 share("e", 27),
                 share("f", 27)}
            )
        ),
        "a:0 b:1 c:1 d:1 e:0 f:0"
    );
}

TEST(Planner, UseOfChecksThePlacement) {
    const std::vector<Card> node = {
        {"GPU-a", 0, "T4", 1000, -1, true}, {"GPU-b", 1, "T4", 1000, -1, true}};
    const PodRequest request =
        pod({share("i", 50, ContainerKind::kInit), share("a", 30), wholes("w", 1, kResourceWhole)});
    const auto at = [](std::string name, std::vector<CardShare> where) {
        return ContainerPlacement{std::move(name), std::move(where)};
    };
    const CardShare a{"GPU-a", 7, 50, 0};  // the UUID counts, not the index
    const CardShare b{"", 1, 100, 0};
    auto use = use_of(node, request, {{at("i", {a}), at("a", {a}), at("w", {b})}});
    ASSERT_TRUE(use.ok()) << use.error().message;
    EXPECT_EQ((*use)[0].used_percent, 50);
    EXPECT_EQ((*use)[0].used_memory_mib, 500);
    EXPECT_EQ((*use)[1].used_percent, 100);
    EXPECT_EQ((*use)[1].used_memory_mib, 1000);
    const auto wrong = [&](Placement placement) {
        const auto result = use_of(node, request, placement);
        EXPECT_FALSE(result.ok());
        return result.ok() ? "" : result.error().message;
    };
    EXPECT_THAT(wrong({{at("i", {a}), at("a", {a})}}), HasSubstr("container w: no placement"));
    EXPECT_THAT(wrong({{at("i", {a}), at("a", {a}), at("w", {a, b})}}), HasSubstr("2 cards"));
    EXPECT_THAT(
        wrong({{at("i", {a}), at("a", {{"GPU-x", 0, 1, 0}}), at("w", {b})}}), HasSubstr("GPU-x")
    );
    EXPECT_THAT(
        wrong({{at("i", {a}), at("a", {{"", 99, 1, 0}}), at("w", {b})}}), HasSubstr("card 99")
    );
    EXPECT_THAT(wrong({{at("i", {a}), at("a", {b}), at("w", {b})}}), HasSubstr("100 percent"));
}

}  // namespace
}  // namespace egpu::core
