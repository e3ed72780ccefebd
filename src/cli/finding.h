// What a check found, and how it is shown. Pure; thread-compatible.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace egpu::cli {

enum class Severity { kError, kWarning };

struct Finding {
    Severity severity = Severity::kError;
    std::string code;     // stable, for scripts: "weight-small"
    std::string path;     // of the key: "extenders[0].weight"; "" is the whole file
    int line = 0;         // from 1; 0 when there is none
    std::string message;  // what is wrong and what that does
    std::string fix;      // what to write or do
};

class Findings {
  public:
    void error(
        std::string_view code, std::string_view path, int line, std::string message, std::string fix
    );
    void warning(
        std::string_view code, std::string_view path, int line, std::string message, std::string fix
    );

    int errors() const;
    int warnings() const { return static_cast<int>(all_.size()) - errors(); }
    const std::vector<Finding>& all() const { return all_; }
    // By line, then as found.
    void sort();

  private:
    std::vector<Finding> all_;
};

// "FILE:12: error: extenders[0].weight: … [weight]\n    fix: …" for each; then a line that counts
// them.
std::string as_text(const Findings& findings, std::string_view file);
json::array as_json(const Findings& findings);

}  // namespace egpu::cli
