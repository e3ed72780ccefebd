#include "k8s/extender_body.h"

#include <algorithm>

#include "http/message.h"

namespace egpu::k8s {

using Token = JsonScanner::Token;

namespace {

// The longest key or string that is waited for, escapes included.
constexpr std::size_t kMaxWritten = 6 * BodyCursor::kMaxText;

}  // namespace

struct ExtenderBody::FieldName {
    std::string_view name;
    Field field;
};
const ExtenderBody::FieldName ExtenderBody::kFields[] = {
    {"Pod", Field::kPod},
    {"Nodes", Field::kNodes},
    {"NodeNames", Field::kNodeNames},
    {"NodeNameToVictims", Field::kVictims},
    {"NodeNameToMetaVictims", Field::kMetaVictims},
    {"PodName", Field::kPodName},
    {"PodNamespace", Field::kPodNamespace},
    {"PodUID", Field::kPodUid},
    {"Node", Field::kNode},
};

void ExtenderBody::reset() {
    cursor.window.clear();
    cursor.scanner = {};
    cursor.error.reset();
    nodes.clear();
    args.pod.reset();
    args.names_mode = true;
    args.nodes.clear();
    args.known_runs.clear();
    args.node_texts.clear();
    binding = {};
    preemption = {};
    saw_nodes = saw_names = saw_victims = false;
    scanned_ = 0;
    section_ = Section::kRoot;
    field_ = Field::kUnknown;
    pod_from_.reset();
    victims_.clear();
}

bool ExtenderBody::advance() {
    cursor.at = cursor.window.at(scanned_);
    if (!run()) return false;
    scanned_ = cursor.position();
    cursor.window.keep_from(needed_from());
    return true;
}

bool ExtenderBody::run() {
    for (;;) {
        if (section_ == Section::kNames) {
            names_.pass_expected(cursor, limits.max_nodes);
            names_.pass_plain(cursor, limits.max_nodes);
        }
        const Token token = cursor.scanner.next(cursor.at, cursor.window.end());
        switch (token) {
            case Token::kBad:
                return cursor.refuse(
                    ErrorCode::kInvalid,
                    "the body is not valid JSON near byte " + std::to_string(cursor.position()) +
                        ": " + cursor.scanner.problem()
                );
            case Token::kMore:
                return check_waiting();
            case Token::kEnd:
                return !limits.keep_nodes || nodes.check_size(cursor);
            default:
                if (!take(token)) return false;
        }
    }
}

// What has arrived is read up to a token that is not complete: is too much being kept?
bool ExtenderBody::check_waiting() {
    if (static_cast<std::size_t>(cursor.window.end() - cursor.at) > kMaxWritten) {
        return cursor.refuse(ErrorCode::kInvalid, "a key, name or UID is too long");
    }
    const auto pod = pod_from_ ? pod_from_ : victims_.pod_from();
    if (pod && cursor.position() - *pod > BodyCursor::kMaxPod) {
        return cursor.refuse(ErrorCode::kExhausted, "a pod is too large");
    }
    return !limits.keep_nodes || nodes.check_size(cursor);
}

std::uint64_t ExtenderBody::needed_from() const {
    std::uint64_t from = scanned_;
    if (pod_from_) from = std::min(from, *pod_from_);
    if (victims_.pod_from()) from = std::min(from, *victims_.pod_from());
    if (limits.keep_nodes && nodes.first()) from = std::min(from, *nodes.first());
    return from;
}

bool ExtenderBody::take(Token token) {
    bool left = false;
    bool good = true;
    switch (section_) {
        case Section::kRoot:
            if (token != Token::kObject) return cursor.wrong_type("the body");
            left = true;
            break;
        case Section::kTop:
            return in_top(token);
        case Section::kPod:  // it was skipped, and is complete
            good = finish_pod();
            left = true;
            break;
        case Section::kNodes:
            good = nodes.take(token, cursor, args.nodes, left);
            break;
        case Section::kNames:
            good = names_.take(token, cursor, limits.max_nodes, left);
            break;
        case Section::kVictims:
            good = victims_.take(token, cursor, left);
            break;
    }
    if (left) section_ = Section::kTop;
    return good;
}

bool ExtenderBody::finish_pod() {
    const std::uint64_t from = *pod_from_;
    pod_from_.reset();
    return cursor.read_pod(from, args.pod.emplace());
}

bool ExtenderBody::in_top(Token token) {
    switch (token) {
        case Token::kKey:
            return read_key();
        case Token::kObjectEnd:
        case Token::kSkipped:
        case Token::kNull:  // as when the field is missing
            return true;
        default:
            return begin_value(token);
    }
}

bool ExtenderBody::read_key() {
    std::string_view name;
    if (!cursor.read_text(name)) return false;
    field_ = Field::kUnknown;
    for (const FieldName& known : kFields) {
        if (http::equal_without_case(name, known.name)) field_ = known.field;
    }
    if (field_ == Field::kUnknown) cursor.scanner.skip_value();
    return true;
}

bool ExtenderBody::begin_value(Token token) {
    switch (field_) {
        case Field::kPod:
            if (token != Token::kObject) return cursor.wrong_type("Pod");
            section_ = Section::kPod;
            pod_from_ = cursor.position() - 1;
            cursor.scanner.skip_rest();
            return true;
        case Field::kNodes:
            if (token != Token::kObject) return cursor.wrong_type("Nodes");
            return begin_nodes();
        case Field::kNodeNames:
            if (token != Token::kArray) return cursor.wrong_type("NodeNames");
            section_ = Section::kNames;
            saw_names = true;
            names_.begin(expected.get(), args.nodes, args.known_runs);
            nodes.clear();
            return true;
        case Field::kVictims:
        case Field::kMetaVictims:
            if (token != Token::kObject) return cursor.wrong_type("NodeNameToVictims");
            section_ = Section::kVictims;
            saw_victims = true;
            victims_.begin(field_ == Field::kVictims, limits.max_nodes, preemption.nodes);
            return true;
        default:
            return binding_field(token);
    }
}

// Both Nodes and NodeNames only in hand-made bodies: names win, as they do for a cache-capable
// extender.
bool ExtenderBody::begin_nodes() {
    if (saw_names) {
        cursor.scanner.skip_rest();
        return true;
    }
    section_ = Section::kNodes;
    saw_nodes = true;
    args.nodes.clear();
    nodes.begin(limits.max_nodes, limits.max_raw);
    return true;
}

bool ExtenderBody::binding_field(Token token) {
    if (token != Token::kString) return cursor.wrong_type("a field of the body");
    std::string_view text;
    if (!cursor.read_text(text)) return false;
    switch (field_) {
        case Field::kPodName:
            binding.pod_name = text;
            break;
        case Field::kPodNamespace:
            binding.pod_namespace = text;
            break;
        case Field::kPodUid:
            binding.pod_uid = text;
            break;
        default:
            binding.node = text;
    }
    return true;
}

}  // namespace egpu::k8s
