// What the tests of this folder share: a running server, an HTTP client for it, and a reader of
// watch lines.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "http/client.h"
#include "testing/apiserver/api_server.h"

namespace egpu::testing {

struct Reply {
    int status = 0;
    json::value body;
    std::string text;
    http::Headers headers;
};

// One open watch; next() gives its events in order.
class WatchReader {
  public:
    WatchReader(http::Client& client, const std::string& target) {
        http::Request request;
        request.target = target;
        auto opened = client.stream(request, MonoClock::now() + Seconds(10));
        EXPECT_TRUE(opened.ok()) << (opened.ok() ? "" : opened.error().message);
        if (opened) stream_ = std::move(*opened);
    }

    int status() const { return stream_->status(); }

    // "ADDED p", "BOOKMARK ", "ERROR 410", "END" (orderly), "CUT", or "" after `patience`.
    std::string next(Duration patience = Seconds(10)) {
        const TimePoint deadline = MonoClock::now() + patience;
        for (;;) {
            const std::size_t end = buffer_.find('\n');
            if (end != std::string::npos) {
                auto parsed = json::parse(buffer_.substr(0, end));
                EXPECT_TRUE(parsed.ok()) << buffer_.substr(0, end);
                buffer_.erase(0, end + 1);
                if (!parsed) return "NOT JSON";
                last = *parsed;
                std::string out(json::get_string(last, {"type"}));
                out += ' ';
                if (out == "ERROR ") {
                    out += std::to_string(json::get_int(last, {"object", "code"}).value_or(0));
                } else {
                    out += json::get_string(last, {"object", "metadata", "name"});
                }
                return out;
            }
            char piece[4096];
            const auto n = stream_->read_some(piece, deadline);
            if (!n) return n.error().code == ErrorCode::kDeadline ? "" : "CUT";
            if (*n == 0) return "END";
            buffer_.append(piece, *n);
        }
    }

    json::value last;  // the event next() spoke of

  private:
    std::unique_ptr<http::ResponseStream> stream_;
    std::string buffer_;
};

class RestFixture : public ::testing::Test {
  protected:
    void SetUp() override { launch({}); }

    void launch(ApiServerOptions options) {
        client_.reset();
        server_.reset();
        auto started = ApiServer::start(std::move(options));
        ASSERT_TRUE(started.ok()) << started.error().message;
        server_ = std::move(*started);
        http::ClientOptions client_options;
        client_options.base_url = server_->url();
        client_ = http::Client::open(client_options).value();
    }

    Reply call(
        std::string method,
        std::string target,
        std::string body = "",
        std::string type = "application/json",
        http::Headers headers = {}
    ) {
        http::Request request;
        request.method = std::move(method);
        request.target = std::move(target);
        request.body = std::move(body);
        if (!request.body.empty()) request.content_type = std::move(type);
        request.headers = std::move(headers);
        auto response = client_->call(request, MonoClock::now() + Seconds(20));
        if (!response) return Reply{0, {}, response.error().message, {}};
        Reply reply{response->status, {}, response->body, response->headers};
        if (auto parsed = json::parse(response->body)) reply.body = *parsed;
        return reply;
    }
    Reply get(std::string target) { return call("GET", std::move(target)); }
    Reply merge(std::string target, std::string body) {
        return call("PATCH", std::move(target), std::move(body), "application/merge-patch+json");
    }

    static std::string pod_text(
        const std::string& name, const std::string& more_metadata = "", const std::string& spec = ""
    ) {
        return R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name + "\"" +
               more_metadata + R"(},"spec":{)" + spec +
               R"("containers":[{"name":"main","image":"cuda:12"}]}})";
    }
    Reply make_pod(
        const std::string& name, const std::string& more_metadata = "", const std::string& spec = ""
    ) {
        return call("POST", kPods, pod_text(name, more_metadata, spec));
    }

    static std::vector<std::string> item_names(const Reply& reply) {
        std::vector<std::string> out;
        const json::array* items = json::get_array(reply.body, {"items"});
        for (std::size_t i = 0; items != nullptr && i < items->size(); ++i)
            out.emplace_back(json::get_string((*items)[i], {"metadata", "name"}));
        return out;
    }
    static std::string version_of(const Reply& reply) {
        return std::string(json::get_string(reply.body, {"metadata", "resourceVersion"}));
    }
    static std::string reason(const Reply& reply) {
        return std::string(json::get_string(reply.body, {"reason"}));
    }
    static std::string message(const Reply& reply) {
        return std::string(json::get_string(reply.body, {"message"}));
    }

    static constexpr const char* kPods = "/api/v1/namespaces/default/pods";
    std::unique_ptr<ApiServer> server_;
    std::unique_ptr<http::Client> client_;
};

}  // namespace egpu::testing
