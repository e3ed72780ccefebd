// Commands that look at a cluster and never change it.
#pragma once

namespace egpu::inspect {

// The exit status: 0 done; 1 what was asked for is not possible; 2 the cluster could not be looked
// at, or a flag is wrong.
int run_snapshot(int argc, char** argv);
int run_describe(int argc, char** argv);

}  // namespace egpu::inspect
