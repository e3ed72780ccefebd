// A scheduler configuration that anybody may have written: findings that can be shown, or an error.
#include <cstdlib>

#include "base/json.h"
#include "cli/check_config.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    if (size == 0) return 0;
    egpu::cli::CheckOptions options;
    if (data[0] % 4 != 0) options.minor = 15 + data[0] % 23;
    options.cluster_dns = data[0] >= 128;
    const std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
    const auto checked = egpu::cli::check_config(text, options);
    if (!checked) {
        if (checked.error().message.empty()) std::abort();
        return 0;
    }
    for (const egpu::cli::Finding& finding : checked->findings.all()) {
        if (finding.code.empty() || finding.message.empty() || finding.fix.empty()) std::abort();
        if (finding.line < 0) std::abort();
        for (const char c : finding.path + finding.message + finding.fix) {
            if (static_cast<unsigned char>(c) < ' ') std::abort();  // would reach a terminal
        }
    }
    const std::string json = egpu::json::to_text(egpu::cli::as_json(checked->findings));
    if (!egpu::json::parse(json)) std::abort();
    return 0;
}
