// Checks of flag values that only the scheduler has. Errors name the flag, the value and what is
// possible. Pure.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace egpu::scheduler {

Status check_policy(std::string_view flag, const std::string& policy);
Status check_listen(const std::string& listen);

}  // namespace egpu::scheduler
