// Test only: how shares follow events over time, drawn as SVG (docs/guard-compute.md).
#pragma once

#include <string>

namespace egpu::guard {

// Two runs in virtual time: a neighbour arrives and the share is changed (hard), and a neighbour
// arrives and leaves (soft).
std::string shares_over_time();
// A table in Markdown: what a soft share takes while its neighbour is idle, and how soon it is
// given back.
std::string soft_numbers();

}  // namespace egpu::guard
