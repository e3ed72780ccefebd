#include "isolation/bypass.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace egpu::isolation {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr std::uint64_t kMib = 1U << 20;

class Bypass : public ::testing::Test {
  protected:
    // One card of 16 GiB with a quota of 4 GiB.
    SeenContainer container(std::vector<SeenProcess> processes) {
        SeenContainer seen;
        SeenCard card{3, 4096 * kMib, 0, 0, 16384 * kMib, std::move(processes)};
        for (const SeenProcess& process : card.processes) {
            card.bytes = *card.bytes + process.bytes.value_or(0);
            card.claimed += process.claimed;
        }
        seen.cards.push_back(std::move(card));
        return seen;
    }
    SeenProcess process(unsigned pid, std::uint64_t mib, std::uint64_t claimed, bool slot = true) {
        return {pid, 1000 + pid, "train", true, slot, mib * kMib, claimed * kMib};
    }
    // `times` measurements, a second apart; the findings of the last.
    std::vector<BypassFinding> judge(const SeenContainer& seen, int times = 1) {
        std::vector<BypassFinding> findings;
        for (int i = 0; i < times; ++i) findings = judge_.judge(seen, now_ += Seconds(1));
        return findings;
    }

    BypassJudge judge_{BypassRules{3, Seconds(10)}};
    TimePoint now_{Seconds(1000)};
};

TEST_F(Bypass, HonestOnesAreLeftAlone) {
    const auto seen = container({process(10, 2500, 2000), process(11, 2100, 1600)});
    EXPECT_THAT(judge(seen, 60), IsEmpty());
    EXPECT_FALSE(judge_.suspicious());
}

TEST_F(Bypass, WhoSharesASlotIsNotEndedForTheContainersMemory) {
    auto seen = container({process(10, 6000, 0, false), process(11, 900, 600)});
    seen.spilled = true;
    const auto findings = judge(seen, 30);
    ASSERT_THAT(findings, SizeIs(1));
    EXPECT_EQ(findings[0].kind, BypassKind::kOverQuota);
    EXPECT_EQ(findings[0].end_pid, 0U);
}

TEST_F(Bypass, AProcessWithoutASlotIsFoundAfterThreeMeasurements) {
    const auto seen = container({process(10, 364, 0, false), process(11, 900, 600)});
    EXPECT_THAT(judge(seen, 2), IsEmpty());
    EXPECT_TRUE(judge_.suspicious());
    auto findings = judge(seen);
    ASSERT_THAT(findings, SizeIs(1));
    EXPECT_EQ(findings[0].kind, BypassKind::kNoSlot);
    EXPECT_TRUE(findings[0].fresh);
    EXPECT_THAT(findings[0].text, HasSubstr("process 10 (train) uses 364 MiB of card 3 without"));
    EXPECT_EQ(findings[0].end_pid, 0U);
    findings = judge(seen, 9);
    ASSERT_THAT(findings, SizeIs(1));
    EXPECT_FALSE(findings[0].fresh);
    EXPECT_EQ(findings[0].end_pid, 0U);  // the grace
    findings = judge(seen);
    EXPECT_EQ(findings[0].end_pid, 10U);
    EXPECT_EQ(findings[0].end_start_time, 1010U);
}

TEST_F(Bypass, StartingAndEndingIsNoFinding) {
    const auto with = container({process(10, 364, 0, false)});
    const auto without = container({process(10, 364, 0)});
    for (int i = 0; i < 20; ++i) {
        EXPECT_THAT(judge(with, 2), IsEmpty());
        EXPECT_THAT(judge(without), IsEmpty());
    }
    // Another process with the same PID begins anew.
    auto reused = with;
    EXPECT_THAT(judge(with, 2), IsEmpty());
    reused.cards[0].processes[0].start_time = 7;
    EXPECT_THAT(judge(reused, 2), IsEmpty());
}

