// Golden files: tests/data/scheduler-config. EDGE_GPU_WRITE_GOLDEN=1 writes them anew.
#include "cli/render_config.h"

#include <cstdlib>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "base/json.h"
#include "cli/check_config.h"

namespace egpu::cli {
namespace {

const std::filesystem::path kFolder =
    std::filesystem::path(EDGE_GPU_TEST_DATA) / "scheduler-config";

void expect_golden(const std::string& name, const std::string& text) {
    if (std::getenv("EDGE_GPU_WRITE_GOLDEN") != nullptr) {
        ASSERT_TRUE(write_file_atomically(kFolder / name, text, 0644));
    }
    const auto golden = read_file(kFolder / name);
    ASSERT_TRUE(golden) << golden.error().message;
    EXPECT_EQ(text, *golden) << name;
}

ConfigSettings for_minor(int minor) {
    ConfigSettings settings;
    settings.minor = minor;
    return settings;
}

ConfigSettings with_everything(int minor) {
    ConfigSettings settings = for_minor(minor);
    settings.extender_url = "https://10.96.0.20:39999/scheduler";
    settings.kubeconfig = "";
    settings.leader_elect = false;
    settings.weight = 50;
    settings.http_timeout_ms = 7500;
    settings.node_cache_capable = false;
    settings.whole_cards = false;
    settings.tls_ca = "/etc/kubernetes/edge-gpu/ca.crt";
    settings.tls_cert = "/etc/kubernetes/edge \"gpu\"/client.crt";
    settings.tls_key = "/k.pem";
    settings.tls_server_name = "edge-gpu-scheduler";
    return settings;
}

TEST(RenderConfig, GoldenFiles) {
    expect_golden("1.19.yaml", render_configuration(for_minor(19)));
    expect_golden("1.22.yaml", render_configuration(for_minor(22)));
    expect_golden("1.25.yaml", render_configuration(for_minor(25)));
    expect_golden("1.34.yaml", render_configuration(for_minor(34)));
    expect_golden("all-flags.yaml", render_configuration(with_everything(34)));
    expect_golden("policy-1.21.json", render_policy(for_minor(21)));
    expect_golden("policy-all-flags.json", render_policy(with_everything(21)));
}

TEST(RenderConfig, APolicyIsJson) {
    const auto parsed = json::parse(render_policy(with_everything(21)));
    ASSERT_TRUE(parsed) << parsed.error().message;
    const json::array* extenders = json::get_array(*parsed, {"extenders"});
    ASSERT_NE(extenders, nullptr);
    EXPECT_EQ(json::get_int(extenders->at(0), {"httpTimeout"}), 7'500'000'000);
    EXPECT_EQ(
        json::get_string(extenders->at(0), {"tlsConfig", "certFile"}),
        "/etc/kubernetes/edge \"gpu\"/client.crt"
    );
}

TEST(RenderConfig, TextOfFlagsCannotBreakOut) {
    ConfigSettings settings = for_minor(34);
    settings.kubeconfig = "/a\"\nextenders: []\n#\\";
    settings.extender_url = "http://127.0.0.1:39999/x\"\n  ignorable: true\n  #/scheduler";
    const auto checked = check_config(render_configuration(settings), {34, false});
    ASSERT_TRUE(checked) << checked.error().message;
    ASSERT_EQ(checked->findings.all().size(), 1U);  // such a URL is none
    EXPECT_EQ(checked->findings.all().front().code, "url");
}

}  // namespace
}  // namespace egpu::cli
