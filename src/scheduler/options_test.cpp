#include "scheduler/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace egpu::scheduler {
namespace {

using ::testing::HasSubstr;

Options must_parse(const std::vector<std::string>& arguments, const Environment& environment = {}) {
    auto parsed = parse_options(arguments, environment);
    EXPECT_TRUE(parsed.ok()) << (parsed.ok() ? "" : parsed.error().message);
    return parsed.ok() ? parsed->options : Options{};
}

std::string refusal(const std::vector<std::string>& arguments) {
    auto parsed = parse_options(arguments, {});
    EXPECT_FALSE(parsed.ok());
    return parsed.ok() ? "" : parsed.error().message;
}

TEST(Options, Defaults) {
    const Options options = must_parse({});
    EXPECT_EQ(options.listen, ":39999");
    EXPECT_EQ(options.policy, "auto");
    EXPECT_EQ(options.kubeconfig, "");
    EXPECT_FALSE(options.leader_elect);
    EXPECT_TRUE(options.count_host);
}

TEST(Options, CountingCpuAndMemoryCanBeTurnedOff) {
    const Options options = must_parse({"--count-cpu-memory=false"});
    EXPECT_FALSE(options.count_host);
    EXPECT_THAT(describe(options), HasSubstr("countCPUMemory: false"));
    EXPECT_THAT(refusal({"--count-cpu-memory=maybe"}), HasSubstr("--count-cpu-memory"));
}

TEST(Options, NanoGpuDeploymentCommandLines) {
    const Environment environment{{"PORT", "39999"}, {"THREADNESS", "4"}, {"KUBECONFIG", "/k"}};
    for (const auto& arguments : std::vector<std::vector<std::string>>{
             {"--priority", "spread", "--v", "2"},
             {"-priority", "spread", "-v", "2"},
             {"-priority=spread", "-v=2"},
             {"-priority=spread",
              "-v=2",
              "-logtostderr=true",
              "-alsologtostderr",
              "-stderrthreshold",
              "INFO",
              "-vmodule=a=1",
              "-log_dir",
              "/tmp"}}) {
        const Options options = must_parse(arguments, environment);
        EXPECT_EQ(options.policy, "spread");
        EXPECT_EQ(options.listen, ":39999");
        EXPECT_EQ(options.log_level, log::Level::kInfo);
        EXPECT_FALSE(options.notes.empty());
    }
    EXPECT_EQ(must_parse({"-v", "4"}).log_level, log::Level::kDebug);
}

TEST(Options, PortFromEnvironment) {
    EXPECT_EQ(must_parse({}, {{"PORT", "12345"}}).listen, ":12345");
    EXPECT_EQ(must_parse({}, {{"PORT", ""}}).listen, ":39999");
    EXPECT_EQ(must_parse({}, {{"PORT", "http"}}).listen, ":39999");
    EXPECT_EQ(must_parse({}, {{"PORT", "70000"}}).listen, ":39999");
    EXPECT_EQ(must_parse({"--listen", "127.0.0.1:1"}, {{"PORT", "2"}}).listen, "127.0.0.1:1");
}

TEST(Options, OurFlags) {
    const Options options = must_parse(
        {"--kubeconfig",
         "/a",
         "--policy=random:7",
         "--leader-elect",
         "--lease-duration",
         "15s",
         "--renew-deadline=10s",
         "--retry-period=2s",
         "--compat-label",
         "--max-body",
         "1Mi",
         "--log-level",
         "warn",
         "--log-format",
         "json",
         "--max-connections",
         "9",
         "--bind-timeout",
         "2s",
         "--reservation-ttl",
         "1m30s"},
        {{"KUBECONFIG", "/b"}}
    );
    EXPECT_EQ(options.kubeconfig, "/a");
    EXPECT_EQ(options.policy, "random:7");
    EXPECT_TRUE(options.leader_elect);
    EXPECT_EQ(options.lease_duration, Millis(15000));
    EXPECT_TRUE(options.compat_label);
    EXPECT_EQ(options.max_body, 1U << 20);
    EXPECT_EQ(options.log_level, log::Level::kWarn);
    EXPECT_EQ(options.log_format, log::Format::kJson);
    EXPECT_EQ(options.max_connections, 9);
    EXPECT_EQ(options.bind_timeout, Millis(2000));
    EXPECT_EQ(options.reservation_ttl, Millis(90000));
    EXPECT_FALSE(must_parse({"--leader-elect=false"}).leader_elect);
}

TEST(Options, WrongFlagsAndValuesSayWhich) {
    EXPECT_THAT(refusal({"--no-such-flag"}), HasSubstr("unknown flag --no-such-flag"));
    EXPECT_THAT(refusal({"-nosuch", "x"}), HasSubstr("-nosuch"));
    EXPECT_THAT(refusal({"stray"}), HasSubstr("unexpected argument stray"));
    EXPECT_THAT(
        refusal({"-priority", "best"}), HasSubstr("--priority: \"best\" is not a policy (binpack")
    );
    EXPECT_THAT(refusal({"--policy", "random:x"}), HasSubstr("random:SEED"));
    EXPECT_THAT(refusal({"--listen", "localhost"}), HasSubstr("--listen: \"localhost\""));
    EXPECT_THAT(refusal({"--listen", ":99999"}), HasSubstr("--listen"));
    EXPECT_THAT(refusal({"--lease-duration", "2"}), HasSubstr("duration such as"));
    EXPECT_THAT(refusal({"--renew-deadline", "3s"}), HasSubstr("shorter than --lease-duration"));
    EXPECT_THAT(refusal({"--retry-period", "1600ms"}), HasSubstr("shorter than --renew-deadline"));
    EXPECT_THAT(refusal({"--bind-timeout", "40s"}), HasSubstr("longer than --bind-timeout"));
    EXPECT_THAT(refusal({"--max-body", "big"}), HasSubstr("--max-body"));
    EXPECT_THAT(refusal({"--max-connections", "0"}), HasSubstr("--max-connections"));
    EXPECT_THAT(refusal({"--log-level", "loud"}), HasSubstr("debug, info, warn, error"));
    EXPECT_THAT(refusal({"-v", "two"}), HasSubstr("--v"));
    EXPECT_THAT(refusal({"--tls-cert", "c"}), HasSubstr("together"));
    EXPECT_THAT(refusal({"--tls-client-ca", "c"}), HasSubstr("needs --tls-cert"));
    EXPECT_THAT(refusal({"--policy"}), HasSubstr("--policy"));
}

TEST(Options, HelpAndConfigAreText) {
    auto help = parse_options({"--help"}, {});
    ASSERT_TRUE(help.ok());
    EXPECT_THAT(help->text, HasSubstr("--listen"));
    EXPECT_THAT(help->text, HasSubstr("interfaces at $PORT"));
    EXPECT_THAT(help->text, HasSubstr("THREADNESS"));
    auto config = parse_options({"--print-config", "--policy", "spread"}, {});
    ASSERT_TRUE(config.ok());
    EXPECT_THAT(config->text, HasSubstr("policy: \"spread\""));
    EXPECT_THAT(config->text, HasSubstr("listen: \":39999\""));
}

}  // namespace
}  // namespace egpu::scheduler
