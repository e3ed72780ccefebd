#include "simulate/plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "simulate/svg.h"

namespace egpu::simulate {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

RunResult run(std::string workload, std::string policy, std::uint64_t seed, double most) {
    RunResult out;
    out.workload = std::move(workload);
    out.policy = std::move(policy);
    out.seed = seed;
    for (int arrived = 1; arrived <= 130; ++arrived) {
        Sample sample{static_cast<double>(arrived), std::min<double>(arrived, most), 0, {}};
        if (arrived % 5 == 0) {
            core::Causes causes;
            causes.usable = 100 - sample.allocated_pct;
            sample.free_by_cause = causes;
        }
        out.curve.push_back(sample);
    }
    return out;
}

std::size_t count(const std::string& text, const std::string& part) {
    std::size_t n = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
        ++n;
    return n;
}

TEST(Axis, round_ticks) {
    EXPECT_THAT((Axis{0, 130, 0, 1}.ticks(6)), ElementsAre(0, 20, 40, 60, 80, 100, 120));
    EXPECT_THAT((Axis{92.3, 95.9, 0, 1}.ticks(8)), ElementsAre(92.5, 93, 93.5, 94, 94.5, 95, 95.5));
    EXPECT_TRUE((Axis{1, 1, 0, 1}.ticks(5)).empty());
}

TEST(ShortNumber, no_needless_zeros) {
    EXPECT_EQ(short_number(12.50, 2), "12.5");
    EXPECT_EQ(short_number(100, 2), "100");
    EXPECT_EQ(short_number(-0.001, 1), "0");
}

TEST(Plot, a_curve_and_its_last_value_per_policy) {
    Options options;
    options.seeds = {1, 2};
    const std::string svg = plot_workload(
        {run("w<1>", "fgd", 1, 94),
         run("w<1>", "fgd", 2, 95),
         run("w<1>", "best-fit", 1, 92),
         run("w<1>", "best-fit", 2, 92)},
        options
    );
    EXPECT_THAT(svg, HasSubstr("<svg xmlns="));
    EXPECT_TRUE(svg.ends_with("</svg>\n"));
    EXPECT_THAT(svg, HasSubstr("fgd 94.50"));
    EXPECT_THAT(svg, HasSubstr("best-fit 92.00"));
    EXPECT_THAT(svg, HasSubstr("2 seeds, mean and range"));
    EXPECT_THAT(svg, HasSubstr("w&lt;1&gt;"));
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
    EXPECT_THAT(svg, Not(HasSubstr("inf")));
    EXPECT_EQ(count(svg, "<polyline"), 4U);  // two policies, whole and enlarged
}

TEST(Plot, one_seed_has_no_band_and_no_result_no_curve) {
    Options options;
    options.seeds = {1};
    const auto with_bands = count(plot_workload({run("w", "fgd", 1, 94)}, options), "fill-opacity");
    EXPECT_EQ(with_bands, 0U);
    EXPECT_EQ(count(plot_workload({}, options), "<polyline"), 0U);
    RunResult empty;
    empty.policy = "fgd";
    EXPECT_THAT(plot_workload({empty}, options), Not(HasSubstr("nan")));
}

TEST(Plot, two_samples_of_one_percent_are_one_point) {
    Options options;
    options.seeds = {1};
    RunResult twice = run("w", "fgd", 1, 94);
    twice.curve.push_back(twice.curve.back());
    EXPECT_EQ(plot_workload({twice}, options), plot_workload({run("w", "fgd", 1, 94)}, options));
}

TEST(Plot, a_file_per_workload) {
    Options options;
    options.seeds = {1};
    const auto names = [&](const std::string& path, const std::vector<RunResult>& runs) {
        std::vector<std::string> out;
        for (const auto& [file, svg] : plots(path, runs, options)) out.push_back(file);
        return out;
    };
    const auto a = run("a", "fgd", 1, 90);
    const auto b = run("b", "fgd", 1, 90);
    EXPECT_THAT(names("d.x/plot.svg", {a}), ElementsAre("d.x/plot.svg"));
    EXPECT_THAT(names("d.x/plot.svg", {a, b}), ElementsAre("d.x/plot-a.svg", "d.x/plot-b.svg"));
    EXPECT_THAT(names("d.x/plot", {a, b}), ElementsAre("d.x/plot-a", "d.x/plot-b"));
    EXPECT_THAT(names(".svg", {a, b}), ElementsAre(".svg-a", ".svg-b"));
}

}  // namespace
}  // namespace egpu::simulate
