// What a test can make the embedded API server do wrong, and what it can count afterwards.
//
// Faults apply to requests that arrive over HTTP, never to the C++ calls of ApiServer. Rules are
// looked at in the order they were added; the first one that still has uses left and matches is
// used up by one. Paths are matched without the query, e.g.
// "/api/v1/namespaces/default/pods/p/binding", with std::regex_search. Thread-safe. Also reachable
// over HTTP: see control.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace egpu::testing {

enum class FaultAction {
    kStatus,            // answer `status` with a Status body; the request is not carried out
    kDropBefore,        // close the connection without doing anything
    kDropAfterCommit,   // carry the request out, then close the connection without an answer
    kStallAfterCommit,  // carry it out, then stay silent for `delay`, then close
    kDelay,             // wait `delay`, then go on as usual
};

struct FaultRule {
    FaultAction action = FaultAction::kStatus;
    std::string method;                // "" any; "GET", "POST", ... ; "WATCH" for watches only
    std::string path = ".*";           // std::regex, searched in the path
    int count = 1;                     // uses left; -1: until clear()
    int status = 500;                  // kStatus
    std::string message;               // kStatus: "" gives a text that names the injected fault
    std::optional<int> retry_after_s;  // kStatus: the Retry-After header (429, 503)
    Duration delay{};                  // kDelay, kStallAfterCommit
};

enum class ServerMode {
    kOnline,
    kRefused,      // the port is closed: connection refused, open connections are cut
    kLiteOffline,  // SuperEdge's lite-apiserver without its cloud: cached 200 for GETs seen before
                   // (keyed by the User-Agent's first word, namespace, resource and name; the query
                   // is not part of the key), plain-text 404 for others, watches end at once,
                   // writes get 503
};

// One request as it arrived, for assertions.
struct RequestRecord {
    std::string method;  // "WATCH" for watches
    std::string path;
    std::string query;  // as sent, without '?'
    std::string user_agent;
    int status = 0;  // 0: dropped by a fault
};

class Faults {
  public:
    Faults();
    ~Faults();
    Faults(const Faults&) = delete;
    Faults& operator=(const Faults&) = delete;

    // kInvalid when the path is not a regular expression.
    Status add(FaultRule rule);
    // Shorthands; a path that is not a regular expression is a broken test and aborts.
    void fail_next(
        int count,
        std::string_view method,
        std::string_view path,
        int status,
        std::optional<int> retry_after_s = {}
    );
    void drop_after_commit(int count, std::string_view method, std::string_view path);
    void drop_before(int count, std::string_view method, std::string_view path);
    // Added to every request from now on; zero turns it off.
    void set_latency(Duration latency);
    // Forgets all rules and the latency, and goes back online.
    Status clear();

    // Ends every open watch at once, as a restarted API server does (the stream just breaks off).
    void break_watches();
    // Forgets all history: watches and pages from older resourceVersions get 410 Expired, and open
    // watches get an in-stream ERROR 410.
    void expire_history();
    // kUnavailable when the port could not be opened again on the way back from kRefused.
    Status set_mode(ServerMode mode);
    ServerMode mode() const;

    // Requests so far that match; method as in FaultRule. Requests under /testing/ are not
    // recorded.
    std::size_t count(std::string_view method, std::string_view path_regex) const;
    std::vector<RequestRecord> requests() const;
    // Watches that are open right now.
    std::size_t open_watches() const;
    void forget_requests();

  private:
    friend class ApiServer;
    friend struct FaultsAccess;
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace egpu::testing
