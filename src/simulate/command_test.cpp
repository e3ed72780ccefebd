// The command line, the runner and what is printed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "base/json.h"
#include "simulate/app.h"
#include "simulate/csv.h"
#include "simulate/options.h"
#include "simulate/report.h"
#include "simulate/runner.h"
#include "simulate/small_trace_for_test.h"
#include "testing/temp_folder.h"

namespace egpu::simulate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Options options_of(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--nodes", "n.csv", "--pods", "p.csv"});
    auto options = parse_options(arguments);
    EXPECT_TRUE(options.ok()) << (options.ok() ? "" : options.error().message);
    return std::move(*options);
}

std::string refused(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--nodes", "n.csv", "--pods", "p.csv"});
    const auto options = parse_options(arguments);
    return options.ok() ? "accepted" : options.error().message;
}

std::vector<RunResult> results_of(const Options& options) {
    const Cluster cluster = small_cluster();
    std::vector<Workload> workloads{small_workload(cluster)};
    auto results = run_all(cluster, workloads, options, [](double) {});
    EXPECT_TRUE(results.ok());
    return std::move(*results);
}

TEST(Options, SeedsArePartsAndRanges) {
    EXPECT_THAT(*parse_seeds("42..44"), ElementsAre(42, 43, 44));
    EXPECT_THAT(*parse_seeds("1,5, 9..10,5"), ElementsAre(1, 5, 9, 10));
    for (const char* wrong : {"", "a", "5..4", "1..", "..2", "1-3", "-1", "0..99999999"}) {
        EXPECT_FALSE(parse_seeds(wrong).ok()) << wrong;
    }
}

TEST(Options, DefaultsAndLists) {
    const Options plain = options_of({});
    ASSERT_EQ(plain.policies.size(), 1u);
    EXPECT_EQ(plain.policies[0]->name, "fill-gradient");
    EXPECT_DOUBLE_EQ(plain.run.inflate, 1.3);
    const Options several =
        options_of({"--policy", "fgd,auto,fill-gradient,best-fit", "-o", "json"});
    ASSERT_EQ(several.policies.size(), 3u);
    EXPECT_EQ(several.output, Output::kJson);
    const Options timed = options_of({"--departures", "--longest", "30m", "--copies", "3"});
    EXPECT_DOUBLE_EQ(timed.run.longest, 1800);
    EXPECT_EQ(timed.run.copies, 3);
}

TEST(Options, ErrorsNameFlagAndFix) {
    EXPECT_THAT(refused({"--policy", "fdg"}), HasSubstr("\"fdg\" is not binpack, spread"));
    EXPECT_THAT(refused({"--inflate", "0"}), HasSubstr("--inflate"));
    EXPECT_THAT(refused({"--inflate", "nan"}), HasSubstr("a number from 0.01 to 10"));
    EXPECT_THAT(refused({"--arrivals", "sorted"}), HasSubstr("shuffle or trace"));
    EXPECT_THAT(refused({"--output", "xml"}), HasSubstr("table, json or csv"));
    EXPECT_THAT(refused({"--copies", "3"}), HasSubstr("--copies has no meaning without"));
    EXPECT_THAT(refused({"--jobs", "-1"}), HasSubstr("--jobs"));
    EXPECT_EQ(
        parse_options({"--pods", "p"}).error().message,
        "--nodes is missing: the CSV file of the nodes, or a snapshot"
    );
    EXPECT_EQ(
        parse_options({"--nodes", "n"}).error().message,
        "--pods is missing: the CSV file of the pods, or a snapshot"
    );
    EXPECT_THAT(parse_options({"--help"})->help, HasSubstr("fill-gradient"));
}

TEST(Runner, ResultsDoNotDependOnTheNumberOfThreads) {
    for (const char* departures : {"", "--departures"}) {
        std::vector<std::string> arguments{"--policy", "random,fill-gradient", "--seeds", "1..6"};
        if (*departures != 0) arguments.emplace_back(departures);
        Options options = options_of(arguments);
        options.jobs = 1;
        auto one = results_of(options);
        options.jobs = 5;
        auto many = results_of(options);
        ASSERT_EQ(one.size(), 12u);
        for (RunResult& run : one) run.seconds = 0;
        for (RunResult& run : many) run.seconds = 0;
        EXPECT_EQ(json_text(one, options), json_text(many, options));
        EXPECT_EQ(one[6].policy, "fill-gradient");
        EXPECT_EQ(one[6].seed, 1u);
    }
}

TEST(Runner, AnErrorEndsIt) {
    const Cluster cluster = small_cluster();
    std::vector<Workload> workloads{small_workload(cluster)};
    workloads[0].pods[0].lifetime.reset();
    const auto results =
        run_all(cluster, workloads, options_of({"--departures", "--seeds", "1..4"}), [](double) {});
    ASSERT_FALSE(results.ok());
    EXPECT_THAT(results.error().message, HasSubstr("pod-1000"));
}

