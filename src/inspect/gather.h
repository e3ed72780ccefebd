// Reads a live cluster once: all nodes and all pods that are not finished. GETs only.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "k8s/client.h"
#include "k8s/cluster_snapshot.h"

namespace egpu::inspect {

struct Gathered {
    k8s::ClusterSnapshot snapshot;
    // What was not believed or not understood, one sentence each, for standard error.
    std::vector<std::string> notes;
};

// Lists in pages of 500; the error names the list. `deadline` is for both.
Result<Gathered> gather(const k8s::Client& client, TimePoint deadline);

// Pure: from the objects as the API server has them. Their fields are untrusted: annotations that
// do not hold are left out with a note, as the scheduler does it.
void add_node(const json::value& object, Gathered& to);
void add_pod(const json::value& object, Gathered& to);

}  // namespace egpu::inspect
