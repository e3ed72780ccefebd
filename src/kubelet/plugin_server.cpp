#include "kubelet/plugin_server.h"

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_context.h>

#include "base/metrics.h"
#include "device_plugin_v1beta1.grpc.pb.h"
#include "kubelet/grpc_status.h"

namespace egpu::kubelet {
namespace {

// A synchronous stream learns of its peer's death only by asking.
constexpr Millis kCancelCheck{500};
// Calls that may run at once; the kubelet admits serially but starts containers concurrently.
constexpr int kMostThreads = 48;
constexpr int kMessageLimit = 16 << 20;

// Times a call and counts its failure.
class CallRecord {
  public:
    CallRecord(const std::string& resource, const char* method)
        : resource_(resource), method_(method), start_(MonoClock::now()) {}

    grpc::Status done(grpc::Status status) const {
        const std::chrono::duration<double> took = MonoClock::now() - start_;
        metrics::histogram(
            "edge_gpu_kubelet_call_seconds",
            "Time to answer a call of the kubelet.",
            metrics::latency_buckets(),
            {{"resource", resource_}, {"method", method_}}
        ).observe(took.count());
        if (!status.ok()) {
            metrics::counter(
                "edge_gpu_kubelet_call_errors_total",
                "Calls of the kubelet answered with an error.",
                {{"resource", resource_}, {"method", method_}}
            ).add();
        }
        return status;
    }

  private:
    const std::string& resource_;
    const char* method_;
    TimePoint start_;
};

// Nothing a handler throws may reach gRPC.
template <class F>
grpc::Status guarded(F&& call) {
    try {
        return call();
    } catch (const std::exception& e) {
        return {grpc::StatusCode::INTERNAL, std::string("internal error: ") + e.what()};
    }
}

void fill(v1beta1::ListAndWatchResponse& out, const std::vector<Device>& devices) {
    for (const auto& device : devices) {
        auto* added = out.add_devices();
        added->set_id(device.id);
        added->set_health(device.healthy ? "Healthy" : "Unhealthy");
        if (device.numa) added->mutable_topology()->add_nodes()->set_id(*device.numa);
    }
}

void fill(v1beta1::ContainerAllocateResponse& out, const AllocateResponse& from) {
    for (const auto& [key, value] : from.envs) (*out.mutable_envs())[key] = value;
    for (const auto& mount : from.mounts) {
        auto* added = out.add_mounts();
        added->set_container_path(mount.container_path);
        added->set_host_path(mount.host_path);
        added->set_read_only(mount.read_only);
    }
    for (const auto& node : from.devices) {
        auto* added = out.add_devices();
        added->set_container_path(node.container_path);
        added->set_host_path(node.host_path);
        added->set_permissions(node.permissions);
    }
    for (const auto& [key, value] : from.annotations) (*out.mutable_annotations())[key] = value;
    for (const auto& name : from.cdi_names) out.add_cdi_devices()->set_name(name);
}

template <class Repeated>
std::vector<std::string> strings(const Repeated& from) {
    return {from.begin(), from.end()};
}

class Service final : public v1beta1::DevicePlugin::Service {
  public:
    Service(
        std::string resource,
        const DevicePluginHandlers& handlers,
        DeviceList& devices,
        std::function<void()> stream_changed
    )
        : resource_(std::move(resource)),
          handlers_(handlers),
          devices_(devices),
          stream_changed_(std::move(stream_changed)) {}

    grpc::Status GetDevicePluginOptions(
        grpc::ServerContext*, const v1beta1::Empty*, v1beta1::DevicePluginOptions* out
    ) override {
        out->set_pre_start_required(static_cast<bool>(handlers_.pre_start));
        out->set_get_preferred_allocation_available(static_cast<bool>(handlers_.preferred));
        return grpc::Status::OK;
    }

    grpc::Status ListAndWatch(
        grpc::ServerContext* context,
        const v1beta1::Empty*,
        grpc::ServerWriter<v1beta1::ListAndWatchResponse>* writer
    ) override {
        count_stream(+1);
        std::uint64_t sent = 0;
        while (!closing_ && !context->IsCancelled()) {
            const auto snapshot = devices_.wait_newer(sent, kCancelCheck);
            if (snapshot.version == 0) continue;
            v1beta1::ListAndWatchResponse message;
            fill(message, *snapshot.devices);
            if (closing_ || !writer->Write(message)) break;
            sent = snapshot.version;
        }
        count_stream(-1);
        return {grpc::StatusCode::UNAVAILABLE, "the device plugin serves this stream no more"};
    }

