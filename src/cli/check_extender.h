// Checks of the entries under `extenders`. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/check_config.h"
#include "cli/document.h"
#include "cli/fields.h"
#include "cli/finding.h"

namespace egpu::cli {

enum class ConfigKind { kConfiguration, kPolicy };

// All entries of `list` at `path` ("extenders"): which of them is edge-gpu, is it there, is it set
// up right, and do the others get in its way.
void check_extenders(
    const Node* list,
    std::string_view path,
    int line,
    ConfigKind kind,
    const CheckOptions& options,
    Findings& findings
);

// urlPrefix and the TLS settings that go with it.
void check_url(
    const Fields& extender, ConfigKind kind, const CheckOptions& options, Findings& findings
);
// httpTimeout in the unit of its kind.
void check_timeout(const Fields& extender, ConfigKind kind, Findings& findings);
// The managedResources of edge-gpu's own entry.
void check_resources(const Fields& extender, Findings& findings);

// The names under managedResources of an entry, with the line of each. Entries without a usable
// name are left out.
struct ManagedResource {
    std::string name;
    std::string path;
    int line = 0;
    bool ignored_by_scheduler = false;
};
std::vector<ManagedResource> managed_resources(const Fields& extender, Findings* findings);

// Is it a resource of nano-gpu's successors or of another GPU sharing scheduler?
bool is_left_over_resource(std::string_view name);
// The resource of edge-gpu's that a misspelt name was probably meant to be, else "".
std::string_view meant_resource(std::string_view name);

}  // namespace egpu::cli
