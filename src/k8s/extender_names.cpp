#include "k8s/extender_names.h"

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
