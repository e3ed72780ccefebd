// JSON to objects.h. Pure. Tolerant where Kubernetes is (null, missing fields, numbers where a
// quantity belongs, "Pods" of any API version), strict where a wrong guess would cost: an object
// without a name, or a container list that is no list, is kInvalid.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "k8s/objects.h"

namespace egpu::k8s {

Result<ObjectMeta> meta_from_json(const json::value& object);
Result<Pod> pod_from_json(const json::value& object);
Result<Node> node_from_json(const json::value& object);

// A quantity as text: strings as they are, numbers as written, "" for anything else.
std::string quantity_text(const json::value& v);

// A label, annotation or resource key: [prefix/]name, name at most 63 characters. The API server
// does not check a Binding's annotations, and a bad key there breaks every later update of the pod.
bool is_qualified_name(std::string_view key);

}  // namespace egpu::k8s