// The whole command on the small trace; what it says on standard error.
std::string said(const testing::TempFolder& folder, const std::string& plot, int status) {
    const std::string nodes = folder / "n.csv";
    const std::string pods = folder / "p.csv";
    EXPECT_TRUE(write_file_atomically(nodes, kSmallNodes, 0600).ok());
    EXPECT_TRUE(write_file_atomically(pods, small_pods(), 0600).ok());
    std::vector<std::string> words{
        "simulate", "--nodes", nodes, "--pods", pods, "--policy", "best-fit", "--plot", plot};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    EXPECT_EQ(run_simulate(static_cast<int>(arguments.size()), arguments.data()), status);
    EXPECT_EQ(::testing::internal::GetCapturedStdout().empty(), status != 0);
    return ::testing::internal::GetCapturedStderr();
}

TEST(Command, APlotThatCannotBeWrittenIsRefusedBeforeTheRuns) {
    const testing::TempFolder folder;
    const std::string here = folder.path();
    said(folder, here + "/plot.svg", 0);
    EXPECT_THAT(*read_file(here + "/plot.svg"), HasSubstr("</svg>"));
    EXPECT_THAT(said(folder, here + "/no/plot.svg", 1), HasSubstr("there is no folder " + here));
    EXPECT_THAT(said(folder, here, 1), HasSubstr("--plot " + here + ": a folder"));
    EXPECT_THAT(said(folder, here + "/", 1), HasSubstr("a folder; name a file in it"));
}

TEST(Report, JsonHasTheFieldsPromised) {
    const Options options = options_of({"--policy", "best-fit", "--seeds", "7", "-o", "json"});
    const auto document = json::parse(json_text(results_of(options), options));
    ASSERT_TRUE(document.ok());
    const json::array* runs = json::get_array(*document, {"results"});
    ASSERT_NE(runs, nullptr);
    ASSERT_EQ(runs->size(), 1u);
    const json::object& run = runs->at(0).as_object();
    EXPECT_EQ(run.at("workload").as_string(), "pods");
    EXPECT_EQ(run.at("policy").as_string(), "best-fit");
    EXPECT_EQ(json::get_int(runs->at(0), {"seed"}), 7);
    for (const char* field : {"allocated_pct_at_100", "allocated_pct_at_130", "seconds"}) {
        EXPECT_TRUE(run.contains(field)) << field;
    }
    EXPECT_GT(run.at("curve").as_array().size(), 10u);
    EXPECT_TRUE(run.at("curve").as_array().back().as_object().contains("free_pct"));
}

TEST(Report, TheSecondReadingIsCalledAfterInflate) {
    const Options options = options_of({"--policy", "best-fit", "--inflate", "1.15"});
    const auto results = results_of(options);
    EXPECT_THAT(table(results, options), HasSubstr("AT-115%"));
    EXPECT_THAT(json_text(results, options), HasSubstr("allocated_pct_at_115"));
    EXPECT_THAT(csv_text(results, options), HasSubstr("allocated_pct_at_115"));
}

TEST(Report, CsvCanBeReadBack) {
    for (const char* departures : {"", "--departures"}) {
        std::vector<std::string> arguments{"--policy", "best-fit,fgd", "--seeds", "1,2"};
        if (*departures != 0) arguments.emplace_back(departures);
        const Options options = options_of(arguments);
        const auto csv = CsvTable::parse("out.csv", csv_text(results_of(options), options));
        ASSERT_TRUE(csv.ok()) << csv.error().message;
        ASSERT_EQ(csv->size(), 4u);
        EXPECT_EQ((*csv)[3].text(csv->column("policy")), "fgd");
        EXPECT_EQ((*csv)[3].text(csv->column("seed")), "2");
    }
}

TEST(Report, TableHasALinePerPolicyAndMeansOverWorkloads) {
    const Cluster cluster = small_cluster();
    std::vector<Workload> workloads{small_workload(cluster), small_workload(cluster)};
    workloads[1].name = "other";
    for (const char* departures : {"", "--departures"}) {
        std::vector<std::string> arguments{"--policy", "best-fit,fgd"};
        if (*departures != 0) arguments.emplace_back(departures);
        const Options options = options_of(arguments);
        const auto results = run_all(cluster, workloads, options, [](double) {});
        ASSERT_TRUE(results.ok());
        const std::string text = table(*results, options);
        EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 7);  // header, 4 lines, 2 means
        EXPECT_THAT(text, HasSubstr("all (mean)"));
    }
}

}  // namespace
}  // namespace egpu::simulate
