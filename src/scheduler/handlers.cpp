#include "scheduler/handlers.h"

#include <array>

#include "base/log.h"
#include "base/metrics.h"
#include "base/version.h"
#include "scheduler/preempt.h"
#include "scheduler/status_page.h"

namespace egpu::scheduler {
namespace {

constexpr const char* kJson = "application/json";
constexpr const char* kText = "text/plain; charset=utf-8";
constexpr std::size_t kMostIdleReaders = 2;

constexpr std::string_view kPrefix = "/scheduler/";

void not_allowed(http::Exchange& exchange, const char* allow) {
    static_cast<void>(exchange.respond(405, kText, "Method Not Allowed\n", {{"Allow", allow}}));
}

bool is_get(const http::Exchange& exchange) {
    const std::string& method = exchange.request().method;
    return method == "GET" || method == "HEAD";
}

metrics::Histogram request_time(const char* verb) {
    return metrics::histogram(
        "edge_gpu_scheduler_request_seconds",
        "Time of an extender call, reading the body included.",
        metrics::latency_buckets(),
        {{"verb", verb}}
    );
}

}  // namespace

class Handlers::Loan {
  public:
    Loan(Handlers& from, bool keep_nodes) : from_(from), keep_nodes_(keep_nodes) {
        const std::lock_guard lock(from_.mutex_);
        auto& idle = from_.idle_[keep_nodes_ ? 1 : 0];
        if (!idle.empty()) {
            reader_.emplace(std::move(idle.back()));
            idle.pop_back();
        } else {
            k8s::ExtenderLimits limits;
            limits.keep_nodes = keep_nodes_;
            reader_.emplace(limits);
        }
        // With nodes kept it is a filter, whose candidates come in any order.
        const bool expects = !keep_nodes_ && from_.last_filtered_;
        reader_->expect(expects ? from_.last_filtered_->names : nullptr);
    }
    ~Loan() {
        reader_->reset();
        const std::lock_guard lock(from_.mutex_);
        auto& idle = from_.idle_[keep_nodes_ ? 1 : 0];
        if (idle.size() < kMostIdleReaders) idle.push_back(std::move(*reader_));
    }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    k8s::ExtenderReader& reader() { return *reader_; }

    // Of a filter: to be remembered once its answer is sent.
    std::optional<FilterOutcome> filtered;

  private:
    Handlers& from_;
    bool keep_nodes_;
    std::optional<k8s::ExtenderReader> reader_;
};

void Handlers::set_binder(std::shared_ptr<Binder> binder) {
    const std::lock_guard lock(mutex_);
    binder_ = std::move(binder);
}

std::shared_ptr<Binder> Handlers::binder() const {
    const std::lock_guard lock(mutex_);
    return binder_;
}

// Of large clusters only: elsewhere reading is quick enough.
void Handlers::remember(Loan& loan) {
    constexpr std::size_t kWorthIt = 256;
    if (!loan.filtered) return;
    FilterOutcome& outcome = *loan.filtered;
    const auto read = loan.reader().args();
    if (!read || !(*read)->names_mode || !(*read)->nodes.all_plain()) return;
    if (outcome.fitting.size() < kWorthIt || outcome.ids.size() != outcome.fitting.size()) return;
    const k8s::ExtenderArgs& args = **read;
    auto names = std::make_shared<k8s::NameList>();
    names->reserve(outcome.fitting.size(), args.nodes.written_size());
    const std::vector<std::uint32_t>& fitting = outcome.fitting;
    for (std::size_t i = 0; i < fitting.size();) {
        std::size_t next = i + 1;
        while (next < fitting.size() && fitting[next] == fitting[next - 1] + 1) ++next;
        names->add_from(args.nodes, fitting[i], next - i);
        i = next;
    }
    auto known = std::make_shared<KnownNodes>();
    known->names = std::move(names);
    known->ids = std::move(outcome.ids);
    known->version = outcome.names_version;
    const std::lock_guard lock(mutex_);
    last_filtered_ = std::move(known);
}

std::shared_ptr<const KnownNodes> Handlers::last_filtered() const {
    const std::lock_guard lock(mutex_);
    return last_filtered_;
}

// --- routes ---

void Handlers::handle(http::Exchange& exchange) {
    struct Verb {
        std::string_view name;
        const char* metric;
        bool keep_nodes;
        Answer answer;
    };
    static constexpr std::array kVerbs{
        Verb{"filter", "filter", true, &Handlers::answer_filter},
        Verb{"priorities", "priorities", false, &Handlers::answer_priorities},
        Verb{"bind", "bind", false, &Handlers::answer_bind},
        Verb{"preempt", "preempt", false, &Handlers::answer_preempt},
    };
    std::string_view path = exchange.request().path;
    while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);