    grpc::Status GetPreferredAllocation(
        grpc::ServerContext*,
        const v1beta1::PreferredAllocationRequest* request,
        v1beta1::PreferredAllocationResponse* out
    ) override {
        const CallRecord record(resource_, "GetPreferredAllocation");
        return record.done(guarded([&]() -> grpc::Status {
            if (!handlers_.preferred) {
                return {grpc::StatusCode::UNIMPLEMENTED, resource_ + ": no preferred allocation"};
            }
            for (const auto& one : request->container_requests()) {
                auto chosen = handlers_.preferred(
                    strings(one.available_deviceids()),
                    strings(one.must_include_deviceids()),
                    one.allocation_size()
                );
                if (!chosen) return to_grpc(chosen.error());
                auto* answer = out->add_container_responses();
                for (auto& id : *chosen) answer->add_deviceids(std::move(id));
            }
            return grpc::Status::OK;
        }));
    }

    grpc::Status Allocate(
        grpc::ServerContext*,
        const v1beta1::AllocateRequest* request,
        v1beta1::AllocateResponse* out
    ) override {
        const CallRecord record(resource_, "Allocate");
        return record.done(guarded([&]() -> grpc::Status {
            if (request->container_requests().empty()) {
                return {
                    grpc::StatusCode::INVALID_ARGUMENT,
                    resource_ + ": the Allocate request names no container"};
            }
            for (const auto& one : request->container_requests()) {
                const auto answer = handlers_.allocate(strings(one.devices_ids()));
                if (!answer) return to_grpc(answer.error());
                fill(*out->add_container_responses(), *answer);
            }
            return grpc::Status::OK;
        }));
    }

    grpc::Status
    PreStartContainer(grpc::ServerContext*, const v1beta1::PreStartContainerRequest* request, v1beta1::PreStartContainerResponse*)
        override {
        const CallRecord record(resource_, "PreStartContainer");
        return record.done(guarded([&]() -> grpc::Status {
            if (!handlers_.pre_start) return grpc::Status::OK;
            const auto done = handlers_.pre_start(strings(request->devices_ids()));
            return done ? grpc::Status::OK : to_grpc(done.error());
        }));
    }

    void close() {
        closing_ = true;
        devices_.wake();
    }

    PluginServer::Streams streams() const {
        const std::scoped_lock lock(mutex_);
        return streams_;
    }

  private:
    void count_stream(int by) {
        {
            const std::scoped_lock lock(mutex_);
            streams_.open += by;
            if (by > 0) ++streams_.opened;
        }
        stream_changed_();
    }

    const std::string resource_;
    const DevicePluginHandlers& handlers_;
    DeviceList& devices_;
    const std::function<void()> stream_changed_;
    std::atomic<bool> closing_{false};
    mutable std::mutex mutex_;
    PluginServer::Streams streams_;
};

}  // namespace

struct PluginServer::Impl {
    Impl(
        std::filesystem::path path,
        const std::string& resource,
        const DevicePluginHandlers& handlers,
        DeviceList& devices,
        std::function<void()> stream_changed
    )
        : socket(std::move(path)),
          service(resource, handlers, devices, std::move(stream_changed)) {}

    std::filesystem::path socket;
    Service service;
    std::unique_ptr<grpc::Server> server;
};

PluginServer::PluginServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<PluginServer>> PluginServer::serve(
    const std::filesystem::path& socket,
    const std::string& resource,
    const DevicePluginHandlers& handlers,
    DeviceList& devices,
    std::function<void()> stream_changed
) {
    route_grpc_log();
    try {
        auto impl =
            std::make_unique<Impl>(socket, resource, handlers, devices, std::move(stream_changed));
        grpc::ResourceQuota quota("egpu-" + resource);
        quota.SetMaxThreads(kMostThreads);
        grpc::ServerBuilder builder;
        builder.SetResourceQuota(quota);
        builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
        builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
        builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 2);
        builder.SetMaxReceiveMessageSize(kMessageLimit);
        builder.AddListeningPort("unix:" + socket.string(), grpc::InsecureServerCredentials());
        builder.RegisterService(&impl->service);
        impl->server = builder.BuildAndStart();
        if (!impl->server) {
            return Error{ErrorCode::kUnavailable, "cannot listen on " + socket.string()};
        }
        return std::unique_ptr<PluginServer>(new PluginServer(std::move(impl)));
    } catch (const std::exception& e) {
        return Error{ErrorCode::kInternal, "cannot listen on " + socket.string() + ": " + e.what()};
    }
}

PluginServer::~PluginServer() {
    impl_->service.close();
    impl_->server->Shutdown(std::chrono::system_clock::now() + Millis(100));
    impl_->server->Wait();
    impl_->server.reset();
    std::error_code ignored;
    std::filesystem::remove(impl_->socket, ignored);  // gRPC did, unless the file was replaced
}

PluginServer::Streams PluginServer::streams() const {
    return impl_->service.streams();
}

}  // namespace egpu::kubelet
