#include "kubelet/grpc_status.h"

#include <mutex>

#include <grpc/support/log.h>

#include "base/log.h"

namespace egpu::kubelet {
namespace {

grpc::StatusCode code_of(ErrorCode code) {
    switch (code) {
        case ErrorCode::kInvalid:
            return grpc::StatusCode::INVALID_ARGUMENT;
        case ErrorCode::kNotFound:
            return grpc::StatusCode::NOT_FOUND;
        case ErrorCode::kConflict:
            return grpc::StatusCode::FAILED_PRECONDITION;
        case ErrorCode::kUnavailable:
        case ErrorCode::kStopped:
            return grpc::StatusCode::UNAVAILABLE;
        case ErrorCode::kExhausted:
            return grpc::StatusCode::RESOURCE_EXHAUSTED;
        case ErrorCode::kDeadline:
            return grpc::StatusCode::DEADLINE_EXCEEDED;
        case ErrorCode::kCorrupt:
            return grpc::StatusCode::DATA_LOSS;
        case ErrorCode::kPermission:
            return grpc::StatusCode::PERMISSION_DENIED;
        case ErrorCode::kInternal:
            break;
    }
    return grpc::StatusCode::INTERNAL;
}

ErrorCode code_from(grpc::StatusCode code) {
    switch (code) {
        case grpc::StatusCode::INVALID_ARGUMENT:
        case grpc::StatusCode::UNIMPLEMENTED:
        case grpc::StatusCode::OUT_OF_RANGE:
            return ErrorCode::kInvalid;
        case grpc::StatusCode::NOT_FOUND:
            return ErrorCode::kNotFound;
        case grpc::StatusCode::ALREADY_EXISTS:
        case grpc::StatusCode::ABORTED:
        case grpc::StatusCode::FAILED_PRECONDITION:
            return ErrorCode::kConflict;
        case grpc::StatusCode::UNAVAILABLE:
            return ErrorCode::kUnavailable;
        case grpc::StatusCode::RESOURCE_EXHAUSTED:
            return ErrorCode::kExhausted;
        case grpc::StatusCode::DEADLINE_EXCEEDED:
            return ErrorCode::kDeadline;
        case grpc::StatusCode::DATA_LOSS:
            return ErrorCode::kCorrupt;
        case grpc::StatusCode::UNAUTHENTICATED:
        case grpc::StatusCode::PERMISSION_DENIED:
            return ErrorCode::kPermission;
        case grpc::StatusCode::CANCELLED:
            return ErrorCode::kStopped;
        default:
            return ErrorCode::kInternal;
    }
}

void write_log(gpr_log_func_args* args) {
    const auto level =
        args->severity == GPR_LOG_SEVERITY_ERROR ? log::Level::kWarn : log::Level::kDebug;
    if (log::enabled(level)) log::write(level, "grpc", {{"message", args->message}});
}

}  // namespace

grpc::Status to_grpc(const Error& error) {
    return {code_of(error.code), error.message};
}

Error from_grpc(const grpc::Status& status, std::string_view context) {
    return Error{code_from(status.error_code()), status.error_message()}.wrap(context);
}

void route_grpc_log() {
    static std::once_flag once;
    std::call_once(once, [] {
        gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
        gpr_set_log_function(write_log);
    });
}

}  // namespace egpu::kubelet
