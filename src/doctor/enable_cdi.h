// Switches CDI on in the text of a containerd configuration, leaving everything else, comments
// included, as it is. Pure.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace egpu::doctor {

// The new text; the old one when CDI is on already. kInvalid when the file cannot be parsed, or is
// written in a way that cannot be edited safely (the result is parsed and compared): the message
// says what to do by hand.
Result<std::string> enable_cdi(std::string_view text);

}  // namespace egpu::doctor
