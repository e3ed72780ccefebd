#include "flags/command_line.h"

#include <CLI/CLI.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace egpu::flags {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Parsed {
    std::string text = "untouched";
    bool alone = false;
    int number = 0;
    std::vector<std::string> rest;
    Result<std::string> result{std::string()};
};

Parsed read(const std::vector<std::string>& arguments) {
    Parsed out;
    CLI::App app{"A test.", "edge-gpu test"};
    app.add_option("--text", out.text, "some text");
    app.add_option("--number", out.number);
    app.add_flag("--alone", out.alone);
    app.add_option("rest", out.rest);
    out.result = parse(app, arguments);
    return out;
}

TEST(CommandLine, OneDashOrTwo) {
    for (const auto& arguments : std::vector<std::vector<std::string>>{
             {"--text", "a", "--alone"}, {"-text=a", "-alone"}, {"-text", "a", "--alone=true"}}) {
        const Parsed parsed = read(arguments);
        ASSERT_TRUE(parsed.result) << parsed.result.error().message;
        EXPECT_EQ(*parsed.result, "");
        EXPECT_EQ(parsed.text, "a");
        EXPECT_TRUE(parsed.alone);
    }
}

TEST(CommandLine, AnEmptyValue) {
    EXPECT_EQ(read({"--text="}).text, "");
    EXPECT_EQ(read({"-text="}).text, "");
    EXPECT_EQ(read({"--text", ""}).text, "");
    EXPECT_EQ(read({"--text=YQ=="}).text, "YQ==");
}

TEST(CommandLine, NumbersAndWhatFollowsTwoDashesStayAsTheyAre) {
    EXPECT_EQ(read({"--number", "-5"}).number, -5);
    EXPECT_THAT(read({"--", "-text", "b="}).rest, ElementsAre("-text", "b="));
}

TEST(CommandLine, HelpIsText) {
    for (const char* flag : {"--help", "-h", "-help"}) {
        const Parsed parsed = read({flag});
        ASSERT_TRUE(parsed.result);
        EXPECT_THAT(*parsed.result, HasSubstr("some text"));
    }
}

TEST(CommandLine, ErrorsAreOneSentenceThatNamesTheFlag) {
    const auto refusal = [](const std::vector<std::string>& arguments) {
        const Parsed parsed = read(arguments);
        EXPECT_FALSE(parsed.result);
        return parsed.result ? "" : parsed.result.error().message;
    };
    EXPECT_EQ(refusal({"-nosuch", "--alone"}), "unknown flag --nosuch (--help lists the flags)");
    EXPECT_THAT(refusal({"--text"}), HasSubstr("--text"));
    EXPECT_THAT(refusal({"--number", "many"}), HasSubstr("--number"));
    EXPECT_EQ(refusal({"--number", "many"}).find('\n'), std::string::npos);
}

TEST(CommandLine, HelpHasShortNamesFirstAndNoLongLines) {
    std::string output = "text";
    std::string level;
    CLI::App app{"A test.", "edge-gpu test"};
    app.add_option("--output,--o", output, "text or json")->default_str(output);
    app.add_option("--v", level, "klog's verbosity");
    std::string words;
    for (int i = 0; i < 40; ++i) words += "word ";
    app.add_option("--long", level, words);
    app.footer("\n" + words);
    const auto help = parse(app, {"--help"});
    ASSERT_TRUE(help) << help.error().message;
    EXPECT_THAT(*help, HasSubstr("\n  -o,--output TEXT=text       text or json\n"));
    EXPECT_THAT(*help, HasSubstr("\n  -v TEXT                     klog's verbosity\n"));
    EXPECT_THAT(*help, HasSubstr("\n" + std::string(30, ' ') + "word"));
    std::size_t count = 0;
    for (std::size_t at = 0; at < help->size();) {
        const std::size_t end = help->find('\n', at);
        ASSERT_NE(end, std::string::npos);
        EXPECT_LE(end - at, 120U);
        at = end + 1;
    }
    for (auto at = help->find("word"); at != std::string::npos; at = help->find("word", at + 1))
        ++count;
    EXPECT_EQ(count, 80U);  // nothing is lost
}

TEST(CommandLine, WithoutTheProgram) {
    std::string program = "edge-gpu";
    std::string flag = "--a";
    char* argv[] = {program.data(), flag.data(), nullptr};
    EXPECT_THAT(without_program(2, argv), ElementsAre("--a"));
    EXPECT_THAT(without_program(1, argv), ElementsAre());
    EXPECT_THAT(without_program(0, argv), ElementsAre());
}

}  // namespace
}  // namespace egpu::flags
