// `edge-gpu scheduler-config`: prints kube-scheduler's configuration, or checks one.
#pragma once

namespace egpu::cli {

// The exit status.
int run_scheduler_config(int argc, char** argv);

}  // namespace egpu::cli
