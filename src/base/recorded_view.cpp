#include <charconv>
#include <optional>

#include "base/base64.h"
#include "base/file_view.h"
#include "base/files.h"

namespace egpu {
namespace {

constexpr std::size_t kMostManifest = 64U << 20;

std::vector<std::string_view> words_of(std::string_view line) {
    std::vector<std::string_view> words;
    while (!line.empty()) {
        const std::size_t end = std::min(line.find(' '), line.size());
        if (end > 0) words.push_back(line.substr(0, end));
        line.remove_prefix(std::min(end + 1, line.size()));
    }
    return words;
}

template <class Number>
std::optional<Number> number(std::string_view text, int base = 10) {
    Number value{};
    const auto end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, value, base);
    if (parsed.ec != std::errc{} || parsed.ptr != end) return std::nullopt;
    return value;
}

std::optional<std::string> unescaped(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += text[i];
            continue;
        }
        const auto code =
            i + 3 <= text.size() ? number<unsigned>(text.substr(i + 1, 2), 16) : std::nullopt;
        if (!code || *code == 0) return std::nullopt;
        out += static_cast<char>(*code);
        i += 2;
    }
    return out;
}

// An absolute path without "." and ".." and empty parts: what a recorder writes.
bool plain(std::string_view path) {
    if (!path.starts_with('/') || (path.size() > 1 && path.ends_with('/'))) return false;
    return (std::string(path) + "/").find("/./") == std::string::npos &&
           (std::string(path) + "/").find("/../") == std::string::npos &&
           path.find("//") == std::string_view::npos;
}

struct Kind {
    std::string_view word;
    FileType type;
    std::size_t words;
};
constexpr Kind kKinds[] = {
    {"dir", FileType::kFolder, 3},
    {"socket", FileType::kSocket, 3},
    {"fifo", FileType::kFifo, 3},
    {"link", FileType::kLink, 3},
    {"char", FileType::kChar, 4},
    {"block", FileType::kBlock, 4},
    {"file", FileType::kRegular, 4},
};

}  // namespace

class ManifestReader {
  public:
    Result<std::unique_ptr<RecordedView>> read(std::string_view text) {
        view_->entries_["/"].info = folder();
        for (int number = 1; !text.empty(); ++number) {
            const std::size_t end = std::min(text.find('\n'), text.size());
            const char* wrong = line(text.substr(0, end));
            if (wrong == nullptr && (end == text.size())) wrong = finish();
            if (wrong != nullptr) {
                return Error{
                    ErrorCode::kInvalid, "manifest line " + std::to_string(number) + ": " + wrong};
            }
            text.remove_prefix(std::min(end + 1, text.size()));
        }
        if (const char* wrong = finish()) return Error{ErrorCode::kInvalid, wrong};
        return std::move(view_);
    }

  private:
    static FileInfo folder() {
        FileInfo info;
        info.type = FileType::kFolder;
        info.mode = 0755;
        return info;
    }

    // nullptr, or what is wrong.
    const char* line(std::string_view text) {
        if (text.starts_with('|')) {
            if (open_ == nullptr) return "content without a file";
            text.remove_prefix(text.starts_with("| ") ? 2 : 1);
            open_->content.append(text).append("\n");
            open_->has_content = true;
            return nullptr;
        }
        if (text.starts_with("= ")) {
            if (open_ == nullptr) return "content without a file";
            const auto bytes = base64_decode(text.substr(2));
            if (!bytes) return "not base64";
            open_->content += *bytes;
            open_->has_content = true;
            return nullptr;
        }
        if (const char* wrong = finish()) return wrong;
        const auto words = words_of(text);
        if (words.empty() || words[0].starts_with('#')) return nullptr;
        for (const Kind& kind : kKinds) {
            if (kind.word == words[0]) {
                return words.size() == kind.words ? entry(kind.type, words)
                                                  : "wrong number of words";
            }
        }
        return "unknown kind of entry";
    }

