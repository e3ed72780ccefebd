#include "k8s/api_error.h"

#include <algorithm>
#include <charconv>

#include "base/json.h"

namespace egpu::k8s {

namespace {

constexpr std::size_t kMaxMessage = 500;

std::string shortened(std::string_view text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
    std::string out(text.substr(0, kMaxMessage));
    for (char& c : out) {
        if (static_cast<unsigned char>(c) < 0x20) c = ' ';
    }
    return text.size() > kMaxMessage ? out + "…" : out;
}

std::optional<Seconds> retry_after(const http::Headers& headers) {
    const std::string_view text = headers.get("Retry-After");
    int seconds = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error != std::errc() || end != text.data() + text.size() || seconds < 0) {
        return std::nullopt;
    }
    return Seconds(std::min(seconds, 3600));
}

ErrorCode code_of(int http_code, const ApiStatus& status) {
    switch (http_code) {
        case 401:
        case 403:
            return ErrorCode::kPermission;
        case 404:
            // Without a Status it may be an edge cache that has nothing, not an object that is
            // gone.
            return status.is_status && status.reason == "NotFound" ? ErrorCode::kNotFound
                                                                   : ErrorCode::kUnavailable;
        case 409:
            return ErrorCode::kConflict;
        case 410:
        case 413:
            return ErrorCode::kExhausted;
        case 400:
        case 405:
        case 406:
        case 415:
        case 422:
            return ErrorCode::kInvalid;
        default:
            return ErrorCode::kUnavailable;
    }
}

}  // namespace

Error api_error(
    std::string_view label,
    std::string_view credentials,
    int http_code,
    const http::Headers& headers,
    std::string_view body,
    ApiStatus& status
) {
    status.http_code = http_code;
    status.retry_after = retry_after(headers);
    if (const auto parsed = json::parse(body);
        parsed && json::get_string(*parsed, {"kind"}) == "Status") {
        status.is_status = true;
        status.reason = json::get_string(*parsed, {"reason"});
        status.message = json::get_string(*parsed, {"message"});
    }
    std::string message =
        std::string(label) + ": " + std::to_string(http_code) + " " +
        (status.message.empty() ? std::string(http::reason_phrase(http_code)) : "") +
        shortened(status.message);
    if (!status.is_status && !body.empty()) message += ": " + shortened(body);
    if (http_code == 401) {
        message += "; the credentials of " + std::string(credentials) + " are not accepted";
    } else if (http_code == 403) {
        message += "; the Role or ClusterRole of this user lacks it (kubectl auth can-i)";
    } else if (http_code == 404 && !status.is_status) {
        message += "; not an answer of the API server itself, so nothing is known to be deleted";
    }
    return Error{code_of(http_code, status), std::move(message)};
}

}  // namespace egpu::k8s
