// `edge-gpu cdi generate|list|validate`: CDI specifications for people who run containers by hand
// (podman, docker --device) and for looking at what the agent wrote.
#pragma once

namespace egpu::cli {

// argv[0] is the command's name. 0 after success, 1 when a specification is wrong or cannot be
// made, 2 for wrong flags.
int run_cdi(int argc, char** argv);

}  // namespace egpu::cli
