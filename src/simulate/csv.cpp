#include "simulate/csv.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace egpu::simulate {
namespace {

std::string at_line(const std::string& file, std::size_t line) {
    return file + ":" + std::to_string(line) + ": ";
}

// Reads records one after the other.
class Reader {
  public:
    Reader(const std::string& name, std::string_view text) : name_(name), text_(text) {}

    bool at_end() const { return at_ >= text_.size(); }
    std::size_t line() const { return line_; }

    // The fields of the record that begins here; a blank line has one empty field.
    Result<std::vector<std::string>> record() {
        std::vector<std::string> fields(1);
        const std::size_t begin = line_;
        bool quoted = false;
        bool closed = false;  // the field was quoted, and its end is here
        for (; at_ < text_.size(); ++at_) {
            const char c = text_[at_];
            if (c == '\n') ++line_;
            if (quoted) {
                if (c != '"') {
                    fields.back() += c;
                } else if (at_ + 1 < text_.size() && text_[at_ + 1] == '"') {
                    fields.back() += '"';
                    ++at_;
                } else {
                    quoted = false;
                    closed = true;
                }
                continue;
            }
            const bool ends_line =
                c == '\n' || (c == '\r' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n');
            if (closed && c != ',' && !ends_line) {
                return Error{
                    ErrorCode::kInvalid,
                    at_line(name_, line_) + "text behind the quotes of field " +
                        std::to_string(fields.size())};
            }
            if (c == '"') {
                if (!fields.back().empty()) {
                    return Error{
                        ErrorCode::kInvalid,
                        at_line(name_, line_) + "a quote in the middle of field " +
                            std::to_string(fields.size())};
                }
                quoted = true;
            } else if (c == ',') {
                fields.emplace_back();
                closed = false;
            } else if (c == '\n') {
                ++at_;
                break;
            } else if (!ends_line) {
                fields.back() += c;
            }
        }
        if (quoted) {
            return Error{
                ErrorCode::kInvalid,
                at_line(name_, begin) + "a quote is opened here and never closed"};
        }
        return fields;
    }

  private:
    const std::string& name_;
    std::string_view text_;
    std::size_t at_ = 0;
    std::size_t line_ = 1;
};

std::string joined(const std::vector<std::string>& words) {
    std::string out;
    for (const std::string& word : words) {
        if (!out.empty()) out += ", ";
        out += word;
    }
    return out;
}

}  // namespace

Result<CsvTable> CsvTable::parse(std::string name, std::string_view text) {
    CsvTable table;
    table.name_ = std::move(name);
    if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);
    Reader reader(table.name_, text);
    if (reader.at_end()) {
        return Error{
            ErrorCode::kInvalid,
            table.name_ + ": empty; a line with the columns' names is missing"};
    }
    EG_TRY(table.header_, reader.record());
    for (std::size_t i = 0; i < table.header_.size(); ++i) {
        const auto begin = table.header_.begin();
        const auto here = begin + static_cast<std::ptrdiff_t>(i);
        if (std::find(begin, here, *here) != here) {
            return Error{
                ErrorCode::kInvalid,
                at_line(table.name_, 1) + "two columns are called \"" + *here + "\""};
        }
    }
    while (!reader.at_end()) {
        const std::size_t line = reader.line();
        EG_TRY(std::vector<std::string> fields, reader.record());
        if (fields.size() == 1 && fields[0].empty()) continue;
        if (fields.size() != table.header_.size()) {
            return Error{
                ErrorCode::kInvalid,
                at_line(table.name_, line) + std::to_string(fields.size()) +
                    " fields, but the header has " + std::to_string(table.header_.size())};
        }
        for (std::string& field : fields) table.fields_.push_back(std::move(field));
        table.lines_.push_back(line);
    }
    return table;
}

std::optional<std::size_t> CsvTable::column(std::string_view name) const {
    const auto it = std::find(header_.begin(), header_.end(), name);
    if (it == header_.end()) return std::nullopt;
    return static_cast<std::size_t>(it - header_.begin());
}

Result<std::size_t> CsvTable::required_column(std::string_view name) const {
    if (const auto found = column(name)) return *found;
    return Error{
        ErrorCode::kInvalid,
        at_line(name_, 1) + "no column \"" + std::string(name) + "\"; there are " +
            joined(header_)};
}

std::size_t CsvRecord::line() const {
    return table_->lines_[index_];
}

std::string_view CsvRecord::text(std::optional<std::size_t> column) const {
    if (!column) return {};
    return table_->fields_[index_ * table_->header_.size() + *column];
}

Error CsvRecord::error(std::optional<std::size_t> column, std::string_view what) const {
    std::string message = at_line(table_->name_, line());
    if (column) message += "column " + table_->header_[*column] + ": ";
    return {ErrorCode::kInvalid, message + std::string(what)};
}

Result<std::int64_t> CsvRecord::number(
    std::optional<std::size_t> column,
    std::int64_t low,
    std::int64_t high,
    std::optional<std::int64_t> otherwise
) const {
    const std::string_view field = text(column);
    if (field.empty() && otherwise) return *otherwise;
    std::int64_t value = 0;
    const auto [end, code] = std::from_chars(field.data(), field.data() + field.size(), value);
    if (code != std::errc{} || end != field.data() + field.size() || value < low || value > high) {
        return error(
            column,
            "\"" + std::string(field.substr(0, 40)) + "\" is not a whole number from " +
                std::to_string(low) + " to " + std::to_string(high)
        );
    }
    return value;
}

}  // namespace egpu::simulate
