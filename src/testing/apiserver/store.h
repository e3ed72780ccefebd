// The versioned object store behind the API server: what etcd and the watch cache do.
//
// One global revision; each write makes one event in a ring of limited length, so that the events
// after revision R are found by subtraction. Writers pass the version they read (compare and swap).
// Pages of a list are all of one revision: later writes are undone from the ring while reading.
// Knows no rules of any kind and no HTTP. Thread-safe; one mutex, never held across a predicate or
// a serialisation.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "testing/apiserver/object.h"

namespace egpu::testing {

enum class EventType { kAdded, kModified, kDeleted };

struct StoreEvent {
    std::uint64_t revision = 0;
    EventType type = EventType::kAdded;
    ObjectPtr object;    // for kDeleted: the last state, with the revision of the deletion
    ObjectPtr previous;  // nullptr for kAdded
};

enum class StoreError {
    kExists,
    kMissing,
    kChanged,  // `expected` is not the current version any more
};

class ObjectStore {
  public:
    ObjectStore(std::size_t kinds, std::size_t history);

    std::uint64_t revision() const;
    std::size_t count(const Resource& resource) const;

    ObjectPtr get(const Resource& resource, std::string_view key) const;

    struct Written {
        ObjectPtr object;  // nullptr on error
        StoreError error = StoreError::kExists;
    };
    Written create(const Resource& resource, json::value doc);
    // `expected` nullptr: replaces or creates, whatever is there.
    Written replace(const Resource& resource, json::value doc, const ObjectPtr& expected);
    Written erase(const Resource& resource, std::string_view key, const ObjectPtr& expected);

    struct Page {
        std::vector<ObjectPtr> items;  // in key order
        std::uint64_t revision = 0;    // of the whole list
        bool more = false;
        bool expired = false;  // the ring does not reach back to `at`
    };
    // Up to `most` objects whose key starts with `prefix` and is greater than `after`, as of
    // revision `at` (0: now).
    Page list(
        const Resource& resource,
        std::string_view prefix,
        std::string_view after,
        std::uint64_t at,
        std::size_t most
    ) const;

    // A watcher's place in the history.
    struct Cursor {
        std::uint64_t seen = 0;   // events after this revision are wanted
        std::uint64_t epoch = 0;  // from watch_epoch() at the start of the watch
    };
    enum class Wake { kEvents, kTimeout, kExpired, kBroken };
    struct Batch {
        Wake wake = Wake::kTimeout;
        std::vector<StoreEvent> events;
    };
    // Waits for events of one kind after `cursor.seen`, at most `most`, and moves the cursor over
    // what it looked at (other kinds' events as well, so that it is fit for a bookmark).
    Batch wait(const Resource& resource, Cursor& cursor, TimePoint deadline, std::size_t most)
        const;
    std::uint64_t watch_epoch() const;
    // Makes every waiting and later wait() with an older epoch return kBroken.
    void break_watches();
    // Drops the ring; also positions at the present become too old.
    void expire_history();

    // Waits until the revision is greater than `seen`. False at the deadline.
    bool wait_beyond(std::uint64_t seen, TimePoint deadline) const;

  private:
    struct Kind {
        std::map<std::string, ObjectPtr, std::less<>> objects;
        std::uint64_t oldest = 0;  // positions before this one are expired
        mutable std::condition_variable changed;
    };

    ObjectPtr commit(Kind& kind, EventType type, ObjectPtr object, ObjectPtr previous);

    std::size_t index_after(std::uint64_t revision) const;

    mutable std::mutex mutex_;
    std::vector<Kind> kinds_;
    std::deque<StoreEvent> history_;  // contiguous revisions, the newest is revision_
    std::size_t history_limit_;
    std::uint64_t revision_ = 1;
    std::uint64_t epoch_ = 0;
    mutable std::condition_variable any_change_;
};

}  // namespace egpu::testing
