#include "k8s/timestamp.h"

#include <cstdio>
#include <ctime>

namespace egpu::k8s {

namespace {

std::string seconds_text(std::time_t seconds) {
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    char text[40];
    const std::size_t n = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    return {text, n};
}

}  // namespace

std::string timestamp(std::chrono::system_clock::time_point at) {
    return seconds_text(std::chrono::system_clock::to_time_t(at)) + "Z";
}

std::string micro_timestamp(std::chrono::system_clock::time_point at) {
    using std::chrono::microseconds;
    const auto micros = std::chrono::duration_cast<microseconds>(at.time_since_epoch()).count();
    char fraction[16];
    std::snprintf(fraction, sizeof fraction, ".%06dZ", static_cast<int>(micros % 1'000'000));
    return seconds_text(static_cast<std::time_t>(micros / 1'000'000)) + fraction;
}

}  // namespace egpu::k8s
