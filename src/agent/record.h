// One answered Allocate, and how much of a card the records of one pod hold together. Pure.
//
// The kubelet re-uses an init container's IDs for later containers of the pod, so records of one
// pod may share IDs without holding more of the card: IDs shared with an init container (or one of
// unknown kind) count once. Containers that run at the same time never share, even where the
// kubelet handed one ID out twice. Units: percent of a card.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/device_ids.h"
#include "core/placement.h"
#include "core/request.h"

namespace egpu::agent {

// The container a record belongs to; empty fields are not known (yet).
struct Holder {
    std::string pod_uid;
    std::string pod_namespace;
    std::string pod_name;
    std::string container;
    std::optional<core::ContainerKind> kind;
    bool confirmed = false;  // seen in the kubelet's own books, not only presumed at admission

    bool operator==(const Holder&) const = default;
};

struct Record {
    std::string token;  // unique for ever; names the allocation in paths and annotations
    Resource resource = Resource::kPercent;
    std::vector<std::string> ids;        // as_id_set
    std::vector<core::CardShare> cards;  // the real ones
    std::string group;  // the pod's UID once known, else the first token of its chain of re-use
    Holder holder;
    std::int64_t time = 0;  // seconds since 1970, for people
    bool guarded = false;   // its container was given the guard

    bool whole() const;       // holds its cards alone
    bool overridden() const;  // the cards are not those the IDs name
    bool on_card(std::string_view uuid) const;
    bool operator==(const Record&) const = default;
};

// What `records`, all of one pod and all on one card, hold of it: more than 100 when they do not
// fit.
int units_held(std::span<const Record* const> records);

}  // namespace egpu::agent
