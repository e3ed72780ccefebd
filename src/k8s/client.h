// The Kubernetes API over JSON: verbs with deadlines, API errors as Error codes, retries only where
// nothing can happen twice. Thread-safe; copies share connections and credentials.
//
// Codes: 404 -> kNotFound only when the body is a Status with reason NotFound (lite-apiserver
// answers a plain-text 404 when offline: that is kUnavailable); 409 -> kConflict; 410 -> kExhausted
// (expired resource version); 401/403 -> kPermission; 400/422 -> kInvalid; 429/5xx -> kUnavailable;
// the transport's errors as in http/client.h (kDeadline: the outcome is unknown).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "base/stop.h"
#include "http/client.h"
#include "k8s/kubeconfig.h"
#include "k8s/objects.h"

namespace egpu::k8s {

// What the API server said, beyond an Error's code.
struct ApiStatus {
    int http_code = 0;  // 0: no response
    bool is_status =
        false;  // the body was a Status object: the answer comes from a real API server
    std::string reason = {};  // "NotFound", "AlreadyExists", "Conflict", "Expired", …
    std::string message = {};
    std::optional<Seconds> retry_after = {};
    std::string date = {};  // the answer's Date header, as received
};

// How one call is made; a bare deadline converts.
struct Call {
    Call(TimePoint d) : deadline(d) {}  // NOLINT(google-explicit-constructor)
    Call(TimePoint d, ApiStatus* s) : deadline(d), status(s) {}

    TimePoint deadline;
    ApiStatus* status = nullptr;  // filled on success and failure
    const StopToken* stop = nullptr;
    // GET: repeat on 429 and 5xx until the deadline; other verbs: on 429 only (not executed).
    bool retry = true;
};

enum class PatchType { kMerge, kStrategic, kJson };

struct ApiClientOptions {
    std::string user_agent = "edge-gpu";  // constant and without a version: a cache key at the edge
    Duration connect_timeout = Seconds(5);
    std::size_t max_idle = 4;
};

class Client {
  public:
    // kInvalid when the configuration cannot work; connects only when called.
    static Result<Client> open(const Config& config, const ApiClientOptions& options = {});

    // The same server and connections under another User-Agent.
    Client with_user_agent(std::string user_agent) const;

    // `path` is escaped and includes the query: "/api/v1/nodes/n1".
    Result<json::value> get(std::string_view path, const Call& call) const;
    // GET that must answer an object with "items".
    Result<json::value> list(std::string_view path, const Call& call) const;
    Result<json::value> post(std::string_view path, const json::value& body, const Call& call)
        const;
    Result<json::value> put(std::string_view path, const json::value& body, const Call& call) const;
    Result<json::value> patch(
        std::string_view path, const json::value& body, PatchType type, const Call& call
    ) const;
    Result<json::value> del(std::string_view path, const Call& call) const;
    // `body`: DeleteOptions (preconditions, grace period).
    Result<json::value> del(std::string_view path, const json::value& body, const Call& call) const;
    // A GET that is not JSON (/version is; /healthz, logs are not).
    Result<std::string> get_text(std::string_view path, const Call& call) const;
    // A streamed GET; an HTTP error is mapped like the others. The deadline is for the header.
    Result<std::unique_ptr<http::ResponseStream>> watch(std::string_view path, const Call& call)
        const;

    // POST pods/NAME/binding with the annotations, which the API server merges into the pod in the
    // same write. kConflict: already assigned (read it back and compare node and UID).
    // kDeadline: unknown, read it back.
    Status bind_pod(
        std::string_view ns,
        std::string_view name,
        std::string_view uid,
        std::string_view node,
        const StringMap& annotations,
        const Call& call
    ) const;
    Result<Pod> get_pod(std::string_view ns, std::string_view name, const Call& call) const;

    // Merge patches of metadata. A value of nullopt deletes the key. `uid` is a precondition when
    // not empty: a pod of that name but with another UID is kConflict.
    using AnnotationPatch = std::map<std::string, std::optional<std::string>>;
    Status patch_node_annotations(
        std::string_view node, const AnnotationPatch& annotations, const Call& call
    ) const;
    Status patch_pod_annotations(
        std::string_view ns,
        std::string_view name,
        std::string_view uid,
        const AnnotationPatch& annotations,
        const Call& call
    ) const;
    // The same for labels (`--compat-label`).
    Status patch_pod_labels(
        std::string_view ns,
        std::string_view name,
        std::string_view uid,
        const AnnotationPatch& labels,
        const Call& call
    ) const;

    const std::string& user_agent() const { return user_agent_; }
    std::string server() const;  // the URL, for messages

  private:
    struct Shared;
    Status patch_pod(
        std::string_view ns,
        std::string_view name,
        std::string_view uid,
        const json::value& body,
        const Call& call
    ) const;
    static Status to_status(const Result<json::value>& result);
    Client(std::shared_ptr<Shared> shared, std::string user_agent);
    std::shared_ptr<Shared> shared_;
    std::string user_agent_;
};

// "/api/v1/namespaces/NS/pods/NAME", escaped.
std::string pod_path(std::string_view ns, std::string_view name);
std::string node_path(std::string_view name);

}  // namespace egpu::k8s
