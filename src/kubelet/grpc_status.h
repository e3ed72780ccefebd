// Between our Error and gRPC's Status, and gRPC's own log lines into ours. Internal to the modules
// that speak gRPC.
#pragma once

#include <string_view>

#include <grpcpp/support/status.h>

#include "base/result.h"

namespace egpu::kubelet {

// The message is kept as it is: it ends in a pod's events.
grpc::Status to_grpc(const Error& error);
// For a status that is not OK: "context: message".
Error from_grpc(const grpc::Status& status, std::string_view context);
// gRPC logs through base/log from now on (errors as warnings, the rest at debug). Idempotent.
void route_grpc_log();

}  // namespace egpu::kubelet
