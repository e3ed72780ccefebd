// Test only: an API server that does what each test says, and remembers what it was asked.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/json.h"
#include "http/server.h"
#include "k8s/client.h"

namespace egpu::k8s {

struct Asked {
    std::string method;
    std::string path;
    http::Query query = {};
    http::Headers headers = {};
    std::string body = {};
};

class ScriptedApi {
  public:
    // The n-th call (from 0) of the script; the body has been read.
    using Script = std::function<void(int n, const Asked&, http::Exchange&)>;

    explicit ScriptedApi(Script script) : script_(std::move(script)) {
        auto server = http::Server::start({}, [this](http::Exchange& ex) { serve(ex); });
        EXPECT_TRUE(server) << server.error().message;
        server_ = std::move(*server);
    }
    ~ScriptedApi() { server_->stop(Duration::zero()); }

    Config config() const {
        Config config;
        config.server = "http://127.0.0.1:" + std::to_string(server_->port());
        config.source = "test";
        return config;
    }
    Client client(const std::string& user_agent = "edge-gpu-test") const {
        return *Client::open(config(), {.user_agent = user_agent});
    }
    std::vector<Asked> asked() const {
        const std::lock_guard lock(mutex_);
        return asked_;
    }
    std::size_t count() const { return asked().size(); }

  private:
    void serve(http::Exchange& ex) {
        Asked asked{
            ex.request().method, ex.request().path, ex.request().query, ex.request().headers};
        asked.body = ex.read_all(1U << 20).value();
        int n = 0;
        {
            const std::lock_guard lock(mutex_);
            n = static_cast<int>(asked_.size());
            asked_.push_back(asked);
        }
        script_(n, asked, ex);
    }

    Script script_;
    mutable std::mutex mutex_;
    std::vector<Asked> asked_;
    std::unique_ptr<http::Server> server_;
};

inline void answer(
    http::Exchange& ex, int status, const std::string& body, const http::Headers& extra = {}
) {
    static_cast<void>(ex.respond(status, "application/json", body, extra));
}

inline std::string status_body(int code, const std::string& reason, const std::string& message) {
    return R"({"kind":"Status","apiVersion":"v1","status":"Failure","reason":")" + reason +
           R"(","message":")" + message + R"(","code":)" + std::to_string(code) + "}";
}

inline TimePoint in(Millis ms) {
    return MonoClock::now() + ms;
}

// Waits for `condition`, for at most ten seconds.
inline bool eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 2000; ++i) {
        if (condition()) return true;
        std::this_thread::sleep_for(Millis(5));
    }
    return condition();
}

}  // namespace egpu::k8s
