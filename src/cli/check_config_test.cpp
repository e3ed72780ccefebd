// Whole files; check_config_faults_test.cpp has a file for each single fault.
#include "cli/check_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "cli/config_for_test.h"
#include "cli/render_config.h"

namespace egpu::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(CheckConfig, WhatWePrintIsFine) {
    for (int minor = 19; minor <= 40; ++minor) {
        ConfigSettings settings;
        settings.minor = minor;
        const auto checked = check_config(render_configuration(settings), {minor, false});
        ASSERT_TRUE(checked) << minor;
        EXPECT_THAT(checked->findings.all(), IsEmpty()) << minor << "\n" << all_of(*checked);
        if (minor > 22) continue;
        const auto old = check_config(render_policy(settings), {minor, false});
        ASSERT_TRUE(old) << minor;
        EXPECT_THAT(old->findings.all(), IsEmpty()) << minor << "\n" << all_of(*old);
    }
}

TEST(CheckConfig, TheOldExampleOfNanoGpuIsExplained) {
    const auto checked = check_config(
        R"({
  "kind": "Policy", "apiVersion": "v1",
  "extenders": [{
    "urlPrefix": "http://127.0.0.1:8080/api/v1/namespaces/kube-system/services/nano-gpu-scheduler/proxy/scheduler",
    "filterVerb": "filter", "prioritizeVerb": "priorities", "bindVerb": "bind",
    "weight": 1, "enableHttps": false, "nodeCacheCapable": true,
    "managedResources": [{"name": "nano-gpu/gpu-percent"}]
  }]})",
        {21, false}
    );
    ASSERT_TRUE(checked);
    EXPECT_EQ(checked->kind, "Policy");
    std::vector<std::string> codes;
    for (const Finding& finding : checked->findings.all()) codes.push_back(finding.code);
    EXPECT_THAT(
        codes,
        ::testing::UnorderedElementsAre(
            "url-proxy", "weight-small", "verb-missing", "timeout-missing", "resource-missing"
        )
    );
    EXPECT_EQ(checked->findings.errors(), 1);
}

TEST(CheckConfig, OtherExtendersAreLeftAlone) {
    const std::string other =
        "extenders:\n- {urlPrefix: \"http://storage.svc/x\", filterVerb: f, ignorable: true,\n"
        "   managedResources: [{name: example.com/disk, ignoredByScheduler: true}]}\n";
    const auto checked = check_config(replaced(configuration(), "extenders:\n", other), {});
    ASSERT_TRUE(checked);
    EXPECT_THAT(checked->findings.all(), IsEmpty()) << all_of(*checked);
}

TEST(CheckConfig, OnlyOtherExtendersIsNoExtender) {
    const auto checked = check_config(
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
        "percentageOfNodesToScore: 100\nextenders:\n"
        "- {urlPrefix: \"http://10.0.0.1:80/x\", filterVerb: f, managedResources: [{name: "
        "example.com/disk}]}\n",
        {}
    );
    ASSERT_TRUE(checked);
    ASSERT_THAT(checked->findings.all(), SizeIs(1)) << all_of(*checked);
    EXPECT_EQ(checked->findings.all().front().code, "no-extender");
}

TEST(CheckConfig, NoExtendersAtAll) {
    const std::string top = configuration().substr(0, configuration().find("extenders:"));
    for (const char* extenders : {"", "extenders:\n", "extenders: []\n"}) {
        const auto checked = check_config(top + extenders, {});
        ASSERT_TRUE(checked);
        ASSERT_THAT(checked->findings.all(), SizeIs(1)) << all_of(*checked);
        EXPECT_EQ(checked->findings.all().front().code, "no-extender");
    }
    const auto checked = check_config(top + "extenders: {}\n", {});
    ASSERT_THAT(checked->findings.all(), SizeIs(1)) << all_of(*checked);
    EXPECT_EQ(checked->findings.all().front().code, "type");
}

TEST(CheckConfig, ClusterDnsAllowsServiceNames) {
    const std::string text =
        replaced(configuration(), "127.0.0.1:39999", "edge-gpu.kube-system.svc:39999");
    const auto checked = check_config(text, {std::nullopt, true});
    ASSERT_TRUE(checked);
    EXPECT_THAT(checked->findings.all(), IsEmpty()) << all_of(*checked);
}

