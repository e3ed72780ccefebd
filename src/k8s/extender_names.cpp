#include "k8s/extender_names.h"

#include <algorithm>
#include <cstring>

namespace egpu::k8s {

using Token = JsonScanner::Token;

bool NamesSection::take(
    Token token, BodyCursor& cursor, std::size_t max_nodes, NameList& names, bool& left
) {
    if (token == Token::kArrayEnd) {
        left = true;
        return true;
    }
    if (token != Token::kString) return cursor.wrong_type("an entry of NodeNames");
    std::string_view name;
    if (!cursor.read_text(name)) return false;
    if (!cursor.check_node_name(name, "NodeNames has an empty name")) return false;
    if (names.size() >= max_nodes) return cursor.too_many_nodes(max_nodes);
    names.add(name);
    return true;
}

void NamesSection::pass_expected(
    BodyCursor& cursor, std::size_t max_nodes, const NameList& expected, NameList& names
) {
    const std::size_t first = names.size();
    if (first >= expected.size() || expected.size() > max_nodes || !expected.all_plain()) return;
    const char* const end = cursor.window.end();
    const char* const from = cursor.scanner.next_string(cursor.at, end);
    if (from == nullptr) return;
    const std::string_view known = expected.written_from(first);
    const std::string_view there(from, static_cast<std::size_t>(end - from));
    constexpr std::size_t kBlock = 1024;
    std::size_t same = 0;
    const std::size_t both = std::min(known.size(), there.size());
    while (same < both) {
        const std::size_t n = std::min(kBlock, both - same);
        if (std::memcmp(known.data() + same, there.data() + same, n) != 0) break;
        same += n;
    }
    std::size_t count = expected.within(first, same);
    const auto bytes = [&](std::size_t names_passed) {
        return first + names_passed == expected.size()
                   ? known.size()
                   : known.size() - expected.written_from(first + names_passed).size();
    };
    // One more has to follow, or the comma behind the last is not one between strings.
    if (count > 0 && (bytes(count) >= there.size() || there[bytes(count)] != '"')) --count;
    if (count == 0) return;
    names.add_from(expected, first, count);
    cursor.scanner.passed_strings(cursor.at, from + bytes(count));
}

void NamesSection::pass_plain(BodyCursor& cursor, std::size_t max_nodes, NameList& names) {
    sizes_.clear();
    const std::size_t room = max_nodes - names.size();
    const char* from = nullptr;
    cursor.scanner.pass_plain_strings(cursor.at, cursor.window.end(), [&](std::string_view name) {
        const bool good = !name.empty() && name.size() <= BodyCursor::kMaxNodeName;
        if (!good || sizes_.size() == room) return false;
        if (from == nullptr) from = name.data() - 1;
        sizes_.push_back(static_cast<std::uint32_t>(name.size() + 3));  // quotes and comma
        return true;
    });
    if (from != nullptr) names.add_run(std::string_view(from, cursor.at), sizes_);
}

}  // namespace egpu::k8s
