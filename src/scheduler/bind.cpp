#include "scheduler/bind.h"

#include <algorithm>
#include <charconv>
#include <thread>

#include "base/log.h"
#include "base/metrics.h"
#include "k8s/placement_annotations.h"

namespace egpu::scheduler {
namespace {

// The first server that looks at a Binding's uid.
constexpr int kUidCheckMinor = 22;

metrics::Counter result_counter(const char* result) {
    return metrics::counter(
        "edge_gpu_scheduler_binds_total", "Binds by outcome.", {{"result", result}}
    );
}

Error refuse(ErrorCode code, std::string text) {
    return Error{code, std::move(text)};
}

int leading_number(std::string_view text) {
    int value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

std::string key_of(const k8s::ExtenderBindingArgs& args) {
    return args.pod_namespace + "/" + args.pod_name;
}

}  // namespace

// Binds of one UID come one after the other: a retry finds what the first attempt left behind.
class Binder::Turn {
  public:
    Turn(Binder& binder, const std::string& uid, TimePoint deadline) : binder_(binder), uid_(uid) {
        std::unique_lock lock(binder_.mutex_);
        mine_ = binder_.turn_over_.wait_until(lock, deadline, [&] {
            return !binder_.busy_.contains(uid_);
        });
        if (mine_) binder_.busy_.insert(uid_);
    }
    ~Turn() {
        if (!mine_) return;
        {
            const std::lock_guard lock(binder_.mutex_);
            binder_.busy_.erase(uid_);
        }
        binder_.turn_over_.notify_all();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    bool mine() const { return mine_; }

  private:
    Binder& binder_;
    const std::string& uid_;
    bool mine_ = false;
};

Binder::Binder(State& state, const Gate& gate, k8s::Client client, BinderOptions options)
    : state_(state), gate_(gate), client_(std::move(client)), options_(options) {}

Status Binder::bind(const k8s::ExtenderBindingArgs& args) {
    static auto time = metrics::histogram(
        "edge_gpu_scheduler_bind_seconds",
        "Time of a bind, API calls included.",
        metrics::latency_buckets()
    );
    const TimePoint start = MonoClock::now();
    Status result = bind_when_free(args);
    time.observe(std::chrono::duration<double>(MonoClock::now() - start).count());
    if (result) {
        static auto count = result_counter("ok");
        count.add();
        log::info("pod bound", {{"pod", key_of(args)}, {"uid", args.pod_uid}, {"node", args.node}});
    } else {
        static auto count = result_counter("failed");
        count.add();
        log::warn(
            "bind failed",
            {{"pod", key_of(args)},
             {"uid", args.pod_uid},
             {"node", args.node},
             {"error", result.error().message}}
        );
    }
    return result;
}

Status Binder::bind_when_free(const k8s::ExtenderBindingArgs& args) {
    const TimePoint start = MonoClock::now();
    if (args.pod_name.empty() || args.pod_namespace.empty() || args.pod_uid.empty() ||
        args.node.empty()) {
        return refuse(ErrorCode::kInvalid, "bind needs PodName, PodNamespace, PodUID and Node");
    }
    // Reading back gets its own part of the time, or a slow write would leave the outcome unknown.
    const Deadlines deadlines{start + options_.timeout * 7 / 10, start + options_.timeout};
    const Turn turn(*this, args.pod_uid, deadlines.write);
    if (!turn.mine()) {
        return refuse(
            ErrorCode::kDeadline, "another bind of pod " + key_of(args) + " is still in flight"
        );
    }
    return bind_in_turn(args, deadlines);
}

Status Binder::bind_in_turn(const k8s::ExtenderBindingArgs& args, const Deadlines& deadlines) {
    if (auto closed = gate_.refuses_binds())
        return refuse(ErrorCode::kUnavailable, std::move(*closed));
    if (const auto held = state_.pod(args.pod_uid); held && !held->reserved && !held->guessed) {
        return judge_bound(args, held->node, true);
    }
    bool from_watch = false;
    EG_TRY(PodFacts pod, identify(args, deadlines.write, from_watch));
    Reservation reservation = reserve(args, pod);
    if (reservation.kind == Reservation::Kind::kRefused && from_watch) {
        // kube-scheduler may have seen a change of the pod before our watch has.
        if (auto fresh = fetch(args, deadlines.write)) {
            pod = *std::move(fresh);
            reservation = reserve(args, pod);
        }
    }
    switch (reservation.kind) {
        case Reservation::Kind::kRefused:
            return refuse(
                pod.request_error.empty() ? ErrorCode::kExhausted : ErrorCode::kInvalid,
                reservation.reason
            );
        case Reservation::Kind::kAlreadyBound:
            return judge_bound(args, reservation.node, !reservation.guessed);
        case Reservation::Kind::kReserved:
            break;
    }
    std::this_thread::sleep_until(std::min(reservation.not_before, deadlines.write));
    return post(args, pod, reservation.placement, deadlines);
}

Reservation Binder::reserve(const k8s::ExtenderBindingArgs& args, const PodFacts& pod) {
    Reservation out;
    if (!pod.node.empty()) {
        out.kind = Reservation::Kind::kAlreadyBound;
        out.node = pod.node;
        out.guessed = pod.asks_for_gpu() && !pod.placement;
    } else if (!pod.request_error.empty()) {
        out.reason = pod.request_error;
    } else if (!pod.asks_for_gpu()) {
        out.kind = Reservation::Kind::kReserved;
    } else {
        out = state_.reserve(pod, args.node, MonoClock::now());
    }
    return out;
}

Result<PodFacts> Binder::identify(
    const k8s::ExtenderBindingArgs& args, TimePoint deadline, bool& from_watch
) {
    auto known = state_.pending(args.pod_uid);
    const bool same = known && known->ns == args.pod_namespace && known->name == args.pod_name;
    from_watch = same && server_checks_uid(deadline);
    if (from_watch) return std::move(*known);
    return fetch(args, deadline);
}

Result<PodFacts> Binder::fetch(const k8s::ExtenderBindingArgs& args, TimePoint deadline) {
    k8s::ApiStatus status;
    auto pod = client_.get_pod(args.pod_namespace, args.pod_name, k8s::Call{deadline, &status});
    if (!pod) {
        if (pod.error().code == ErrorCode::kNotFound) {
            return refuse(ErrorCode::kNotFound, "pod " + key_of(args) + " does not exist any more");
        }
        return pod.error().wrap("reading pod " + key_of(args));
    }
    if (pod->meta.uid != args.pod_uid) {
        return refuse(
            ErrorCode::kConflict,
            "pod " + key_of(args) + " was replaced: its UID is " + pod->meta.uid + ", not " +
                args.pod_uid
        );
    }
    PodFacts facts = read_facts(*pod);
    if (facts.terminal) {
        return refuse(ErrorCode::kConflict, "pod " + key_of(args) + " has finished already");
    }
    if (facts.node.empty() && facts.deleting) {
        return refuse(ErrorCode::kConflict, "pod " + key_of(args) + " is being deleted");
    }
    if (!facts.node.empty()) state_.upsert_pod(facts, MonoClock::now(), State::Source::kRead);
    return facts;
}

Status Binder::judge_bound(
    const k8s::ExtenderBindingArgs& args, const std::string& node, bool has_placement
) {
    if (node != args.node) {
        return refuse(
            ErrorCode::kConflict,
            "pod " + key_of(args) + " is bound to node " + node + " already, not " + args.node
        );
    }
    if (!has_placement) {
        return refuse(
            ErrorCode::kConflict,
            "pod " + key_of(args) + " was bound to node " + args.node +
                " past edge-gpu, without a placement"
        );
    }
    return ok_status();
}

Status Binder::judge_bound(const k8s::ExtenderBindingArgs& args, const PodFacts& pod) {
    return judge_bound(args, pod.node, pod.placement.has_value() || !pod.asks_for_gpu());
}

Status Binder::post(
    const k8s::ExtenderBindingArgs& args,
    const PodFacts& pod,
    const core::Placement& placement,
    const Deadlines& deadlines
) {
    static auto time = metrics::histogram(
        "edge_gpu_scheduler_bind_api_seconds",
        "Time of the Binding POST.",
        metrics::latency_buckets()
    );
    // Not even a second attempt after a 429 may come when another could be the leader.
    const TimePoint until = std::min(deadlines.write, gate_.binds_until());
    // The leader's term may have ended while this bind waited for its turn or for a GET.
    if (auto closed = gate_.refuses_binds(); closed && !gate_.stopping()) {
        state_.rollback(pod.uid);
        return refuse(ErrorCode::kUnavailable, std::move(*closed));
    }
    k8s::StringMap annotations;
    if (!placement.containers.empty()) annotations = k8s::to_annotations(placement);
    const std::size_t size = pod.annotations_size + k8s::annotations_size(annotations);
    if (!annotations.empty() && size > k8s::kMaxAnnotations) {
        state_.rollback(pod.uid);
        return refuse(
            ErrorCode::kInvalid,
            "pod " + key_of(args) + " would have " + std::to_string(size) +
                " bytes of annotations with its placement, and more than " +
                std::to_string(k8s::kMaxAnnotations) +
                " would break it: give it fewer annotations or containers"
        );
    }
    k8s::ApiStatus status;
    const TimePoint start = MonoClock::now();
    const Status posted = client_.bind_pod(
        args.pod_namespace,
        args.pod_name,
        args.pod_uid,
        args.node,
        annotations,
        k8s::Call{until, &status}
    );
    time.observe(std::chrono::duration<double>(MonoClock::now() - start).count());
    if (posted) {
        if (pod.asks_for_gpu()) state_.commit(pod, args.node, placement, MonoClock::now());
        if (options_.compat_label && pod.asks_for_gpu()) write_label(args, deadlines.whole);
        return ok_status();
    }
    return settle(
        args, pod, placement, {posted.error(), status.http_code, status.is_status}, deadlines.whole
    );
}

Status Binder::settle(
    const k8s::ExtenderBindingArgs& args,
    const PodFacts& pod,
    const core::Placement& placement,
    const Failure& failure,
    TimePoint deadline
) {
    // A 5xx may come from what stands before the API server, while that is still at work, and a 504
    // of its own says that it may be; a success that cannot be read is none of the two.
    const ErrorCode kind = failure.error.code;
    const bool refused =
        (failure.http_code >= 400 && failure.http_code < 500) ||
        (failure.http_code >= 500 && failure.by_server && failure.http_code != 504);
    const bool never_sent = failure.http_code == 0 && kind == ErrorCode::kUnavailable;
    const bool not_executed =
        never_sent || kind == ErrorCode::kPermission || failure.http_code == 429 ||
        (refused && (kind == ErrorCode::kNotFound || kind == ErrorCode::kInvalid));
    const Error error = failure.error.wrap("binding pod " + key_of(args));
    if (not_executed) {
        state_.rollback(pod.uid);
        return error;
    }
    auto now_there = fetch(args, deadline);
    const TimePoint now = MonoClock::now();
    if (!now_there) {
        const ErrorCode code = now_there.error().code;
        if (code == ErrorCode::kNotFound || code == ErrorCode::kConflict) {
            state_.rollback(pod.uid);  // gone, replaced, finished, or going unbound
            return now_there.error();
        }
        state_.doubt(pod, args.node, now);
        return error.wrap("the outcome is not known yet");
    }
    if (now_there->node.empty()) {
        if (refused) {
            state_.rollback(pod.uid);
        } else {
            state_.doubt(pod, args.node, now);
        }
        return error;
    }
    if (now_there->node != args.node) state_.rollback(pod.uid);
    EG_TRY_VOID(judge_bound(args, *now_there));
    if (now_there->placement && *now_there->placement != placement) {
        return refuse(
            ErrorCode::kConflict,
            "pod " + key_of(args) + " was bound to node " + args.node +
                " by another scheduler, with another placement"
        );
    }
    return ok_status();
}

bool Binder::server_checks_uid(TimePoint deadline) {
    UidCheck check = uid_check_.load();
    if (check == UidCheck::kUnknown) {
        const auto version = client_.get("/version", k8s::Call{deadline});
        if (!version) return false;  // ask again with the next bind
        const int major = leading_number(json::get_string(*version, {"major"}));
        const int minor = leading_number(json::get_string(*version, {"minor"}));
        check = major > 1 || minor >= kUidCheckMinor ? UidCheck::kYes : UidCheck::kNo;
        uid_check_.store(check);
    }
    return check == UidCheck::kYes;
}

void Binder::write_label(const k8s::ExtenderBindingArgs& args, TimePoint deadline) {
    const Status written = client_.patch_pod_labels(
        args.pod_namespace,
        args.pod_name,
        args.pod_uid,
        {{std::string(k8s::kAnnotationAssume), "true"}},
        k8s::Call{deadline}
    );
    if (!written) {
        log::warn(
            "label nano-gpu/assume not written; nothing of edge-gpu needs it",
            {{"pod", key_of(args)}, {"error", written.error().message}}
        );
    }
}

}  // namespace egpu::scheduler
