// Where the API server is and how to prove who we are: kubeconfig files and in-cluster settings.
// Secrets in files (token, certificates) stay file names here and are re-read when used, because
// they rotate. exec and auth-provider plugins and proxy-url are refused with a clear message.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/client.h"

namespace egpu::k8s {

struct Config {
    std::string server = {};  // URL
    std::string ns = "default";
    http::ClientTls tls = {};
    std::string token = {};       // a fixed bearer token
    std::string token_file = {};  // wins over `token`, as in client-go
    std::string username = {};    // basic authentication
    std::string password = {};
    std::string source = {};  // for messages: the file, or "in-cluster"
};

// `base` is what relative paths in the file are relative to. `context` "": current-context.
// kInvalid names the field and the fix.
Result<Config> parse_kubeconfig(
    std::string_view text, const std::filesystem::path& base, std::string_view context = ""
);
Result<Config> load_kubeconfig(const std::filesystem::path& path, std::string_view context = "");

// KUBERNETES_SERVICE_HOST/PORT and the service account's files. kNotFound outside of a cluster.
// `root` replaces /var/run/secrets/kubernetes.io/serviceaccount.
Result<Config> in_cluster_config(const std::filesystem::path& root = {});

// `path` when given; else the first file of $KUBECONFIG that exists; else in-cluster; else
// ~/.kube/config. The error lists what was tried.
Result<Config> default_config(const std::filesystem::path& path = {});

}  // namespace egpu::k8s
