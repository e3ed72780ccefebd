// CPU and memory of a pod from its object, by kube-scheduler's rule: all app containers and
// sidecars together, or, when that is more, an init container with the sidecars started before it;
// plus the overhead of its RuntimeClass. Amounts for the whole pod (spec.resources, from 1.32 on)
// replace the sum. Limits stand in for requests that are missing, as the API server defaults them.
// What an in-place resize has not reached yet is not looked at.
//
// The amounts only guide policies, so what cannot be read counts as nothing.
#pragma once

#include "base/json.h"
#include "core/host_amounts.h"

namespace egpu::k8s {

core::HostAmounts host_request(const json::value& pod);

}  // namespace egpu::k8s
