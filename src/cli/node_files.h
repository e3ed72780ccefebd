// The files of a node below a root folder ("/" on the node itself, else an image or a test),
// changed so that a second run changes nothing. Says what it does, or with a dry run would do.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace egpu::cli {

using Say = std::function<void(const std::string& line)>;

class NodeFiles {
  public:
    NodeFiles(std::filesystem::path root, bool dry_run, Say say);

    bool dry_run() const { return dry_run_; }
    const std::filesystem::path& root() const { return root_; }
    void say(const std::string& line) const { say_(line); }

    // All paths are those on the node ("/etc/edge-gpu/agent.conf"). kInvalid for one whose folder
    // leads out of the root by a symbolic link.
    Result<std::filesystem::path> on_disk(const std::filesystem::path& path) const;
    // nullopt when there is none. A symbolic link is not followed and is no file.
    Result<std::optional<std::string>> read(const std::filesystem::path& path) const;
    unsigned mode_of(const std::filesystem::path& path, unsigned otherwise) const;
    bool exists(const std::filesystem::path& path) const;  // a dangling link does

    // True when something changed (or would have). Each replaces atomically.
    Result<bool> write(const std::filesystem::path& path, std::string_view content, unsigned mode);
    Result<bool> link(const std::filesystem::path& path, const std::filesystem::path& target);
    // A file or a link. No error when it is gone already.
    Result<bool> remove(const std::filesystem::path& path);
    // No error when it is not empty, or gone already.
    Status remove_if_empty(const std::filesystem::path& folder);
    Status remove_tree(const std::filesystem::path& folder);

  private:
    void report(const char* would, const char* did, const std::filesystem::path& path) const;

    std::filesystem::path root_;
    bool dry_run_;
    Say say_;
};

// The folders above `file` that are install's own (is_own_folder) and empty now.
Status remove_own_folders(const std::filesystem::path& file, NodeFiles& files);

}  // namespace egpu::cli