    const char* entry(FileType type, const std::vector<std::string_view>& words) {
        const auto path = unescaped(words[1]);
        if (!path || !plain(*path)) return "not a plain absolute path";
        RecordedView::Entry made;
        made.info.type = type;
        if (type == FileType::kLink) {
            const auto target = unescaped(words[2]);
            if (!target || target->empty()) return "a link without target";
            made.info.mode = 0777;
            made.info.target = *target;
        } else {
            const auto mode = number<unsigned>(words[2], 8);
            if (!mode || *mode > 07777) return "the mode is not octal";
            made.info.mode = *mode;
        }
        if (type == FileType::kChar || type == FileType::kBlock) {
            const std::size_t colon = words[3].find(':');
            if (colon == std::string_view::npos) return "no MAJOR:MINOR";
            const auto major = number<unsigned>(words[3].substr(0, colon));
            const auto minor = number<unsigned>(words[3].substr(colon + 1));
            if (!major || !minor) return "no MAJOR:MINOR";
            made.info.major = *major;
            made.info.minor = *minor;
        }
        if (type == FileType::kRegular && words[3] != "-") {
            const auto size = number<std::uint64_t>(words[3]);
            if (!size) return "the size is not a number";
            made.info.size = *size;
        }
        for (std::size_t slash = path->find('/', 1); slash != std::string::npos;
             slash = path->find('/', slash + 1)) {
            const auto [parent, added] = view_->entries_.try_emplace(path->substr(0, slash));
            if (added) parent->second.info = folder();
            if (parent->second.info.type != FileType::kFolder)
                return "lies below what is no folder";
        }
        auto [at, added] = view_->entries_.try_emplace(*path);
        if (!added && !(type == FileType::kFolder && at->second.info.type == type)) {
            return "named twice";
        }
        at->second = std::move(made);
        if (type == FileType::kRegular) {
            open_ = &at->second;
            size_from_content_ = words[3] == "-";
        }
        return nullptr;
    }

    const char* finish() {
        if (open_ == nullptr) return nullptr;
        if (size_from_content_) open_->info.size = open_->content.size();
        const bool bad = size_from_content_ && !open_->has_content;
        open_ = nullptr;
        return bad ? "a file of size \"-\" without content" : nullptr;
    }

    std::unique_ptr<RecordedView> view_ = std::make_unique<RecordedView>();
    RecordedView::Entry* open_ = nullptr;  // the file whose content may follow
    bool size_from_content_ = false;
};

Result<std::unique_ptr<RecordedView>> RecordedView::parse(std::string_view manifest) {
    return ManifestReader().read(manifest);
}

Result<std::unique_ptr<RecordedView>> RecordedView::load(const std::filesystem::path& file) {
    EG_TRY(const std::string text, read_file(file, kMostManifest));
    auto view = parse(text);
    if (!view) return view.error().wrap(file.string());
    return view;
}

Result<FileInfo> RecordedView::entry(const std::string& path) const {
    const auto found = entries_.find(path);
    if (found == entries_.end()) return Error{ErrorCode::kNotFound, path + ": no such file"};
    return found->second.info;
}

Result<std::vector<std::string>> RecordedView::names(const std::string& path) const {
    const std::string prefix = path == "/" ? path : path + "/";
    std::vector<std::string> names;
    for (auto at = entries_.upper_bound(prefix);
         at != entries_.end() && at->first.starts_with(prefix);
         ++at) {
        const std::string name = at->first.substr(prefix.size());
        if (name.find('/') == std::string::npos) names.push_back(name);
    }
    return names;
}

Result<std::string> RecordedView::content(const std::string& path, std::size_t limit) const {
    const auto found = entries_.find(path);
    if (found == entries_.end()) return Error{ErrorCode::kNotFound, path + ": no such file"};
    const Entry& entry = found->second;
    if (!entry.has_content && entry.info.size > 0) {
        return Error{ErrorCode::kUnavailable, path + ": its content was not recorded"};
    }
    if (entry.content.size() > limit) {
        return Error{
            ErrorCode::kExhausted,
            path + ": larger than the limit of " + std::to_string(limit) + " bytes"};
    }
    return entry.content;
}

}  // namespace egpu
