// Each finding has a file with this fault only, and nothing else may be blamed in it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/check_config.h"
#include "cli/config_for_test.h"
#include "cli/render_config.h"

namespace egpu::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr auto kError = Severity::kError;
constexpr auto kWarning = Severity::kWarning;

std::string policy() {
    ConfigSettings settings;
    settings.minor = 21;
    return render_policy(settings);
}

// A file that differs from a good one in one place, and what that must be called.
struct Fault {
    const char* name;
    const char* from;
    const char* to;
    Severity severity;
    const char* code;
    const char* path;
    const char* fix = "";      // part of the fix
    const char* message = "";  // part of the message
    int minor = 0;             // --kubernetes; 0 without
};

void PrintTo(const Fault& fault, std::ostream* out) {
    *out << fault.name;
}

void expect_only(const CheckedConfig& checked, const Fault& fault) {
    ASSERT_THAT(checked.findings.all(), SizeIs(1)) << all_of(checked);
    const Finding& finding = checked.findings.all().front();
    EXPECT_EQ(finding.severity, fault.severity) << all_of(checked);
    EXPECT_EQ(finding.code, fault.code);
    EXPECT_EQ(finding.path, fault.path);
    EXPECT_THAT(finding.fix, HasSubstr(fault.fix));
    EXPECT_THAT(finding.message, HasSubstr(fault.message));
    EXPECT_GT(finding.line, 0);
}

CheckOptions options_for(const Fault& fault) {
    CheckOptions options;
    if (fault.minor > 0) options.minor = fault.minor;
    return options;
}

