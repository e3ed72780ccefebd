// The inside of ApiServer: the store, the rules, and the handler of each request. Not for tests.
//
// Locks: server_mutex guards the listening server, logs_mutex the logs; the other parts have their
// own. None is held while the server waits for its handlers.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "http/server.h"
#include "testing/apiserver/api.h"
#include "testing/apiserver/api_server.h"
#include "testing/apiserver/lite_cache.h"
#include "testing/apiserver/rest.h"

namespace egpu::testing {

struct ApiServer::State {
    explicit State(ApiServerOptions o)
        : options(std::move(o)),
          store(all_resources().size(), options.history),
          api(store, options.check_binding_uid),
          rest(api, store, [this](auto ns, auto pod, auto container) {
              return find_log(ns, pod, container);
          }) {}

    Status open();
    Status change_mode(ServerMode mode);
    void handle(http::Exchange& exchange);
    bool authorised(const http::ServerRequest& request) const;
    // Called with the status of an answer just before it is sent, so that whoever has the answer
    // finds the request recorded.
    using Record = std::function<void(int)>;
    // True when the fault made the answer (or its absence).
    bool apply_fault(http::Exchange& exchange, const FaultRule& rule, const Record& record);
    void handle_offline(http::Exchange& exchange, const Record& record);
    RestAnswer answer(http::Exchange& exchange);
    void watch(http::Exchange& exchange, const Target& target);

    std::optional<std::string> find_log(
        std::string_view ns, std::string_view pod, std::string_view container
    );
    void set_log(
        std::string_view ns, std::string_view pod, std::string_view container, std::string text
    );

    const ApiServerOptions options;
    ObjectStore store;
    Api api;
    Rest rest;
    Faults faults;
    LiteCache lite;

    std::mutex logs_mutex;
    std::map<std::string, std::string> logs;  // "namespace/pod/container"

    std::mutex server_mutex;
    std::unique_ptr<http::Server> server;  // nullptr while connections are refused
    std::atomic<int> port{0};
};

}  // namespace egpu::testing
