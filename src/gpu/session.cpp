#include "gpu/session.h"

#include <algorithm>

#include "base/log.h"
#include "base/metrics.h"

namespace egpu::gpu {
namespace {

constexpr std::uint64_t kWatched = nvml::kEventXid | nvml::kEventMigConfigChange |
                                   nvml::kEventGpuUnavailable | nvml::kEventGpuRecoveryAction;

}  // namespace

Session::~Session() {
    drop_events();
}

void Session::drop_events() {
    if (set_ != nullptr) nvml_.free_event_set(set_);
    set_ = nullptr;
    registered_ = 0;
}

void Session::register_all() {
    drop_events();
    const auto set = nvml_.create_event_set();
    if (!set.ok()) {
        log::warn("NVML has no events, cards are polled", {{"error", nvml_code_text(set.code)}});
        return;
    }
    set_ = set.value;
    for (const auto& gpu : gpus_) {
        const auto code = nvml_.register_events(gpu.handle, kWatched, set_);
        if (code == nvml::Code::kSuccess) {
            ++registered_;
        } else {
            log::warn(
                "no events from this GPU, it is polled",
                {{"uuid", gpu.uuid}, {"error", nvml_code_text(code)}}
            );
        }
    }
}

Result<Enumeration> Session::look(std::span<const CardInfo> known) {
    EG_TRY(auto seen, enumerate(nvml_, options_, known));
    if (seen.gpus != gpus_ || wait_failed_) {
        gpus_ = seen.gpus;
        wait_failed_ = false;
        register_all();
    }
    return seen;
}

Session::News Session::handle(const nvml::EventData& event, HealthBoard& board) const {
    const auto gpu = std::find_if(gpus_.begin(), gpus_.end(), [&](const PhysicalGpu& g) {
        return g.handle == event.device;
    });
    if (gpu == gpus_.end()) {
        log::warn("NVML event of an unknown GPU; looking at all cards", {{"type", event.type}});
        return News::kLookNow;
    }
    const TimePoint now = MonoClock::now();
    if (event.type == nvml::kEventXid) {
        const int turned =
            board.on_xid(gpu->uuid, event.gpu_instance, event.compute_instance, event.data, now);
        metrics::counter(
            "edge_gpu_xid_events_total",
            "XID events of the driver.",
            {{"uuid", gpu->uuid}, {"xid", std::to_string(event.data)}}
        ).add();
        log::warn(
            "XID event",
            {{"uuid", gpu->uuid}, {"xid", event.data}, {"cards_turned_unhealthy", turned}}
        );
    } else if (event.type == nvml::kEventGpuUnavailable) {
        board.on_unavailable(gpu->uuid, now);
        log::warn("driver says the GPU is unavailable", {{"uuid", gpu->uuid}});
    }
    return News::kLookNow;  // also for MIG changes and recovery actions
}

Session::News Session::wait(Duration slice, const StopToken& stop, HealthBoard& board) {
    if (!has_events() || wait_failed_) {
        stop.wait_for(slice);
        return News::kNone;
    }
    const auto ms = std::chrono::ceil<Millis>(slice).count();
    const auto event = nvml_.wait_event(set_, static_cast<unsigned>(ms));
    if (event.ok()) return handle(event.value, board);
    if (event.code == nvml::Code::kTimeout) return News::kNone;
    // Never spin on a broken wait: sleep instead until the next look, which registers anew.
    log::warn("NVML event wait failed", {{"error", nvml_code_text(event.code)}});
    wait_failed_ = true;
    stop.wait_for(slice);
    return News::kLookSoon;
}

}  // namespace egpu::gpu
