// The agent's durable memory: what the kubelet's device IDs cannot say (tokens, real cards of
// overrides, memory caps) and the cards of the last run. One checksummed, versioned JSON file,
// replaced atomically, the previous one kept.
//
// It can be lost: everything is rebuilt from the kubelet's checkpoint, pod-resources and
// annotations. A file that fails its check is moved aside, never deleted. StateFile is thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "agent/record.h"
#include "base/result.h"
#include "core/card.h"

namespace egpu::agent {

struct NodeState {
    std::vector<core::Card> cards;
    std::vector<Record> records;

    bool operator==(const NodeState&) const = default;
};

// Two lines: a header {"format","version","bytes","checksum"} and the payload it is about.
std::string encode_state(const NodeState& state);
// The header line for `payload`, and the payload.
std::string seal_state(std::string_view payload);
// kCorrupt with the reason; also for a later version, and for content that could not have been
// written by us.
Result<NodeState> decode_state(std::string_view text);

enum class StateSource {
    kNone,      // first start
    kCurrent,   // all is known
    kPrevious,  // the last write is missing: the kubelet's books have to be compared
    kLost,      // there was a state, none is readable: rebuild
};

struct LoadedState {
    NodeState state;
    StateSource source = StateSource::kNone;
    std::string note;  // what went wrong, "" when nothing did
};

class StateFile {
  public:
    explicit StateFile(const std::filesystem::path& folder);

    // Makes the folder. An error only when the folder cannot be used at all.
    Result<LoadedState> load();

    // Durable when it returns. `sequence` grows with the states' age under the owner's lock:
    // callers save outside of that lock, so an older state may come after a newer one, which
    // contains it, and is then skipped.
    Status save(std::uint64_t sequence, const NodeState& state);

    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path previous_path() const;
    std::filesystem::path corrupt_path() const;

  private:
    const std::filesystem::path path_;
    std::mutex mutex_;  // held while writing: writers queue here, nobody else does
    std::uint64_t saved_ = 0;
};

}  // namespace egpu::agent
