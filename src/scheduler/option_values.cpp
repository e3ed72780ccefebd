#include "scheduler/option_values.h"

#include <cstdint>

#include "core/policy/scorer.h"
#include "flags/values.h"

namespace egpu::scheduler {

using flags::bad_value;

Status check_policy(std::string_view flag, const std::string& policy) {
    if (core::find_scorer(policy) != nullptr) return ok_status();
    if (policy.starts_with("random:") &&
        flags::to_number<std::uint64_t>(std::string_view(policy).substr(7))) {
        return ok_status();
    }
    return bad_value(flag, policy, "a policy (" + core::scorer_names() + " or random:SEED)");
}

Status check_listen(const std::string& listen) {
    if (flags::is_address(listen)) return ok_status();
    return bad_value("listen", listen, "an address such as 127.0.0.1:39999, [::1]:39999 or :39999");
}

}  // namespace egpu::scheduler