TEST(CheckConfig, MostAllocatedDoesNotFightBinpack) {
    const std::string profile =
        "profiles:\n- plugins: {score: {enabled: [{name: NodeResourcesFit, weight: 20}]}}\n"
        "  pluginConfig:\n  - name: NodeResourcesFit\n    args: {scoringStrategy: {type: "
        "MostAllocated}}\nextenders:";
    const auto checked = check_config(replaced(configuration(), "extenders:", profile), {});
    ASSERT_TRUE(checked);
    EXPECT_THAT(checked->findings.all(), IsEmpty()) << all_of(*checked);
}

TEST(CheckConfig, MoreThanOneDocument) {
    const auto checked = check_config(configuration() + "---\nkind: Other\n", {});
    ASSERT_TRUE(checked);
    ASSERT_THAT(checked->findings.all(), SizeIs(1)) << all_of(*checked);
    EXPECT_EQ(checked->findings.all().front().code, "documents");
    EXPECT_THAT(check_config(configuration() + "---\n", {})->findings.all(), IsEmpty());
}

TEST(CheckConfig, LinesPointAtTheKey) {
    const auto checked = check_config(replaced(configuration(), "weight: 200", "weight: 1"), {});
    ASSERT_TRUE(checked);
    ASSERT_THAT(checked->findings.all(), SizeIs(1));
    EXPECT_EQ(checked->findings.all().front().line, 16);
    EXPECT_THAT(all_of(*checked), HasSubstr("FILE:16: warning: extenders[0].weight: 1 drowns"));
    EXPECT_THAT(all_of(*checked), HasSubstr("FILE: 0 errors, 1 warning\n"));
}

TEST(CheckConfig, TextOfTheFileIsEscapedInMessages) {
    const auto checked = check_config("kind: \"a\\e[31m\\0b\"\n\"k\\n\": 1\n", {});
    ASSERT_TRUE(checked);
    EXPECT_EQ(all_of(*checked).find('\x1b'), std::string::npos);
    EXPECT_THAT(all_of(*checked), HasSubstr("a\\u001b[31m\\u0000b"));
    EXPECT_TRUE(json::parse(json::to_text(as_json(checked->findings))));
}

TEST(CheckConfig, WhatIsNoYamlIsAnError) {
    for (const char* text :
         {"{",
          "a: [",
          "a: b: c",
          "\t- a",
          "*x",
          "a: &x [*x]",
          "? [a]\n: b",
          "{{a: 1}: 2}",
          "<<: {a: 1}"}) {
        const auto checked = check_config(text, {});
        EXPECT_FALSE(checked) << text;
        if (checked) continue;
        EXPECT_EQ(checked.error().code, ErrorCode::kInvalid) << text;
    }
}

TEST(CheckConfig, WhatIsNoConfigurationIsAFinding) {
    for (const char* text : {"", "text", "[]", "{}", "a: 1", "12", "---\n---\n", "kind: [a]"}) {
        const auto checked = check_config(text, {});
        ASSERT_TRUE(checked) << text << ": " << checked.error().message;
        ASSERT_THAT(checked->findings.all(), SizeIs(1)) << text << "\n" << all_of(*checked);
        EXPECT_EQ(checked->findings.all().front().code, "kind") << text;
    }
}

TEST(CheckConfig, AFileThatGrowsWhenItIsReadIsRefused) {
    std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 12; ++i) {
        const std::string before = "*a" + std::to_string(i - 1);
        bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
        for (int k = 0; k < 8; ++k) bomb += ", " + before;
        bomb += "]\n";
    }
    const auto checked = check_config(bomb, {});
    ASSERT_FALSE(checked);
    EXPECT_THAT(checked.error().message, HasSubstr("more than 50000 values"));
    const std::string deep = std::string(400, '[') + std::string(400, ']');
    ASSERT_FALSE(check_config(deep, {}));
    EXPECT_THAT(check_config(deep, {}).error().message, HasSubstr("nested deeper"));
}

}  // namespace
}  // namespace egpu::cli
