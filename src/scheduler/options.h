// Flags and environment of `edge-gpu scheduler`, its own and those of nano-gpu-scheduler v0.2/v0.3
// (`-priority binpack --v 2`, klog flags, env PORT, THREADNESS, KUBECONFIG), so that its Deployment
// works with only the image changed. Pure: the environment comes in as a map. Errors are one
// sentence that names the flag, the value and what is possible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "flags/environment.h"

namespace egpu::scheduler {

struct Options {
    std::string kubeconfig;  // "": $KUBECONFIG, in-cluster or ~/.kube/config
    std::string listen;      // "host:port"; ":port" is all interfaces
    std::string policy;      // of core/policy/scorer.h, or "random:SEED"
    bool count_host = true;  // CPU and memory, for the policies
    bool leader_elect = false;
    std::string lease_name = "edge-gpu-scheduler";
    std::string lease_namespace = "kube-system";
    // Short on purpose: a standby serves within 3 s of its leader's death.
    Millis lease_duration{2000};
    Millis renew_deadline{1500};
    Millis retry_period{400};
    std::string tls_cert;
    std::string tls_key;
    std::string tls_client_ca;  // not "": clients must show a certificate of this CA
    bool compat_label = false;  // also write the label nano-gpu/assume=true
    Millis reservation_ttl{30000};
    Millis bind_timeout{4000};  // below kube-scheduler's default extender time-out of 5 s
    std::size_t max_body = 256U << 20;
    int max_connections = 256;
    log::Level log_level = log::Level::kInfo;
    log::Format log_format = log::Format::kLogfmt;
    bool print_config = false;
    std::vector<std::string> notes;  // accepted for compatibility but without effect: logged once
};

// What to do after parsing: run with `options`, or print `text` to standard output and exit 0.
struct ParsedOptions {
    Options options;
    std::string text;  // not "": help or the configuration was asked for
};

using flags::Environment;

// `arguments` without the program name.
Result<ParsedOptions> parse_options(
    const std::vector<std::string>& arguments, const Environment& environment
);

// The effective configuration, one `key: value` a line (YAML), as --print-config shows it.
std::string describe(const Options& options);

}  // namespace egpu::scheduler
