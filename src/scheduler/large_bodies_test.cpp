// Whole nodes are kept until the answer is sent: how much of them at once.
#include <algorithm>
#include <functional>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/handlers.h"
#include "scheduler/objects_for_test.h"

namespace egpu::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A request whose body arrives as the test wants it.
class ScriptedExchange final : public http::Exchange {
  public:
    ScriptedExchange(std::string path, std::string body, std::function<void()> half_way = {})
        : body_(std::move(body)), half_way_(std::move(half_way)) {
        request_.method = "POST";
        request_.path = std::move(path);
    }
    const http::ServerRequest& request() const override { return request_; }
    Result<std::size_t> read_some(std::span<char> into) override {
        if (half_way_ && at_ >= body_.size() / 2) std::exchange(half_way_, {})();
        const std::size_t n = std::min({into.size(), body_.size() - at_, std::size_t{64} << 10});
        std::copy_n(body_.data() + at_, n, into.data());
        at_ += n;
        return n;
    }
    Result<std::string> read_all(std::size_t) override { return std::string(); }
    Status
    respond_pieces(int, std::string_view, std::span<const std::string_view> body, const http::Headers&)
        override {
        for (const std::string_view piece : body) answer += piece;
        return ok_status();
    }
    Status begin_stream(int, std::string_view, const http::Headers&) override {
        return ok_status();
    }
    Status write_stream(std::string_view) override { return ok_status(); }
    Status end_stream() override { return ok_status(); }
    void abandon() override {}
    bool responded() const override { return !answer.empty(); }
    bool peer_closed() override { return false; }
    const StopToken& stopping() const override { return stopping_; }

    std::string answer;

  private:
    http::ServerRequest request_;
    std::string body_;
    std::size_t at_ = 0;
    std::function<void()> half_way_;
    StopSource stop_;
    StopToken stopping_ = stop_.token();
};

TEST(LargeBodies, ThatComeAtOnceAreRefusedBeforeMemoryEnds) {
    Gate gate;
    GateProbes probes;
    probes.synced = [] { return true; };
    probes.api_error = [] { return std::string(); };
    gate.open(probes);
    State state{StateOptions{}};
    Handlers limited(state, gate, 5U << 20);
    json::value node = node_with_cards_json("t4", 2);
    node.as_object()["padding"] = std::string(3U << 20, 'x');
    const std::string large = filter_body_with_nodes(share_pod("p", 10), {node});
    const std::string small = filter_body(share_pod("p", 10), {"t4"});
    const auto ask = [&](const std::string& body, std::function<void()> half_way = {}) {
        ScriptedExchange exchange("/scheduler/filter", body, std::move(half_way));
        limited.handle(exchange);
        return *json::parse(exchange.answer);
    };
    std::vector<std::string> errors;
    const auto alone = ask(large, [&] {
        const auto second = ask(large, [&] {
            errors.emplace_back(json::get_string(ask(large), {"Error"}));
            errors.emplace_back(json::get_string(ask(small), {"Error"}));
        });
        errors.emplace_back(json::get_string(second, {"Error"}));
    });
    errors.emplace_back(json::get_string(alone, {"Error"}));
    errors.emplace_back(json::get_string(ask(large), {"Error"}));
    EXPECT_THAT(
        errors,
        ElementsAre(HasSubstr("nodeCacheCapable"), IsEmpty(), IsEmpty(), IsEmpty(), IsEmpty())
    );
}

}  // namespace
}  // namespace egpu::scheduler
