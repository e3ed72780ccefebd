#include "flags/log_flags.h"

#include <CLI/CLI.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "flags/command_line.h"

namespace egpu::flags {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Read {
    log::Level level = log::Level::kOff;
    log::Format format = log::Format::kLogfmt;
    std::vector<std::string> notes;
    std::string error;
};

Read read(const std::vector<std::string>& arguments) {
    Read out;
    CLI::App app;
    LogFlags flags;
    flags.declare(app);
    const auto parsed = parse(app, arguments);
    if (!parsed) {
        out.error = parsed.error().message;
        return out;
    }
    out.notes = flags.notes();
    if (const auto status = flags.apply(out.level, out.format); !status) {
        out.error = status.error().message;
    }
    return out;
}

TEST(LogFlags, LevelAndFormat) {
    EXPECT_EQ(read({}).level, log::Level::kInfo);
    EXPECT_EQ(read({"--log-level", "warn"}).level, log::Level::kWarn);
    EXPECT_EQ(read({"-v=4"}).level, log::Level::kDebug);
    EXPECT_EQ(read({"-v", "3"}).level, log::Level::kInfo);
    EXPECT_EQ(read({"-v=5", "--log-level=error"}).level, log::Level::kError);
    EXPECT_EQ(read({"--log-format=json"}).format, log::Format::kJson);
}

TEST(LogFlags, KlogsOutputFlagsAreAcceptedAndNoted) {
    const Read given =
        read({"-logtostderr=true", "-alsologtostderr", "-stderrthreshold", "INFO", "-log_dir=/tmp"}
        );
    EXPECT_EQ(given.error, "");
    EXPECT_THAT(
        given.notes,
        ElementsAre(
            HasSubstr("--logtostderr has no effect"),
            HasSubstr("--alsologtostderr"),
            HasSubstr("--stderrthreshold"),
            HasSubstr("--log_dir")
        )
    );
    EXPECT_THAT(read({"-v=2"}).notes, IsEmpty());
}

TEST(LogFlags, WrongValues) {
    EXPECT_THAT(read({"--log-level=loud"}).error, HasSubstr("debug, info, warn, error"));
    EXPECT_THAT(read({"-v", "two"}).error, HasSubstr("--v: \"two\" is not a number"));
    EXPECT_THAT(read({"--log-format", "xml"}).error, HasSubstr("logfmt or json"));
}

}  // namespace
}  // namespace egpu::flags
