#include "cli/scheduler_config_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace egpu::cli {
namespace {

using ::testing::HasSubstr;

SchedulerConfigOptions parsed(const std::vector<std::string>& arguments) {
    auto options = parse_scheduler_config_options(arguments);
    EXPECT_TRUE(options) << (options ? "" : options.error().message);
    return options ? *options : SchedulerConfigOptions{};
}

std::string refused(const std::vector<std::string>& arguments) {
    const auto options = parse_scheduler_config_options(arguments);
    EXPECT_FALSE(options);
    if (options) return "";
    EXPECT_EQ(options.error().code, ErrorCode::kInvalid);
    return options.error().message;
}

TEST(SchedulerConfigOptions, Defaults) {
    const SchedulerConfigOptions options = parsed({"--kubernetes", "v1.21.2+k3s1"});
    EXPECT_EQ(options.settings.minor, 21);
    EXPECT_EQ(options.settings.weight, 200);
    EXPECT_EQ(options.settings.http_timeout_ms, 5000);
    EXPECT_TRUE(options.settings.leader_elect);
    EXPECT_TRUE(options.settings.whole_cards);
    EXPECT_FALSE(options.policy);
}

TEST(SchedulerConfigOptions, EveryFlagArrives) {
    const SchedulerConfigOptions options = parsed(
        {"--kubernetes=1.30",
         "--extender-url=https://10.0.0.1:39999/scheduler",
         "--kubeconfig=",
         "--leader-elect=false",
         "--weight=100",
         "--http-timeout=10s",
         "--node-cache-capable=false",
         "--also-whole-cards=false",
         "--tls-ca=/ca",
         "--tls-cert=/c",
         "--tls-key=/k",
         "--tls-server-name=n",
         "--cluster-dns"}
    );
    const ConfigSettings& settings = options.settings;
    EXPECT_EQ(settings.extender_url, "https://10.0.0.1:39999/scheduler");
    EXPECT_EQ(settings.kubeconfig, "");
    EXPECT_FALSE(settings.leader_elect);
    EXPECT_EQ(settings.weight, 100);
    EXPECT_EQ(settings.http_timeout_ms, 10000);
    EXPECT_FALSE(settings.node_cache_capable);
    EXPECT_FALSE(settings.whole_cards);
    EXPECT_EQ(
        settings.tls_ca + settings.tls_cert + settings.tls_key + settings.tls_server_name,
        "/ca/c/kn"
    );
    EXPECT_TRUE(settings.cluster_dns);
}

TEST(SchedulerConfigOptions, Check) {
    const SchedulerConfigOptions options = parsed({"--check", "/f", "-o", "json"});
    EXPECT_EQ(options.check_file, "/f");
    EXPECT_TRUE(options.json);
    EXPECT_FALSE(options.minor);
    EXPECT_EQ(parsed({"--check=/f", "--kubernetes=1.22"}).minor, 22);
}

TEST(SchedulerConfigOptions, Refused) {
    EXPECT_THAT(refused({}), HasSubstr("--kubernetes is missing"));
    for (const char* text : {"1", "1.", "2.1", "1.x", "1.34x", "latest", "1.2000", "v", "-1.3"}) {
        EXPECT_THAT(refused({std::string("--kubernetes=") + text}), HasSubstr("such as 1.21"))
            << text;
    }
    EXPECT_THAT(refused({"--kubernetes=1.18"}), HasSubstr("--policy-file"));
    EXPECT_THAT(refused({"--kubernetes=1.23", "--policy-file"}), HasSubstr("leave it out"));
    EXPECT_THAT(
        refused({"--kubernetes=1.21", "--policy-file", "--kubeconfig=/k"}),
        HasSubstr("no place in a Policy")
    );
    EXPECT_THAT(refused({"--kubernetes=1.34", "-o", "json"}), HasSubstr("needs --check"));
    EXPECT_THAT(
        refused({"--check=/f", "--weight=10"}), HasSubstr("--weight has no meaning with --check")
    );
    EXPECT_THAT(refused({"--check=/f", "-o", "xml"}), HasSubstr("text or json"));
    EXPECT_THAT(refused({"--check="}), HasSubstr("--check"));
    EXPECT_THAT(refused({"--kubernetes=1.34", "--weight=0"}), HasSubstr("1 to 1000"));
    EXPECT_THAT(refused({"--kubernetes=1.34", "--leader-elect=yes"}), HasSubstr("true or false"));
    EXPECT_THAT(refused({"--kubernetes=1.34", "--http-timeout=5"}), HasSubstr("duration"));
    EXPECT_THAT(
        refused({"--kubernetes=1.34", "--extender-url=https://h:1/scheduler"}),
        HasSubstr("needs --tls-ca")
    );
    EXPECT_THAT(refused({"--kubernetes=1.34", "--tls-ca=/ca"}), HasSubstr("need an https://"));
    EXPECT_THAT(
        refused(
            {"--kubernetes=1.34",
             "--extender-url=https://h:1/scheduler",
             "--tls-ca=/ca",
             "--tls-cert=/c"}
        ),
        HasSubstr("together")
    );
}

}  // namespace
}  // namespace egpu::cli
