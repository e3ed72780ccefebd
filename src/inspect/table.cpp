#include "inspect/table.h"

#include <algorithm>

namespace egpu::inspect {
namespace {

constexpr std::size_t kLeast = 8;
constexpr std::string_view kCut = "\xE2\x80\xA6";  // …

// The first `width` columns, the last of them the mark when something is cut off.
std::string cut(const std::string& text, std::size_t width) {
    if (columns_of(text) <= width) return text;
    std::size_t bytes = 0;
    std::size_t seen = 0;
    while (bytes < text.size()) {
        const bool begins = (static_cast<unsigned char>(text[bytes]) & 0xC0U) != 0x80U;
        if (begins && ++seen == width) break;
        ++bytes;
    }
    return text.substr(0, bytes) + std::string(kCut);
}

}  // namespace

std::size_t columns_of(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
    }));
}

std::string printable(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
    }
    return out;
}

std::string wrapped(std::string_view text, int width, std::size_t indent) {
    const std::string start(indent, ' ');
    std::string out;
    std::string line = start;
    const std::size_t room =
        width > 0 ? std::max<std::size_t>(static_cast<std::size_t>(width), indent + 20) : 0;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(' '), text.size());
        const std::string_view word = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        const bool fresh = line.size() == indent;
        if (!fresh && room > 0 && columns_of(line) + 1 + columns_of(word) > room) {
            out += line + "\n";
            line = start;
        } else if (!fresh) {
            line += ' ';
        }
        line += word;
    }
    return out + line + "\n";
}

void Table::row(std::vector<std::string> cells) {
    for (std::string& cell : cells) cell = printable(cell);
    rows_.push_back(std::move(cells));
}

std::string Table::text(int width) const {
    std::vector<std::size_t> widths;
    std::size_t total = 2 * (columns_.size() - 1);
    for (std::size_t c = 0; c < columns_.size(); ++c) {
        std::size_t most = columns_of(columns_[c].title);
        for (const auto& row : rows_) most = std::max(most, columns_of(row[c]));
        widths.push_back(most);
        total += most;
    }
    // The widest column that may shrink gives way first.
    while (width > 0 && total > static_cast<std::size_t>(width)) {
        std::size_t widest = columns_.size();
        for (std::size_t c = 0; c < columns_.size(); ++c) {
            if (!columns_[c].shrinks || widths[c] <= kLeast) continue;
            if (widest == columns_.size() || widths[c] > widths[widest]) widest = c;
        }
        if (widest == columns_.size()) break;
        --widths[widest];
        --total;
    }
    std::string out;
    const auto line = [&](const auto& cell_of) {
        std::string text;
        for (std::size_t c = 0; c < columns_.size(); ++c) {
            const std::string cell = cut(cell_of(c), widths[c]);
            const std::string pad(widths[c] - columns_of(cell), ' ');
            text += (c > 0 ? "  " : "") + (columns_[c].right ? pad + cell : cell + pad);
        }
        while (!text.empty() && text.back() == ' ') text.pop_back();
        out += text + "\n";
    };
    line([&](std::size_t c) { return columns_[c].title; });
    for (const auto& row : rows_) line([&](std::size_t c) { return row[c]; });
    return out;
}

}  // namespace egpu::inspect
