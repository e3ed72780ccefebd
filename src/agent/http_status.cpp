#include "agent/http_status.h"

#include "base/json.h"
#include "base/metrics.h"

namespace egpu::agent {
namespace {

struct Sources {
    const DevicePlugins& plugins;
    const Allocator& allocator;
    const PodsView& pods;
};

// Gauges of states that change without an event here.
void refresh_gauges(const Sources& from) {
    static auto connected =
        metrics::gauge("edge_gpu_agent_api_connected", "1 while a watch of the pods is open.");
    connected.set(from.pods.connected() ? 1 : 0);
    static auto driver =
        metrics::gauge("edge_gpu_agent_driver_up", "1 when the driver's last answer was good.");
    driver.set(
        from.allocator.driver_answered() && from.allocator.inventory().error.empty() ? 1 : 0
    );
}

// "" when ready; else what is missing. A link that is down does not make the node unready.
std::string unready(const Sources& from) {
    std::string text;
    if (!from.allocator.driver_answered()) {
        const std::string error = from.allocator.inventory().error;
        text +=
            "the NVIDIA driver has not answered yet" + (error.empty() ? "" : ": " + error) + "\n";
    }
    for (const auto& [resource, state] : from.plugins.states()) {
        if (state == kubelet::PluginState::kStreaming) continue;
        text += std::string(resource_name(resource)) + ": " + std::string(to_string(state)) + "\n";
    }
    return text;
}

json::value status_of(const Sources& from) {
    std::vector<CardUse> uses;
    std::vector<Record> records;
    from.allocator.look([&](const NodeLedger& ledger) {
        uses = ledger.usage();
        records = ledger.records();
    });
    json::array cards;
    for (const CardUse& use : uses) {
        cards.push_back(json::object{
            {"uuid", use.card.uuid},
            {"index", use.card.index},
            {"model", use.card.model},
            {"healthy", use.card.healthy},
            {"usedPercent", use.percent},
            {"whole", use.whole}});
    }
    json::array holders;
    for (const Record& record : records) {
        json::array on;
        for (const core::CardShare& share : record.cards) {
            on.push_back(json::object{
                {"uuid", share.uuid}, {"index", share.index}, {"percent", share.percent}});
        }
        holders.push_back(json::object{
            {"token", record.token},
            {"resource", resource_name(record.resource)},
            {"units", record.ids.size()},
            {"cards", std::move(on)},
            {"namespace", record.holder.pod_namespace},
            {"pod", record.holder.pod_name},
            {"podUID", record.holder.pod_uid},
            {"container", record.holder.container},
            {"confirmed", record.holder.confirmed},
            {"override", record.overridden()}});
    }
    json::object registration;
    for (const auto& [resource, state] : from.plugins.states()) {
        registration[resource_name(resource)] = to_string(state);
    }
    return json::object{
        {"cards", std::move(cards)},
        {"holders", std::move(holders)},
        {"registration", std::move(registration)},
        {"injection",
         json::object{
             {"strategy", from.allocator.injection()}, {"why", from.allocator.injection_reason()}}},
        {"apiConnected", from.pods.connected()},
        {"driver", from.allocator.inventory().driver_version},
        {"driverError", from.allocator.inventory().error}};
}

void answer(http::Exchange& exchange, const Sources& from) {
    const http::ServerRequest& request = exchange.request();
    constexpr std::string_view kText = "text/plain; charset=utf-8";
    if (request.method != "GET" && request.method != "HEAD") {
        static_cast<void>(exchange.respond(405, kText, "only GET\n", {{"Allow", "GET, HEAD"}}));
    } else if (request.path == "/metrics") {
        refresh_gauges(from);
        static_cast<void>(
            exchange.respond(200, "text/plain; version=0.0.4; charset=utf-8", metrics::render())
        );
    } else if (request.path == "/healthz") {
        static_cast<void>(exchange.respond(200, kText, "ok\n"));
    } else if (request.path == "/readyz") {
        const std::string missing = unready(from);
        static_cast<void>(
            missing.empty() ? exchange.respond(200, kText, "ok\n")
                            : exchange.respond(503, kText, missing)
        );
    } else if (request.path == "/status") {
        static_cast<void>(
            exchange.respond(200, "application/json", json::to_text(status_of(from)) + "\n")
        );
    } else {
        static_cast<void>(exchange.respond(
            404, kText, "not found; there are /metrics, /healthz, /readyz, /status\n"
        ));
    }
}

}  // namespace

Result<std::unique_ptr<http::Server>> start_http_status(
    const std::string& listen,
    const DevicePlugins& plugins,
    const Allocator& allocator,
    const PodsView& pods
) {
    http::ServerOptions options;
    options.listen = listen;
    options.name = "agent";
    options.max_connections = 16;
    options.max_body = 1U << 10;
    options.stack_bytes = 256U << 10;
    return http::Server::start(
        std::move(options),
        [from = Sources{plugins, allocator, pods}](http::Exchange& exchange) {
            answer(exchange, from);
        }
    );
}

}  // namespace egpu::agent
