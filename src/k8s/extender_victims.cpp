#include "k8s/extender_victims.h"

#include <charconv>

#include "http/message.h"

namespace egpu::k8s {

using Token = JsonScanner::Token;

namespace {

constexpr std::size_t kMaxVictims = 100'000;  // pods in one preemption

}  // namespace

void VictimsSection::begin(bool full, std::size_t max_nodes, std::vector<ExtenderVictims>& into) {
    at_ = At::kMap;
    full_ = full;
    max_nodes_ = max_nodes;
    victims_ = &into;
    into.clear();
}

void VictimsSection::clear() {
    count_ = 0;
    pod_from_.reset();
}

bool VictimsSection::take(Token token, BodyCursor& cursor, bool& left) {
    switch (at_) {
        case At::kMap:
            return in_map(token, cursor, left);
        case At::kVictims:
            return in_victims(token, cursor);
        case At::kPods:
            return in_pods(token, cursor);
        case At::kMetaPod:
            return in_meta_pod(token, cursor);
    }
    return true;
}

bool VictimsSection::add_node(BodyCursor& cursor) {
    if (victims_->size() >= max_nodes_) return cursor.too_many_nodes(max_nodes_);
    victims_->emplace_back().node = node_;
    return true;
}

bool VictimsSection::add_victim(BodyCursor& cursor, std::string uid) {
    victims_->back().uids.push_back(std::move(uid));
    return ++count_ <= kMaxVictims || cursor.refuse(ErrorCode::kExhausted, "too many victims");
}

bool VictimsSection::in_map(Token token, BodyCursor& cursor, bool& left) {
    std::string_view name;
    switch (token) {
        case Token::kKey:
            if (!cursor.read_text(name)) return false;
            node_ = name;
            return true;
        case Token::kObject:
            at_ = At::kVictims;
            return add_node(cursor);
        case Token::kNull:
            return add_node(cursor);
        case Token::kObjectEnd:
            left = true;
            return true;
        default:
            return cursor.wrong_type("the victims of a node");
    }
}

bool VictimsSection::in_victims(Token token, BodyCursor& cursor) {
    std::string_view text;
    switch (token) {
        case Token::kKey:
            if (!cursor.read_text(text)) return false;
            if (http::equal_without_case(text, "Pods")) {
                field_ = Field::kPods;
            } else if (http::equal_without_case(text, "NumPDBViolations")) {
                field_ = Field::kViolations;
            } else {
                cursor.scanner.skip_value();
            }
            return true;
        case Token::kArray:
            if (field_ != Field::kPods) break;
            at_ = At::kPods;
            return true;
        case Token::kNumber: {
            if (field_ != Field::kViolations) break;
            text = cursor.scanner.text();
            std::int64_t& into = victims_->back().pdb_violations;
            const char* const end = text.data() + text.size();
            const auto [to, error] = std::from_chars(text.data(), end, into);
            if (error != std::errc() || to != end) break;
            return true;
        }
        case Token::kNull:
        case Token::kSkipped:
            return true;
        case Token::kObjectEnd:
            at_ = At::kMap;
            return true;
        default:
            break;
    }
    return cursor.wrong_type(
        field_ == Field::kPods ? "Pods of a node's victims" : "NumPDBViolations"
    );
}

bool VictimsSection::in_pods(Token token, BodyCursor& cursor) {
    switch (token) {
        case Token::kObject:
            if (!full_) {
                at_ = At::kMetaPod;
                return true;
            }
            pod_from_ = cursor.position() - 1;
            cursor.scanner.skip_rest();
            return true;
        case Token::kSkipped: {
            Pod pod;
            if (!cursor.read_pod(*pod_from_, pod)) return false;
            pod_from_.reset();
            std::string uid = pod.meta.uid;
            victims_->back().pods.push_back(std::move(pod));
            return add_victim(cursor, std::move(uid));
        }
        case Token::kArrayEnd:
            at_ = At::kVictims;
            return true;
        default:
            return cursor.wrong_type("a victim");
    }
}

bool VictimsSection::in_meta_pod(Token token, BodyCursor& cursor) {
    std::string_view text;
    switch (token) {
        case Token::kKey:
            if (!cursor.read_text(text)) return false;
            if (!http::equal_without_case(text, "UID")) cursor.scanner.skip_value();
            return true;
        case Token::kString:
            return cursor.read_text(text) && add_victim(cursor, std::string(text));
        case Token::kNull:
        case Token::kSkipped:
            return true;
        case Token::kObjectEnd:
            at_ = At::kPods;
            return true;
        default:
            return cursor.wrong_type("the UID of a victim");
    }
}

}  // namespace egpu::k8s
