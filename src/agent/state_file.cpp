#include "agent/state_file.h"

#include <cerrno>

#include <unistd.h>

#include "base/files.h"
#include "base/log.h"

namespace egpu::agent {
namespace {

constexpr std::size_t kMaxBytes = 64U << 20;

std::filesystem::path with_suffix(const std::filesystem::path& path, const char* suffix) {
    return path.string() + suffix;
}

Result<NodeState> read_state_file(const std::filesystem::path& path) {
    EG_TRY(const std::string text, read_file(path, kMaxBytes));
    return decode_state(text);
}

}  // namespace

StateFile::StateFile(const std::filesystem::path& folder) : path_(folder / "agent-state.json") {}

std::filesystem::path StateFile::previous_path() const {
    return with_suffix(path_, ".previous");
}

std::filesystem::path StateFile::corrupt_path() const {
    return with_suffix(path_, ".corrupt");
}

Result<LoadedState> StateFile::load() {
    const std::lock_guard lock(mutex_);
    EG_TRY_VOID(make_directories(path_.parent_path(), 0700));
    LoadedState loaded;
    auto current = read_state_file(path_);
    if (current) {
        loaded.state = std::move(*current);
        loaded.source = StateSource::kCurrent;
        return loaded;
    }
    const bool missing = current.error().code == ErrorCode::kNotFound;
    // Whatever is wrong with it, the kubelet's books are there; but a file that may not be read
    // means that the agent runs as somebody else than before.
    if (!missing && current.error().code != ErrorCode::kPermission) {
        std::error_code ignored;
        std::filesystem::rename(path_, corrupt_path(), ignored);
        loaded.note = path_.string() + ": " + current.error().message + "; moved to " +
                      corrupt_path().string();
    } else if (!missing) {
        return std::move(current).error();
    }
    auto previous = read_state_file(previous_path());
    if (previous) {
        loaded.state = std::move(*previous);
        loaded.source = StateSource::kPrevious;
        if (loaded.note.empty())
            loaded.note = path_.string() + " is missing, the previous one is there";
        return loaded;
    }
    if (missing && previous.error().code == ErrorCode::kNotFound) return loaded;
    loaded.source = StateSource::kLost;
    if (loaded.note.empty())
        loaded.note = previous_path().string() + ": " + previous.error().message;
    return loaded;
}

Status StateFile::save(std::uint64_t sequence, const NodeState& state) {
    const std::string text = encode_state(state);
    const std::lock_guard lock(mutex_);
    if (sequence <= saved_) return ok_status();
    // The current file stays in place until the new one replaces it; `previous` becomes a second
    // name for it. Where the file system has no hard links there is no previous file, and one good
    // file still.
    const std::string previous = previous_path().string();
    ::unlink(previous.c_str());
    if (::link(path_.c_str(), previous.c_str()) != 0 && errno != ENOENT) {
        log::debug("the previous state cannot be kept", {{"file", previous}});
    }
    EG_TRY_VOID(write_file_atomically(path_, text));
    saved_ = sequence;
    return ok_status();
}

}  // namespace egpu::agent
