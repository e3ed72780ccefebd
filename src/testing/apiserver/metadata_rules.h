// What the API server does to metadata of every kind: names, generateName, uid, creation time, and
// the checks whose failures users meet (names, label and annotation syntax, immutable fields). Pure
// but for the clock and the uid generator.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "testing/apiserver/api_status.h"
#include "testing/apiserver/resources.h"

namespace egpu::testing {

// "2024-05-01T12:00:00Z", UTC. `offset_s` is added to now.
std::string timestamp_now(std::int64_t offset_s = 0);
std::string new_uid();

// Drops nulls, as decoding into Go types does, and checks the shape every object has: metadata is
// an object, labels and annotations map strings to strings, spec and status are objects.
Verdict normalise_shape(const Resource& resource, json::value& doc);

// Checks kind, apiVersion and namespace of a body against the request and fills in the namespace.
Verdict match_request(
    const Resource& resource, std::string_view name_space, std::string_view name, json::value& doc
);

// Fills in name (from generateName), uid, creationTimestamp; drops what clients cannot set.
void fill_new_metadata(json::value& doc);

std::vector<StatusCause> check_metadata(const Resource& resource, const json::value& doc);
std::vector<StatusCause> check_metadata_update(const json::value& before, const json::value& after);

}  // namespace egpu::testing
