// The command lines of `edge-gpu snapshot` and `edge-gpu describe`. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "core/defragment.h"

namespace egpu::inspect {

struct SnapshotOptions {
    std::string help;  // not empty: to be printed, nothing else
    std::string kubeconfig;
    Millis timeout = Seconds(60);
    std::string file = "-";  // "-": standard output
    bool anonymous = false;
};
Result<SnapshotOptions> parse_snapshot_options(const std::vector<std::string>& arguments);

struct DescribeOptions {
    std::string help;
    std::string kubeconfig;
    Millis timeout = Seconds(60);
    std::string snapshot;  // a file to look at instead of a live cluster; "-": standard input
    bool as_json = false;
    core::FreeCardsRequest free{0, false, {}};  // cards 0: not asked
};
Result<DescribeOptions> parse_describe_options(const std::vector<std::string>& arguments);

}  // namespace egpu::inspect
