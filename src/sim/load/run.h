// One run: an embedded API server in this process, a real `edge-gpu scheduler` process, and
// kube-scheduler's traffic to it: filter and priorities one pod after the other, binds beside the
// next pods' cycles, pods that come, complete and are deleted. With chaos, writes fail and watches
// break meanwhile, and the promises of invariants.h are checked all the time and at the end.
#pragma once

#include "base/result.h"
#include "base/stop.h"
#include "sim/load/report.h"
#include "sim/load/settings.h"

namespace egpu::sim::load {

Result<Report> run(const Settings& settings, const StopToken& stop);

}  // namespace egpu::sim::load
