// What `edge-gpu describe cluster` found, for people and for programs. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "core/cluster.h"
#include "core/cluster_use.h"
#include "core/defragment.h"
#include "core/stranded.h"

namespace egpu::inspect {

struct Description {
    core::Cluster cluster;
    std::vector<core::NodeUse> uses;
    core::StrandedReport stranded;
    core::FreeCardsRequest free_request;  // when asked for
    std::optional<core::FreeCardsPlan> free;
};

// Works everything out; `free.cards` 0: no plan.
Description describe(core::Cluster cluster, const core::FreeCardsRequest& free);

// `width`: columns of the terminal, 0 for none.
std::string render_text(const Description& description, int width);
// docs/inspect.md has the schema.
json::value render_json(const Description& description);

}  // namespace egpu::inspect
