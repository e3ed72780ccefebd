#include "testing/kubelet/pod_resources_server.h"

#include <algorithm>
#include <mutex>

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_context.h>

#include "base/clock.h"
#include "kubelet/grpc_status.h"
#include "pod_resources_v1.grpc.pb.h"
#include "pod_resources_v1alpha1.grpc.pb.h"

namespace egpu::testing {
namespace {

// 100 calls a second, 10 at once (1.29 and later).
class RateLimit {
  public:
    bool take() {
        const std::scoped_lock lock(mutex_);
        const auto now = MonoClock::now();
        const std::chrono::duration<double> passed = now - last_;
        last_ = now;
        tokens_ = std::min(10.0, tokens_ + passed.count() * 100.0);
        if (tokens_ < 1.0) return false;
        tokens_ -= 1.0;
        return true;
    }

  private:
    std::mutex mutex_;
    TimePoint last_ = MonoClock::now();
    double tokens_ = 10.0;
};

// What both API versions answer from.
struct Source {
    const KubeletOptions& options;
    DeviceState& state;
    std::function<std::vector<PodSpec>()> pods;
    std::function<bool()> sources_ready;
    RateLimit limit{};

    grpc::Status admit() {
        if (options.dialect == Dialect::k1_34 && !limit.take()) {
            return {grpc::StatusCode::RESOURCE_EXHAUSTED, "rejected by rate limit"};
        }
        return grpc::Status::OK;
    }

    // Plain init containers are never listed, sidecars from 1.30 on.
    bool listed(const ContainerSpec& container) const {
        return container.kind == ContainerKind::kApp ||
               (container.kind == ContainerKind::kSidecar && options.dialect == Dialect::k1_34);
    }

    // One entry per device ID.
    template <class Pod>
    void fill(Pod& out, const PodSpec& pod) const {
        out.set_name(pod.name);
        out.set_namespace_(pod.ns);
        for (const auto& container : pod.containers) {
            if (!listed(container)) continue;
            auto* shown = out.add_containers();
            shown->set_name(container.name);
            for (const auto& [resource, holding] : state.holdings(pod.uid, container.name)) {
                for (const auto& [id, numa] : holding.ids) {
                    auto* entry = shown->add_devices();
                    entry->set_resource_name(resource);
                    entry->add_device_ids(id);
                    if constexpr (requires { entry->mutable_topology(); }) {
                        if (numa >= 0) entry->mutable_topology()->add_nodes()->set_id(numa);
                    }
                }
            }
        }
    }

    template <class Response>
    grpc::Status list(Response& out) {
        if (const auto status = admit(); !status.ok()) return status;
        const auto all = pods();
        state.update_allocated(sources_ready());
        for (const auto& pod : all) fill(*out.add_pod_resources(), pod);
        return grpc::Status::OK;
    }
};

class ServiceV1 final : public v1::PodResourcesLister::Service {
  public:
    explicit ServiceV1(Source& source) : source_(source) {}

    grpc::Status List(
        grpc::ServerContext*, const v1::ListPodResourcesRequest*, v1::ListPodResourcesResponse* out
    ) override {
        return source_.list(*out);
    }

    grpc::Status GetAllocatableResources(
        grpc::ServerContext*,
        const v1::AllocatableResourcesRequest*,
        v1::AllocatableResourcesResponse* out
    ) override {
        if (source_.options.dialect == Dialect::k1_21) {
            return {
                grpc::StatusCode::UNKNOWN, "Pod Resources API GetAllocatableResources disabled"};
        }
        if (const auto status = source_.admit(); !status.ok()) return status;
        for (const auto& [resource, ids] : source_.state.all_devices()) {
            for (const auto& [id, numa] : ids) {
                auto* entry = out->add_devices();
                entry->set_resource_name(resource);
                entry->add_device_ids(id);
                if (numa >= 0) entry->mutable_topology()->add_nodes()->set_id(numa);
            }
        }
        return grpc::Status::OK;
    }

    grpc::Status Get(
        grpc::ServerContext*,
        const v1::GetPodResourcesRequest* request,
        v1::GetPodResourcesResponse* out
    ) override {
        if (source_.options.dialect == Dialect::k1_21) {
            return {
                grpc::StatusCode::UNIMPLEMENTED,
                "unknown method Get for service v1.PodResourcesLister"};
        }
        if (const auto status = source_.admit(); !status.ok()) return status;
        for (const auto& pod : source_.pods()) {
            if (pod.name != request->pod_name() || pod.ns != request->pod_namespace()) continue;
            source_.fill(*out->mutable_pod_resources(), pod);
            return grpc::Status::OK;
        }
        return {
            grpc::StatusCode::UNKNOWN,
            "pod " + request->pod_name() + " in namespace " + request->pod_namespace() +
                " not found"};
    }

  private:
    Source& source_;
};

class ServiceV1Alpha1 final : public v1alpha1::PodResourcesLister::Service {
  public:
    explicit ServiceV1Alpha1(Source& source) : source_(source) {}

    grpc::Status List(
        grpc::ServerContext*,
        const v1alpha1::ListPodResourcesRequest*,
        v1alpha1::ListPodResourcesResponse* out
    ) override {
        return source_.list(*out);
    }

  private:
    Source& source_;
};

}  // namespace

struct PodResourcesServer::Impl {
    Source source;
    ServiceV1 v1{source};
    ServiceV1Alpha1 v1alpha1{source};
    std::unique_ptr<grpc::Server> server{};
};

PodResourcesServer::PodResourcesServer(
    const KubeletOptions& options,
    DeviceState& state,
    std::function<std::vector<PodSpec>()> pods,
    std::function<bool()> sources_ready
)
    : impl_(new Impl{{options, state, std::move(pods), std::move(sources_ready)}}) {}

PodResourcesServer::~PodResourcesServer() {
    stop();
}

Status PodResourcesServer::start() {
    egpu::kubelet::route_grpc_log();
    const auto socket = impl_->source.options.root / "pod-resources" / "kubelet.sock";
    grpc::ServerBuilder builder;
    builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
    builder.AddListeningPort("unix:" + socket.string(), grpc::InsecureServerCredentials());
    if (impl_->source.options.serve_pod_resources_v1) builder.RegisterService(&impl_->v1);
    builder.RegisterService(&impl_->v1alpha1);
    impl_->server = builder.BuildAndStart();
    if (impl_->server) return {};
    return Error{ErrorCode::kUnavailable, "embedded kubelet: cannot listen on " + socket.string()};
}

void PodResourcesServer::stop() {
    if (!impl_->server) return;
    impl_->server->Shutdown(std::chrono::system_clock::now());
    impl_->server->Wait();
    impl_->server.reset();
}

}  // namespace egpu::testing
