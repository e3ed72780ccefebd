#include "base/log.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace egpu::log {
namespace {

TEST(Log, WritesOneLogfmtLineAnEvent) {
    configure("test", Level::kInfo, Format::kLogfmt);
    testing::internal::CaptureStderr();
    info("pod bound", {{"pod", "ns/name"}, {"ms", 3}, {"note", "a \"b\"\nc"}});
    debug("unseen");
    const std::string text = testing::internal::GetCapturedStderr();
    EXPECT_NE(
        text.find(R"(level=info part=test msg="pod bound" pod=ns/name ms=3 note="a \"b\"\u000ac")"),
        std::string::npos
    ) << text;
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
}

TEST(Log, WritesValidJson) {
    configure("test", Level::kDebug, Format::kJson);
    testing::internal::CaptureStderr();
    warn("odd % {} bytes", {{"k", "\xff{}%v"}});
    const std::string text = testing::internal::GetCapturedStderr();
    const auto doc = json::parse(text);
    ASSERT_TRUE(doc) << text;
    EXPECT_EQ(json::get_string(*doc, {"msg"}), "odd % {} bytes");
    EXPECT_EQ(json::get_string(*doc, {"k"}), "\xEF\xBF\xBD{}%v");
    configure("test", Level::kInfo, Format::kLogfmt);
}

}  // namespace
}  // namespace egpu::log
