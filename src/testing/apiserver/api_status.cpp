#include "testing/apiserver/api_status.h"

#include "base/json.h"
#include "testing/apiserver/resources.h"

namespace egpu::testing {
namespace {

std::string_view reason_of(int code) {
    switch (code) {
        case 400:
            return "BadRequest";
        case 401:
            return "Unauthorized";
        case 403:
            return "Forbidden";
        case 404:
            return "NotFound";
        case 405:
            return "MethodNotAllowed";
        case 406:
            return "NotAcceptable";
        case 409:
            return "Conflict";
        case 410:
            return "Expired";
        case 413:
            return "RequestEntityTooLarge";
        case 415:
            return "UnsupportedMediaType";
        case 422:
            return "Invalid";
        case 429:
            return "TooManyRequests";
        case 500:
            return "InternalError";
        case 503:
            return "ServiceUnavailable";
        case 504:
            return "Timeout";
        default:
            return "";
    }
}

void add_field(std::string& out, std::string_view key, std::string_view value) {
    if (value.empty()) return;
    if (out.back() != '{') out += ',';
    json::append_quoted(out, key);
    out += ':';
    json::append_quoted(out, value);
}

ErrorCode error_code_of(int code) {
    switch (code) {
        case 401:
        case 403:
            return ErrorCode::kPermission;
        case 404:
            return ErrorCode::kNotFound;
        case 409:
            return ErrorCode::kConflict;
        case 410:
            return ErrorCode::kExhausted;
        case 429:
        case 503:
            return ErrorCode::kUnavailable;
        case 504:
            return ErrorCode::kDeadline;
        case 500:
            return ErrorCode::kInternal;
        default:
            return ErrorCode::kInvalid;
    }
}

std::string quoted(std::string_view text) {
    return "\"" + std::string(text) + "\"";
}

}  // namespace

std::string ApiStatus::to_json() const {
    std::string out = R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure")";
    out += ",\"message\":";
    json::append_quoted(out, message);
    if (!reason.empty()) {
        out += ",\"reason\":";
        json::append_quoted(out, reason);
    }
    std::string details = "{";
    add_field(details, "name", name);
    add_field(details, "group", group);
    add_field(details, "kind", kind);
    if (!causes.empty()) {
        if (details.back() != '{') details += ',';
        details += "\"causes\":[";
        for (const auto& cause : causes) {
            if (details.back() != '[') details += ',';
            details += '{';
            add_field(details, "reason", cause.reason);
            add_field(details, "message", cause.message);
            add_field(details, "field", cause.field);
            details += '}';
        }
        details += ']';
    }
    if (retry_after_s) {
        if (details.back() != '{') details += ',';
        details += "\"retryAfterSeconds\":" + std::to_string(*retry_after_s);
    }
    if (details.size() > 1) out += ",\"details\":" + details + '}';
    out += ",\"code\":" + std::to_string(code) + "}";
    return out;
}

Error ApiStatus::to_error() const {
    return Error{error_code_of(code), message};
}

std::string success_status(
    std::string_view name, const Resource* resource, std::string_view uid, int code
) {
    std::string out = R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success")";
    std::string details = "{";
    add_field(details, "name", name);
    if (resource != nullptr) {
        add_field(details, "group", resource->group);
        add_field(details, "kind", resource->plural);
    }
    add_field(details, "uid", uid);
    if (details.size() > 1) out += ",\"details\":" + details + '}';
    if (code != 0) out += ",\"code\":" + std::to_string(code);
    return out + "}";
}

namespace status {

ApiStatus of_code(int code, std::string_view message) {
    ApiStatus s;
    s.code = code;
    s.reason = reason_of(code);
    s.message = message;
    return s;
}

namespace {
ApiStatus about(int code, const Resource& resource, std::string_view name, std::string message) {
    ApiStatus s = of_code(code, message);
    s.name = name;
    s.group = resource.group;
    s.kind = resource.plural;
    return s;
}
}  // namespace

ApiStatus not_found(const Resource& resource, std::string_view name) {
    return about(404, resource, name, resource.qualified() + " " + quoted(name) + " not found");
}

ApiStatus no_such_path() {
    return of_code(404, "the server could not find the requested resource");
}

ApiStatus already_exists(const Resource& resource, std::string_view name) {
    ApiStatus s =
        about(409, resource, name, resource.qualified() + " " + quoted(name) + " already exists");
    s.reason = "AlreadyExists";
    return s;
}

ApiStatus conflict(
    const Resource& resource, std::string_view name, std::string_view why, std::string_view what
) {
    const std::string subject = what.empty() ? resource.qualified() : std::string(what);
    return about(
        409,
        resource,
        name,
        "Operation cannot be fulfilled on " + subject + " " + quoted(name) + ": " + std::string(why)
    );
}

ApiStatus stale(const Resource& resource, std::string_view name) {
    return conflict(
        resource,
        name,
        "the object has been modified; please apply your changes to the latest version and try "
        "again"
    );
}

ApiStatus uid_conflict(
    const Resource& resource, std::string_view name, std::string_view wanted, std::string_view is
) {
    return conflict(
        resource,
        name,
        "Precondition failed: UID in precondition: " + std::string(wanted) +
            ", UID in object meta: " + std::string(is)
    );
}

ApiStatus invalid(
    const Resource& resource, std::string_view name, std::vector<StatusCause> causes
) {
    std::string text = std::string(resource.kind) + " " + quoted(name) + " is invalid: ";
    if (causes.size() > 1) text += '[';
    for (std::size_t i = 0; i < causes.size(); ++i) {
        if (i > 0) text += ", ";
        text += causes[i].field + ": " + causes[i].message;
    }
    if (causes.size() > 1) text += ']';
    ApiStatus s = about(422, resource, name, std::move(text));
    s.kind = resource.kind;
    s.causes = std::move(causes);
    return s;
}

ApiStatus bad_request(std::string_view message) {
    return of_code(400, message);
}

ApiStatus expired(std::string_view message) {
    return of_code(410, message);
}

ApiStatus too_large_version(std::uint64_t wanted, std::uint64_t current) {
    ApiStatus s = of_code(
        504,
        "Too large resource version: " + std::to_string(wanted) +
            ", current: " + std::to_string(current)
    );
    s.retry_after_s = 1;
    s.causes.push_back({"ResourceVersionTooLarge", "Too large resource version", ""});
    return s;
}

ApiStatus unauthorized() {
    return of_code(401, "Unauthorized");
}

ApiStatus method_not_allowed() {
    return of_code(405, "the server does not allow this method on the requested resource");
}

ApiStatus unsupported_media_type(std::string_view message) {
    return of_code(415, message);
}

}  // namespace status
}  // namespace egpu::testing
