#include "testing/cuda/sm_model.h"

#include <cstring>
#include <memory>

#include <gtest/gtest.h>

#include "base/random.h"
#include "core/replay_seed.h"

namespace egpu::testing {
namespace {

constexpr std::uint64_t kMs = 1'000'000;

std::unique_ptr<SmModel> make(const SmConfig& config = {}, std::uint64_t now = 0) {
    auto model = std::make_unique_for_overwrite<SmModel>();
    model->reset(config, now);
    return model;
}

// Keeps both streams full of kernels of 1 ms until `end`.
void fill(
    SmModel& model, const std::vector<int>& streams, std::uint64_t end, std::uint64_t cost = kMs
) {
    for (std::uint64_t now = model.now(); now < end; now += kMs) {
        for (const int stream : streams) {
            while (model.submitted(stream) - model.completed(stream) < 4) {
                ASSERT_NE(
                    model.submit_kernel(
                        now, stream, {.cost_ns = cost, .blocks = 10'000, .block_threads = 256}
                    ),
                    0U
                );
            }
        }
        model.advance(now + kMs);
    }
}

TEST(SmModel, ALoneKernelTakesItsCost) {
    const auto model = make();
    const int client = model->add_client(0);
    const int stream = model->add_stream(0, client);
    EXPECT_EQ(
        model->submit_kernel(
            0, stream, {.cost_ns = 5 * kMs, .blocks = 10'000, .block_threads = 256}
        ),
        1U
    );
    EXPECT_EQ(
        model->submit_kernel(
            0, stream, {.cost_ns = 2 * kMs, .blocks = 10'000, .block_threads = 256}
        ),
        2U
    );
    model->advance(6 * kMs);
    EXPECT_EQ(model->completed(stream), 1U);
    EXPECT_EQ(model->last_done_at(stream), 5 * kMs);
    EXPECT_EQ(model->next_change(), 7 * kMs);
    model->advance(20 * kMs);
    EXPECT_EQ(model->completed(stream), 2U);
    EXPECT_EQ(model->last_done_at(stream), 7 * kMs);
    EXPECT_EQ(model->next_change(), SmModel::kNever);
    EXPECT_NEAR(model->use(client).busy_ns, 7e6, 1);
    EXPECT_EQ(model->use(client).kernels, 2U);
}

TEST(SmModel, ClientsTakeTurnsInSlices) {
    const auto model = make({.slice_ns = 2 * kMs});
    const int a = model->add_client(0);
    const int b = model->add_client(0);
    const int sa = model->add_stream(0, a);
    const int sb = model->add_stream(0, b);
    model->submit_kernel(0, sa, {.cost_ns = 3 * kMs, .blocks = 10'000, .block_threads = 256});
    model->submit_kernel(0, sb, {.cost_ns = 3 * kMs, .blocks = 10'000, .block_threads = 256});
    model->advance(2 * kMs);
    EXPECT_NEAR(model->use(a).busy_ns, 2e6, 1);
    EXPECT_NEAR(model->use(b).busy_ns, 0, 1);
    model->advance(10 * kMs);
    // a: 0..2 and 4..5; then b has the card to itself: 2..4 and 5..6.
    EXPECT_EQ(model->last_done_at(sa), 5 * kMs);
    EXPECT_EQ(model->last_done_at(sb), 6 * kMs);
}

TEST(SmModel, BackloggedClientsGetEqualTimeInEveryMode) {
    for (const SmConfig& config :
         {SmConfig{}, SmConfig{.slice_ns = 0}, SmConfig{.spatial = true}}) {
        const auto model = make(config);
        const int a = model->add_client(0);
        const int b = model->add_client(0);
        const std::vector<int> streams{model->add_stream(0, a), model->add_stream(0, b)};
        fill(*model, streams, 400 * kMs);
        EXPECT_NEAR(
            static_cast<double>(model->use(a).kernels),
            static_cast<double>(model->use(b).kernels),
            3
        );
        EXPECT_NEAR(static_cast<double>(model->use(a).kernels + model->use(b).kernels), 400, 3);
    }
}

TEST(SmModel, SwitchingCostsTime) {
    const auto model = make({.slice_ns = 2 * kMs, .switch_ns = kMs / 2});
    const int a = model->add_client(0);
    const int b = model->add_client(0);
    const std::vector<int> streams{model->add_stream(0, a), model->add_stream(0, b)};
    fill(*model, streams, 500 * kMs);
    EXPECT_NEAR(static_cast<double>(model->use(a).kernels + model->use(b).kernels), 400, 6);
}

TEST(SmModel, SmallGridsOfOneClientRunBesideEachOther) {
    const auto model = make({.sm_count = 100, .threads_per_sm = 2048});
    const int client = model->add_client(0);
    const int first = model->add_stream(0, client);
    const int second = model->add_stream(0, client);
    // 400 of 800 places each: both at full speed.
    model->submit_kernel(0, first, {.cost_ns = kMs, .blocks = 400, .block_threads = 256});
    model->submit_kernel(0, second, {.cost_ns = kMs, .blocks = 400, .block_threads = 256});
    model->advance(2 * kMs);
    EXPECT_EQ(model->last_done_at(second), kMs);
    EXPECT_NEAR(model->use(client).busy_ns, 1e6, 1);
    EXPECT_NEAR(model->use(client).sm_ns, 1e6, 1);
    // 800 of 800 each: they share.
    model->submit_kernel(2 * kMs, first, {.cost_ns = kMs, .blocks = 800, .block_threads = 256});
    model->submit_kernel(2 * kMs, second, {.cost_ns = kMs, .blocks = 800, .block_threads = 256});
    model->advance(9 * kMs);
    EXPECT_EQ(model->last_done_at(second), 4 * kMs);
}

TEST(SmModel, EventsAreRecordedInTheClientsSlices) {
    const auto model = make({.slice_ns = 2 * kMs});
    const int a = model->add_client(0);
    const int b = model->add_client(0);
    const int sa = model->add_stream(0, a);
    const int sb = model->add_stream(0, b);
    const int start = model->add_event(b);
    const int end = model->add_event(b);
    EXPECT_TRUE(model->event(start).ready);
    model->submit_kernel(0, sa, {.cost_ns = 3 * kMs, .blocks = 10'000, .block_threads = 256});
    model->submit_record(0, sb, start);
    model->submit_kernel(0, sb, {.cost_ns = 3 * kMs, .blocks = 10'000, .block_threads = 256});
    model->submit_record(0, sb, end);
    EXPECT_FALSE(model->event(start).ready);
    model->advance(10 * kMs);
    EXPECT_EQ(model->event(start).done_at_ns, 2 * kMs);  // b's first slice
    EXPECT_EQ(model->event(end).done_at_ns, 6 * kMs);    // contains a's slice: 4 ms for 3
    EXPECT_TRUE(model->event(end).ready);
}

TEST(SmModel, StreamsWaitForEventsOfOthers) {
    const auto model = make();
    const int client = model->add_client(0);
    const int first = model->add_stream(0, client);
    const int second = model->add_stream(0, client);
    const int event = model->add_event(client);
    model->submit_kernel(0, first, {.cost_ns = 4 * kMs, .blocks = 10'000, .block_threads = 256});
    model->submit_record(0, first, event);
    model->submit_wait(0, second, event);
    model->submit_kernel(0, second, {.cost_ns = kMs, .blocks = 10'000, .block_threads = 256});
    model->submit_record(0, first, event);  // later records are not waited for
    model->advance(4 * kMs);
    EXPECT_EQ(model->completed(second), 1U);
    model->advance(6 * kMs);
    EXPECT_EQ(model->last_done_at(second), 5 * kMs);
}

TEST(SmModel, ARecordMayTakeTheCardSomeTimeAndTellsWholeSteps) {
    const auto model = make({.slice_ns = 2 * kMs, .record_ns = 800, .event_step_ns = 500});
    const int client = model->add_client(0);
    const int stream = model->add_stream(0, client);
    const int start = model->add_event(client);
    const int end = model->add_event(client);
    model->submit_record(0, stream, start);
    model->submit_kernel(0, stream, {.cost_ns = 10'000, .blocks = 1, .block_threads = 1});
    model->submit_record(0, stream, end);
    model->advance(11'599);
    EXPECT_FALSE(model->event(end).ready);
    model->advance(11'600);
    EXPECT_TRUE(model->event(end).ready);
    EXPECT_EQ(model->event(start).done_at_ns, 500U);
    EXPECT_EQ(model->event(end).done_at_ns, 11'500U);
    EXPECT_DOUBLE_EQ(model->use(client).busy_ns, 10'000) << "a record is no kernel";
}

TEST(SmModel, CopiesUseNoSmTimeAndShareTheirEngine) {
    const auto model = make();
    const int a = model->add_client(0);
    const int b = model->add_client(0);
    const int sa = model->add_stream(0, a);
    const int sb = model->add_stream(0, b);
    const int sc = model->add_stream(0, b);
    model->submit_copy(0, sa, CopyEngine::kToDevice, 2 * kMs);
    model->submit_copy(0, sb, CopyEngine::kToDevice, 2 * kMs);
    model->submit_copy(0, sc, CopyEngine::kFromDevice, 2 * kMs);
    model->advance(10 * kMs);
    EXPECT_EQ(model->last_done_at(sa), 4 * kMs);
    EXPECT_EQ(model->last_done_at(sc), 2 * kMs);
    EXPECT_EQ(model->use(a).busy_ns, 0);
}

TEST(SmModel, TheQueueIsBounded) {
    const auto model = make();
    const int stream = model->add_stream(0, model->add_client(0));
    for (std::uint64_t i = 0; i < SmModel::kQueueDepth; ++i)
        ASSERT_NE(model->submit_kernel(0, stream, {.cost_ns = kMs}), 0U);
    EXPECT_EQ(model->submit_kernel(0, stream, {.cost_ns = kMs}), 0U);
    EXPECT_NE(model->submit_kernel(kMs, stream, {.cost_ns = kMs}), 0U);
}

TEST(SmModel, WhatIsGoneLeavesNothingBehind) {
    const auto model = make();
    const int a = model->add_client(0);
    const int sa = model->add_stream(0, a);
    const int event = model->add_event(a);
    const int b = model->add_client(0);
    const int sb = model->add_stream(0, b);
    model->submit_kernel(0, sa, {.cost_ns = 1'000 * kMs, .blocks = 10'000, .block_threads = 256});
    model->submit_record(0, sa, event);
    model->submit_wait(0, sb, event);
    model->submit_kernel(0, sb, {.cost_ns = kMs, .blocks = 10'000, .block_threads = 256});
    model->advance(kMs);
    model->remove_client(kMs, a);
    model->advance(3 * kMs);
    EXPECT_EQ(model->last_done_at(sb), 2 * kMs);
    EXPECT_EQ(model->add_client(3 * kMs), a);
    EXPECT_EQ(model->submit_kernel(3 * kMs, sa, {}), 0U);
    for (int i = 0; i < SmModel::kMaxClients - 2; ++i) ASSERT_GE(model->add_client(3 * kMs), 0);
    EXPECT_EQ(model->add_client(3 * kMs), -1);
}

// Whatever is submitted in whatever order: the card never does more work than time allows, no work
// is lost, and stepping finely or coarsely comes to the same.
TEST(SmModel, RandomWorkIsConservedAndIndependentOfTheSteps) {
    EG_TRACE_SEED();
    for (int round = 0; round < 20; ++round) {
        Random random(core::replay_seed() + static_cast<unsigned>(round));
        SmConfig config;
        config.slice_ns = random.chance(0.3) ? 0 : 500'000 + random.below(2 * kMs);
        config.spatial = random.chance(0.3);
        const auto coarse = make(config);
        const auto fine = make(config);
        std::vector<int> streams;
        for (int c = 0; c < 4; ++c) {
            const int client = coarse->add_client(0);
            ASSERT_EQ(fine->add_client(0), client);
            for (int s = 0; s < 2; ++s) {
                streams.push_back(coarse->add_stream(0, client));
                ASSERT_EQ(fine->add_stream(0, client), streams.back());
            }
        }
        double submitted = 0;
        std::uint64_t now = 0;
        for (int i = 0; i < 300; ++i) {
            const std::uint64_t later = now + random.below(400'000);
            while (now + 50'000 < later) fine->advance(now += 50'000);
            now = later;
            const int stream = streams[random.below(streams.size())];
            const SmKernel kernel{
                .cost_ns = random.below(800'000),
                .blocks = static_cast<std::uint32_t>(1 + random.below(2'000)),
                .block_threads = 256};
            ASSERT_EQ(
                coarse->submit_kernel(now, stream, kernel), fine->submit_kernel(now, stream, kernel)
            );
            submitted += static_cast<double>(kernel.cost_ns);
        }
        coarse->advance(now + 1'000 * kMs);
        fine->advance(now + 1'000 * kMs);
        double busy = 0;
        for (const int stream : streams) {
            EXPECT_EQ(coarse->completed(stream), coarse->submitted(stream));
            EXPECT_NEAR(
                static_cast<double>(coarse->last_done_at(stream)),
                static_cast<double>(fine->last_done_at(stream)),
                2'000
            );
        }
        for (int c = 0; c < 4; ++c) busy += coarse->use(c).busy_ns;
        EXPECT_TRUE(config.spatial || busy <= submitted + 1'000) << busy << " of " << submitted;
        EXPECT_EQ(coarse->next_change(), SmModel::kNever);
    }
}

TEST(SmModel, MayLieInAMappingAtAnyAddress) {
    auto model = make();
    const int stream = model->add_stream(0, model->add_client(0));
    model->submit_kernel(0, stream, {.cost_ns = 3 * kMs, .blocks = 10'000, .block_threads = 256});
    auto moved = std::make_unique_for_overwrite<SmModel>();
    std::memcpy(static_cast<void*>(moved.get()), model.get(), sizeof(SmModel));
    model.reset();
    moved->advance(10 * kMs);
    EXPECT_EQ(moved->last_done_at(stream), 3 * kMs);
}

}  // namespace
}  // namespace egpu::testing
