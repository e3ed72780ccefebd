#include "kubelet/pod_resources.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "kubelet/grpc_status.h"
#include "pod_resources_v1.grpc.pb.h"
#include "pod_resources_v1alpha1.grpc.pb.h"

namespace egpu::kubelet {
namespace {

constexpr int kReceiveLimit = 16 << 20;
constexpr Millis kRateLimitPause{10};  // the kubelet's bucket refills at 100 a second

template <class Response>
std::vector<PodResources> convert(const Response& response) {
    std::vector<PodResources> pods;
    pods.reserve(static_cast<std::size_t>(response.pod_resources_size()));
    for (const auto& from : response.pod_resources()) {
        PodResources& pod =
            pods.emplace_back(PodResources{.ns = from.namespace_(), .name = from.name()});
        for (const auto& listed : from.containers()) {
            // One entry per device ID and NUMA node.
            std::map<std::string, std::set<std::string>> joined;
            for (const auto& entry : listed.devices()) {
                joined[entry.resource_name()].insert(
                    entry.device_ids().begin(), entry.device_ids().end()
                );
            }
            auto& container = pod.containers.emplace_back();
            container.name = listed.name();
            for (auto& [resource, ids] : joined) {
                container.devices[resource].assign(ids.begin(), ids.end());
            }
        }
    }
    return pods;
}

void set_deadline(grpc::ClientContext& context, TimePoint deadline) {
    context.set_deadline(
        std::chrono::system_clock::now() +
        std::chrono::duration_cast<std::chrono::system_clock::duration>(deadline - MonoClock::now())
    );
}

template <class Api>
struct Call;
template <>
struct Call<v1::PodResourcesLister> {
    v1::ListPodResourcesRequest request;
    v1::ListPodResourcesResponse response;
};
template <>
struct Call<v1alpha1::PodResourcesLister> {
    v1alpha1::ListPodResourcesRequest request;
    v1alpha1::ListPodResourcesResponse response;
};

template <class Api>
grpc::Status list_by(
    const std::shared_ptr<grpc::Channel>& channel,
    TimePoint deadline,
    std::vector<PodResources>& out
) {
    Call<Api> call;
    grpc::ClientContext context;
    set_deadline(context, deadline);
    auto status = Api::NewStub(channel)->List(&context, call.request, &call.response);
    if (status.ok()) out = convert(call.response);
    return status;
}

}  // namespace

struct PodResourcesClient::Impl {
    explicit Impl(std::filesystem::path path) : socket(std::move(path)) {}

    std::shared_ptr<grpc::Channel> connected() {
        const std::scoped_lock lock(mutex);
        if (!channel) {
            grpc::ChannelArguments arguments;
            arguments.SetMaxReceiveMessageSize(kReceiveLimit);
            arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
            arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
            channel = grpc::CreateCustomChannel(
                "unix:" + socket.string(), grpc::InsecureChannelCredentials(), arguments
            );
        }
        return channel;
    }
    // After a kubelet restart: the next call must not wait for the old channel's back-off.
    void drop(const std::shared_ptr<grpc::Channel>& broken) {
        const std::scoped_lock lock(mutex);
        if (channel != broken) return;
        channel.reset();
        alpha = false;
    }

    const std::filesystem::path socket;
    std::mutex mutex;
    std::shared_ptr<grpc::Channel> channel;
    bool alpha = false;  // this kubelet has no v1
};

PodResourcesClient::PodResourcesClient(const std::filesystem::path& socket)
    : impl_(std::make_unique<Impl>(std::filesystem::absolute(socket))) {}
PodResourcesClient::~PodResourcesClient() = default;

Result<std::vector<PodResources>> PodResourcesClient::list(TimePoint deadline) {
    route_grpc_log();
    std::vector<PodResources> pods;
    for (bool fresh = false;;) {
        bool alpha = false;
        {
            const std::scoped_lock lock(impl_->mutex);
            fresh = impl_->channel == nullptr;
            alpha = impl_->alpha;
        }
        const auto channel = impl_->connected();
        const auto status = alpha ? list_by<v1alpha1::PodResourcesLister>(channel, deadline, pods)
                                  : list_by<v1::PodResourcesLister>(channel, deadline, pods);
        if (status.ok()) return pods;
        const bool time_left = MonoClock::now() + kRateLimitPause < deadline;
        if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED && !alpha) {
            const std::scoped_lock lock(impl_->mutex);
            impl_->alpha = true;
            continue;
        }
        if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED && time_left &&
            status.error_message().find("larger than max") == std::string::npos) {
            std::this_thread::sleep_for(kRateLimitPause);
            continue;
        }
        if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
            impl_->drop(channel);
            if (!fresh && time_left) continue;  // the connection of a kubelet that is gone
        }
        return from_grpc(status, "pod-resources on " + impl_->socket.string());
    }
}

}  // namespace egpu::kubelet
