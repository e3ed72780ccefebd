// Reflector: keeps a caller's view of one resource equal to the API server's, by list and watch.
//
// Copes with bookmarks, 410 at start or in the stream (relist and
// diff), watches that end at once (lite-apiserver offline: back off), duplicate and stale events.
// Nothing is deleted on the evidence of a failed or partial list. It keeps key, UID and a hash of
// the resource version per object, not the objects. Own thread; callbacks run on it, one at a time.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/json.h"
#include "base/stop.h"
#include "k8s/client.h"

namespace egpu::k8s {

struct ReflectorOptions {
    std::string path = {};            // collection: "/api/v1/pods", "/api/v1/nodes"
    std::string field_selector = {};  // "spec.nodeName=n1", not escaped
    std::string label_selector = {};
    std::string user_agent =
        {};  // "": the client's. One per list shape: it is the edge cache's key
    // Pages of 500, consistent reads. Off for edge nodes (lite-apiserver keeps the last page only):
    // then one list, served from the API server's cache.
    bool paginate = true;
    // An object missing from a list is deleted only when a GET of it answers a real NotFound. For
    // edge nodes, where a list may come from a stale or truncated cache.
    bool confirm_deletes = false;
    // Client-side filter, because caches at the edge ignore selectors; objects that fail it are
    // treated as absent.
    std::function<bool(const json::value&)> accept = {};

    Duration list_timeout = Seconds(60);
    Duration watch_timeout_least = Seconds(300);  // drawn between the two
    Duration watch_timeout_most = Seconds(600);
    Duration backoff_first = Millis(800);
    Duration backoff_most = Seconds(30);
    Duration short_watch = Seconds(1);  // a watch that ends sooner without any event is a failure
};

struct ReflectorCallbacks {
    // New or changed. Also called for equal objects when the server sends no resource version.
    std::function<void(const json::value& object)> on_upsert = {};
    // `last` is the object of the DELETED event, nullptr when the deletion was found by a list.
    // An object that was replaced by one of the same name is deleted (old UID), then upserted.
    std::function<void(std::string_view key, std::string_view uid, const json::value* last)>
        on_delete = {};
    // After each complete list; the first time, the view is whole.
    std::function<void()> on_synced = {};
};

class Reflector {
  public:
    Reflector(Client client, ReflectorOptions options, ReflectorCallbacks callbacks);
    ~Reflector();  // stop()
    Reflector(const Reflector&) = delete;
    Reflector& operator=(const Reflector&) = delete;

    void start();
    void stop();  // returns when the thread has ended; no callback afterwards. Idempotent

    bool synced() const;  // at least one complete list
    // A watch is open and has proved itself (an event, a bookmark, or one second of life).
    bool watching() const;
    // When the cloud last proved to be there, by the rule of watching(). A list alone proves
    // nothing: it may come from an edge cache.
    std::optional<TimePoint> last_contact() const;
    std::size_t size() const;        // objects known
    std::string last_error() const;  // "" while all is well

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace egpu::k8s
