// `edge-gpu agent`: device plugins for nvidia.com/gpu and nano-gpu/gpu-percent on one node.
// Replaces nano-gpu-agent and NVIDIA's device plugin.
#pragma once

namespace egpu::agent {

// argv[0] is the command's name; flags follow. Runs until SIGTERM/SIGINT and returns the exit
// status: 0 after an orderly stop (also --help, --print-config), 1 when it could not start, 2 for a
// wrong flag or value. Call from the main thread, once, before other threads exist.
int run_agent(int argc, char** argv);

}  // namespace egpu::agent
