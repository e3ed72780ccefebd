#include "doctor/runtime_socket.h"

namespace egpu::doctor {

bool does_not_answer(const Facts& facts, const std::string& socket) {
    const auto found = facts.sockets.find(socket);
    return found != facts.sockets.end() && !found->second.connects;
}

void runtime_down(
    const Facts& facts,
    const std::string& socket,
    const std::string& runtime,
    const std::string& unit,
    Findings& out
) {
    Finding& finding =
        out.error(runtime + "-down", socket, "does not answer: " + facts.sockets.at(socket).error);
    finding.meaning = runtime + " does not run: no container can start on this node";
    finding.fix = "systemctl status " + unit + "; journalctl -u " + unit +
                  " -n 50\nsystemctl restart " + unit;
}

}  // namespace egpu::doctor
