#include "scheduler/handlers.h"

#include <algorithm>
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
        known = keep_nodes_ ? from_.candidates_ : from_.last_filtered_;  // kept: it is a filter
        reader_->expect(known ? known->names : nullptr);
    }
    ~Loan() {
        from_.kept_ -= kept_;
        reader_->reset();
        const std::lock_guard lock(from_.mutex_);
        auto& idle = from_.idle_[keep_nodes_ ? 1 : 0];
        if (idle.size() < kMostIdleReaders) idle.push_back(std::move(*reader_));
    }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    k8s::ExtenderReader& reader() { return *reader_; }
    // Counts what the reader keeps by now. Small requests are served in any case.
    Status count_kept() {
        constexpr std::size_t kSmall = 1U << 20;
        const std::size_t now = reader_->kept();
        if (now <= kSmall && kept_ == 0) return ok_status();
        const std::size_t others = from_.kept_.fetch_add(now - kept_) - kept_;
        kept_ = now;
        if (now <= kSmall || others + now <= from_.most_kept_) return ok_status();
        return Error{
            ErrorCode::kExhausted,
            "too many large requests at once: " + std::to_string(others >> 20) +
                " MiB of others are being read. Try again, or set nodeCacheCapable: true, which "
                "sends names instead of nodes"};
    }

    // What the reader expects the request to be about; null when that is not known.
    std::shared_ptr<const KnownNodes> known;
    // Of a filter: to be remembered once its answer is sent.
    std::optional<FilterOutcome> filtered;

  private:
    Handlers& from_;
    bool keep_nodes_;
    std::size_t kept_ = 0;
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

namespace {

std::shared_ptr<const KnownNodes> known_fitting(
    const k8s::ExtenderArgs& args, const FilterOutcome& outcome
) {
    const std::vector<std::uint32_t>& fitting = outcome.fitting;
    auto known = std::make_shared<KnownNodes>();
    known->version = outcome.names_version;
    known->ids.resize(fitting.size());
    for (std::size_t i = 0; i < fitting.size(); ++i) known->ids[i] = outcome.ids[fitting[i]];
    k8s::NameList names;
    names.reserve(fitting.size(), args.nodes.written_size());
    names.add_some(args.nodes, fitting);
    using k8s::KnownNames;
    known->names = std::make_shared<const KnownNames>(std::move(names), KnownNames::Entry::kFirst);
    return known;
}

// Only nodes of the ledger, and each once: anybody may ask about any names.
std::shared_ptr<const KnownNodes> known_candidates(
    const k8s::ExtenderArgs& args, const FilterOutcome& outcome
) {
    auto known = std::make_shared<KnownNodes>();
    known->version = outcome.names_version;
    std::vector<std::uint32_t> positions;
    std::vector<bool> taken;
    for (std::uint32_t i = 0; i < outcome.ids.size(); ++i) {
        const auto& id = outcome.ids[i];
        if (!id) continue;
        if (*id >= taken.size()) taken.resize(*id + 1);
        if (taken[*id]) continue;
        taken[*id] = true;
        positions.push_back(i);
        known->ids.push_back(id);
    }
    k8s::NameList names;
    names.add_some(args.nodes, positions);
    using k8s::KnownNames;
    known->names = std::make_shared<const KnownNames>(std::move(names), KnownNames::Entry::kAny);
    return known;
}

// Most of the nodes came in the known order, or are only some of it: pods that few nodes come into
// question for bring shorter lists.
bool fits_order(const k8s::ExtenderArgs& args, const FilterOutcome& outcome, std::size_t known) {
    const auto unknown = std::count(outcome.ids.begin(), outcome.ids.end(), std::nullopt);
    const std::size_t nodes = outcome.ids.size() - static_cast<std::size_t>(unknown);
    std::size_t in_order = 0;
    for (const k8s::KnownRun& run : args.known_runs) in_order += run.count;
    return nodes < known || in_order >= nodes / 10 * 9;
}

}  // namespace

// Of large clusters only: elsewhere reading is quick enough.
void Handlers::remember(Loan& loan) {
    constexpr std::size_t kWorthIt = 256;
    // Another order is learnt once in so many filters: where each has its own it is of no use.
    constexpr int kPatience = 64;
    if (!loan.filtered) return;
    const FilterOutcome& outcome = *loan.filtered;
    const auto read = loan.reader().args();
    if (!read || !(*read)->names_mode || !(*read)->nodes.all_plain()) return;
    const k8s::ExtenderArgs& args = **read;
    if (args.nodes.size() < kWorthIt || outcome.ids.size() != args.nodes.size()) return;
    std::shared_ptr<const KnownNodes> fitting;
    if (outcome.fitting.size() >= kWorthIt) fitting = known_fitting(args, outcome);
    const bool changed = !loan.known || loan.known->version != outcome.names_version;
    const bool fits = !changed && fits_order(args, outcome, loan.known->ids.size());
    std::unique_lock lock(mutex_);
    if (fitting) last_filtered_ = std::move(fitting);
    if (fits || (!changed && ++out_of_order_ < kPatience)) return;
    out_of_order_ = 0;
    lock.unlock();
    auto candidates = known_candidates(args, outcome);
    lock.lock();
    candidates_ = std::move(candidates);
}

// --- routes ---

void Handlers::handle(http::Exchange& exchange) {
    struct Verb {
        std::string_view name;
        bool keep_nodes;
        Answer answer;
        metrics::Histogram time;
    };
    static std::array verbs{
        Verb{"filter", true, &Handlers::answer_filter, request_time("filter")},
        Verb{"priorities", false, &Handlers::answer_priorities, request_time("priorities")},
        Verb{"bind", false, &Handlers::answer_bind, request_time("bind")},
        Verb{"preempt", false, &Handlers::answer_preempt, request_time("preempt")},
    };
    std::string_view path = exchange.request().path;
    while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);

    if (path.starts_with(kPrefix)) {
        for (Verb& verb : verbs) {
            if (path.substr(kPrefix.size()) != verb.name) continue;
            if (exchange.request().method != "POST") return not_allowed(exchange, "POST");
            const TimePoint start = MonoClock::now();
            extender(exchange, verb.keep_nodes, verb.answer);
            verb.time.observe(std::chrono::duration<double>(MonoClock::now() - start).count());
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
            if (read) read = loan.count_kept();
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
    const FilterOutcome& outcome =
        loan.filtered.emplace(state_.filter(**args, pod, loan.known.get()));
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
    return k8s::write_priorities(**args, state_.scores(**args, pod, loan.known.get()));
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
