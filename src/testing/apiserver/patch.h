// The three patch formats: JSON Patch (RFC 6902), JSON merge patch (RFC 7396) and Kubernetes'
// strategic merge patch with the merge keys of the core types (containers by name, conditions by
// type, ...) and its directives
// ($patch, $setElementOrder, $deleteFromPrimitiveList, $retainKeys), as `kubectl apply` sends them.
// Pure; failures are the Status that the API server gives.
#pragma once

#include "base/json.h"
#include "testing/apiserver/api_status.h"

namespace egpu::testing {

Outcome<json::value> json_patch(const json::value& document, const json::value& patch);
json::value merge_patch(json::value document, const json::value& patch);
Outcome<json::value> strategic_merge_patch(json::value document, const json::value& patch);

}  // namespace egpu::testing
