#include "cli/document.h"

#include <algorithm>
#include <exception>

#include <yaml-cpp/yaml.h>

#include "flags/values.h"

namespace egpu::cli {
namespace {

constexpr int kMaxDepth = 64;
constexpr int kMaxNodes = 50'000;

Error refused(int line, std::string why) {
    for (char& c : why) {
        if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = '?';  // the file's own text
    }
    return Error{
        ErrorCode::kInvalid, (line > 0 ? "line " + std::to_string(line) + ": " : "") + why};
}

class Reader {
  public:
    Result<Node> read(const YAML::Node& from, int depth) {
        Node out;
        out.line = from.Mark().line + 1;
        if (depth > kMaxDepth) {
            return refused(out.line, "nested deeper than " + std::to_string(kMaxDepth) + " levels");
        }
        if (++nodes_ > kMaxNodes) {
            return refused(out.line, "more than " + std::to_string(kMaxNodes) + " values");
        }
        if (from.IsScalar()) {
            out.kind = Node::Kind::kScalar;
            out.text = from.Scalar();
            out.quoted = from.Tag() == "!";  // what yaml-cpp tags a quoted or block scalar with
        } else if (from.IsSequence()) {
            out.kind = Node::Kind::kList;
            for (const YAML::Node& item : from) {
                EG_TRY(Node read_item, read(item, depth + 1));
                out.items.push_back(std::move(read_item));
            }
        } else if (from.IsMap()) {
            out.kind = Node::Kind::kMap;
            for (const auto& pair : from) {
                EG_TRY(Entry entry, read_entry(pair.first, pair.second, depth));
                out.entries.push_back(std::move(entry));
            }
        }
        return out;
    }

  private:
    Result<Entry> read_entry(const YAML::Node& key, const YAML::Node& value, int depth) {
        const int line = key.Mark().line + 1;
        if (!key.IsScalar()) return refused(line, "a key is not text");
        if (key.Scalar() == "<<" && key.Tag() != "!") {
            return refused(line, "merge keys (<<) are not followed; write the values out");
        }
        Entry entry;
        entry.key = key.Scalar();
        entry.line = line;
        EG_TRY(entry.value, read(value, depth + 1));
        return entry;
    }

    int nodes_ = 0;
};

// Is there a further document with content? A line of "---" in the first column always starts one.
bool more_documents(std::string_view text) {
    bool content = false;
    bool second = false;
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        const bool mark = line.starts_with("---") && line.find_first_not_of(" \t\r", 3) != 3;
        const std::size_t first = line.find_first_not_of(mark ? "- \t\r" : " \t\r");
        const bool empty =
            first == std::string_view::npos || line[first] == '#' || line.starts_with("...");
        second = second || (mark && content);
        if (second && !empty) return true;
        content = content || !empty;
    }
    return false;
}

}  // namespace

const Node* Node::find(std::string_view key) const {
    for (const Entry& entry : entries) {
        if (entry.key == key && !entry.value.is_null()) return &entry.value;
    }
    return nullptr;
}

std::optional<std::int64_t> Node::as_integer() const {
    if (kind != Kind::kScalar || quoted) return std::nullopt;
    std::string_view digits = text;
    if (digits.starts_with('+')) digits.remove_prefix(1);
    return flags::to_number<std::int64_t>(digits);
}

std::optional<bool> Node::as_bool() const {
    if (kind != Kind::kScalar || quoted) return std::nullopt;
    // The words of YAML 1.1, which kube-scheduler's reader knows.
    for (const char* word : {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"}) {
        if (text == word) return true;
    }
    for (const char* word : {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"}) {
        if (text == word) return false;
    }
    return std::nullopt;
}

std::optional<std::string> Node::as_text() const {
    if (kind != Kind::kScalar) return std::nullopt;
    if (!quoted && (as_integer() || as_bool())) return std::nullopt;
    return text;
}

Result<Document> read_document(const std::string& text) {
    try {
        Document out;
        // Not LoadAll: on some damaged texts yaml-cpp 0.7 finds documents without end.
        const YAML::Node root = YAML::Load(text);
        EG_TRY(out.root, Reader().read(root, 0));
        out.more_follow = more_documents(text);
        return out;
    } catch (const YAML::Exception& error) {
        return refused(error.mark.line + 1, error.msg);
    } catch (const std::exception& error) {
        return refused(0, error.what());
    }
}

}  // namespace egpu::cli
