// Comma-separated values as traces have them: a header line, then one record per line; fields may
// be quoted ("" is a quote inside). Errors name file, line and column. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace egpu::simulate {

class CsvTable;

// One record. Views live as long as the table.
class CsvRecord {
  public:
    std::size_t line() const;  // in the file, from 1
    // "" when the table has no such column.
    std::string_view text(std::optional<std::size_t> column) const;
    // A whole number from `low` to `high`; `otherwise` when the field is empty or there is no such
    // column, and an error when there is no `otherwise`.
    Result<std::int64_t> number(
        std::optional<std::size_t> column,
        std::int64_t low,
        std::int64_t high,
        std::optional<std::int64_t> otherwise = std::nullopt
    ) const;
    // "file:line: column name: what"
    Error error(std::optional<std::size_t> column, std::string_view what) const;

  private:
    friend class CsvTable;
    CsvRecord(const CsvTable& table, std::size_t index) : table_(&table), index_(index) {}
    const CsvTable* table_;
    std::size_t index_;
};

class CsvTable {
  public:
    // `name` is what errors call the file. A byte-order mark, CRLF and blank lines are accepted.
    static Result<CsvTable> parse(std::string name, std::string_view text);

    std::size_t size() const { return lines_.size(); }
    CsvRecord operator[](std::size_t index) const { return {*this, index}; }
    // By the name in the header.
    std::optional<std::size_t> column(std::string_view name) const;
    // An error that lists the columns there are.
    Result<std::size_t> required_column(std::string_view name) const;

  private:
    friend class CsvRecord;
    std::string name_;
    std::vector<std::string> header_;
    std::vector<std::string> fields_;  // all records, header_.size() each
    std::vector<std::size_t> lines_;   // by record
};

}  // namespace egpu::simulate
