// Pure.
#pragma once

#include <string>
#include <string_view>

namespace egpu::doctor {

// A unified diff with three lines of context; "" when nothing differs. One hunk from the first to
// the last difference.
std::string unified_diff(std::string_view before, std::string_view after, std::string_view path);

}  // namespace egpu::doctor
