// One run in which pods leave. The protocol:
//
// 1. The workload arrives `copies` times over (arrivals.h), at the rate that makes the offered
//    load, GPU times lifetime per second over the GPU installed, equal to `inflate`.
// 2. A pod runs for its lifetime in the trace (deletion less creation, at most `longest`), counted
//    from when it is placed, and then leaves.
// 3. A pod that fits nowhere waits. When a pod leaves, the waiting ones are tried in the order in
//    which they came; whoever fits is placed. Nobody is preempted, and no room is held for anyone.
// 4. The cluster is empty at first: the first third of the time is not measured. The run ends with
//    the last arrival.
#pragma once

#include "base/result.h"
#include "simulate/replay.h"

namespace egpu::simulate {

// kInvalid when pods have no creation or deletion time, or none with a card lives.
Result<RunResult> replay_with_departures(const RunInput& input);

}  // namespace egpu::simulate
