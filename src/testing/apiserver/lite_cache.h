// What SuperEdge's lite-apiserver keeps on an edge node, with its peculiarities: the key is the
// User-Agent up to the first blank, namespace, resource and name, never the query; a list is
// overwritten by the next one of the same key, whatever its selector or page; watch events change
// the cached list, where ADDED appends without looking for duplicates; single objects are never
// invalidated. Facts: reference of lite-apiserver's cache manager. Thread-safe.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "testing/apiserver/rest.h"

namespace egpu::testing {

class LiteCache {
  public:
    void remember(std::string_view user_agent, const Target& target, const ReadResult& read);
    // An event that a watch of this client delivered.
    void apply(
        std::string_view user_agent, const Target& target, EventType type, const ObjectPtr& object
    );
    // The answer to a GET without the cloud; nothing when it was never seen.
    std::optional<RestAnswer> answer(std::string_view user_agent, const Target& target) const;

  private:
    // A list may be long and its watch busy: an event finds its objects by UID.
    struct Entry {
        ObjectPtr object;                // a get
        std::optional<ListResult> list;  // items that were deleted are nullptr
        std::unordered_multimap<std::string, std::size_t> places;  // in the list, by UID
        std::size_t deleted = 0;

        void drop_deleted();
    };

    mutable std::mutex mutex_;
    std::map<std::string, Entry> entries_;
};

}  // namespace egpu::testing
