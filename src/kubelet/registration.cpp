#include "kubelet/registration.h"

#include <mutex>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "device_plugin_v1beta1.grpc.pb.h"
#include "kubelet/grpc_status.h"

namespace egpu::kubelet {

struct RegistrationCall::Impl {
    std::mutex mutex;
    bool cancelled = false;
    grpc::ClientContext* running = nullptr;
};

RegistrationCall::RegistrationCall() : impl_(std::make_unique<Impl>()) {}
RegistrationCall::~RegistrationCall() = default;

Status RegistrationCall::run(const Registration& registration, Duration deadline) {
    route_grpc_log();
    grpc::ChannelArguments arguments;
    // Channels of earlier attempts must not share their connection back-off with this one.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    const auto channel = grpc::CreateCustomChannel(
        "unix:" + registration.kubelet_socket.string(),
        grpc::InsecureChannelCredentials(),
        arguments
    );
    const auto stub = v1beta1::Registration::NewStub(channel);

    v1beta1::RegisterRequest request;
    request.set_version("v1beta1");
    request.set_endpoint(registration.endpoint);
    request.set_resource_name(registration.resource);
    // 1.21 reads the options here, 1.25 and later ask GetDevicePluginOptions: both must agree.
    request.mutable_options()->set_pre_start_required(registration.pre_start);
    request.mutable_options()->set_get_preferred_allocation_available(registration.preferred);

    grpc::ClientContext context;
    context.set_deadline(
        std::chrono::system_clock::now() +
        std::chrono::duration_cast<std::chrono::system_clock::duration>(deadline)
    );
    {
        const std::scoped_lock lock(impl_->mutex);
        if (impl_->cancelled) return Error{ErrorCode::kStopped, "registration cancelled"};
        impl_->running = &context;
    }
    v1beta1::Empty answer;
    const grpc::Status status = stub->Register(&context, request, &answer);
    {
        const std::scoped_lock lock(impl_->mutex);
        impl_->running = nullptr;
    }
    if (status.ok()) return {};
    return from_grpc(status, "register " + registration.resource);
}

void RegistrationCall::cancel() {
    const std::scoped_lock lock(impl_->mutex);
    impl_->cancelled = true;
    if (impl_->running != nullptr) impl_->running->TryCancel();
}

}  // namespace egpu::kubelet