// clang-format off
constexpr Fault kConfigurationFaults[] = {
    {"KindMissing", "kind: KubeSchedulerConfiguration", "", kError, "kind", "kind"},
    {"KindOther", "kind: KubeSchedulerConfiguration", "kind: KubeletConfiguration", kError, "kind",
     "kind"},
    {"KindConfigMap", "kind: KubeSchedulerConfiguration", "kind: ConfigMap", kError, "kind", "kind",
     "inside its data"},
    {"ApiVersionMissing", "apiVersion: kubescheduler.config.k8s.io/v1\n", "", kError, "api-version",
     "apiVersion"},
    {"ApiVersionUnknown", "config.k8s.io/v1\n", "config.k8s.io/v2\n", kError, "api-version",
     "apiVersion"},
    {"ApiVersionGroup", "kubescheduler.config.k8s.io/v1\n", "kubescheduler.k8s.io/v1\n", kError,
     "api-version", "apiVersion", "kubescheduler.config.k8s.io/v1"},
    {"ApiVersionTooOld", "config.k8s.io/v1\n", "config.k8s.io/v1beta1\n", kError,
     "api-version-not-served", "apiVersion", "kubescheduler.config.k8s.io/v1",
     "1.19 to 1.22, not by 1.34", 34},
    {"ApiVersionTooNew", "# For", "# for", kError, "api-version-not-served", "apiVersion",
     "kubescheduler.config.k8s.io/v1beta1", "1.25 and newer, not by 1.21", 21},
    {"UnknownTopKey", "leaderElection:", "leaderElections:", kError, "unknown-key",
     "leaderElections", "leaderElection?"},
    {"UnknownTopKeyOfALaterVersion", "leaderElection:", "someFutureThing: 1\nleaderElection:",
     kWarning, "unknown-key", "someFutureThing"},
    {"UnknownLeaderElectionKey", "  leaderElect:", "  leaderelect:", kError, "unknown-key",
     "leaderElection.leaderelect", "leaderElect?"},
    {"UnknownClientConnectionKey", "  kubeconfig:", "  kubeConfig:", kError, "unknown-key",
     "clientConnection.kubeConfig", "kubeconfig?"},
    {"PolicysSpellingOfHttps", "  weight: 200", "  enableHttps: false\n  weight: 200", kError,
     "unknown-key", "extenders[0].enableHttps", "enableHTTPS?"},
    {"TypoInAVerb", "  preemptVerb:", "  preemtVerb:", kError, "unknown-key",
     "extenders[0].preemtVerb", "preemptVerb?"},
    {"TypoInTheUrl", "urlPrefix:", "URLPrefix:", kError, "unknown-key", "extenders[0].URLPrefix",
     "urlPrefix?"},
    {"TypoInManagedResources", "managedResources:", "managedResource:", kError, "unknown-key",
     "extenders[0].managedResource", "managedResources?"},
    {"TypoInAManagedResource", "    ignoredByScheduler:", "    ignoreByScheduler:", kError,
     "unknown-key", "extenders[0].managedResources[0].ignoreByScheduler"},
    {"KeyTwice", "  weight: 200", "  weight: 200\n  weight: 20", kError, "duplicate-key",
     "extenders[0].weight"},
    {"WeightAsText", "weight: 200 ", "weight: \"10\" ", kError, "type", "extenders[0].weight",
     "without quotes"},
    {"BoolAsText", "nodeCacheCapable: true", "nodeCacheCapable: \"true\"", kError, "type",
     "extenders[0].nodeCacheCapable"},
    {"ExtenderAsText", "extenders:\n", "extenders:\n- http://127.0.0.1:39999\n", kError, "type",
     "extenders[0]"},
    {"PercentageMissing", "percentageOfNodesToScore: 100", "#", kWarning, "percentage",
     "percentageOfNodesToScore"},
    {"PercentageSampled", "percentageOfNodesToScore: 100", "percentageOfNodesToScore: 50", kWarning,
     "percentage", "percentageOfNodesToScore", "100"},
    {"PercentageAdaptive", "percentageOfNodesToScore: 100", "percentageOfNodesToScore: 0", kWarning,
     "percentage", "percentageOfNodesToScore", "100"},
    {"PercentageTooLarge", "percentageOfNodesToScore: 100", "percentageOfNodesToScore: 101", kError,
     "percentage", "percentageOfNodesToScore"},
    {"PercentageOfAProfile", "extenders:", "profiles:\n- percentageOfNodesToScore: 10\nextenders:",
     kWarning, "percentage", "profiles[0].percentageOfNodesToScore"},
    {"FilterVerbMissing", "  filterVerb: filter\n", "", kError, "verb-missing",
     "extenders[0].filterVerb", "filterVerb: filter"},
    {"FilterVerbEmpty", "  filterVerb: filter\n", "  filterVerb: \"\"\n", kError, "verb-missing",
     "extenders[0].filterVerb"},
    {"FilterVerbNull", "  filterVerb: filter\n", "  filterVerb:\n", kError, "verb-missing",
     "extenders[0].filterVerb"},
    {"FilterVerbWrong", "filterVerb: filter", "filterVerb: /filter", kError, "verb-wrong",
     "extenders[0].filterVerb"},
    {"PrioritizeVerbMissing", "  prioritizeVerb: priorities\n", "", kWarning, "verb-missing",
     "extenders[0].prioritizeVerb"},
    {"PrioritizeVerbWrong", "priorities", "prioritize", kError, "verb-wrong",
     "extenders[0].prioritizeVerb", "prioritizeVerb: priorities"},
    {"BindVerbMissing", "  bindVerb: bind ", "  # ", kError, "verb-missing",
     "extenders[0].bindVerb", "bindVerb: bind"},
    {"BindVerbWrong", "bindVerb: bind", "bindVerb: binding", kError, "verb-wrong",
     "extenders[0].bindVerb"},
    {"PreemptVerbMissing", "  preemptVerb: preempt ", "  # ", kWarning, "verb-missing",
     "extenders[0].preemptVerb"},
    {"PreemptVerbWrong", "preemptVerb: preempt", "preemptVerb: preemption", kError, "verb-wrong",
     "extenders[0].preemptVerb"},
    {"UrlMissing", "- urlPrefix: \"http://127.0.0.1:39999/scheduler\"\n  filterVerb",
     "- filterVerb", kError, "url", "extenders[0].urlPrefix"},
    {"UrlWithoutScheme", "http://127.0.0.1:39999/scheduler", "127.0.0.1:39999/scheduler", kError,
     "url", "extenders[0].urlPrefix", "http://127.0.0.1:39999/scheduler", "must start with http://"},
    {"UrlWithABlank", "http://127.0.0.1:39999/scheduler", "http://127.0.0.1:39999 /scheduler",
     kError, "url", "extenders[0].urlPrefix"},
    {"UrlWithoutPath", "39999/scheduler", "39999", kError, "url-path", "extenders[0].urlPrefix",
     "/scheduler"},
    {"UrlWithAVerb", "39999/scheduler", "39999/scheduler/filter", kError, "url-path",
     "extenders[0].urlPrefix", "", "ends in a verb"},
    {"UrlServiceName", "127.0.0.1:39999", "edge-gpu.kube-system.svc:39999", kError, "url-host",
     "extenders[0].urlPrefix", "ClusterIP", "hostNetwork"},
    {"UrlLongServiceName", "127.0.0.1:39999", "edge-gpu.kube-system.svc.cluster.local:39999",
     kError, "url-host", "extenders[0].urlPrefix"},
    {"UrlBareName", "127.0.0.1:39999", "edge-gpu-scheduler:39999", kWarning, "url-host",
     "extenders[0].urlPrefix"},
    {"UrlWithoutPort", "127.0.0.1:39999", "10.96.0.7", kError, "url-port", "extenders[0].urlPrefix",
     "39999", "port 80"},
    {"UrlWithEmptyPort", "127.0.0.1:39999", "10.96.0.7:", kError, "url-port",
     "extenders[0].urlPrefix"},
    {"UrlV6WithoutPort", "127.0.0.1:39999", "[fd00::7]", kError, "url-port",
     "extenders[0].urlPrefix"},
    {"ProxyPlain", "127.0.0.1:39999/scheduler",
     "127.0.0.1:8080/api/v1/namespaces/kube-system/services/nano-gpu-scheduler/proxy/scheduler",
     kError, "url-proxy", "extenders[0].urlPrefix", "directly", "400"},
    {"ProxyWithoutCredentials", "http://127.0.0.1:39999/scheduler",
     "https://127.0.0.1:6443/api/v1/namespaces/kube-system/services/nano-gpu-scheduler/proxy/"
     "scheduler", kError, "url-proxy", "extenders[0].urlPrefix", "client certificate", "401"},
    {"ProxyWithCredentials", "http://127.0.0.1:39999/scheduler\"",
     "https://127.0.0.1:6443/api/v1/namespaces/kube-system/services/nano-gpu-scheduler:39999/proxy/"
     "scheduler\"\n" "  tlsConfig: {caFile: /ca, certFile: /c, keyFile: /k}", kWarning, "url-proxy",
     "extenders[0].urlPrefix", "directly", "another hop"},
    {"LeftOverService", "127.0.0.1:39999", "elastic-gpu-scheduler.example.com:39999", kWarning,
     "left-over", "extenders[0].urlPrefix"},
    {"LeftOverPort", "127.0.0.1:39999", "127.0.0.1:12345", kWarning, "left-over",
     "extenders[0].urlPrefix", "39999"},
    {"HttpsOnPlainUrl", "  weight: 200", "  enableHTTPS: true\n  weight: 200", kError, "https-scheme",
     "extenders[0].enableHTTPS", "https://"},
    {"TlsWithoutCa", "http://127.0.0.1:39999/scheduler\"",
     "https://127.0.0.1:39999/scheduler\"\n  enableHTTPS: true", kWarning, "tls-unverified",
     "extenders[0].enableHTTPS", "caFile"},
    {"TlsInsecure", "http://127.0.0.1:39999/scheduler\"",
     "https://127.0.0.1:39999/scheduler\"\n  enableHTTPS: true\n  tlsConfig: {insecure: true}",
     kWarning, "tls-unverified", "extenders[0].tlsConfig.insecure", "caFile"},
    {"TlsInsecureWithCa", "http://127.0.0.1:39999/scheduler\"",
     "https://127.0.0.1:39999/scheduler\"\n  enableHTTPS: true\n  tlsConfig: {insecure: true, "
     "caFile: /ca}", kError, "tls-conflict", "extenders[0].tlsConfig"},
    {"TlsCertWithoutKey", "http://127.0.0.1:39999/scheduler\"",
     "https://127.0.0.1:39999/scheduler\"\n  enableHTTPS: true\n  tlsConfig: {certFile: /c, "
     "caFile: /ca}", kError, "tls-pair", "extenders[0].tlsConfig"},
    {"TlsTypo", "http://127.0.0.1:39999/scheduler\"",
     "https://127.0.0.1:39999/scheduler\"\n  enableHTTPS: true\n  tlsConfig: {caFiles: /ca}",
     kError, "unknown-key", "extenders[0].tlsConfig.caFiles", "caFile?"},
    {"WeightMissing", "  weight: 200 ", "  # ", kError, "weight", "extenders[0].weight",
     "weight: 200", "above 0"},
    {"WeightZero", "weight: 200 ", "weight: 0 ", kError, "weight", "extenders[0].weight"},
    {"WeightNegative", "weight: 200 ", "weight: -1 ", kError, "weight", "extenders[0].weight"},
    {"WeightOfNanoGpu", "weight: 200 ", "weight: 1 ", kWarning, "weight-small",
     "extenders[0].weight", "weight: 200", "drowns"},
    {"Ignorable", "ignorable: false", "ignorable: true", kError, "ignorable",
     "extenders[0].ignorable", "false"},
    {"NodeCacheFalse", "nodeCacheCapable: true", "nodeCacheCapable: false", kWarning, "node-cache",
     "extenders[0].nodeCacheCapable", "true", "lose their pods"},
    {"NodeCacheMissing", "  nodeCacheCapable: true ", "  # ", kWarning, "node-cache",
     "extenders[0].nodeCacheCapable"},
    {"TimeoutMissing", "  httpTimeout: 5s ", "  # ", kWarning, "timeout-missing",
     "extenders[0].httpTimeout", "5s"},
    {"TimeoutInNanoseconds", "httpTimeout: 5s", "httpTimeout: 5000000000", kError, "timeout-unit",
     "extenders[0].httpTimeout", "5s"},
    {"TimeoutWithoutUnit", "httpTimeout: 5s", "httpTimeout: \"5\"", kError, "timeout-unit",
     "extenders[0].httpTimeout"},
    {"TimeoutOtherUnit", "httpTimeout: 5s", "httpTimeout: 5sec", kError, "timeout-unit",
     "extenders[0].httpTimeout"},
    {"TimeoutTiny", "httpTimeout: 5s", "httpTimeout: 50ms", kError, "timeout-short",
     "extenders[0].httpTimeout"},
    {"TimeoutNegative", "httpTimeout: 5s", "httpTimeout: -5s", kError, "timeout-short",
     "extenders[0].httpTimeout"},
    {"TimeoutZero", "httpTimeout: 5s", "httpTimeout: 0s", kError, "timeout-short",
     "extenders[0].httpTimeout"},
    {"TimeoutOfABind", "httpTimeout: 5s", "httpTimeout: 4s", kWarning, "timeout-short",
     "extenders[0].httpTimeout", "", "--bind-timeout"},
    {"TimeoutLong", "httpTimeout: 5s", "httpTimeout: 1m0.5s", kWarning, "timeout-long",
     "extenders[0].httpTimeout"},
    {"ShareMissing", "  - name: nano-gpu/gpu-percent\n    ignoredByScheduler: false\n", "", kError,
     "resource-missing", "extenders[0].managedResources", "nano-gpu/gpu-percent"},
    {"WholeMissing", "  - name: nvidia.com/gpu\n    ignoredByScheduler: false\n", "", kWarning,
     "resource-missing", "extenders[0].managedResources", "nvidia.com/gpu"},
    {"ResourcesMissing",
     "  managedResources:\n  - name: nano-gpu/gpu-percent\n    ignoredByScheduler: false\n"
     "  - name: nvidia.com/gpu\n    ignoredByScheduler: false\n", "", kError, "resources-empty",
     "extenders[0].managedResources", "nano-gpu/gpu-percent", "every pod"},
    {"ResourcesEmpty",
     "  managedResources:\n  - name: nano-gpu/gpu-percent\n    ignoredByScheduler: false\n"
     "  - name: nvidia.com/gpu\n    ignoredByScheduler: false\n", "  managedResources: []\n",
     kError, "resources-empty", "extenders[0].managedResources"},
    {"ShareMisspelt", "nano-gpu/gpu-percent", "nano-gpu/gpu-precent", kError, "resource-spelling",
     "extenders[0].managedResources[0].name", "nano-gpu/gpu-percent?"},
    {"ShareWithOtherSeparators", "nano-gpu/gpu-percent", "nano-gpu/gpu_percent", kError,
     "resource-spelling", "extenders[0].managedResources[0].name", "nano-gpu/gpu-percent?"},
    {"ShareWithoutDomain", "nano-gpu/gpu-percent", "gpu-percent", kError, "resource-spelling",
     "extenders[0].managedResources[0].name", "nano-gpu/gpu-percent?"},
    {"WholeMisspelt", "nvidia.com/gpu", "nvidia.com/gpus", kError, "resource-spelling",
     "extenders[0].managedResources[1].name", "nvidia.com/gpu?"},
    {"ResourceIgnored", "    ignoredByScheduler: false", "    ignoredByScheduler: true", kError,
     "resource-ignored", "extenders[0].managedResources[0].name"},
    {"ResourceTwice", "  - name: nvidia.com/gpu",
     "  - name: nano-gpu/gpu-percent\n  - name: nvidia.com/gpu", kError, "resource-duplicate",
     "extenders[0].managedResources[1].name"},
    {"ResourceLeftOver", "  - name: nvidia.com/gpu",
     "  - name: elasticgpu.io/gpu-core\n  - name: nvidia.com/gpu", kWarning, "left-over",
     "extenders[0].managedResources[1].name", "remove"},
    {"ResourceNotExtended", "  - name: nvidia.com/gpu", "  - name: cpu\n  - name: nvidia.com/gpu",
     kError, "resource-name", "extenders[0].managedResources[1].name"},
    {"ResourceWithoutName", "  - name: nvidia.com/gpu",
     "  - ignoredByScheduler: false\n  - name: nvidia.com/gpu", kError, "resource-name",
     "extenders[0].managedResources[1].name"},
    {"ResourceAsText", "  - name: nvidia.com/gpu", "  - example.com/fpga\n  - name: nvidia.com/gpu",
     kError, "type", "extenders[0].managedResources[1]"},
    {"TwoBinders", "extenders:\n",
     "extenders:\n- {urlPrefix: \"http://10.0.0.1:80/x\", bindVerb: b, managedResources: [{name: "
     "example.com/fpga}]}\n", kError, "two-binders", "extenders[1].bindVerb"},
    {"ResourceOfTwoExtenders", "extenders:\n",
     "extenders:\n- {urlPrefix: \"http://10.0.0.1:80/x\", managedResources: [{name: "
     "nvidia.com/gpu}]}\n", kError, "resource-duplicate", "extenders[1].managedResources[1].name"},
    {"WeightOfAnotherExtender", "extenders:\n",
     "extenders:\n- {urlPrefix: \"http://10.0.0.1:80/x\", prioritizeVerb: p, managedResources: "
     "[{name: example.com/fpga}]}\n", kError, "weight", "extenders[0].weight"},
    {"AnotherExtenderOnly", "nano-gpu/gpu-percent", "example.com/fpga", kError, "resource-missing",
     "extenders[0].managedResources"},
    {"LeastAllocatedWanted", "extenders:",
     "profiles:\n- pluginConfig:\n  - name: NodeResourcesFit\n    args: {scoringStrategy: {type: "
     "LeastAllocated}}\nextenders:", kWarning, "least-allocated",
     "profiles[0].pluginConfig[0].args.scoringStrategy.type", "MostAllocated"},
    {"LeastAllocatedPlugin", "extenders:",
     "profiles:\n- plugins: {score: {enabled: [{name: NodeResourcesLeastAllocated}]}}\nextenders:",
     kWarning, "least-allocated", "profiles[0].plugins.score.enabled[0].name"},
    {"FitWithHighWeight", "extenders:",
     "profiles:\n- plugins: {score: {enabled: [{name: NodeResourcesFit, weight: 20}]}}\nextenders:",
     kWarning, "least-allocated", "profiles[0].plugins.score.enabled[0].weight"},
    {"TypoInAnExtensionPoint", "extenders:",
     "profiles:\n- plugins: {scores: {enabled: []}}\nextenders:", kError, "unknown-key",
     "profiles[0].plugins.scores", "score?"},
    {"TypoInAProfile", "extenders:", "profiles:\n- schedulername: a\nextenders:", kError,
     "unknown-key", "profiles[0].schedulername", "schedulerName?"},
};
// clang-format on

