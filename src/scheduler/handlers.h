// The HTTP face: nano-gpu-scheduler's routes plus preempt, health
// and metrics. Logical errors are 200 with an Error in the body, because kube-scheduler drops the
// body of every other status. Any Host and any X-Forwarded header is accepted: requests may come
// through the API server's service proxy.
//
//   POST /scheduler/filter | priorities | bind | preempt
//   GET|POST /status       GET /version  /healthz  /readyz  /metrics
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "http/server.h"
#include "k8s/extender.h"
#include "scheduler/bind.h"
#include "scheduler/gate.h"
#include "scheduler/state.h"

namespace egpu::scheduler {

class Handlers {
  public:
    // `most_kept`: bytes of request bodies kept at once, by all calls together. kube-scheduler
    // makes them one after the other; anybody in the cluster can make many.
    Handlers(State& state, const Gate& gate, std::size_t most_kept = 160U << 20)
        : state_(state), gate_(gate), most_kept_(most_kept) {}

    // Until there is a binder, binds are refused with an Error.
    void set_binder(std::shared_ptr<Binder> binder);

    // For http::Server; on any thread.
    void handle(http::Exchange& exchange);

    // The answers without HTTP, for tests and benchmarks: the body in, the body out.
    std::string filter(std::string_view body);
    std::string priorities(std::string_view body);
    std::string bind(std::string_view body);
    std::string preempt(std::string_view body);

  private:
    // Readers are lent and given back, so that their buffers (23 MB with full nodes) are few.
    class Loan;
    using Answer = k8s::SplicedText (Handlers::*)(Loan& loan, const Status& read);

    void extender(http::Exchange& exchange, bool keep_nodes, Answer answer);
    std::string answer_text(std::string_view body, bool keep_nodes, Answer answer);
    k8s::SplicedText answer_filter(Loan& loan, const Status& read);
    k8s::SplicedText answer_priorities(Loan& loan, const Status& read);
    k8s::SplicedText answer_bind(Loan& loan, const Status& read);
    k8s::SplicedText answer_preempt(Loan& loan, const Status& read);
    void readiness(http::Exchange& exchange);
    std::shared_ptr<Binder> binder() const;
    void remember(Loan& loan);

    State& state_;
    const Gate& gate_;
    const std::size_t most_kept_;
    std::atomic<std::size_t> kept_{0};  // by all loans
    mutable std::mutex mutex_;
    std::shared_ptr<Binder> binder_;
    // kube-scheduler asks for priorities of just the nodes that the last filter left.
    std::shared_ptr<const KnownNodes> last_filtered_;
    // And for filter of the cluster's nodes in order, from where it stopped the last time.
    std::shared_ptr<const KnownNodes> candidates_;
    int out_of_order_ = 0;                      // filters whose candidates came in another one
    std::vector<k8s::ExtenderReader> idle_[2];  // by keep_nodes
};

}  // namespace egpu::scheduler
