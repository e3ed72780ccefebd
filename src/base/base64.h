// Base64 (RFC 4648, standard alphabet), as kubeconfig files and the kubelet's checkpoint use it.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace egpu {

// White space is skipped and missing padding accepted; any other foreign character is kInvalid.
Result<std::string> base64_decode(std::string_view text);
std::string base64_encode(std::string_view bytes);

}  // namespace egpu