class ConfigurationFault : public ::testing::TestWithParam<Fault> {};

TEST_P(ConfigurationFault, IsTheOnlyFinding) {
    const Fault& fault = GetParam();
    const auto checked =
        check_config(replaced(configuration(), fault.from, fault.to), options_for(fault));
    ASSERT_TRUE(checked) << checked.error().message;
    expect_only(*checked, fault);
}

std::string name_of(const ::testing::TestParamInfo<Fault>& info) {
    return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(
    CheckConfig, ConfigurationFault, ::testing::ValuesIn(kConfigurationFaults), name_of
);

// clang-format off
constexpr Fault kPolicyFaults[] = {
    {"ApiVersion", "\"apiVersion\": \"v1\"", "\"apiVersion\": \"v2\"", kError, "api-version",
     "apiVersion", "v1"},
    {"NotReadAnyMore", "{", "{ ", kError, "policy-not-read", "kind", "--kubernetes 1.23", "1.22",
     23},
    {"TimeoutAsText", "5000000000", "\"5s\"", kError, "timeout-unit", "extenders[0].httpTimeout",
     "5000000000"},
    {"TimeoutInSeconds", "5000000000", "5", kError, "timeout-unit", "extenders[0].httpTimeout",
     "5000000000", "nanoseconds"},
    {"TimeoutInMilliseconds", "5000000000", "5000", kError, "timeout-unit",
     "extenders[0].httpTimeout", "5000000000"},
    {"TimeoutShort", "5000000000", "3000000000", kWarning, "timeout-short",
     "extenders[0].httpTimeout", "", "3s"},
    {"TimeoutLong", "5000000000", "60000000000", kWarning, "timeout-long",
     "extenders[0].httpTimeout", "", "60s"},
    {"ConfigurationsSpellingOfHttps", "enableHttps", "enableHTTPS", kWarning, "key-case",
     "extenders[0].enableHTTPS", "enableHttps"},
    {"HttpsOnPlainUrl", "\"enableHttps\": false", "\"enableHttps\": true", kError, "https-scheme",
     "extenders[0].enableHttps"},
    {"TypoIsIgnored", "preemptVerb", "preemptVreb", kError, "unknown-key",
     "extenders[0].preemptVreb", "preemptVerb?", "ignores it"},
    {"WeightOfNanoGpu", "\"weight\": 200", "\"weight\": 1", kWarning, "weight-small",
     "extenders[0].weight"},
    {"NodeCache", "\"nodeCacheCapable\": true", "\"nodeCacheCapable\": false", kWarning,
     "node-cache", "extenders[0].nodeCacheCapable"},
    {"KeyTwice", "\"weight\": 200", "\"weight\": 200, \"weight\": 11", kError, "duplicate-key",
     "extenders[0].weight"},
    {"NoExtender", "\"extenders\"", "\"predicates\"", kError, "no-extender", "extenders"},
};
// clang-format on

class PolicyFault : public ::testing::TestWithParam<Fault> {};

TEST_P(PolicyFault, IsTheOnlyFinding) {
    const Fault& fault = GetParam();
    const auto checked = check_config(replaced(policy(), fault.from, fault.to), options_for(fault));
    ASSERT_TRUE(checked) << checked.error().message;
    expect_only(*checked, fault);
}

INSTANTIATE_TEST_SUITE_P(CheckConfig, PolicyFault, ::testing::ValuesIn(kPolicyFaults), name_of);

}  // namespace
}  // namespace egpu::cli
