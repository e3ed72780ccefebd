#include "cli/spelling.h"

#include <algorithm>
#include <string>
#include <vector>

namespace egpu::cli {
namespace {

constexpr std::size_t kLongestWord = 128;  // a longer one is no typing mistake

std::string plain(std::string_view word) {
    std::string out;
    for (const char c : word) {
        if (c >= 'A' && c <= 'Z') {
            out += static_cast<char>(c - 'A' + 'a');
        } else {
            out += c == '_' || c == '/' ? '-' : c;
        }
    }
    return out;
}

// Letters to insert, delete, replace or swap with their neighbour.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::vector<std::size_t>> rows(
        a.size() + 1, std::vector<std::size_t>(b.size() + 1)
    );
    for (std::size_t i = 0; i <= a.size(); ++i) rows[i][0] = i;
    for (std::size_t j = 0; j <= b.size(); ++j) rows[0][j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = rows[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            rows[i][j] = std::min({replaced, rows[i - 1][j] + 1, rows[i][j - 1] + 1});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                rows[i][j] = std::min(rows[i][j], rows[i - 2][j - 2] + 1);
            }
        }
    }
    return rows[a.size()][b.size()];
}

}  // namespace

std::string_view closest(std::string_view word, std::span<const std::string_view> candidates) {
    if (word.size() > kLongestWord) return "";
    const std::string wanted = plain(word);
    std::string_view best;
    std::size_t best_distance = 0;
    for (const std::string_view candidate : candidates) {
        if (candidate == word) return "";
        const std::size_t allowed = std::min<std::size_t>(3, candidate.size() / 4);
        const std::size_t found = distance(wanted, plain(candidate));
        if (found > allowed || (!best.empty() && found >= best_distance)) continue;
        best = candidate;
        best_distance = found;
    }
    return best;
}

}  // namespace egpu::cli
