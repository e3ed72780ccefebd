// The JSON of /status: nano-gpu-scheduler v0.2's shape
// {"node":{"Rater":{},"Name":…,"GPUs":[{"Percent":free,"PercentTotal":100}],"PlanCache":{}}} with
// our fields added: what each card is and who holds it, pods without a placement. Nodes are copied
// one by one, so that a big cluster does not hold the ledger's lock.
#pragma once

#include <string>

#include "scheduler/state.h"

namespace egpu::scheduler {

std::string status_page(const State& state);

}  // namespace egpu::scheduler
