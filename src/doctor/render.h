// A report for people and for programs. Pure.
#pragma once

#include <string>

#include "base/json.h"
#include "doctor/finding.h"

namespace egpu::doctor {

struct TextStyle {
    bool colour = false;
    int width = 0;         // columns to wrap prose at; 0: never. Commands are never wrapped
    bool verbose = false;  // also what is fine in detail, and what was not checked
};

// Grouped; what is wrong comes with what it means and its fix; the last line is the verdict.
std::string render_text(const Report& report, const TextStyle& style);
// The verdict alone: "2 errors, 1 warning: …".
std::string verdict(const Report& report);
// docs/doctor.md has the schema.
json::value render_json(const Report& report);

}  // namespace egpu::doctor
