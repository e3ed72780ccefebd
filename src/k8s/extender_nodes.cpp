#include "k8s/extender_nodes.h"

namespace egpu::k8s {

using Token = JsonScanner::Token;

void NodesSection::begin(std::size_t max_nodes, std::size_t max_bytes) {
    at_ = At::kList;
    max_nodes_ = max_nodes;
    max_bytes_ = max_bytes;
    texts_.clear();
}

void NodesSection::clear() {
    first_.reset();
    texts_.clear();
}

bool NodesSection::take(Token token, BodyCursor& cursor, NameList& names, bool& left) {
    switch (at_) {
        case At::kList:
            return in_list(token, cursor, left);
        case At::kItems:
            return in_items(token, cursor);
        case At::kNode:
            return in_node(token, cursor, names);
        case At::kMeta:
            return in_meta(token, cursor);
    }
    return true;
}

bool NodesSection::in_list(Token token, BodyCursor& cursor, bool& left) {
    switch (token) {
        case Token::kKey:
            return cursor.want("items");
        case Token::kArray:
            at_ = At::kItems;
            return true;
        case Token::kObjectEnd:
            left = true;
            return true;
        case Token::kSkipped:
        case Token::kNull:
            return true;
        default:
            return cursor.wrong_type("Nodes.items");
    }
}

bool NodesSection::in_items(Token token, BodyCursor& cursor) {
    if (token == Token::kArrayEnd) {
        at_ = At::kList;
        return true;
    }
    if (token != Token::kObject) return cursor.wrong_type("an entry of Nodes.items");
    at_ = At::kNode;
    name_.clear();
    node_from_ = cursor.position() - 1;
    if (!first_) first_ = node_from_;
    return true;
}

bool NodesSection::in_node(Token token, BodyCursor& cursor, NameList& names) {
    switch (token) {
        case Token::kKey:
            return cursor.want("metadata");
        case Token::kObject:
            at_ = At::kMeta;
            return true;
        case Token::kObjectEnd:
            at_ = At::kItems;
            if (!cursor.check_node_name(name_, "an entry of Nodes.items has no name")) return false;
            if (names.size() >= max_nodes_) return cursor.too_many_nodes(max_nodes_);
            names.add(name_);
            texts_.push_back({node_from_, cursor.position()});
            return true;
        case Token::kNull:
        case Token::kSkipped:
            return true;
        default:
            return cursor.wrong_type("metadata of an entry of Nodes.items");
    }
}

bool NodesSection::in_meta(Token token, BodyCursor& cursor) {
    switch (token) {
        case Token::kKey:
            return cursor.want("name");
        case Token::kString: {
            std::string_view name;
            if (!cursor.read_text(name)) return false;
            name_ = name;
            return true;
        }
        case Token::kObjectEnd:
            at_ = At::kNode;
            return true;
        case Token::kNull:
        case Token::kSkipped:
            return true;
        default:
            return cursor.wrong_type("metadata.name of an entry of Nodes.items");
    }
}

bool NodesSection::check_size(BodyCursor& cursor) const {
    if (!first_ || cursor.position() - *first_ <= max_bytes_) return true;
    return cursor.refuse(
        ErrorCode::kExhausted,
        "the nodes are larger than " + std::to_string(max_bytes_) +
            " bytes; set nodeCacheCapable: true in the extender's config"
    );
}

}  // namespace egpu::k8s
