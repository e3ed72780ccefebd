// The real kubectl against the embedded API server, with TLS and a token. Any kubectl from 1.20 on
// will do: $EDGE_GPU_KUBECTL, else the one in PATH; skipped when there is none.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/files.h"
#include "testing/apiserver/api_server.h"
#include "testing/temp_folder.h"

namespace egpu::testing {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

struct Ran {
    int exit_code = -1;
    std::string output;
};

Ran shell(const std::string& command) {
    Ran ran;
    std::FILE* pipe = ::popen(("timeout 60 " + command + " 2>&1").c_str(), "r");
    if (pipe == nullptr) return ran;
    std::array<char, 4096> piece{};
    while (const std::size_t n = std::fread(piece.data(), 1, piece.size(), pipe))
        ran.output.append(piece.data(), n);
    const int status = ::pclose(pipe);
    ran.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return ran;
}

constexpr const char* kPod = R"(
apiVersion: v1
kind: Pod
metadata:
  name: share
  labels: {app: %LABEL%}
spec:
  containers:
  - name: main
    image: cuda:%TAG%
    env: [{name: MODE, value: train}]
    ports: [{containerPort: 80}]
    resources:
      limits: {nano-gpu/gpu-percent: %PERCENT%}
)";

class KubectlTest : public ::testing::Test {
  protected:
    void SetUp() override {
        const char* chosen = std::getenv("EDGE_GPU_KUBECTL");
        kubectl_ = chosen != nullptr ? chosen : "kubectl";
        if (shell(kubectl_ + " version --client").exit_code != 0)
            GTEST_SKIP(
            ) << "no kubectl: install Debian's kubernetes-client or set EDGE_GPU_KUBECTL";
        auto tls = make_tls_files(folder_ / "tls");
        ASSERT_TRUE(tls.ok()) << tls.error().message;
        ApiServerOptions options;
        options.bearer_token = "a-token";
        options.tls_cert_file = tls->cert_file;
        options.tls_key_file = tls->key_file;
        options.ca_file = tls->ca_file;
        auto started = ApiServer::start(options);
        ASSERT_TRUE(started.ok()) << started.error().message;
        server_ = std::move(*started);
        ASSERT_TRUE(server_->write_kubeconfig(folder_ / "kubeconfig").ok());
        auto node = server_->create(
            R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"},"status":{
                "capacity":{"cpu":"8","memory":"32Gi","pods":"110","nano-gpu/gpu-percent":"400"},
                "conditions":[{"type":"Ready","status":"True","reason":"KubeletReady"}],
                "addresses":[{"type":"InternalIP","address":"10.0.0.1"}],
                "nodeInfo":{"kubeletVersion":"v1.34.0","osImage":"Debian","kernelVersion":"6.1",
                "containerRuntimeVersion":"containerd://1.6"}}})"
        );
        ASSERT_TRUE(node.ok()) << node.error().message;
    }
    Ran kubectl(const std::string& arguments) {
        return shell(
            kubectl_ + " --kubeconfig " + (folder_ / "kubeconfig").string() + " --cache-dir " +
            (folder_ / "cache").string() + " " + arguments
        );
    }

    Ran apply(std::string percent, std::string label, std::string tag) {
        std::string text = kPod;
        const auto put = [&](std::string_view mark, const std::string& value) {
            text.replace(text.find(mark), mark.size(), value);
        };
        put("%PERCENT%", percent);
        put("%LABEL%", label);
        put("%TAG%", tag);
        const auto file = folder_ / "pod.yaml";
        EXPECT_TRUE(write_file_atomically(file, text).ok());
        return kubectl("apply -f " + file.string());
    }

    std::string kubectl_;
    TempFolder folder_;
    std::unique_ptr<ApiServer> server_;
};

TEST_F(KubectlTest, LooksAtNodes) {
    const auto wide = kubectl("get nodes -o wide");
    EXPECT_EQ(wide.exit_code, 0) << wide.output;
    EXPECT_THAT(wide.output, ContainsRegex("NAME +STATUS +ROLES +AGE +VERSION +INTERNAL-IP"));
    EXPECT_THAT(wide.output, ContainsRegex("n1 +Ready +<none> .*v1.34.0 +10.0.0.1"));
    const auto described = kubectl("describe node n1");
    EXPECT_EQ(described.exit_code, 0) << described.output;
    EXPECT_THAT(described.output, ContainsRegex("nano-gpu/gpu-percent: +400"));
    EXPECT_EQ(kubectl("label node n1 zone=a").exit_code, 0);
    EXPECT_THAT(kubectl("get nodes -l zone=a").output, HasSubstr("n1"));
    const auto version = kubectl("version");
    EXPECT_THAT(version.output, HasSubstr("1.34.0"));
}

