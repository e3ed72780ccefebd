#include <cmath>

#include "cli/check_extender.h"
#include "cli/go_duration.h"

namespace egpu::cli {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kBindTimeout = 4 * kSecond;  // edge-gpu scheduler's --bind-timeout
constexpr std::int64_t kLongest = 30 * kSecond;
constexpr std::int64_t kSurelyNoNanoseconds = 1'000'000;  // 1 ms: nobody means so little

std::string in_words(std::int64_t nanoseconds) {
    if (nanoseconds % kSecond == 0) return std::to_string(nanoseconds / kSecond) + "s";
    if (nanoseconds % 1'000'000 == 0) return std::to_string(nanoseconds / 1'000'000) + "ms";
    return std::to_string(nanoseconds) + "ns";
}

}  // namespace

void check_timeout(const Fields& extender, ConfigKind kind, Findings& findings) {
    const bool policy = kind == ConfigKind::kPolicy;
    const std::string fix = policy ? "\"httpTimeout\": 5000000000" : "httpTimeout: 5s";
    const std::string path = extender.path("httpTimeout");
    const int line = extender.line("httpTimeout");
    const Node* node = extender.node("httpTimeout");
    if (node == nullptr) {
        if (extender.has("httpTimeout")) return;  // its type is wrong
        findings.warning(
            "timeout-missing",
            path,
            line,
            "not set: kube-scheduler waits 5s, its default; edge-gpu's --bind-timeout must stay "
            "below it",
            fix
        );
        return;
    }
    std::optional<std::int64_t> value;
    std::string why;
    if (policy) {
        value = node->as_integer();
        why = shown(node->text) +
              " is no number: a Policy takes whole nanoseconds; kube-scheduler refuses the file";
        if (value && *value > 0 && *value < kSurelyNoNanoseconds) {
            why = node->text + " is " + node->text + " nanoseconds: every call would time out";
            value.reset();
        }
    } else {
        if (const auto text = node->as_text()) value = parse_go_duration(*text);
        why = shown(node->text) +
              " is no duration with a unit, such as 5s; kube-scheduler refuses the file";
    }
    if (!value) {
        findings.error("timeout-unit", path, line, why, fix);
    } else if (*value < kSecond) {
        findings.error(
            "timeout-short",
            path,
            line,
            *value == 0 ? "0 is kube-scheduler's default of 5s; say so"
                        : in_words(*value) +
                              " is too short: a call that waits for the API server once fails",
            fix
        );
    } else if (*value <= kBindTimeout) {
        findings.warning(
            "timeout-short",
            path,
            line,
            in_words(*value) +
                " is not above edge-gpu's --bind-timeout (4s by default): kube-scheduler gives a "
                "bind up that "
                "may still succeed",
            fix + ", or lower --bind-timeout"
        );
    } else if (*value > kLongest) {
        findings.warning(
            "timeout-long",
            path,
            line,
            in_words(*value) +
                " is long: while edge-gpu hangs, scheduling of all pods stands still that long for "
                "each GPU pod",
            fix
        );
    }
}

}  // namespace egpu::cli
