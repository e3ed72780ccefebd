// A tree of files that is only looked at: a host's, a driver container's, or one that was recorded
// on another node.
//
// Paths are absolute and mean "inside the tree": links, also absolute ones and "..", are resolved
// within it and never leave it, as after a chroot. Everything is bounded. What cannot be read is an
// Error with its code (kNotFound, kPermission, ...), never a guess. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace egpu {

enum class FileType { kRegular, kFolder, kLink, kChar, kBlock, kSocket, kFifo };

struct FileInfo {
    FileType type = FileType::kRegular;
    unsigned mode = 0;       // permission bits, as in 0644
    std::uint64_t size = 0;  // bytes, of a regular file
    unsigned major = 0;      // of a device node
    unsigned minor = 0;
    std::string target;  // of a link, as written in it

    bool operator==(const FileInfo&) const = default;
};

class FileView {
  public:
    virtual ~FileView() = default;

    // The path without links, "." and ".."; kNotFound when it does not exist, kInvalid when links
    // lead in a circle.
    Result<std::string> resolve(std::string_view path) const;
    // What `path` is once links are followed; look_at_link() tells of the link itself.
    Result<FileInfo> look(std::string_view path) const;
    Result<FileInfo> look_at_link(std::string_view path) const;
    bool exists(std::string_view path) const { return look(path).ok(); }
    // The names in a folder, sorted, without "." and "..".
    Result<std::vector<std::string>> list(std::string_view path) const;
    // The paths that match a pattern, with '*' as in a shell in any part; sorted, 4,096 at most.
    std::vector<std::string> matching(std::string_view pattern) const;
    // A regular file's content (also of /proc and /sys); kExhausted above `limit` bytes.
    Result<std::string> read(std::string_view path, std::size_t limit = 1U << 20) const;

  protected:
    // The tree itself. `path` is absolute and has no links but possibly the last component.
    virtual Result<FileInfo> entry(const std::string& path) const = 0;
    virtual Result<std::vector<std::string>> names(const std::string& path) const = 0;
    virtual Result<std::string> content(const std::string& path, std::size_t limit) const = 0;

  private:
    friend class SubView;
    Result<std::string> walk(std::string_view path, bool follow_last) const;
};

// The tree below a folder of this machine ("/" for all of it).
class HostView : public FileView {
  public:
    explicit HostView(std::filesystem::path root = "/");

  protected:
    Result<FileInfo> entry(const std::string& path) const override;
    Result<std::vector<std::string>> names(const std::string& path) const override;
    Result<std::string> content(const std::string& path, std::size_t limit) const override;

  private:
    std::string root_;  // without a slash at the end
};

// A tree read from a manifest (tools/record_node.py writes one). A line per entry, folders on the
// way are implied, '#' begins a comment:
//   dir PATH MODE | socket PATH MODE | fifo PATH MODE | link PATH TARGET
//   char PATH MODE MAJOR:MINOR | block PATH MODE MAJOR:MINOR
//   file PATH MODE SIZE
// A file's content, if recorded, follows as lines "| text" (each ends with a newline) or "=
// base64"; SIZE may then be "-". MODE is octal. In PATH and TARGET a space, '%' or control
// character is written %XX.
class RecordedView : public FileView {
  public:
    // kInvalid names the line.
    static Result<std::unique_ptr<RecordedView>> parse(std::string_view manifest);
    static Result<std::unique_ptr<RecordedView>> load(const std::filesystem::path& file);

  protected:
    Result<FileInfo> entry(const std::string& path) const override;
    Result<std::vector<std::string>> names(const std::string& path) const override;
    Result<std::string> content(const std::string& path, std::size_t limit) const override;

  private:
    struct Entry {
        FileInfo info;
        bool has_content = false;
        std::string content;
    };
    friend class ManifestReader;
    std::map<std::string, Entry> entries_;  // "/" is always there
};

// The tree below `folder` of another view: links stay inside the folder. `base` must outlive it.
class SubView : public FileView {
  public:
    SubView(const FileView& base, std::string_view folder);

  protected:
    Result<FileInfo> entry(const std::string& path) const override;
    Result<std::vector<std::string>> names(const std::string& path) const override;
    Result<std::string> content(const std::string& path, std::size_t limit) const override;

  private:
    const FileView& base_;
    Result<std::string> folder_;  // resolved, without a slash at the end
};

}  // namespace egpu
