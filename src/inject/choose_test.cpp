#include "inject/choose.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace egpu::inject {
namespace {

using ::testing::HasSubstr;

RuntimeFacts runtime_of(const std::string& manifest) {
    const auto view = RecordedView::parse(manifest);
    EXPECT_TRUE(view.ok()) << view.error().message;
    return look_at_runtime(**view);
}

Choice choice_of(const std::string& manifest, bool driver = true) {
    NodeFacts facts;
    facts.runtime = runtime_of(manifest);
    facts.driver_usable = driver;
    facts.driver = "driver 535.161.08";
    return choose_injection(facts);
}

constexpr const char* kContainerd17 = R"(socket /run/containerd/containerd.sock 660
file /etc/containerd/config.toml 644 -
| version = 2
| [plugins."io.containerd.grpc.v1.cri"]
|   enable_cdi = true # since 1.7
)";
constexpr const char* kContainerd2 = R"(file /etc/containerd/config.toml 644 -
| version = 3
| [plugins.'io.containerd.cri.v1.runtime']
)";
constexpr const char* kNvidiaDefault = R"(file /etc/containerd/config.toml 644 -
| version = 2
|   [plugins."io.containerd.grpc.v1.cri".containerd]
|     default_runtime_name = "nvidia"
)";
constexpr const char* kDockerNode = R"(socket /run/docker.sock 660
socket /run/containerd/containerd.sock 660
file /etc/containerd/config.toml 644 -
| disabled_plugins = ["cri"]
file /etc/docker/daemon.json 644 -
| {"default-runtime": "nvidia", "runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}
)";

TEST(ChooseInjection, cdi_where_the_runtime_has_it) {
    EXPECT_EQ(choice_of(kContainerd17).strategy, "cdi");
    EXPECT_THAT(
        choice_of(kContainerd17).why, HasSubstr("containerd (/etc/containerd/config.toml)")
    );
    EXPECT_EQ(choice_of(kContainerd2).strategy, "cdi");
    EXPECT_EQ(choice_of("socket /run/crio/crio.sock 660\n").strategy, "cdi");
}

TEST(ChooseInjection, direct_where_it_does_not_or_cannot_be_seen) {
    EXPECT_EQ(choice_of("").strategy, "direct");
    EXPECT_EQ(choice_of("socket /run/containerd/containerd.sock 660\n").strategy, "direct");
    std::string off = kContainerd2;
    off += "|   enable_cdi = false\n";
    EXPECT_EQ(choice_of(off).strategy, "direct");
    EXPECT_THAT(choice_of(off).why, HasSubstr("does not inject CDI devices; driver 535.161.08"));
    EXPECT_EQ(choice_of("file /etc/docker/daemon.json 644 -\n| {}\n").strategy, "direct");
}

TEST(ChooseInjection, nvidia_where_it_works_already_or_nothing_else_can) {
    EXPECT_EQ(choice_of(kNvidiaDefault).strategy, "nvidia");
    EXPECT_EQ(choice_of(kDockerNode).strategy, "nvidia");
    EXPECT_THAT(
        choice_of(kDockerNode).why, HasSubstr("default of Docker (/etc/docker/daemon.json)")
    );
    EXPECT_EQ(choice_of(kContainerd17, false).strategy, "nvidia");
    EXPECT_THAT(choice_of("", false).why, HasSubstr("libraries were not found"));
    NodeFacts configured;
    configured.driver_usable = true;
    configured.nvidia_configured = true;
    EXPECT_EQ(choose_injection(configured).strategy, "nvidia");
}

TEST(ChooseInjection, the_kubelets_own_word_decides_which_runtime_it_is) {
    const std::string both = std::string(kContainerd17) +
                             "socket /run/crio/crio.sock 660\n"
                             "file /var/lib/kubelet/kubeadm-flags.env 644 -\n"
                             "| KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=";
    EXPECT_EQ(runtime_of(both + "unix:///run/crio/crio.sock\"\n").kind, RuntimeKind::kCrio);
    EXPECT_EQ(
        runtime_of(both + "unix:///run/containerd/containerd.sock\"\n").kind,
        RuntimeKind::kContainerd
    );
    EXPECT_EQ(runtime_of(both + "unix:///run/cri-dockerd.sock\"\n").kind, RuntimeKind::kDocker);
}

TEST(ChooseInjection, k3s_and_files_beside_the_main_one) {
    const auto k3s = runtime_of(
        "file /var/lib/rancher/k3s/agent/etc/containerd/config.toml 644 -\n| version = 2\n"
        "|   enable_cdi = true\n"
    );
    EXPECT_EQ(k3s.kind, RuntimeKind::kContainerd);
    EXPECT_EQ(k3s.cdi, Tri::kYes);
    const auto beside = runtime_of(
        std::string(kContainerd2) +
        "file /etc/containerd/conf.d/99-nvidia.toml 644 -\n"
        "|   default_runtime_name = 'nvidia-cdi'\n"
    );
    EXPECT_TRUE(beside.nvidia_is_default);
}

}  // namespace
}  // namespace egpu::inject
