#include "testing/kubelet/plugin_client.h"

#include <mutex>
#include <set>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "device_plugin_v1beta1.grpc.pb.h"
#include "kubelet/grpc_status.h"

namespace egpu::testing {
namespace {

std::chrono::system_clock::time_point wall(Duration from_now) {
    return std::chrono::system_clock::now() +
           std::chrono::duration_cast<std::chrono::system_clock::duration>(from_now);
}

const char* go_code(grpc::StatusCode code) {
    static constexpr const char* kNames[] = {
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated"};
    return code >= 0 && code < static_cast<int>(std::size(kNames)) ? kNames[code] : "Unknown";
}

Error go_error(const grpc::Status& status) {
    return Error{
        ErrorCode::kUnavailable,
        std::string("rpc error: code = ") + go_code(status.error_code()) +
            " desc = " + status.error_message()};
}

}  // namespace

struct PluginClient::Impl {
    std::filesystem::path socket;
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<v1beta1::DevicePlugin::Stub> stub;
    std::mutex mutex;
    bool closed = false;
    std::set<grpc::ClientContext*> running;

    // One call that disconnect() can end.
    class Call {
      public:
        explicit Call(Impl& owner) : owner_(owner) {
            const std::scoped_lock lock(owner.mutex);
            open_ = !owner.closed;
            if (open_) owner.running.insert(&context);
        }
        ~Call() {
            const std::scoped_lock lock(owner_.mutex);
            owner_.running.erase(&context);
        }
        Call(const Call&) = delete;
        Call& operator=(const Call&) = delete;

        Status check() const {
            if (open_) return {};
            return go_error({grpc::StatusCode::CANCELLED, "grpc: the client connection is closing"}
            );
        }

        grpc::ClientContext context;

      private:
        Impl& owner_;
        bool open_;
    };
};

PluginClient::PluginClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PluginClient::~PluginClient() = default;

Result<std::shared_ptr<PluginClient>> PluginClient::dial(
    const std::filesystem::path& socket,
    Dialect dialect,
    Duration deadline,
    const std::atomic<bool>& stop
) {
    egpu::kubelet::route_grpc_log();
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
    arguments.SetMaxReceiveMessageSize(4 << 20);  // grpc-go's default
    arguments.SetString(
        GRPC_ARG_DEFAULT_AUTHORITY, dialect == Dialect::k1_21 ? socket.string() : "localhost"
    );
    auto impl = std::make_unique<Impl>();
    impl->socket = socket;
    impl->channel = grpc::CreateCustomChannel(
        "unix:" + socket.string(), grpc::InsecureChannelCredentials(), arguments
    );
    const auto until = MonoClock::now() + deadline;
    while (!impl->channel->WaitForConnected(wall(Millis(20)))) {
        if (stop || MonoClock::now() >= until) {
            return Error{
                ErrorCode::kDeadline,
                "failed to dial device plugin with socketPath " + socket.string() +
                    ": context deadline exceeded"};
        }
    }
    impl->stub = v1beta1::DevicePlugin::NewStub(impl->channel);
    return std::shared_ptr<PluginClient>(new PluginClient(std::move(impl)));
}

Result<PluginOptions> PluginClient::options(Duration deadline) {
    Impl::Call call(*impl_);
    EG_TRY_VOID(call.check());
    call.context.set_deadline(wall(deadline));
    v1beta1::DevicePluginOptions answer;
    const auto status = impl_->stub->GetDevicePluginOptions(&call.context, {}, &answer);
    if (!status.ok()) return go_error(status);
    return PluginOptions{answer.pre_start_required(), answer.get_preferred_allocation_available()};
}

void PluginClient::follow(
    const std::function<void(const std::vector<egpu::kubelet::Device>&)>& on_devices
) {
    Impl::Call call(*impl_);
    if (!call.check()) return;
    const auto reader = impl_->stub->ListAndWatch(&call.context, {});
    v1beta1::ListAndWatchResponse message;
    while (reader->Read(&message)) {
        std::vector<egpu::kubelet::Device> devices;
        for (const auto& from : message.devices()) {
            auto& device = devices.emplace_back();
            device.id = from.id();
            device.healthy = from.health() == "Healthy";
            if (from.topology().nodes_size() > 0) {
                device.numa = static_cast<int>(from.topology().nodes(0).id());
            }
        }
        on_devices(devices);
    }
    (void)reader->Finish();
}

Result<std::string> PluginClient::allocate(const std::vector<std::string>& ids) {
    Impl::Call call(*impl_);
    EG_TRY_VOID(call.check());
    v1beta1::AllocateRequest request;
    auto* container = request.add_container_requests();
    for (const auto& id : ids) container->add_devices_ids(id);
    v1beta1::AllocateResponse answer;
    const auto status = impl_->stub->Allocate(&call.context, request, &answer);
    if (!status.ok()) return go_error(status);
    if (answer.container_responses().empty()) {
        return Error{ErrorCode::kInvalid, "no containers return in allocation response"};
    }
    return answer.container_responses(0).SerializeAsString();
}

Result<std::vector<std::string>> PluginClient::preferred(
    const std::vector<std::string>& available,
    const std::vector<std::string>& must_include,
    int size
) {
    Impl::Call call(*impl_);
    EG_TRY_VOID(call.check());
    v1beta1::PreferredAllocationRequest request;
    auto* container = request.add_container_requests();
    for (const auto& id : available) container->add_available_deviceids(id);
    for (const auto& id : must_include) container->add_must_include_deviceids(id);
    container->set_allocation_size(size);
    v1beta1::PreferredAllocationResponse answer;
    const auto status = impl_->stub->GetPreferredAllocation(&call.context, request, &answer);
    if (!status.ok()) return go_error(status);
    if (answer.container_responses().empty()) return std::vector<std::string>();
    const auto& ids = answer.container_responses(0).deviceids();
    return std::vector<std::string>(ids.begin(), ids.end());
}

Status PluginClient::pre_start(const std::vector<std::string>& ids, Duration deadline) {
    Impl::Call call(*impl_);
    EG_TRY_VOID(call.check());
    call.context.set_deadline(wall(deadline));
    v1beta1::PreStartContainerRequest request;
    for (const auto& id : ids) request.add_devices_ids(id);
    v1beta1::PreStartContainerResponse answer;
    const auto status = impl_->stub->PreStartContainer(&call.context, request, &answer);
    if (status.ok()) return {};
    return go_error(status);
}

const std::filesystem::path& PluginClient::socket() const {
    return impl_->socket;
}

void PluginClient::disconnect() {
    const std::scoped_lock lock(impl_->mutex);
    impl_->closed = true;
    for (auto* context : impl_->running) context->TryCancel();
}

}  // namespace egpu::testing