    if (path.starts_with(kPrefix)) {
        for (const Verb& verb : kVerbs) {
            if (path.substr(kPrefix.size()) != verb.name) continue;
            if (exchange.request().method != "POST") return not_allowed(exchange, "POST");
            const TimePoint start = MonoClock::now();
            extender(exchange, verb.keep_nodes, verb.answer);
            request_time(verb.metric)
                .observe(std::chrono::duration<double>(MonoClock::now() - start).count());
            return;
        }
    }
    if (path == "/status") {
        if (!is_get(exchange) && exchange.request().method != "POST") {
            return not_allowed(exchange, "GET, POST");
        }
        static_cast<void>(exchange.respond(200, kJson, status_page(state_)));
        return;
    }
    const bool known =
        path == "/version" || path == "/healthz" || path == "/readyz" || path == "/metrics";
    if (!known) {
        static_cast<void>(exchange.respond(404, kText, "404 page not found\n"));
    } else if (!is_get(exchange)) {
        not_allowed(exchange, "GET");
    } else if (path == "/version") {
        static_cast<void>(exchange.respond(200, kText, std::string("edge-gpu ") + kVersion));
    } else if (path == "/healthz") {
        static_cast<void>(exchange.respond(200, kText, "ok\n"));
    } else if (path == "/readyz") {
        readiness(exchange);
    } else {
        state_.publish_gauges();
        static_cast<void>(exchange.respond(200, "text/plain; version=0.0.4", metrics::render()));
    }
}

void Handlers::readiness(http::Exchange& exchange) {
    const auto missing = gate_.refuses_binds();
    std::string text = missing ? "not ready: " + *missing + "\n" : "ok\n";
    const std::string error = gate_.api_error();
    if (!missing && !error.empty()) {
        text += "API server: " + error + "; answers are from what was seen last, binds fail\n";
    }
    static_cast<void>(exchange.respond(missing ? 503 : 200, kText, text));
}

void Handlers::extender(http::Exchange& exchange, bool keep_nodes, Answer answer) {
    Loan loan(*this, keep_nodes);
    Status read = ok_status();
    while (read) {
        auto got = exchange.read_some(loan.reader().room());
        if (!got) {
            if (got.error().code == ErrorCode::kUnavailable) return;  // the peer is gone
            read = std::move(got).error().wrap("reading the request's body");
        } else if (*got == 0) {
            break;
        } else {
            read = loan.reader().received(*got);
        }
    }
    const k8s::SplicedText body = (this->*answer)(loan, read);
    static_cast<void>(exchange.respond_pieces(200, kJson, body.pieces()));
    remember(loan);
}

std::string Handlers::answer_text(std::string_view body, bool keep_nodes, Answer answer) {
    Loan loan(*this, keep_nodes);
    const Status read = loan.reader().feed(std::span(body.data(), body.size()));
    std::string text = (this->*answer)(loan, read).text();
    remember(loan);
    return text;
}

std::string Handlers::filter(std::string_view body) {
    return answer_text(body, true, &Handlers::answer_filter);
}
std::string Handlers::priorities(std::string_view body) {
    return answer_text(body, false, &Handlers::answer_priorities);
}
std::string Handlers::bind(std::string_view body) {
    return answer_text(body, false, &Handlers::answer_bind);
}
std::string Handlers::preempt(std::string_view body) {
    return answer_text(body, false, &Handlers::answer_preempt);
}

// --- answers ---

k8s::SplicedText Handlers::answer_filter(Loan& loan, const Status& read) {
    if (!read) return k8s::write_filter_error(read.error().message);
    const auto args = loan.reader().args();
    if (!args) return k8s::write_filter_error(args.error().message);
    if (!(*args)->pod) return k8s::write_filter_error("the request has no Pod");
    const PodFacts pod = read_facts(*(*args)->pod);
    if (pod.asks_for_gpu()) {
        if (auto closed = gate_.refuses_answers()) return k8s::write_filter_error(*closed);
    }
    const FilterOutcome& outcome = loan.filtered.emplace(state_.filter(**args, pod));
    log::debug(
        "filter",
        {{"pod", pod.key()},
         {"candidates", (*args)->nodes.size()},
         {"fitting", outcome.fitting.size()}}
    );
    return k8s::write_filter_result(**args, outcome.fitting, outcome.failed, outcome.reasons);
}

k8s::SplicedText Handlers::answer_priorities(Loan& loan, const Status& read) {
    if (!read) return std::string("[]");  // this answer has no place for an error
    const auto args = loan.reader().args();
    if (!args) return std::string("[]");
    if (!(*args)->pod || gate_.refuses_answers()) {
        return k8s::write_priorities(**args, std::vector<int>((*args)->nodes.size(), 0));
    }
    const PodFacts pod = read_facts(*(*args)->pod);
    const auto known = last_filtered();
    const bool same = known && (*args)->names_mode && *known->names == (*args)->nodes;
    return k8s::write_priorities(**args, state_.scores(**args, pod, same ? known.get() : nullptr));
}

k8s::SplicedText Handlers::answer_bind(Loan& loan, const Status& read) {
    if (!read) return k8s::write_binding_result(read.error().message);
    const auto args = loan.reader().binding_args();
    if (!args) return k8s::write_binding_result(args.error().message);
    const auto binder = this->binder();
    if (!binder) {
        const auto closed = gate_.refuses_binds();
        return k8s::write_binding_result(closed ? *closed : "edge-gpu scheduler is starting");
    }
    const Status bound = binder->bind(*args);
    return k8s::write_binding_result(bound ? "" : bound.error().message);
}

k8s::SplicedText Handlers::answer_preempt(Loan& loan, const Status& read) {
    if (!read) return k8s::write_preemption_result({});  // no place for an error here either
    const auto args = loan.reader().preemption_args();
    if (!args || !(*args)->pod || gate_.refuses_answers()) return k8s::write_preemption_result({});
    const PodFacts pod = read_facts(*(*args)->pod);
    return k8s::write_preemption_result(choose_victims(state_, pod, (*args)->nodes));
}

}  // namespace egpu::scheduler
