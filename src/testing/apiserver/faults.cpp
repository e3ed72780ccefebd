#include "testing/apiserver/faults.h"

#include "base/check.h"
#include "testing/apiserver/fault_state.h"

namespace egpu::testing {
namespace {

constexpr std::size_t kMostRecords = 200'000;

Result<std::regex> compile(const std::string& pattern) {
    try {
        return std::regex(pattern, std::regex::ECMAScript | std::regex::optimize);
    } catch (const std::regex_error& e) {
        return Error{
            ErrorCode::kInvalid, "\"" + pattern + "\" is no regular expression: " + e.what()};
    }
}

FaultRule rule_of(int count, std::string_view method, std::string_view path) {
    FaultRule rule;
    rule.method = method;
    rule.path = path;
    rule.count = count;
    return rule;
}

}  // namespace

std::optional<FaultRule> Faults::State::take(std::string_view method, const std::string& path) {
    const std::lock_guard lock(mutex);
    for (auto& entry : rules) {
        if (entry.rule.count == 0) continue;
        if (!entry.rule.method.empty() && entry.rule.method != method) continue;
        if (!std::regex_search(path, entry.path)) continue;
        if (entry.rule.count > 0) --entry.rule.count;
        return entry.rule;
    }
    return std::nullopt;
}

Duration Faults::State::current_latency() const {
    const std::lock_guard lock(mutex);
    return latency;
}

void Faults::State::record(RequestRecord r) {
    const std::lock_guard lock(mutex);
    requests.push_back(std::move(r));
    if (requests.size() > kMostRecords) requests.pop_front();
}

Faults::Faults() : state_(std::make_unique<State>()) {}
Faults::~Faults() = default;

Status Faults::add(FaultRule rule) {
    EG_TRY(auto path, compile(rule.path));
    const std::lock_guard lock(state_->mutex);
    std::erase_if(state_->rules, [](const State::Rule& r) { return r.rule.count == 0; });
    state_->rules.push_back({std::move(rule), std::move(path)});
    return ok_status();
}

void Faults::fail_next(
    int count,
    std::string_view method,
    std::string_view path,
    int status,
    std::optional<int> retry_after_s
) {
    FaultRule rule = rule_of(count, method, path);
    rule.status = status;
    rule.retry_after_s = retry_after_s;
    EG_CHECK(add(std::move(rule)).ok());
}

void Faults::drop_after_commit(int count, std::string_view method, std::string_view path) {
    FaultRule rule = rule_of(count, method, path);
    rule.action = FaultAction::kDropAfterCommit;
    EG_CHECK(add(std::move(rule)).ok());
}

void Faults::drop_before(int count, std::string_view method, std::string_view path) {
    FaultRule rule = rule_of(count, method, path);
    rule.action = FaultAction::kDropBefore;
    EG_CHECK(add(std::move(rule)).ok());
}

void Faults::set_latency(Duration latency) {
    const std::lock_guard lock(state_->mutex);
    state_->latency = latency;
}

Status Faults::clear() {
    {
        const std::lock_guard lock(state_->mutex);
        state_->rules.clear();
        state_->latency = {};
    }
    return set_mode(ServerMode::kOnline);
}

void Faults::break_watches() {
    if (state_->break_watches) state_->break_watches();
}

void Faults::expire_history() {
    if (state_->expire_history) state_->expire_history();
}

Status Faults::set_mode(ServerMode mode) {
    if (state_->mode == mode || !state_->change_mode) return ok_status();
    return state_->change_mode(mode);
}

ServerMode Faults::mode() const {
    return state_->mode;
}

std::size_t Faults::count(std::string_view method, std::string_view path_regex) const {
    const auto path = compile(std::string(path_regex));
    EG_CHECK(path.ok());
    const std::lock_guard lock(state_->mutex);
    std::size_t n = 0;
    for (const auto& r : state_->requests) {
        if ((method.empty() || r.method == method) && std::regex_search(r.path, *path)) ++n;
    }
    return n;
}

std::vector<RequestRecord> Faults::requests() const {
    const std::lock_guard lock(state_->mutex);
    return {state_->requests.begin(), state_->requests.end()};
}

std::size_t Faults::open_watches() const {
    return state_->open_watches;
}

void Faults::forget_requests() {
    const std::lock_guard lock(state_->mutex);
    state_->requests.clear();
}

}  // namespace egpu::testing
