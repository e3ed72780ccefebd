#include "doctor/text_diff.h"

#include <algorithm>
#include <vector>

namespace egpu::doctor {
namespace {

constexpr std::size_t kContext = 3;

std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        lines.push_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

std::string range(std::size_t first, std::size_t count) {
    return std::to_string(count == 0 ? first : first + 1) + "," + std::to_string(count);
}

}  // namespace

std::string unified_diff(std::string_view before, std::string_view after, std::string_view path) {
    if (before == after) return "";
    const auto old_lines = lines_of(before);
    const auto new_lines = lines_of(after);
    const std::size_t shorter = std::min(old_lines.size(), new_lines.size());
    std::size_t head = 0;
    while (head < shorter && old_lines[head] == new_lines[head]) ++head;
    std::size_t tail = 0;
    while (tail < shorter - head &&
           old_lines[old_lines.size() - 1 - tail] == new_lines[new_lines.size() - 1 - tail]) {
        ++tail;
    }
    const std::size_t from = head - std::min(head, kContext);
    const std::size_t old_end = old_lines.size() - tail;
    const std::size_t new_end = new_lines.size() - tail;
    const std::size_t after_context = std::min(tail, kContext);
    std::string out = "--- " + std::string(path) + "\n+++ " + std::string(path) + "\n@@ -" +
                      range(from, old_end + after_context - from) + " +" +
                      range(from, new_end + after_context - from) + " @@\n";
    const auto add = [&out](char mark, std::string_view line) {
        out += mark;
        out.append(line).append("\n");
    };
    for (std::size_t i = from; i < head; ++i) add(' ', old_lines[i]);
    for (std::size_t i = head; i < old_end; ++i) add('-', old_lines[i]);
    for (std::size_t i = head; i < new_end; ++i) add('+', new_lines[i]);
    for (std::size_t i = old_end; i < old_end + after_context; ++i) add(' ', old_lines[i]);
    return out;
}

}  // namespace egpu::doctor
