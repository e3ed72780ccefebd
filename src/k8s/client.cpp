#include "k8s/client.h"

#include <thread>

#include "base/backoff.h"
#include "k8s/api_error.h"
#include "k8s/codec.h"
#include "k8s/credentials.h"

namespace egpu::k8s {

namespace {

constexpr std::string_view kJson = "application/json";
constexpr std::size_t kMaxErrorBody = 64U << 10;

// The path without its query, for messages.
std::string label_of(const http::Request& request) {
    return request.method + " " + request.target.substr(0, request.target.find('?'));
}

bool wait(Duration delay, const Call& call) {
    if (MonoClock::now() + delay >= call.deadline) return false;
    if (call.stop != nullptr) return !call.stop->wait_for(delay);
    std::this_thread::sleep_for(delay);
    return true;
}

// 429: refused before execution, so safe for every verb. The others only say that it did not work.
bool may_repeat(const http::Request& request, int code) {
    if (code == 429) return true;
    return request.method == "GET" && (code == 500 || code == 502 || code == 503 || code == 504);
}

json::object metadata_patch(
    std::string_view uid, std::string_view field, const Client::AnnotationPatch& changes
) {
    json::object values;
    for (const auto& [key, v] : changes) {
        values[key] = v ? json::value(*v) : json::value(nullptr);
    }
    json::object metadata;
    if (!uid.empty()) metadata["uid"] = uid;
    metadata[field] = std::move(values);
    return {{"metadata", std::move(metadata)}};
}

}  // namespace

struct Client::Shared {
    Shared(const Config& config, std::unique_ptr<http::Client> client)
        : http(std::move(client)), credentials(config), source(config.source) {}

    std::unique_ptr<http::Client> http;
    Credentials credentials;
    std::string source;

    http::Request make(const char* method, std::string_view path, const std::string& user_agent)
        const {
        http::Request request;
        request.method = method;
        request.target = path;
        request.headers.add("User-Agent", user_agent);
        request.headers.add("Accept", std::string(kJson));
        return request;
    }

    // Adds the Authorization header and calls `once`; tries again with a newer token after a 401.
    template <class Once>
    auto authorized(http::Request request, const Once& once) -> decltype(once(request)) {
        const http::Headers plain = request.headers;
        for (bool again = true;; again = false) {
            EG_TRY(const std::string authorization, credentials.authorization());
            request.headers = plain;
            if (!authorization.empty()) request.headers.add("Authorization", authorization);
            auto response = once(request);
            const bool refused = response.ok() && code_of(*response) == 401;
            if (!refused || !again || !credentials.refresh(authorization)) return response;
        }
    }
    static int code_of(const http::Response& r) { return r.status; }
    static int code_of(const std::unique_ptr<http::ResponseStream>& s) { return s->status(); }

