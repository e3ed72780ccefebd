// Answers in the form the client asked for with its Accept header: plain objects and lists, Tables
// (kubectl get) and PartialObjectMetadata. Plain forms reuse the text kept with each object. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "testing/apiserver/store.h"

namespace egpu::testing {

struct Form {
    enum class Kind { kPlain, kTable, kMetadata };
    Kind kind = Kind::kPlain;
    std::string_view version = "v1";  // of meta.k8s.io
    enum class Include { kMetadata, kObject, kNone };
    Include include = Include::kMetadata;  // what a Table's rows carry
    bool headers = true;                   // false: a later Table of one watch

    // The first media type of `accept` that this server can make; JSON when there is none.
    static Form from_accept(std::string_view accept, std::string_view include_object);
};

std::string render_object(const Object& object, const Form& form);

struct ListEnvelope {
    std::uint64_t revision = 0;
    std::string continue_token;
};
std::string render_list(
    const Resource& resource,
    const std::vector<ObjectPtr>& items,
    const ListEnvelope& envelope,
    const Form& form
);

// One line of a watch stream, with the line feed. `revision` replaces the object's own when it is
// not 0.
std::string render_event(
    EventType type, const Object& object, const Form& form, std::uint64_t revision = 0
);
std::string render_bookmark(
    const Resource& resource, std::uint64_t revision, const Form& form, bool initial_events_end
);
std::string render_error_event(std::string_view status_json);

}  // namespace egpu::testing
