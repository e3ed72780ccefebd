#include "agent/publisher.h"

#include "base/log.h"
#include "base/metrics.h"
#include "gpu/cards_annotation.h"
#include "k8s/placement_annotations.h"

namespace egpu::agent {
namespace {

constexpr std::string_view kUserAgent = "edge-gpu-agent-publisher";
constexpr std::string_view kEventComponent = "edge-gpu-agent";

k8s::EventOptions event_options(const std::string& node) {
    k8s::EventOptions options;
    options.component = kEventComponent;
    options.host = node;
    options.max_queue = 200;
    return options;
}

// Whether the same write can succeed later without anybody changing it.
bool worth_retrying(ErrorCode code) {
    return code == ErrorCode::kUnavailable || code == ErrorCode::kDeadline ||
           code == ErrorCode::kPermission || code == ErrorCode::kExhausted;
}

}  // namespace

Publisher::Publisher(const k8s::Client& client, PublisherOptions options)
    : client_(client.with_user_agent(std::string(kUserAgent))),
      options_(std::move(options)),
      events_(client_, event_options(options_.node_name)),
      backoff_(options_.retry_first, options_.retry_most) {}

Publisher::~Publisher() {
    stop();
}

void Publisher::start() {
    thread_ = std::thread([this] { run(); });
}

void Publisher::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
    events_.stop(Millis(200));
}

void Publisher::publish_cards(std::string cards, std::string injection) {
    NodeTexts texts{std::move(cards), std::move(injection)};
    const std::lock_guard lock(mutex_);
    if (cards_ ? *cards_ == texts : published_ == texts) return;
    cards_ = std::move(texts);
    kicked_ = true;
    wake_.notify_all();
}

void Publisher::report(PlacementReport report) {
    const std::lock_guard lock(mutex_);
    const auto sent = sent_.find(report.uid);
    if (sent != sent_.end() && sent->second.report.placement == report.placement &&
        MonoClock::now() - sent->second.at < options_.repeat_report) {
        return;
    }
    if (!reports_.contains(report.uid) && reports_.size() >= options_.most_reports) return;
    const std::string uid = report.uid;
    const auto waiting = reports_.find(uid);
    if (waiting != reports_.end() && waiting->second == report) return;
    reports_[uid] = std::move(report);
    kicked_ = true;
    wake_.notify_all();
}

void Publisher::warn(
    const k8s::ObjectReference& about, std::string_view reason, std::string_view message
) {
    events_.record(about, k8s::EventType::kWarning, reason, message);
}

void Publisher::kick() {
    const std::lock_guard lock(mutex_);
    if (!cards_ && reports_.empty()) return;
    kicked_ = true;
    wake_.notify_all();
}

bool Publisher::cards_published() const {
    const std::lock_guard lock(mutex_);
    return published_.has_value() && !cards_;
}

std::size_t Publisher::waiting_reports() const {
    const std::lock_guard lock(mutex_);
    return reports_.size();
}

void Publisher::run() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        if (!cards_ && reports_.empty()) {
            wake_.wait(lock, [&] { return stopping_ || cards_ || !reports_.empty(); });
            continue;
        }
        kicked_ = false;
        if (work(lock)) {
            backoff_.reset();
            continue;
        }
        wake_.wait_for(lock, backoff_.next(), [&] { return stopping_ || kicked_; });
        // Changes come in bursts; a dead link is not asked more often for that.
        if (!stopping_ && kicked_) wake_.wait_for(lock, Millis(100), [&] { return stopping_; });
    }
}

// One pass over what waits; false when something has to be tried again later.
bool Publisher::work(std::unique_lock<std::mutex>& lock) {
    Status failed;
    if (cards_) {
        const NodeTexts wanted = *cards_;
        lock.unlock();
        const Status status = send_cards(wanted);
        lock.lock();
        if (status) {
            published_ = wanted;
            if (cards_ == wanted) cards_.reset();
        } else {
            failed = status;
        }
    }
    const std::map<std::string, PlacementReport> batch = reports_;
    for (const auto& [uid, report] : batch) {
        if (stopping_) return true;
        lock.unlock();
        const Status status = send_report(report);
        lock.lock();
        if (!status && worth_retrying(status.error().code)) {
            failed = status;
            if (status.error().code != ErrorCode::kPermission) break;
            continue;
        }
        if (status) {
            if (sent_.size() >= options_.most_reports) sent_.erase(sent_.begin());
            sent_[uid] = {report, MonoClock::now()};
        }
        const auto found = reports_.find(uid);
        if (found != reports_.end() && found->second == report) reports_.erase(found);
    }
    const std::string error = failed ? "" : failed.error().message;
    if (error != last_error_ && !stopping_) {
        if (error.empty()) {
            log::info("reports to the API server are through again");
        } else {
            log::warn("reports to the API server have to wait", {{"error", error}});
        }
    }
    last_error_ = error;
    return error.empty();
}

Status Publisher::send_cards(const NodeTexts& wanted) {
    const TimePoint deadline = MonoClock::now() + options_.call_timeout;
    bool known = false;
    {
        const std::lock_guard lock(mutex_);
        known = published_.has_value();
    }
    if (!known) {
        // After a restart the Node usually carries the same text already.
        const auto node = client_.get(k8s::node_path(options_.node_name), deadline);
        if (node) {
            const auto now = [&](std::string_view key) {
                return json::get_string(*node, {"metadata", "annotations", key});
            };
            if (now(gpu::kAnnotationCards) == wanted.cards &&
                now(kAnnotationInjection) == wanted.injection) {
                return ok_status();
            }
        }
    }
    k8s::Client::AnnotationPatch patch;
    patch[std::string(gpu::kAnnotationCards)] = wanted.cards;
    patch[std::string(kAnnotationInjection)] = wanted.injection;
    Status status = client_.patch_node_annotations(options_.node_name, patch, deadline);
    if (status) log::info("cards published", {{"node", options_.node_name}});
    return status;
}

Status Publisher::send_report(const PlacementReport& report) {
    const TimePoint deadline = MonoClock::now() + options_.call_timeout;
    k8s::Client::AnnotationPatch patch;
    for (auto& [key, value] : k8s::to_annotations(report.placement)) patch[key] = value;
    Status status =
        client_.patch_pod_annotations(report.ns, report.name, report.uid, patch, deadline);
    if (!status) return status;
    static auto sent = metrics::counter(
        "edge_gpu_agent_placements_reported_total",
        "Placements that differed from the pod's annotations."
    );
    sent.add();
    log::info(
        "placement reported", {{"pod", report.ns + "/" + report.name}, {"what", report.message}}
    );
    events_.record(
        {"Pod", report.ns, report.name, report.uid},
        k8s::EventType::kNormal,
        "GPUPlacementReported",
        report.message
    );
    return status;
}

}  // namespace egpu::agent