TEST_F(KubectlTest, AppliesDescribesAndDeletesAPod) {
    auto applied = apply("20", "a", "1");
    EXPECT_EQ(applied.exit_code, 0) << applied.output;
    EXPECT_THAT(applied.output, HasSubstr("pod/share created"));
    EXPECT_EQ(apply("20", "a", "1").exit_code, 0) << "again, unchanged";
    applied = apply("20", "b", "2");
    EXPECT_EQ(applied.exit_code, 0) << applied.output;
    EXPECT_THAT(applied.output, HasSubstr("pod/share configured"));
    const auto pod = server_->get({"pods", "", "share"}).value();
    EXPECT_EQ(json::get_string(pod, {"metadata", "labels", "app"}), "b");
    EXPECT_EQ(
        json::get_string(json::get_array(pod, {"spec", "containers"})->front(), {"image"}), "cuda:2"
    );
    const auto refused = apply("30", "b", "2");
    EXPECT_NE(refused.exit_code, 0);
    EXPECT_THAT(refused.output, HasSubstr("pod updates may not change fields"));

    ASSERT_TRUE(server_->bind({"pods", "", "share"}, "n1", {{"nano-gpu/assume", "true"}}).ok());
    const auto wide = kubectl("get pods -o wide");
    EXPECT_THAT(wide.output, ContainsRegex("NAME +READY +STATUS +RESTARTS +AGE +IP +NODE"));
    EXPECT_THAT(wide.output, ContainsRegex("share +0/1 +Pending +0 .* n1 "));
    const auto described = kubectl("describe pod share");
    EXPECT_EQ(described.exit_code, 0) << described.output;
    EXPECT_THAT(
        described.output,
        AllOf(
            HasSubstr("nano-gpu/assume: true"),
            ContainsRegex("nano-gpu/gpu-percent: +20"),
            ContainsRegex("Node: +n1")
        )
    );

    const auto deleted = kubectl("delete pod share --wait=false");
    EXPECT_EQ(deleted.exit_code, 0) << deleted.output;
    EXPECT_THAT(kubectl("get pods").output, HasSubstr("Terminating"));
    EXPECT_EQ(kubectl("delete pod share --force --grace-period=0").exit_code, 0);
    EXPECT_THAT(kubectl("get pods").output, HasSubstr("No resources found"));
}

TEST_F(KubectlTest, ShowsEvents) {
    ASSERT_EQ(apply("60", "a", "1").exit_code, 0);
    const auto pod = server_->get({"pods", "", "share"}).value();
    const std::string uid(json::get_string(pod, {"metadata", "uid"}));
    auto event = server_->create(
        R"({"apiVersion":"v1","kind":"Event","metadata":{"name":"share.1","namespace":"default"},
            "involvedObject":{"kind":"Pod","namespace":"default","name":"share","uid":")" +
        uid +
        R"("},"type":"Warning","reason":"FailedScheduling","count":3,
            "message":"0 of 3 nodes: no card with 60 percent free",
            "source":{"component":"default-scheduler"}})"
    );
    ASSERT_TRUE(event.ok()) << event.error().message;
    const auto events = kubectl("get events");
    EXPECT_EQ(events.exit_code, 0) << events.output;
    EXPECT_THAT(
        events.output,
        ContainsRegex("Warning +FailedScheduling +pod/share +0 of 3 nodes: no card with 60")
    );
    EXPECT_THAT(kubectl("describe pod share").output, HasSubstr("no card with 60 percent free"));
}

TEST_F(KubectlTest, WaitsAndWatches) {
    ASSERT_EQ(apply("20", "a", "1").exit_code, 0);
    const auto in_time = kubectl("wait --for=condition=Ready pod/share --timeout=1s");
    EXPECT_NE(in_time.exit_code, 0);
    ASSERT_TRUE(
        server_
            ->patch(
                {"pods", "", "share"},
                json::parse(
                    R"({"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}})"
                )
                    .value(),
                "status"
            )
            .ok()
    );
    const auto waited = kubectl("wait --for=condition=Ready pod/share --timeout=20s");
    EXPECT_EQ(waited.exit_code, 0) << waited.output;
    server_->set_log({"pods", "", "share"}, "main", "CUDA_VISIBLE_DEVICES=0\n");
    EXPECT_EQ(kubectl("logs share").output, "CUDA_VISIBLE_DEVICES=0\n");
    const auto deleted = kubectl("delete pod share");
    EXPECT_EQ(deleted.exit_code, 0) << deleted.output << "(waits until it is gone)";
    EXPECT_NE(kubectl("get pod share").exit_code, 0);
}

TEST_F(KubectlTest, ChangesInOtherWays) {
    ASSERT_EQ(apply("20", "a", "1").exit_code, 0);
    EXPECT_EQ(kubectl("annotate pod share edge-gpu.io/policy=spread").exit_code, 0);
    EXPECT_EQ(
        kubectl("get pod share -o jsonpath='{.metadata.annotations.edge-gpu\\.io/policy}'").output,
        "spread"
    );
    EXPECT_EQ(
        kubectl("patch pod share --type=merge -p '{\"metadata\":{\"labels\":{\"x\":\"y\"}}}'")
            .exit_code,
        0
    );
    EXPECT_EQ(kubectl("apply --dry-run=server -f " + (folder_ / "pod.yaml").string()).exit_code, 0);
    EXPECT_THAT(kubectl("get leases -A").output, HasSubstr("No resources found"));
    EXPECT_THAT(kubectl("get ns").output, HasSubstr("kube-system"));
    EXPECT_THAT(kubectl("get all").output, HasSubstr("pod/share"));
    EXPECT_THAT(kubectl("cordon n1").output, HasSubstr("cordoned"));
    EXPECT_THAT(kubectl("get nodes").output, HasSubstr("SchedulingDisabled"));
    const auto deployment = kubectl("create deployment web --image=x");
    EXPECT_NE(deployment.exit_code, 0);
    EXPECT_THAT(deployment.output, HasSubstr("could not find the requested resource"));
    const auto server_side = kubectl("apply --server-side -f " + (folder_ / "pod.yaml").string());
    EXPECT_NE(server_side.exit_code, 0);
    EXPECT_THAT(server_side.output, HasSubstr("no server-side apply"));
}

TEST_F(KubectlTest, StrangersAreTurnedAway) {
    const auto refused = kubectl("--token wrong get nodes");
    EXPECT_NE(refused.exit_code, 0);
    EXPECT_THAT(refused.output, Not(HasSubstr("n1")));
}

}  // namespace
}  // namespace egpu::testing
