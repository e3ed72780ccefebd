// What a container is given, as JSON: it crosses from the child that asked the injection code.
#pragma once

#include "base/json.h"
#include "inject/edits.h"

namespace egpu::doctor {

json::value edits_to_json(const inject::ContainerEdits& edits);
inject::ContainerEdits edits_from_json(const json::value& from);

}  // namespace egpu::doctor