    Result<http::Response> call(const http::Request& request, const Call& call) {
        Backoff backoff(Millis(200), Seconds(5), reinterpret_cast<std::uintptr_t>(&request));
        ApiStatus unused;
        ApiStatus& status = call.status != nullptr ? *call.status : unused;
        for (;;) {
            status = ApiStatus{};
            EG_TRY(http::Response response, authorized(request, [&](const http::Request& r) {
                       return http->call(r, call.deadline, call.stop);
                   }));
            status.http_code = response.status;
            status.date = response.headers.get("Date");
            if (response.status >= 200 && response.status < 300) return response;
            const Error error = api_error(
                label_of(request), source, response.status, response.headers, response.body, status
            );
            if (!call.retry || !may_repeat(request, response.status)) return error;
            const Duration delay =
                status.retry_after ? Duration(*status.retry_after) : backoff.next();
            if (!wait(delay, call)) return error;
        }
    }
};

Client::Client(std::shared_ptr<Shared> shared, std::string user_agent)
    : shared_(std::move(shared)), user_agent_(std::move(user_agent)) {}

Result<Client> Client::open(const Config& config, const ApiClientOptions& options) {
    http::ClientOptions http_options;
    http_options.base_url = config.server;
    http_options.tls = config.tls;
    http_options.user_agent = options.user_agent;
    http_options.connect_timeout = options.connect_timeout;
    http_options.max_idle = options.max_idle;
    auto client = http::Client::open(std::move(http_options));
    if (!client) return client.error().wrap("API server of " + config.source);
    return Client(std::make_shared<Shared>(config, std::move(*client)), options.user_agent);
}

Client Client::with_user_agent(std::string user_agent) const {
    return Client(shared_, std::move(user_agent));
}

std::string Client::server() const {
    const http::Url& url = shared_->http->url();
    return (url.tls ? "https://" : "http://") + url.authority() + url.prefix;
}

namespace {

Result<json::value> decode(const http::Request& request, const http::Response& response) {
    if (response.body.empty()) return json::value(nullptr);
    auto parsed = json::parse(response.body);
    if (!parsed) return parsed.error().wrap(label_of(request));
    return std::move(*parsed);
}

}  // namespace

Result<json::value> Client::get(std::string_view path, const Call& call) const {
    const http::Request request = shared_->make("GET", path, user_agent_);
    EG_TRY(const http::Response response, shared_->call(request, call));
    return decode(request, response);
}

Result<json::value> Client::list(std::string_view path, const Call& call) const {
    EG_TRY(json::value answer, get(path, call));
    const json::value* items = json::find(answer, {"items"});
    if (!answer.is_object() || (items != nullptr && !items->is_null() && !items->is_array())) {
        return Error{ErrorCode::kInvalid, "GET " + std::string(path) + ": the answer is no list"};
    }
    if (items == nullptr || items->is_null()) answer.as_object()["items"] = json::array();
    return answer;
}

Result<std::string> Client::get_text(std::string_view path, const Call& call) const {
    http::Request request = shared_->make("GET", path, user_agent_);
    request.headers = {{"User-Agent", user_agent_}, {"Accept", "*/*"}};
    EG_TRY(http::Response response, shared_->call(request, call));
    return std::move(response.body);
}

Result<json::value> Client::post(std::string_view path, const json::value& body, const Call& call)
    const {
    http::Request request = shared_->make("POST", path, user_agent_);
    request.body = json::to_text(body);
    request.content_type = kJson;
    EG_TRY(const http::Response response, shared_->call(request, call));
    return decode(request, response);
}

Result<json::value> Client::put(std::string_view path, const json::value& body, const Call& call)
    const {
    http::Request request = shared_->make("PUT", path, user_agent_);
    request.body = json::to_text(body);
    request.content_type = kJson;
    EG_TRY(const http::Response response, shared_->call(request, call));
    return decode(request, response);
}

Result<json::value> Client::patch(
    std::string_view path, const json::value& body, PatchType type, const Call& call
) const {
    http::Request request = shared_->make("PATCH", path, user_agent_);
    request.body = json::to_text(body);
    switch (type) {
        case PatchType::kMerge:
            request.content_type = "application/merge-patch+json";
            break;
        case PatchType::kStrategic:
            request.content_type = "application/strategic-merge-patch+json";
            break;
        case PatchType::kJson:
            request.content_type = "application/json-patch+json";
            break;
    }
    EG_TRY(const http::Response response, shared_->call(request, call));
    return decode(request, response);
}

Result<json::value> Client::del(std::string_view path, const Call& call) const {
    const http::Request request = shared_->make("DELETE", path, user_agent_);
    EG_TRY(const http::Response response, shared_->call(request, call));
    return decode(request, response);
}

Result<json::value> Client::del(std::string_view path, const json::value& body, const Call& call)
    const {
    http::Request request = shared_->make("DELETE", path, user_agent_);
    request.body = json::to_text(body);
    request.content_type = kJson;
    EG_TRY(const http::Response response, shared_->call(request, call));
    return decode(request, response);
}

Result<std::unique_ptr<http::ResponseStream>> Client::watch(std::string_view path, const Call& call)
    const {
    const http::Request request = shared_->make("GET", path, user_agent_);
    ApiStatus unused;
    ApiStatus& status = call.status != nullptr ? *call.status : unused;
    status = ApiStatus{};
    EG_TRY(auto stream, shared_->authorized(request, [&](const http::Request& r) {
        return shared_->http->stream(r, call.deadline, call.stop);
    }));
    status.http_code = stream->status();
    if (stream->status() >= 200 && stream->status() < 300) return stream;
    std::string body;
    char piece[4096];
    while (body.size() < kMaxErrorBody) {
        const auto n = stream->read_some(piece, call.deadline, call.stop);
        if (!n || *n == 0) break;
        body.append(piece, *n);
    }
    return api_error(
        label_of(request), shared_->source, stream->status(), stream->headers(), body, status
    );
}

Status Client::bind_pod(
    std::string_view ns,
    std::string_view name,
    std::string_view uid,
    std::string_view node,
    const StringMap& annotations,
    const Call& call
) const {
    json::object metadata{{"name", name}, {"namespace", ns}};
    if (!uid.empty()) metadata["uid"] = uid;
    json::object values;
    for (const auto& [key, v] : annotations) {
        // A bad key would be stored unchecked and break every later update of the pod.
        if (!is_qualified_name(key)) {
            return Error{ErrorCode::kInvalid, "\"" + key + "\" is no valid annotation key"};
        }
        values[key] = v;
    }
    if (!values.empty()) metadata["annotations"] = std::move(values);
    const json::object body{
        {"apiVersion", "v1"},
        {"kind", "Binding"},
        {"metadata", std::move(metadata)},
        {"target", {{"apiVersion", "v1"}, {"kind", "Node"}, {"name", node}}}};
    EG_TRY_VOID(to_status(post(pod_path(ns, name) + "/binding", body, call)));
    return ok_status();
}

Result<Pod> Client::get_pod(std::string_view ns, std::string_view name, const Call& call) const {
    EG_TRY(const json::value object, get(pod_path(ns, name), call));
    return pod_from_json(object);
}

Status Client::patch_node_annotations(
    std::string_view node, const AnnotationPatch& annotations, const Call& call
) const {
    const json::value body = metadata_patch("", "annotations", annotations);
    return to_status(patch(node_path(node), body, PatchType::kMerge, call));
}

Status Client::patch_pod_annotations(
    std::string_view ns,
    std::string_view name,
    std::string_view uid,
    const AnnotationPatch& annotations,
    const Call& call
) const {
    return patch_pod(ns, name, uid, metadata_patch(uid, "annotations", annotations), call);
}

Status Client::patch_pod_labels(
    std::string_view ns,
    std::string_view name,
    std::string_view uid,
    const AnnotationPatch& labels,
    const Call& call
) const {
    return patch_pod(ns, name, uid, metadata_patch(uid, "labels", labels), call);
}

Status Client::patch_pod(
    std::string_view ns,
    std::string_view name,
    std::string_view uid,
    const json::value& body,
    const Call& call
) const {
    ApiStatus said;
    Call with_status = call;
    if (with_status.status == nullptr) with_status.status = &said;
    const auto patched = patch(pod_path(ns, name), body, PatchType::kMerge, with_status);
    if (patched) return ok_status();
    Error error = patched.error();
    // Old servers call a wrong UID an attempt to change an immutable field.
    const bool about_uid = with_status.status->message.find("metadata.uid") != std::string::npos;
    if (!uid.empty() && with_status.status->http_code == 422 && about_uid) {
        error.code = ErrorCode::kConflict;
    }
    return error;
}

Status Client::to_status(const Result<json::value>& result) {
    if (!result) return result.error();
    return ok_status();
}

std::string pod_path(std::string_view ns, std::string_view name) {
    return "/api/v1/namespaces/" + http::percent_encode(ns) + "/pods/" + http::percent_encode(name);
}

std::string node_path(std::string_view name) {
    return "/api/v1/nodes/" + http::percent_encode(name);
}

}  // namespace egpu::k8s
