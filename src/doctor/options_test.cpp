#include "doctor/options.h"

#include <gtest/gtest.h>

namespace egpu::doctor {
namespace {

TEST(DoctorOptions, have_defaults_and_are_checked) {
    const auto plain = parse_options({});
    ASSERT_TRUE(plain.ok());
    EXPECT_EQ(plain->gather.root, "/");
    EXPECT_TRUE(plain->gather.ask_api);
    const auto full =
        parse_options({"--root=/host/", "-o", "json", "--fix", "--yes", "--smoke", "-v", "--no-api"}
        );
    ASSERT_TRUE(full.ok()) << full.error().message;
    EXPECT_EQ(full->gather.root, "/host");
    EXPECT_TRUE(full->as_json && full->fix && full->yes && full->smoke && full->verbose);
    EXPECT_FALSE(full->gather.ask_api);
    const auto help = parse_options({"--help"});
    ASSERT_TRUE(help.ok());
    EXPECT_NE(help->help.find("Exit status"), std::string::npos);
}

TEST(DoctorOptions, refuse_with_the_flags_name) {
    const auto message = [](const std::vector<std::string>& arguments) {
        const auto parsed = parse_options(arguments);
        return parsed ? std::string("accepted") : parsed.error().message;
    };
    EXPECT_NE(
        message({"-o", "yaml"}).find("--output: \"yaml\" is not text or json"), std::string::npos
    );
    EXPECT_NE(message({"--root", "host"}).find("--root"), std::string::npos);
    EXPECT_NE(message({"--yes"}).find("--fix"), std::string::npos);
    EXPECT_NE(message({"--what"}).find("--what"), std::string::npos);
}

}  // namespace
}  // namespace egpu::doctor
