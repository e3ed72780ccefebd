// Wall-clock times as Kubernetes writes them (RFC 3339, UTC). Only for showing to others: nothing
// here is decided by wall-clock time.
#pragma once

#include <chrono>
#include <string>

namespace egpu::k8s {

std::string timestamp(std::chrono::system_clock::time_point at);        // 2006-01-02T15:04:05Z
std::string micro_timestamp(std::chrono::system_clock::time_point at);  // …05.000000Z

}  // namespace egpu::k8s
