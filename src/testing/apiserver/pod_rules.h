// What the API server does to pods: defaults, validation on creation and update, and when a delete
// takes effect. Only the rules that schedulers, kubelets, device plugins and kubectl users meet.
// Pure.
#pragma once

#include <vector>

#include "base/json.h"
#include "testing/apiserver/api_status.h"

namespace egpu::testing {

// containers and initContainers are arrays of objects, resources are maps of quantities.
Verdict check_pod_shape(const json::value& pod);

// What decoding fills in on every write: restartPolicy, requests from limits, pull policies, "20"
// for 20, ...
void default_pod_spec(json::value& pod);
// That, what admission adds on creation (tolerations, priority), and a fresh Pending status.
void default_new_pod(json::value& pod);

// Container names, images, resources: quantities, extended resources are integers with requests
// equal to limits.
std::vector<StatusCause> validate_pod(const json::value& pod);

// The spec is immutable but for images, tolerations (added), activeDeadlineSeconds and
// schedulingGates (removed).
std::vector<StatusCause> validate_pod_update(const json::value& before, const json::value& after);

// The grace period that a delete gets: 0 at once for pods that never reached a node or have
// finished.
std::int64_t pod_grace_period(const json::value& pod, std::optional<std::int64_t> wanted);

// nodeName, annotations and PodScheduled=True.
void assign_pod(json::value& pod, std::string_view node, const json::object* annotations);

// Also used for nodes: canonical quantities in capacity and allocatable.
void canonicalise_quantities(json::object& resources);

}  // namespace egpu::testing
