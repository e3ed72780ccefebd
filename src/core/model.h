// Does a card's product name match what a pod asks for? Names are compared as words, without case
// and without a leading "NVIDIA": "A10" matches "NVIDIA A10" but not "NVIDIA A100-SXM4-40GB";
// "Tesla T4" and "tesla-t4" match "Tesla T4"; "H100" matches "NVIDIA H100 80GB HBM3".
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace egpu::core {

bool model_matches(std::string_view wanted, std::string_view card_model);

// True when `wanted` is empty or one of them matches.
bool model_acceptable(const std::vector<std::string>& wanted, std::string_view card_model);

}  // namespace egpu::core
