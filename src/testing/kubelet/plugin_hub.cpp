#include "testing/kubelet/plugin_hub.h"

#include <atomic>
#include <list>
#include <map>
#include <mutex>
#include <thread>

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_context.h>

#include "base/log.h"
#include "device_plugin_v1beta1.grpc.pb.h"
#include "kubelet/grpc_status.h"

namespace egpu::testing {
namespace {

bool extended_resource(const std::string& name) {
    const auto slash = name.find('/');
    return slash != std::string::npos && slash > 0 && slash + 1 < name.size() &&
           name.find("kubernetes.io/") == std::string::npos && !name.starts_with("requests.") &&
           name.size() - slash - 1 <= 63;
}

}  // namespace

struct PluginHub::Impl final : v1beta1::Registration::Service {
    Impl(const KubeletOptions& o, DeviceState& s, std::function<void()> c)
        : options(o), state(s), changed(std::move(c)) {}

    grpc::Status
    Register(grpc::ServerContext*, const v1beta1::RegisterRequest* request, v1beta1::Empty*)
        override {
        if (request->version() != "v1beta1") {
            return {
                grpc::StatusCode::UNKNOWN,
                "requested API version \"" + request->version() +
                    "\" is not supported by kubelet. Supported versions are [\"v1beta1\"]"};
        }
        const std::string& resource = request->resource_name();
        if (!extended_resource(resource)) {
            return {grpc::StatusCode::UNKNOWN, "the ResourceName \"" + resource + "\" is invalid"};
        }
        const auto socket = options.root / "device-plugins" / request->endpoint();
        if (options.dialect == Dialect::k1_21) {
            const PluginOptions plugin{
                request->options().pre_start_required(),
                request->options().get_preferred_allocation_available()};
            background([this, resource, socket, plugin] { add_1_21(resource, socket, plugin); });
            return grpc::Status::OK;
        }
        const auto connected = add_1_34(resource, socket);
        if (connected) return grpc::Status::OK;
        return {grpc::StatusCode::UNKNOWN, connected.error().message};
    }

    // Dials after Register was answered; a failure is known to the log only.
    void add_1_21(
        const std::string& resource, const std::filesystem::path& socket, PluginOptions plugin
    ) {
        const auto dialled =
            PluginClient::dial(socket, options.dialect, options.dial_deadline, stopping);
        if (!dialled) {
            log::debug("embedded kubelet", {{"dial", dialled.error().message}});
            return;
        }
        const auto& client = *dialled;
        if (!keep(resource, client)) return;
        state.endpoint_added(resource, client, plugin);
        follow(resource, *client);
        client->disconnect();
        if (stopping) return;
        state.endpoint_gone(resource, client.get());
        changed();
    }

    Status add_1_34(const std::string& resource, const std::filesystem::path& socket) {
        EG_TRY(
            const auto client,
            PluginClient::dial(socket, options.dialect, options.dial_deadline, stopping)
        );
        EG_TRY(const auto plugin, client->options(options.dial_deadline));
        if (!keep(resource, client)) return Error{ErrorCode::kStopped, "kubelet is stopping"};
        state.endpoint_added(resource, client, plugin);
        background([this, resource, client] {
            follow(resource, *client);
            // The kubelet's bug: it looks up by name, so the end of an old stream disconnects
            // whoever holds the resource now.
            const auto victim = drop(resource);
            if (!victim || stopping) return;
            victim->disconnect();
            state.endpoint_gone(resource);
            changed();
        });
        return {};
    }

    void follow(const std::string& resource, PluginClient& client) {
        client.follow([&](const std::vector<egpu::kubelet::Device>& devices) {
            if (stopping) return;
            state.devices_updated(resource, devices);
            changed();
        });
    }

    bool keep(const std::string& resource, const std::shared_ptr<PluginClient>& client) {
        const std::scoped_lock lock(mutex);
        if (stopping) return false;
        by_name[resource] = client;
        all.push_back(client);
        return true;
    }

    std::shared_ptr<PluginClient> drop(const std::string& resource) {
        const std::scoped_lock lock(mutex);
        const auto at = by_name.find(resource);
        if (at == by_name.end()) return nullptr;
        auto client = at->second;
        by_name.erase(at);
        return client;
    }

    // Runs `work` on a thread that stop() joins; finished ones are joined on the way.
    void background(std::function<void()> work) {
        const std::scoped_lock lock(mutex);
        if (stopping) return;
        std::erase_if(threads, [](Worker& worker) {
            if (!worker.done) return false;
            worker.thread.join();
            return true;
        });
        Worker& worker = threads.emplace_back();
        worker.thread = std::thread([&worker, work = std::move(work)] {
            work();
            worker.done = true;
        });
    }

    struct Worker {
        std::thread thread;
        std::atomic<bool> done{false};
    };

    const KubeletOptions& options;
    DeviceState& state;
    const std::function<void()> changed;
    std::atomic<bool> stopping{false};
    std::unique_ptr<grpc::Server> server;

    std::mutex mutex;
    std::map<std::string, std::shared_ptr<PluginClient>> by_name;
    std::vector<std::weak_ptr<PluginClient>> all;
    std::list<Worker> threads;
};

PluginHub::PluginHub(
    const KubeletOptions& options, DeviceState& state, std::function<void()> changed
)
    : impl_(std::make_unique<Impl>(options, state, std::move(changed))) {}

PluginHub::~PluginHub() {
    stop();
}

Status PluginHub::start() {
    egpu::kubelet::route_grpc_log();
    const auto socket = impl_->options.root / "device-plugins" / "kubelet.sock";
    grpc::ServerBuilder builder;
    builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
    builder.AddListeningPort("unix:" + socket.string(), grpc::InsecureServerCredentials());
    builder.RegisterService(impl_.get());
    impl_->server = builder.BuildAndStart();
    if (impl_->server) return {};
    return Error{ErrorCode::kUnavailable, "embedded kubelet: cannot listen on " + socket.string()};
}

void PluginHub::stop() {
    {
        const std::scoped_lock lock(impl_->mutex);
        impl_->stopping = true;
        for (const auto& weak : impl_->all) {
            if (const auto client = weak.lock()) client->disconnect();
        }
    }
    if (impl_->server) {
        impl_->server->Shutdown(std::chrono::system_clock::now());
        impl_->server->Wait();
        impl_->server.reset();
    }
    for (auto& worker : impl_->threads) {
        if (worker.thread.joinable()) worker.thread.join();
    }
    impl_->threads.clear();
}

}  // namespace egpu::testing
