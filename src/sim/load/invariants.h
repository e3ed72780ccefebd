// What must hold whatever goes wrong around the scheduler. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"

namespace egpu::sim::load {

// By the API server's pods: no card above 100 percent, no bound pod without its cards.
std::vector<std::string> broken_promises(const std::vector<json::value>& pods);

// Where the scheduler's /status tells another story than the pods do: percents of a card, pods that
// it does not know, holds of pods that are gone, reservations, guesses.
std::vector<std::string> disagreements(
    const json::value& status, const std::vector<json::value>& pods
);

}  // namespace egpu::sim::load
