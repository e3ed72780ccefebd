// Columns of text that fit a terminal. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace egpu::inspect {

// Columns that `text` takes (UTF-8, nothing wide).
std::size_t columns_of(std::string_view text);
// Control characters become spaces: names from a cluster must not steer a terminal.
std::string printable(std::string_view text);
// `text` in lines of at most `width` columns (0: one line), each after `indent` spaces.
std::string wrapped(std::string_view text, int width, std::size_t indent);

class Table {
  public:
    struct Column {
        std::string title;
        bool right = false;    // numbers
        bool shrinks = false;  // may be cut, with "…", when the terminal is too narrow
    };
    explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
    void row(std::vector<std::string> cells);
    // `width` 0: as wide as it gets. Shrinking columns keep at least 8 columns.
    std::string text(int width) const;

  private:
    std::vector<Column> columns_;
    std::vector<std::vector<std::string>> rows_;
};

}  // namespace egpu::inspect
