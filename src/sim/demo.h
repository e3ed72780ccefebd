// `edge-gpu demo`: the whole stack on one machine without a GPU or a cluster. The scheduler and the
// agents are real processes; the API server, the kubelets and the cards are embedded peers.
#pragma once

namespace egpu::sim {

// Exit status: 0 done (with --once: and everything was as it must be), 1 something failed,
// 2 wrong flags. argv[0] is the command's name.
int run_demo(int argc, char** argv);

}  // namespace egpu::sim
