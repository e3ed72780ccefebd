// Is this text a CDI specification that runtimes will take? The rules of the published
// specification (versions 0.3.0 to 1.1.0), as strict as its reference implementation, which refuses
// unknown fields. Pure; untrusted input.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace egpu::inject {

// One sentence per fault, with the place ("devices[0].containerEdits.mounts[2]: …"); empty when
// there is none. JSON only.
std::vector<std::string> validate_cdi(std::string_view text);

}  // namespace egpu::inject
