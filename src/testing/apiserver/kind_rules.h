// Defaults and checks of the kinds other than pods: nodes, leases, events, services, namespaces.
// Pure.
#pragma once

#include <vector>

#include "base/json.h"
#include "testing/apiserver/api_status.h"
#include "testing/apiserver/resources.h"

namespace egpu::testing {

// Types that would not decode into the Go type (400), for example a Lease's renewTime that is no
// MicroTime.
Verdict check_kind_shape(const Resource& resource, const json::value& doc);
// On creation only.
void default_new(const Resource& resource, json::value& doc);
// On every write.
void default_always(const Resource& resource, json::value& doc);
std::vector<StatusCause> validate_kind(const Resource& resource, const json::value& doc);

}  // namespace egpu::testing
