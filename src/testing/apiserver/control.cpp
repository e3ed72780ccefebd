#include "testing/apiserver/control.h"

#include <limits>

namespace egpu::testing {
namespace {

struct ActionName {
    std::string_view name;
    FaultAction action;
};
constexpr ActionName kActions[] = {
    {"status", FaultAction::kStatus},
    {"drop-before", FaultAction::kDropBefore},
    {"drop-after-commit", FaultAction::kDropAfterCommit},
    {"stall-after-commit", FaultAction::kStallAfterCommit},
    {"delay", FaultAction::kDelay},
};

RestAnswer bad(std::string_view message) {
    return RestAnswer::failure(status::bad_request(message));
}

RestAnswer done() {
    RestAnswer answer;
    answer.body = "{}";
    return answer;
}

RestAnswer from_status(const Status& s) {
    return s ? done() : bad(s.error().message);
}

int small_int(const json::value& body, std::string_view key, int otherwise) {
    const auto v = json::get_int(body, {key});
    if (!v || *v < -1 || *v > std::numeric_limits<int>::max()) return otherwise;
    return static_cast<int>(*v);
}

RestAnswer add_fault(const json::value& body, Faults& faults) {
    FaultRule rule;
    const auto wanted = json::get_string(body, {"action"});
    bool known = wanted.empty();
    for (const auto& entry : kActions) {
        if (entry.name != wanted) continue;
        rule.action = entry.action;
        known = true;
    }
    if (!known)
        return bad(
            "action must be status, drop-before, drop-after-commit, stall-after-commit or delay"
        );
    rule.method = json::get_string(body, {"method"});
    if (const auto path = json::get_string(body, {"path"}); !path.empty()) rule.path = path;
    rule.count = small_int(body, "count", 1);
    rule.status = small_int(body, "status", 500);
    if (rule.status < 400 || rule.status > 599) return bad("status must be 400..599");
    rule.message = json::get_string(body, {"message"});
    if (const int s = small_int(body, "retryAfterSeconds", -1); s >= 0) rule.retry_after_s = s;
    rule.delay = Millis(std::max(0, small_int(body, "delayMillis", 0)));
    return from_status(faults.add(std::move(rule)));
}

RestAnswer count_requests(const RestRequest& request, const Faults& faults) {
    // Through a rule first: count() aborts on a bad expression.
    Faults probe;
    FaultRule rule;
    rule.path = request.query->get("path");
    if (const auto valid = probe.add(rule); !valid) return bad(valid.error().message);
    RestAnswer answer;
    answer.body =
        "{\"count\":" +
        std::to_string(faults.count(request.query->get("method"), request.query->get("path"))) +
        "}";
    return answer;
}

RestAnswer set_mode(const json::value& body, Faults& faults) {
    const auto mode = json::get_string(body, {"mode"});
    if (mode == "online") return from_status(faults.set_mode(ServerMode::kOnline));
    if (mode == "lite-offline") return from_status(faults.set_mode(ServerMode::kLiteOffline));
    return bad("mode must be online or lite-offline");
}

}  // namespace

RestAnswer serve_control(const RestRequest& request, Faults& faults, const LogSink& set_log) {
    static constexpr std::string_view kLogs = "/testing/logs/";
    const std::string_view path = request.path;
    if (request.method == "PUT" && path.starts_with(kLogs)) {
        const std::string_view rest = path.substr(kLogs.size());
        const std::size_t slash = rest.find('/');
        if (slash == std::string_view::npos) return bad("the path is /testing/logs/NAMESPACE/POD");
        set_log(
            rest.substr(0, slash),
            rest.substr(slash + 1),
            request.query->get("container"),
            request.body
        );
        return done();
    }
    if (request.method == "GET" && path == "/testing/requests")
        return count_requests(request, faults);
    if (request.method == "DELETE" && path == "/testing/faults") return from_status(faults.clear());
    if (request.method != "POST") return RestAnswer::failure(status::no_such_path());
    if (path == "/testing/break-watches") {
        faults.break_watches();
        return done();
    }
    if (path == "/testing/expire-history") {
        faults.expire_history();
        return done();
    }
    const auto body = json::parse(request.body);
    if (!body) return bad("the body is " + body.error().message);
    if (path == "/testing/faults") return add_fault(*body, faults);
    if (path == "/testing/mode") return set_mode(*body, faults);
    if (path == "/testing/latency") {
        const int millis = small_int(*body, "millis", -1);
        if (millis < 0) return bad("millis must be a number from 0 on");
        faults.set_latency(Millis(millis));
        return done();
    }
    return RestAnswer::failure(status::no_such_path());
}

}  // namespace egpu::testing
