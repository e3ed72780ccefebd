// The controller's rules beside the shares: modes, live changes, captures, failures, bounds.
#include "guard/compute/controller.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "guard/compute/scenarios_for_test.h"

namespace egpu::guard {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kMs = 1'000'000;

Workload queued(std::uint64_t cost_ns) {
    return {.name = "queued", .shapes = {{.id = 30, .cost_ns = cost_ns}}};
}

TEST(Controller, OffChargesNothingAndRecordsNothing) {
    VirtualCard card;
    Container& container = card.add_container(policy_of(0.1, ComputeMode::kOff));
    Process& process = card.add_process(container);
    card.add_app(process, body_of(queued(100'000), 1));
    card.run_until(kSecond);
    EXPECT_GT(card.share(container, 0, kSecond), 0.99);
    EXPECT_EQ(process.counters.launches, 0U);
    EXPECT_EQ(process.records, 0U);
    EXPECT_EQ(container.bucket.demand_ns, 0U);
}

TEST(Controller, AChangeOfShareOrModeActsWithinASecond) {
    for (const bool contended : {false, true}) {
        VirtualCard card;
        Container& container = card.add_container(policy_of(0.3, ComputeMode::kHard));
        card.add_app(card.add_process(container), body_of(queued(200'000), 1));
        if (contended) {
            Container& other = card.add_container(policy_of(0.3, ComputeMode::kHard));
            card.add_app(card.add_process(other), body_of(queued(500'000), 2));
        }
        const auto change = [&](double share, ComputeMode mode) {
            ComputePolicy policy = container.policy;
            policy.share_ppm = static_cast<std::uint32_t>(share * kWholePpm);
            policy.mode = mode;
            container.set(policy);
        };
        card.run_until(5 * kSecond);
        EXPECT_NEAR(card.share(container, 3 * kSecond, 5 * kSecond), 0.3, 0.02);
        change(0.6, ComputeMode::kHard);
        card.run_until(8 * kSecond);
        EXPECT_NEAR(card.share(container, 6 * kSecond, 8 * kSecond), 0.6, 0.02);
        change(0.1, ComputeMode::kHard);
        card.run_until(11 * kSecond);
        EXPECT_NEAR(card.share(container, 9 * kSecond, 11 * kSecond), 0.1, 0.02);
        change(0.1, ComputeMode::kOff);
        card.run_until(13 * kSecond);
        EXPECT_GT(card.share(container, 12 * kSecond, 13 * kSecond), contended ? 0.65 : 0.99);
        change(0.2, ComputeMode::kHard);
        card.run_until(16 * kSecond);
        EXPECT_NEAR(card.share(container, 14 * kSecond, 16 * kSecond), 0.2, 0.02);
    }
}

TEST(Controller, SoftTakesIdleTimeAndGivesItBack) {
    VirtualCard card;
    Container& lender = card.add_container(policy_of(0.7, ComputeMode::kHard));
    Container& soft = card.add_container(policy_of(0.3, ComputeMode::kSoft));
    card.add_app(card.add_process(soft), body_of(queued(300'000), 1));
    const Workload work = queued(300'000);
    card.add_app(card.add_process(lender), [&work](App& app) {
        app.sleep(4 * kSecond);
        body_of(work, 2)(app);
    });
    card.run_until(8 * kSecond);
    EXPECT_GT(card.share(soft, kSecond, 4 * kSecond), 0.95);  // of what the neighbour leaves
    // Within a second of the neighbour's return.
    EXPECT_NEAR(card.share(lender, 5 * kSecond, 8 * kSecond), 0.7, 0.03);
    EXPECT_NEAR(card.share(soft, 5 * kSecond, 8 * kSecond), 0.3, 0.03);
    EXPECT_GT(card.share(lender, 4 * kSecond, 5 * kSecond), 0.6);
}

TEST(Controller, SoftLendsWhatAnActiveNeighbourDoesNotUse) {
    VirtualCard card;
    Container& light = card.add_container(policy_of(0.5, ComputeMode::kHard));
    Container& soft = card.add_container(policy_of(0.3, ComputeMode::kSoft));
    // About a tenth of the card.
    card.add_app(card.add_process(light), [](App& app) {
        for (;;) {
            app.launch({.id = 40, .cost_ns = kMs});
            app.sync();
            app.sleep(9 * kMs);
        }
    });
    card.add_app(card.add_process(soft), body_of(queued(300'000), 1));
    card.run_until(8 * kSecond);
    const double used = card.share(light, 3 * kSecond, 8 * kSecond);
    EXPECT_GT(used, 0.07);
    EXPECT_GT(card.share(soft, 3 * kSecond, 8 * kSecond) + used, 0.93);
}

TEST(Controller, SoftFallsBackToItsShareWhenTheAgentIsGone) {
    const ComputePolicy lent{
        .mode = ComputeMode::kSoft,
        .share_ppm = 300'000,
        .rate_ppm = 900'000,
        .gain_ppm = 1'200'000,
        .neighbours = 1,
        .contention_ppm = 500'000,
        .gated = 1};
    EXPECT_EQ(refill_ppm(without_stale(lent, kSecond)), 1'080'000U);
    const ComputePolicy stale = without_stale(lent, kAgentStaleNs + 1);
    EXPECT_EQ(refill_ppm(stale), 300'000U);
    EXPECT_EQ(stale.gated, 0U);
}

TEST(Controller, BurstKeepsTheShareOverItsTime) {
    VirtualCard card;
    ComputePolicy policy = policy_of(0.25, ComputeMode::kBurst);
    policy.burst_ns = 4 * kSecond;
    Container& container = card.add_container(policy);
    // Every 4 s, 0.9 s of work at once.
    card.add_app(card.add_process(container), [](App& app) {
        for (int round = 0;; ++round) {
            for (int i = 0; i < 900; ++i) app.launch({.id = 41, .cost_ns = kMs});
            app.sync();
            const std::uint64_t next = std::uint64_t(round + 1) * 4 * kSecond + 1'000 * kSecond;
            if (next > app.now()) app.sleep(next - app.now());
        }
    });
    card.run_until(16 * kSecond);
    EXPECT_GT(card.share(container, 8 * kSecond, 9 * kSecond), 0.85);  // hard would give 0.25
    EXPECT_NEAR(card.share(container, 0, 16 * kSecond), 0.225, 0.01);
    card.add_app(*card.processes()[0], body_of(queued(kMs), 3));
    card.run_until(40 * kSecond);
    EXPECT_NEAR(card.share(container, 28 * kSecond, 40 * kSecond), 0.25, 0.02);
}

TEST(Controller, TheGateHoldsBackBestEffortForABoundedTime) {
    VirtualCard card;
    Container& guaranteed = card.add_container(policy_of(0.5, ComputeMode::kHard));
    guaranteed.guaranteed = true;
    Container& best_effort = card.add_container(policy_of(0.5, ComputeMode::kHard));
    best_effort.best_effort = true;
    card.add_app(card.add_process(best_effort), body_of(queued(200'000), 1));
    const Workload work = queued(200'000);
    card.add_app(card.add_process(guaranteed), [&work](App& app) {
        app.sleep(2 * kSecond);
        body_of(work, 2)(app);
    });
    card.run_until(6 * kSecond);
    EXPECT_NEAR(card.share(best_effort, kSecond, 2 * kSecond), 0.5, 0.02);
    const double gated = card.share(best_effort, 3 * kSecond, 6 * kSecond);
    EXPECT_LT(gated, 0.02);
    EXPECT_GT(gated, 0.001);  // never indefinitely
    EXPECT_NEAR(card.share(guaranteed, 3 * kSecond, 6 * kSecond), 0.5, 0.03);
}

TEST(Controller, ACapturingStreamIsNotTouched) {
    VirtualCard card;
    Container& container = card.add_container(policy_of(0.1, ComputeMode::kHard));
    Process& process = card.add_process(container);
    std::uint64_t captured_launches = 0;
    card.add_app(process, [&](App& app) {
        const int other = app.make_stream();
        for (int round = 0; round < 50; ++round) {
            for (int i = 0; i < 10; ++i) app.launch({.id = 42, .cost_ns = 100'000});
            app.begin_capture(other);
            // The harness aborts when an event is recorded on a capturing stream.
            const std::uint64_t before = process.counters.charged_ns;
            const std::uint64_t time = app.now();
            for (int i = 0; i < 2'000; ++i) {
                app.launch({.id = std::uint64_t(100 + i % 7), .cost_ns = 5 * kMs}, other);
                ++captured_launches;
            }
            // 3 us of host time each, and no hold although the share is long used up.
            EXPECT_LT(app.now() - time, 2'000 * 3'000 + 100'000);
            EXPECT_EQ(process.counters.charged_ns, before);
            app.end_capture(other);
            for (int i = 0; i < 10; ++i) app.launch({.id = 43, .cost_ns = 100'000}, other);
            app.sync();
        }
    });
    card.run_until(3 * kSecond);
    EXPECT_EQ(captured_launches, 100'000U);
    EXPECT_LT(process.counters.launches, 1'100U);
}

TEST(Controller, ACaptureWhoseHooksWereMissedIsStillNotRecordedInto) {
    VirtualCard card;
    Container& container = card.add_container(policy_of(0.5, ComputeMode::kHard));
    Process& process = card.add_process(container);
    card.add_app(process, [&](App& app) {
        for (int i = 0; i < 20; ++i) app.launch({.id = 44, .cost_ns = 100'000});
        app.begin_capture(app.stream());
        process.controller->capture_ends();  // as if it had never been told
        for (int i = 0; i < 2'000; ++i) app.launch({.id = 44, .cost_ns = 100'000});
    });
    card.run_until(kSecond);
    EXPECT_GT(process.records, 0U);
}

TEST(Controller, AFailedLaunchIsNotCharged) {
    VirtualCard card;
    Container& container = card.add_container(policy_of(0.5, ComputeMode::kHard));
    Process& process = card.add_process(container);
    card.add_app(process, [&](App& app) {
        app.launch({.id = 45, .cost_ns = 100'000});
        app.sync();
        Launch launch{
            .function = reinterpret_cast<const void*>(45 * 64),
            .stream = reinterpret_cast<void*>(0x1000 + app.stream())};
        launch.grid[0] = 10'000;
        launch.block[0] = 256;
        for (int i = 0; i < 100'000; ++i) {
            process.controller->before_launch(app.thread(), launch);
            process.controller->after_launch(app.thread(), launch, false);
        }
        app.launch({.id = 45, .cost_ns = 100'000});
        app.sync();
        process.controller->poll();
    });
    card.run_until(kSecond);
    EXPECT_LT(process.counters.charged_ns, 2 * kMs);
    EXPECT_EQ(process.counters.throttled_ns, 0U);
}

TEST(Controller, AKernelLongerThanTheBurstPaysItsDebt) {
    VirtualCard card;
    Container& container = card.add_container(policy_of(0.2, ComputeMode::kHard));
    Process& process = card.add_process(container);
    card.add_app(process, [](App& app) {
        for (;;) {
            app.launch({.id = 46, .cost_ns = kSecond});
            app.sync();
        }
    });
    card.run_until(60 * kSecond);
    EXPECT_NEAR(card.share(container, 10 * kSecond, 60 * kSecond), 0.2, 0.02);
    EXPECT_NEAR(static_cast<double>(process.counters.largest_ns), 1e9, 1e7);
}

// A kernel that waits for the next one of its own process (or for its host) never completes while
// that one is held back: every hold ends.
TEST(Controller, NoHoldIsForEver) {
    for (const ComputeMode mode : {ComputeMode::kHard, ComputeMode::kSoft}) {
        VirtualCard card;
        card.use_agent(false);
        Container& container = card.add_container(policy_of(0.01, mode));
        Process& process = card.add_process(container);
        std::uint64_t longest = 0;
        card.add_app(process, [&](App& app) {
            for (int i = 0; i < 6; ++i) {
                const std::uint64_t before = app.now();
                app.launch({.id = std::uint64_t(50 + i), .cost_ns = 600 * kSecond});
                longest = std::max(longest, app.now() - before);
            }
        });
        card.run_until(200 * kSecond);
        EXPECT_EQ(card.model().submitted(0), 18U) << "6 kernels and their events";
        EXPECT_LT(longest, 15 * kSecond);
    }
}

// Host threads that are interrupted between the records of a measurement.
TEST(Controller, AnInterruptedMeasurementIsMadeAgain) {
    for (const std::uint64_t late : {0U, 300'000U, 5'000'000U}) {
        VirtualCard card;
        Container& container = card.add_container(policy_of(0.2, ComputeMode::kHard));
        Process& process = card.add_process(container);
        static std::uint64_t late_ns = 0;
        static int calls = 0;
        late_ns = late;
        calls = 0;
        process.platform.event_record = [](void* self, EventHandle event, void* stream) {
            Process& owner = *static_cast<Process*>(self);
            App& app = owner.card->running();
            if (++calls % 7 < 3 && late_ns != 0) app.sleep(late_ns);
            const int index = static_cast<int>(reinterpret_cast<std::uintptr_t>(event)) - 1;
            const int on = static_cast<int>(reinterpret_cast<std::uintptr_t>(stream) - 0x1000);
            return owner.card->model().submit_record(owner.card->now(), on, index) != 0;
        };
        card.add_app(process, [](App& app) {
            for (;;) {
                app.launch({.id = 47, .cost_ns = 100'000});
                app.sync();
            }
        });
        card.run_until(3 * kSecond);
        EXPECT_LT(card.share(container, 0, kSecond), 0.25) << late;
        EXPECT_LT(card.share(container, kSecond, 3 * kSecond), 0.22) << late;
        EXPECT_GT(card.share(container, kSecond, 3 * kSecond), late > kMs ? 0.01 : 0.15) << late;
    }
}

TEST(Controller, WithoutEventsLaunchesGoThroughAtTheGuess) {
    VirtualCard card;
    Container& container = card.add_container(policy_of(0.5, ComputeMode::kHard));
    Process& process = card.add_process(container);
    process.platform.event_create = [](void*) -> EventHandle { return nullptr; };
    card.add_app(process, body_of(queued(20'000), 1));
    card.run_until(2 * kSecond);
    EXPECT_GT(card.share(container, kSecond, 2 * kSecond), 0.3);
    process.platform.event_create = [](void* self) -> EventHandle {
        Process& owner = *static_cast<Process*>(self);
        return reinterpret_cast<void*>(
            std::uintptr_t(owner.card->model().add_event(owner.client)) + 1
        );
    };
    card.run_until(5 * kSecond);
    EXPECT_NEAR(card.share(container, 3 * kSecond, 5 * kSecond), 0.5, 0.02);
}

TEST(Controller, FailingEventsDoNotStopAnything) {
    VirtualCard card;
    Container& container = card.add_container(policy_of(0.5, ComputeMode::kHard));
    Process& process = card.add_process(container);
    process.platform.event_query = [](void*, EventHandle) { return EventState::kFailed; };
    card.add_app(process, body_of(queued(20'000), 1));
    card.run_until(2 * kSecond);
    EXPECT_GT(process.counters.launches, 10'000U);
}

TEST(Controller, ADestroyedContextTakesItsEventsWithIt) {
    VirtualCard card;
    Container& container = card.add_container(policy_of(0.3, ComputeMode::kHard));
    Process& process = card.add_process(container);
    card.add_app(process, [&](App& app) {
        for (int round = 0;; ++round) {
            for (int i = 0; i < 500; ++i) app.launch({.id = 60, .cost_ns = 100'000});
            app.sync();
            process.controller->context_gone(process.platform.self);
        }
    });
    card.run_until(6 * kSecond);
    EXPECT_NEAR(card.share(container, kSecond, 6 * kSecond), 0.3, 0.02);
}

TEST(Controller, AGraphHandleThatComesBackIsLearnedAnew) {
    VirtualCard card;
    Container& container = card.add_container(policy_of(0.3, ComputeMode::kHard));
    Process& process = card.add_process(container);
    card.add_app(process, [&](App& app) {
        for (int round = 0;; ++round) {
            const std::uint64_t cost = round % 2 == 0 ? 50'000 : 5 * kMs;
            for (int i = 0; i < 40; ++i) {
                app.launch({.id = 61, .cost_ns = cost, .graph = true});
                app.sync();
            }
            process.controller->forget(reinterpret_cast<const void*>(61 * 64));
        }
    });
    card.run_until(11 * kSecond);
    EXPECT_NEAR(card.share(container, kSecond, 11 * kSecond), 0.3, 0.02);
}

TEST(Controller, AChildAfterForkStartsAnew) {
    VirtualCard card;
    Container& container = card.add_container(policy_of(0.3, ComputeMode::kHard));
    Process& process = card.add_process(container);
    card.add_app(process, body_of(queued(100'000), 1));
    card.run_until(kSecond);
    process.controller->after_fork_in_child();
    const std::uint64_t launches = process.counters.launches;
    card.run_until(2 * kSecond);  // not attached: passes everything
    EXPECT_EQ(process.counters.launches, launches);
    process.controller->attach(
        &process.platform, &container.bucket, &process.counters, &container.policy_seq
    );
    card.run_until(6 * kSecond);
    EXPECT_NEAR(card.share(container, 4 * kSecond, 6 * kSecond), 0.3, 0.02);
}

// The words are the tenant's to write: nonsense harms its own pace for a bounded time.
TEST(Controller, NonsenseInTheLedgerIsSurvived) {
    Random random(7);
    for (int round = 0; round < 20; ++round) {
        VirtualCard card;
        Container& container = card.add_container(policy_of(0.5, ComputeMode::kHard));
        Process& process = card.add_process(container);
        card.add_app(process, body_of(queued(200'000), 1));
        card.run_until(kSecond);
        container.bucket.word = random();
        container.bucket.demand_ns = random();
        container.bucket.largest_ns = random();
        process.counters.charged_ns = random();
        process.counters.span_ns = random();
        process.counters.span_cost_ns = random();
        card.run_until(14 * kSecond);
        EXPECT_GT(card.share(container, 12 * kSecond, 14 * kSecond), 0.1);
    }
}

}  // namespace
}  // namespace egpu::guard
