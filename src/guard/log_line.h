// One line to standard error, by one write: the guard has no log of its own, and says something
// only where a user would otherwise be at a loss (a page that cannot be used, a card without a
// quota).
#pragma once

namespace egpu::guard {

// "edge-gpu guard: <text><detail>\n"
void log_line(const char* text, const char* detail = "");

}  // namespace egpu::guard
