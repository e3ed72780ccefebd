// A container runtime whose socket does not answer. Pure.
#pragma once

#include <string>

#include "doctor/check.h"

namespace egpu::doctor {

// The socket was tried, and nobody answered.
bool does_not_answer(const Facts& facts, const std::string& socket);

// The finding "<runtime>-down"; `unit` is the systemd unit that runs it.
void runtime_down(
    const Facts& facts,
    const std::string& socket,
    const std::string& runtime,
    const std::string& unit,
    Findings& out
);

}  // namespace egpu::doctor
