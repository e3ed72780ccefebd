// An API server in one object: good enough for kubectl, for the scheduler and agents under test,
// and for `edge-gpu demo`. Kept in memory; nothing of it is for production.
//
// Contract: Kubernetes REST API of core/v1, coordination.k8s.io/v1 and scheduling.k8s.io/v1 (1.21
// to 1.34), the parts listed in resources.cpp: get, list, watch, create, update, patch (JSON,
// merge, strategic), delete, deletecollection, pod binding, eviction and log, status subresources,
// Table output, discovery. Server-side apply is answered with 415. No RBAC, no controllers: pods
// wait for a scheduler and a kubelet. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "testing/apiserver/faults.h"

namespace egpu::testing {

struct ApiServerOptions {
    std::string listen = "127.0.0.1:0";  // port 0: the kernel picks one
    std::string bearer_token;            // not empty: every request needs it, else 401
    // TLS when both are set (PEM files); `ca_file` goes into the kubeconfig. See make_tls_files().
    std::string tls_cert_file;
    std::string tls_key_file;
    std::string ca_file;
    std::size_t history = 50'000;  // events kept for watches; older resourceVersions get 410
    Duration bookmark_interval = Seconds(60);
    bool check_binding_uid = true;   // false: like 1.21, a Binding's uid is not looked at
    std::string version = "1.34.0";  // what /version says
};

// PEM files for a server on 127.0.0.1/localhost, signed by a CA made for the occasion.
struct TlsFiles {
    std::string cert_file;
    std::string key_file;
    std::string ca_file;
};
// Uses the `openssl` program. kNotFound when there is none.
Result<TlsFiles> make_tls_files(const std::filesystem::path& folder);

// Names one object. `resource` is the plural ("pods", "nodes", "leases", ...); `name_space` is ""
// for cluster-scoped kinds, and for namespaced ones means "default" (in list(): all namespaces).
struct ObjectRef {
    std::string resource;
    std::string name_space;
    std::string name;
};

struct ListQuery {
    std::string name_space;  // "": all
    std::string field_selector;
    std::string label_selector;
};

class ApiServer {
  public:
    static Result<std::unique_ptr<ApiServer>> start(ApiServerOptions options = {});
    ~ApiServer();
    ApiServer(const ApiServer&) = delete;
    ApiServer& operator=(const ApiServer&) = delete;

    // "http://127.0.0.1:40123"
    std::string url() const;
    std::uint16_t port() const;
    // A kubeconfig with one context; written with mode 0600.
    std::string kubeconfig() const;
    Status write_kubeconfig(const std::filesystem::path& path) const;
    // Ends watches and connections. The destructor does it, too.
    void stop();

    Faults& faults();

    // The calls below do what a request with the same meaning does (same defaults, validation and
    // events), without HTTP and without faults. Errors: kNotFound, kConflict (exists already, stale
    // resourceVersion), kInvalid; the text is the API's message. A missing namespace is made on
    // create.
    Result<json::value> create(const json::value& object);
    Result<json::value> create(std::string_view json_text);
    Result<json::value> create(const std::string& text) { return create(std::string_view(text)); }
    Result<json::value> create(const char* text) { return create(std::string_view(text)); }
    Result<json::value> get(const ObjectRef& ref) const;
    std::vector<json::value> list(std::string_view resource, const ListQuery& query = {}) const;
    // PUT; metadata.resourceVersion in `object` is honoured when present.
    Result<json::value> update(const json::value& object, std::string_view subresource = "");
    // JSON merge patch; subresource "" or "status".
    Result<json::value> patch(
        const ObjectRef& ref, const json::value& merge_patch, std::string_view subresource = ""
    );
    // Grace as in DELETE: unset follows the pod; 0 removes at once.
    Status remove(const ObjectRef& ref, std::optional<int> grace_seconds = {});
    Status bind(
        const ObjectRef& pod,
        std::string_view node,
        const std::map<std::string, std::string>& annotations = {}
    );
    // Stores the object as it is (status included; only missing metadata is filled in), replacing
    // one of the same name: for fixtures and big clusters.
    Result<json::value> load(json::value object);

    // What `kubectl logs` prints for this container ("" = the first one).
    void set_log(const ObjectRef& pod, std::string_view container, std::string text);

    // True as soon as `predicate` is; it is asked after every change. False after `timeout`.
    bool wait_until(const std::function<bool()>& predicate, Duration timeout) const;
    // The same for one object; nullptr is passed while it does not exist.
    bool wait_for(
        const ObjectRef& ref,
        const std::function<bool(const json::value*)>& predicate,
        Duration timeout
    ) const;

    // The newest resourceVersion handed out.
    std::uint64_t resource_version() const;
    std::size_t count(std::string_view resource) const;

  private:
    struct State;
    explicit ApiServer(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace egpu::testing
