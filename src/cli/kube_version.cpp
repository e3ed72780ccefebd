#include "cli/kube_version.h"

#include "flags/values.h"

namespace egpu::cli {
namespace {

constexpr ConfigApi kApis[] = {
    {"v1alpha1", 10, 18},
    {"v1alpha2", 18, 18},
    {"v1beta1", 19, 22},
    {"v1beta2", 22, 27},
    {"v1beta3", 23, 28},
    {"v1", 25, kNoLast}};

}  // namespace

Result<int> parse_kube_version(std::string_view flag, const std::string& text) {
    std::string_view rest = text;
    if (rest.starts_with('v')) rest.remove_prefix(1);
    if (rest.starts_with("1.")) {
        rest.remove_prefix(2);
        const std::string_view digits = rest.substr(0, rest.find_first_not_of("0123456789"));
        const std::string_view after = rest.substr(digits.size());
        const auto minor = flags::to_number<int>(digits);
        const bool ends =
            after.empty() || after.front() == '.' || after.front() == '+' || after.front() == '-';
        if (minor && *minor < 1000 && ends) return *minor;
    }
    return flags::bad_value(flag, text, "a Kubernetes version such as 1.21 or v1.34.2");
}

std::span<const ConfigApi> config_apis() {
    return kApis;
}

const ConfigApi* find_config_api(std::string_view version) {
    for (const ConfigApi& api : kApis) {
        if (api.version == version) return &api;
    }
    return nullptr;
}

std::string_view best_config_api(int minor) {
    if (minor >= 25) return "v1";
    return minor >= 22 ? "v1beta2" : "v1beta1";
}

}  // namespace egpu::cli
