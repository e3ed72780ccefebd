// `edge-gpu scheduler`: the scheduler extender process. Replaces nano-gpu-scheduler.
#pragma once

namespace egpu::scheduler {

// argv[0] is the command's name; flags follow. Runs until SIGTERM/SIGINT and returns the exit
// status: 0 after an orderly stop (also --help, --print-config), 1 when it could not start, 2 for a
// wrong flag or value. Call from the main thread, once, before other threads exist.
int run_scheduler(int argc, char** argv);

}  // namespace egpu::scheduler
