#include "base/file_view.h"

#include <algorithm>

#include <fnmatch.h>

namespace egpu {
namespace {

constexpr int kMostLinks = 40;  // as the kernel
constexpr std::size_t kMostMatches = 4096;

void push_parts(std::string_view path, std::vector<std::string>& reversed) {
    std::vector<std::string> parts;
    while (!path.empty()) {
        const std::size_t end = std::min(path.find('/'), path.size());
        if (end > 0) parts.emplace_back(path.substr(0, end));
        path.remove_prefix(std::min(end + 1, path.size()));
    }
    reversed.insert(reversed.end(), parts.rbegin(), parts.rend());
}

Error not_a_folder(std::string_view path) {
    return Error{ErrorCode::kNotFound, std::string(path) + ": not a folder"};
}

}  // namespace

Result<std::string> FileView::walk(std::string_view path, bool follow_last) const {
    if (!path.starts_with('/')) {
        return Error{ErrorCode::kInvalid, "\"" + std::string(path) + "\" is not an absolute path"};
    }
    std::vector<std::string> todo;  // last is next
    push_parts(path, todo);
    std::string done;  // "" is the root
    int links = 0;
    while (!todo.empty()) {
        const std::string part = std::move(todo.back());
        todo.pop_back();
        if (part == ".") continue;
        if (part == "..") {
            done.erase(std::min(done.rfind('/'), done.size()));
            continue;
        }
        const std::string next = done + "/" + part;
        EG_TRY(const FileInfo info, entry(next));
        if (info.type == FileType::kLink && (follow_last || !todo.empty())) {
            if (++links > kMostLinks) {
                return Error{ErrorCode::kInvalid, std::string(path) + ": too many links"};
            }
            if (info.target.starts_with('/')) done.clear();
            push_parts(info.target, todo);
            continue;
        }
        if (!todo.empty() && info.type != FileType::kFolder) return not_a_folder(next);
        done = next;
    }
    return done.empty() ? "/" : done;
}

Result<std::string> FileView::resolve(std::string_view path) const {
    return walk(path, true);
}

Result<FileInfo> FileView::look(std::string_view path) const {
    EG_TRY(const std::string real, walk(path, true));
    return entry(real);
}

Result<FileInfo> FileView::look_at_link(std::string_view path) const {
    EG_TRY(const std::string real, walk(path, false));
    return entry(real);
}

Result<std::vector<std::string>> FileView::list(std::string_view path) const {
    EG_TRY(const std::string real, walk(path, true));
    EG_TRY(const FileInfo info, entry(real));
    if (info.type != FileType::kFolder) return not_a_folder(path);
    EG_TRY(auto found, names(real));
    std::sort(found.begin(), found.end());
    return found;
}

std::vector<std::string> FileView::matching(std::string_view pattern) const {
    std::vector<std::string> parts;
    push_parts(pattern, parts);
    std::vector<std::string> found{""};
    while (!parts.empty()) {
        const std::string part = std::move(parts.back());
        parts.pop_back();
        std::vector<std::string> next;
        for (const std::string& folder : found) {
            if (part.find('*') == std::string::npos) {
                if (look_at_link(folder + "/" + part)) next.push_back(folder + "/" + part);
                continue;
            }
            const auto listed = list(folder.empty() ? "/" : folder);
            if (!listed) continue;
            for (const std::string& name : *listed) {
                if (next.size() == kMostMatches) return next;
                if (::fnmatch(part.c_str(), name.c_str(), FNM_PERIOD) == 0) {
                    next.push_back(folder + "/" + name);
                }
            }
        }
        found = std::move(next);
    }
    return found;
}

Result<std::string> FileView::read(std::string_view path, std::size_t limit) const {
    EG_TRY(const std::string real, walk(path, true));
    EG_TRY(const FileInfo info, entry(real));
    if (info.type != FileType::kRegular) {
        return Error{ErrorCode::kInvalid, std::string(path) + ": not a regular file"};
    }
    return content(real, limit);
}

SubView::SubView(const FileView& base, std::string_view folder)
    : base_(base), folder_(base.resolve(folder)) {
    if (folder_ && *folder_ == "/") folder_->clear();
}

Result<FileInfo> SubView::entry(const std::string& path) const {
    if (!folder_) return folder_.error();
    return base_.entry(path == "/" && !folder_->empty() ? *folder_ : *folder_ + path);
}

Result<std::vector<std::string>> SubView::names(const std::string& path) const {
    if (!folder_) return folder_.error();
    return base_.names(path == "/" && !folder_->empty() ? *folder_ : *folder_ + path);
}

Result<std::string> SubView::content(const std::string& path, std::size_t limit) const {
    if (!folder_) return folder_.error();
    return base_.content(*folder_ + path, limit);
}

}  // namespace egpu
