// The keys of one map of a scheduler configuration, checked against what kube-scheduler knows: a
// table says names and types; unknown, repeated and wrongly typed keys become findings. What is
// left is read by name. Pure; thread-compatible.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "cli/document.h"
#include "cli/finding.h"

namespace egpu::cli {

enum class KeyType { kText, kInteger, kNumber, kBool, kDuration, kList, kMap, kAny };

struct Key {
    std::string_view name;
    KeyType type;
};

// How kube-scheduler treats a key it does not know.
enum class Strictness {
    kRefuses,         // the whole file is refused (KubeSchedulerConfiguration)
    kIgnoresAnyCase,  // ignored; known keys are taken in any case (an extender in a Policy)
};

class Fields {
  public:
    // `map` must outlive this. `path` is where it is ("extenders[0]"; "" for the file). An unknown
    // key that was probably meant to be a known one (a typing mistake) is reported, and then read
    // as the known one, so that the mistake is not reported twice.
    Fields(
        const Node& map,
        std::span<const Key> keys,
        std::string path,
        Strictness strictness,
        Findings& findings
    );

    bool has(std::string_view name) const;
    // nullptr or nothing when it is absent, null, or of the wrong type (which has been reported).
    const Node* node(std::string_view name) const;
    std::optional<std::string> text(std::string_view name) const;
    std::optional<std::int64_t> integer(std::string_view name) const;
    bool flag(std::string_view name) const;  // absent is false

    std::string path(std::string_view name) const;  // "extenders[0].weight"
    int line(std::string_view name) const;          // the key's, else the map's

  private:
    struct Found {
        const Entry* entry;
        bool usable;
    };
    void take(const Entry& entry, std::span<const Key> keys, Strictness, Findings& findings);
    void keep(const Entry& entry, const Key& key, Strictness, Findings& findings);

    const Node& map_;
    std::string path_;
    std::map<std::string, Found, std::less<>> nodes_;
};

std::string join_path(std::string_view parent, std::string_view key);
std::string index_path(std::string_view list, std::size_t index);

// `text` of the file for a message: quoted, cut after 80 bytes, control characters escaped.
std::string shown(std::string_view text);

}  // namespace egpu::cli
