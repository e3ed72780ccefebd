#include "base/check.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/result.h"

namespace egpu {

void check_failed(const char* condition, const char* file, int line) {
    std::fprintf(stderr, "fatal: broken invariant at %s:%d: %s\n", file, line, condition);
    std::abort();
}

std::string_view to_string(ErrorCode code) {
    switch (code) {
        case ErrorCode::kInvalid:
            return "invalid";
        case ErrorCode::kNotFound:
            return "not_found";
        case ErrorCode::kConflict:
            return "conflict";
        case ErrorCode::kUnavailable:
            return "unavailable";
        case ErrorCode::kExhausted:
            return "exhausted";
        case ErrorCode::kDeadline:
            return "deadline";
        case ErrorCode::kCorrupt:
            return "corrupt";
        case ErrorCode::kPermission:
            return "permission";
        case ErrorCode::kStopped:
            return "stopped";
        case ErrorCode::kInternal:
            return "internal";
    }
    return "unknown";
}

Error Error::wrap(std::string_view context) const {
    std::string text(context);
    text += ": ";
    text += message;
    return {code, std::move(text)};
}

namespace {
ErrorCode code_of_errno(int error_number) {
    switch (error_number) {
        case ENOENT:
        case ENODEV:
        case ENXIO:
            return ErrorCode::kNotFound;
        case EACCES:
        case EPERM:
        case EROFS:
            return ErrorCode::kPermission;
        case EEXIST:
            return ErrorCode::kConflict;
        case EINVAL:
        case ENAMETOOLONG:
        case ENOTDIR:
        case EISDIR:
            return ErrorCode::kInvalid;
        case ENOSPC:
        case EMFILE:
        case ENFILE:
        case ENOMEM:
        case EFBIG:
            return ErrorCode::kExhausted;
        case ETIMEDOUT:
            return ErrorCode::kDeadline;
        default:
            return ErrorCode::kUnavailable;
    }
}
}  // namespace

Error errno_error(std::string_view what, int error_number) {
    char buffer[128];
    std::string text(what);
    text += ": ";
    text += strerror_r(error_number, buffer, sizeof buffer);
    return {code_of_errno(error_number), std::move(text)};
}

}  // namespace egpu
