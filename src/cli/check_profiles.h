// Checks of `profiles`: what in them works against edge-gpu. Pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "cli/document.h"
#include "cli/fields.h"
#include "cli/finding.h"

namespace egpu::cli {

// `list` is the value of the top-level key `profiles`.
void check_profiles(const Node& list, Findings& findings);

// percentageOfNodesToScore of the file or of a profile. `missing_is_bad`: it is the file's.
void check_percentage(const Fields& fields, bool missing_is_bad, Findings& findings);

}  // namespace egpu::cli
