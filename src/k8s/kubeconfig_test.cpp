#include "k8s/kubeconfig.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace egpu::k8s {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

std::string file(const std::string& cluster, const std::string& user) {
    return "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
           "contexts:\n- name: other\n  context: {cluster: x}\n- name: c\n  context: {cluster: k, "
           "user: u, namespace: team}\n"
           "clusters:\n- name: k\n  cluster: " +
           cluster + "\nusers:\n- name: u\n  user: " + user + "\n";
}

TEST(Kubeconfig, ReadsTheUsualFields) {
    const auto c = parse_kubeconfig(
        file(
            "{server: 'https://h:6443', certificate-authority: pki/ca.crt, tls-server-name: kube}",
            "{client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem, client-key: "
            "../k.pem}"
        ),
        "/etc/kubernetes"
    );
    ASSERT_TRUE(c) << c.error().message;
    EXPECT_EQ(c->server, "https://h:6443");
    EXPECT_EQ(c->ns, "team");
    EXPECT_EQ(c->tls.ca_file, "/etc/kubernetes/pki/ca.crt");
    EXPECT_EQ(c->tls.server_name, "kube");
    EXPECT_EQ(c->tls.cert_file, "/var/lib/kubelet/pki/kubelet-client-current.pem");
    EXPECT_EQ(c->tls.key_file, "/etc/k.pem");
    EXPECT_FALSE(c->tls.insecure);
}

TEST(Kubeconfig, DataTokensAndFlags) {
    const auto c = parse_kubeconfig(
        file(
            "{server: 'https://h', certificate-authority: unused, certificate-authority-data: "
            "Q0E=}",
            "{token: abc, tokenFile: t/token, client-certificate-data: Q0VSVA==, client-key-data: "
            "S0VZ}"
        ),
        "/base"
    );
    ASSERT_TRUE(c) << c.error().message;
    EXPECT_EQ(c->tls.ca_pem, "CA");
    EXPECT_EQ(c->tls.ca_file, "");
    EXPECT_EQ(c->tls.cert_pem, "CERT");
    EXPECT_EQ(c->tls.key_pem, "KEY");
    EXPECT_EQ(c->token, "abc");
    EXPECT_EQ(c->token_file, "/base/t/token");
    const auto basic = parse_kubeconfig(
        file(
            "{server: 'http://h', insecure-skip-tls-verify: true}", "{username: u, password: '007'}"
        ),
        "/"
    );
    ASSERT_TRUE(basic);
    EXPECT_TRUE(basic->tls.insecure);
    EXPECT_EQ(basic->password, "007");
    EXPECT_EQ(parse_kubeconfig(file("{server: 'http://h'}", "null"), "/")->token, "");
}

TEST(Kubeconfig, JsonAndChosenContext) {
    const auto c = parse_kubeconfig(
        R"({"contexts":[{"name":"a","context":{"cluster":"k"}}],"clusters":[{"name":"k","cluster":{"server":"http://h:1"}}]})",
        "/",
        "a"
    );
    ASSERT_TRUE(c) << c.error().message;
    EXPECT_EQ(c->server, "http://h:1");
    EXPECT_EQ(c->ns, "default");
}

TEST(Kubeconfig, ErrorsSayWhatIsWrong) {
    const struct {
        std::string text;
        const char* says;
    } cases[] = {
        {"", "no YAML map"},
        {"[1, 2]", "no YAML map"},
        {"a: [", "not valid YAML"},
        {"{}", "current-context"},
        {"current-context: c", "no context named \"c\""},
        {"current-context: c\ncontexts: 3", "contexts must be a list"},
        {"current-context: c\ncontexts: [3]", "no map"},
        {"current-context: c\ncontexts: [{name: c}]", "names no cluster"},
        {"current-context: c\ncontexts: [{name: c, context: {cluster: k}}]",
         "no cluster named \"k\""},
        {file("{}", "{}"), "has no server"},
        {file("{server: 'h:6443'}", "{}"), "http"},
        {file("{server: [1]}", "{}"), "server must be text"},
        {file("{server: 'http://h', insecure-skip-tls-verify: maybe}", "{}"), "true or false"},
        {file("{server: 'http://h', certificate-authority-data: '%%'}", "{}"), "not base64"},
        {file("{server: 'http://h', proxy-url: 'http://p'}", "{}"), "proxy-url"},
        {file("{server: 'http://h'}", "{exec: {command: aws}}"), "plugin (exec)"},
        {file("{server: 'http://h'}", "{auth-provider: {name: gcp}}"), "plugin (auth-provider)"},
        {file("{server: 'http://h'}", "{client-certificate: a}"), "no client-key"},
        {file("{server: 'http://h'}", "{client-key: a}"), "no client-certificate"},
        {file("{server: 'http://h'}", "[1]"), "no map"},
    };
    for (const auto& c : cases) {
        const auto r = parse_kubeconfig(c.text, "/");
        ASSERT_FALSE(r) << c.text;
        EXPECT_EQ(r.error().code, ErrorCode::kInvalid);
        EXPECT_THAT(r.error().message, HasSubstr(c.says)) << c.text;
    }
}

struct Environment : testing::Test {
    Environment()
        : folder(fs::temp_directory_path() / ("edge-gpu-kc-" + std::to_string(::getpid()))) {
        fs::create_directories(folder);
        for (const char* name :
             {"KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"})
            ::unsetenv(name);
        ::setenv("HOME", folder.c_str(), 1);
    }
    ~Environment() override { fs::remove_all(folder); }
    std::string write(const std::string& name, const std::string& text) const {
        fs::create_directories((folder / name).parent_path());
        std::ofstream(folder / name) << text;
        return (folder / name).string();
    }
    fs::path folder;
};
using DefaultConfig = Environment;

TEST_F(DefaultConfig, LooksInOrder) {
    const auto nothing = default_config();
    ASSERT_FALSE(nothing);
    EXPECT_EQ(nothing.error().code, ErrorCode::kNotFound);
    EXPECT_THAT(nothing.error().message, HasSubstr(".kube/config"));

    write(".kube/config", file("{server: 'http://home'}", "{}"));
    EXPECT_EQ(default_config()->server, "http://home");
    const std::string env = write("env", file("{server: 'http://env'}", "{}"));
    ::setenv("KUBECONFIG", ("/does/not/exist:" + env).c_str(), 1);
    EXPECT_EQ(default_config()->server, "http://env");
    EXPECT_EQ(default_config()->source, env);
    const std::string given = write("given", file("{server: 'http://given'}", "{}"));
    EXPECT_EQ(default_config(given)->server, "http://given");
    EXPECT_EQ(default_config("/does/not/exist").error().code, ErrorCode::kNotFound);
}

TEST_F(DefaultConfig, InCluster) {
    EXPECT_EQ(in_cluster_config().error().code, ErrorCode::kNotFound);
    ::setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
    ::setenv("KUBERNETES_SERVICE_PORT", "443", 1);
    const auto absent = in_cluster_config(folder);
    ASSERT_FALSE(absent);
    EXPECT_THAT(absent.error().message, HasSubstr("ServiceAccount"));
    write("token", "t");
    write("namespace", "kube-system\n");
    const auto c = in_cluster_config(folder);
    ASSERT_TRUE(c) << c.error().message;
    EXPECT_EQ(c->server, "https://[fd00::1]:443");
    EXPECT_EQ(c->ns, "kube-system");
    EXPECT_EQ(c->token_file, (folder / "token").string());
    ::unsetenv("KUBERNETES_SERVICE_HOST");
}

}  // namespace
}  // namespace egpu::k8s
