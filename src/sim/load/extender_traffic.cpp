#include "sim/load/extender_traffic.h"

#include "base/json.h"

namespace egpu::sim::load {

namespace {

constexpr std::size_t kChunk = 64;
constexpr Duration kTimeout = Seconds(5);

// What lies between `from` and the last `to` after it; "" when either is missing.
std::string_view between(std::string_view text, std::string_view from, std::string_view to) {
    const std::size_t begin = text.find(from);
    if (begin == std::string_view::npos) return {};
    const std::size_t first = begin + from.size();
    const std::size_t end = text.find(to, first);
    if (end == std::string_view::npos) return {};
    return text.substr(first, end - first);
}

}  // namespace

Candidates::Candidates(std::vector<std::string> texts, bool names) : names_(names) {
    for (std::size_t i = 0; i < texts.size(); ++i) {
        if (i % kChunk == 0) chunks_.emplace_back();
        if (i % kChunk != 0) chunks_.back() += ',';
        chunks_.back() += texts[i];
        bytes_ += texts[i].size() + 1;
    }
}

void Candidates::append_to(std::string& body, Random& random) const {
    const std::size_t first = random.below(chunks_.size());
    for (std::size_t i = 0; i < chunks_.size(); ++i) {
        if (i > 0) body += ',';
        body += chunks_[(first + i) % chunks_.size()];
    }
}

template <class Append>
std::string ExtenderTraffic::body_with(std::string_view pod_json, Append&& append) const {
    std::string body;
    body.reserve(pod_json.size() + candidates_.bytes() + 80);
    body += R"({"Pod":)";
    body += pod_json;
    body += candidates_.names() ? R"(,"Nodes":null,"NodeNames":[)"
                                : R"(,"Nodes":{"metadata":{},"items":[)";
    append(body);
    body += candidates_.names() ? "]}" : R"(]},"NodeNames":null})";
    return body;
}

Result<std::string> ExtenderTraffic::post(const char* verb, std::string body, Duration& took) {
    http::Request request;
    request.method = "POST";
    request.target = std::string("/scheduler/") + verb;
    request.content_type = "application/json";
    request.body = std::move(body);
    const TimePoint begin = MonoClock::now();
    auto answer = client_.call(request, begin + kTimeout);
    took = MonoClock::now() - begin;
    if (!answer) return answer.error();
    if (answer->status != 200) {
        return Error{ErrorCode::kUnavailable, "status " + std::to_string(answer->status)};
    }
    return std::move(answer->body);
}

Cycle ExtenderTraffic::cycle(std::string_view pod_json) {
    Cycle out;
    auto body = body_with(pod_json, [&](std::string& to) { candidates_.append_to(to, random_); });
    const auto filtered = post("filter", std::move(body), out.filter);
    if (!filtered) {
        out.reason = filtered.error().message;
        return out;
    }
    const std::string_view tail =
        std::string_view(*filtered).substr(filtered->rfind(R"("Error":)"));
    if (!tail.starts_with(R"("Error":"")")) {
        out.reason = tail;
        return out;
    }
    const bool names = candidates_.names();
    const std::string_view left = names ? between(*filtered, R"("NodeNames":[)", "]")
                                        : between(*filtered, R"("items":[)", R"(]},"NodeNames")");
    if (left.empty()) return out;
    body = body_with(pod_json, [&](std::string& to) { to += left; });
    const auto ranked = post("priorities", std::move(body), out.priorities);
    if (!ranked) {
        out.reason = ranked.error().message;
        return out;
    }
    choose(*ranked, out);
    return out;
}

// [{"Host":"n","Score":5},…]
void ExtenderTraffic::choose(std::string_view answer, Cycle& out) {
    constexpr std::string_view kHost = R"({"Host":")";
    constexpr std::string_view kScore = R"(","Score":)";
    int equals = 0;
    std::string_view best;
    for (std::size_t at = 1; answer.substr(at, kHost.size()) == kHost;) {
        const std::size_t from = at + kHost.size();
        const std::size_t end = answer.find('"', from);
        const std::size_t digits = end + kScore.size();
        if (end == std::string_view::npos || digits + 2 >= answer.size()) break;
        const bool ten = answer[digits + 1] == '0';  // 0 to 10
        const int score = ten ? 10 : answer[digits] - '0';
        at = digits + (ten ? 4 : 3);
        if (score < out.score) continue;
        equals = score == out.score ? equals + 1 : 1;
        out.score = score;
        if (equals == 1 || random_.below(static_cast<std::uint64_t>(equals)) == 0) {
            best = answer.substr(from, end - from);
        }
    }
    out.node = best;
}

std::string bind_pod(
    http::Client& client, std::string_view pod, std::string_view uid, std::string_view node
) {
    http::Request request;
    request.method = "POST";
    request.target = "/scheduler/bind";
    request.content_type = "application/json";
    request.body = json::to_text(json::object{
        {"PodName", pod}, {"PodNamespace", "default"}, {"PodUID", uid}, {"Node", node}});
    const auto answer = client.call(request, MonoClock::now() + kTimeout);
    if (!answer) return answer.error().message;
    if (answer->status != 200) return "status " + std::to_string(answer->status);
    const auto parsed = json::parse(answer->body);
    if (!parsed) return parsed.error().message;
    return std::string(json::get_string(*parsed, {"Error"}));
}

}  // namespace egpu::sim::load