TEST_F(Bypass, AFindingIsSaidAgainWhenItComesBackLater) {
    const auto seen = container({process(10, 364, 0, false)});
    EXPECT_TRUE(judge(seen, 3)[0].fresh);
    EXPECT_THAT(judge(container({}), 2), IsEmpty());
    EXPECT_FALSE(judge(seen)[0].fresh);
    EXPECT_THAT(judge(container({}), 3), IsEmpty());
    EXPECT_FALSE(judge_.suspicious());
    EXPECT_TRUE(judge(seen, 3)[0].fresh);
}

TEST_F(Bypass, WhoIsNotSurelyOfTheContainerIsNotEnded) {
    auto seen = container({process(10, 364, 0, false)});
    seen.cards[0].processes[0].certain = false;
    const auto findings = judge(seen, 60);
    ASSERT_THAT(findings, SizeIs(1));
    EXPECT_EQ(findings[0].end_pid, 0U);
}

TEST_F(Bypass, NoSlotIsLeftForTheTwoHundredAndFiftySeventh) {
    auto seen = container({process(10, 364, 0, false)});
    seen.spilled = true;
    EXPECT_THAT(judge(seen, 9), IsEmpty());
}

TEST_F(Bypass, MuchMoreThanClaimedIsReportedAndWithinTheQuotaNotEnded) {
    const auto findings = judge(container({process(10, 3000, 100)}), 60);
    ASSERT_THAT(findings, SizeIs(1));
    EXPECT_EQ(findings[0].kind, BypassKind::kBeyondClaim);
    EXPECT_THAT(findings[0].text, HasSubstr("uses 3000 MiB of card 3 and claims 100 MiB"));
    EXPECT_EQ(findings[0].end_pid, 0U);
}

TEST_F(Bypass, OverTheQuotaTheOneThatLiesIsEnded) {
    const auto seen = container({process(10, 1000, 900), process(11, 6000, 100)});
    const auto findings = judge(seen, 60);
    ASSERT_THAT(findings, SizeIs(2));
    EXPECT_EQ(findings[1].kind, BypassKind::kOverQuota);
    EXPECT_THAT(findings[1].text, HasSubstr("uses 7000 MiB of card 3, its quota is 4096 MiB"));
    EXPECT_EQ(findings[1].end_pid, 11U);
}

TEST_F(Bypass, ContextsAloneEndNobody) {
    std::vector<SeenProcess> many;
    for (unsigned i = 0; i < 16; ++i) many.push_back(process(10 + i, 500, 100));
    const auto findings = judge(container(many), 60);  // 8000 of 4096 MiB
    ASSERT_THAT(findings, SizeIs(1));
    EXPECT_EQ(findings[0].kind, BypassKind::kOverQuota);
    EXPECT_EQ(findings[0].end_pid, 0U);
    // What a few take is allowed beside the quota.
    EXPECT_THAT(judge(container({process(1, 4596, 4096)}), 60), IsEmpty());
}

TEST_F(Bypass, ADriverThatTellsNoMemoryStillShowsWhoHasNoSlot) {
    auto seen = container({process(10, 9000, 100), process(11, 0, 0, false)});
    for (auto& one : seen.cards[0].processes) one.bytes.reset();
    seen.cards[0].bytes.reset();
    const auto findings = judge(seen, 60);
    ASSERT_THAT(findings, SizeIs(1));
    EXPECT_THAT(findings[0].text, HasSubstr("process 11 (train) uses an unknown amount of card 3"));
}

TEST_F(Bypass, NoLimitIsNeverExceeded) {
    auto seen = container({process(10, 9000, 8900)});
    seen.cards[0].quota = ~std::uint64_t{0};
    EXPECT_THAT(judge(seen, 60), IsEmpty());
}

TEST_F(Bypass, MoreThanTheCardHasCannotBe) {
    const auto findings = judge(container({process(10, 500, 20'000)}), 60);
    ASSERT_THAT(findings, SizeIs(1));
    EXPECT_EQ(findings[0].kind, BypassKind::kImpossible);
    EXPECT_EQ(findings[0].end_pid, 0U);
}

}  // namespace
}  // namespace egpu::isolation
