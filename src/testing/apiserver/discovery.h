// What a client asks before it asks for objects: /version, API groups and resources, and OpenAPI
// documents that are just enough for kubectl: v3 says which kinds can be patched with
// fieldValidation and dryRun (kubectl 1.24 and newer then leave validation to the server), v2 is an
// empty protobuf document (older kubectl then skips client-side validation). Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace egpu::testing {

struct DiscoveryAnswer {
    std::string content_type;
    std::string body;
};

// Nothing when `path` is no discovery path. `server` is the address for /api.
std::optional<DiscoveryAnswer> answer_discovery(
    std::string_view path,
    std::string_view accept,
    std::string_view version,
    std::string_view server
);

}  // namespace egpu::testing
