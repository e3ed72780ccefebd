// Errors of the past and limits of the kernel.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include "doctor/check.h"
#include "doctor/proc_tables.h"

namespace egpu::doctor {
namespace {

constexpr long kFewInotify = 128;
constexpr double kSkewSeconds = 30;

// XIDs that programs cause by their own fault: nothing is wrong with the card.
bool by_a_program(int xid) {
    static const std::set<int> known{13, 31, 43, 45, 68, 69, 94};
    return known.count(xid) != 0;
}
// Only noted: memory repaired itself.
bool informational(int xid) {
    return xid == 63 || xid == 92;
}

long number_in(const FileView& files, const char* path, long otherwise) {
    const auto text = files.read(path, 4096);
    long value = otherwise;
    if (text) std::from_chars(text->data(), text->data() + text->size(), value);
    return value;
}

}  // namespace

void check_history(const CheckContext& context, Findings& out) {
    const KernelLog& log = context.facts.kernel_log;
    if (!log.error.empty()) {
        out.info("kernel-log-unreadable", "/dev/kmsg", log.error).fix = "run the doctor as root";
        return;
    }
    std::map<std::pair<std::string, int>, int> counts;
    for (const std::string& line : log.lines) {
        if (const auto record = xid_of(line)) ++counts[{record->pci, record->xid}];
    }
    int harmless = 0;
    for (const auto& [what, count] : counts) {
        const auto& [pci, xid] = what;
        if (by_a_program(xid) || informational(xid)) {
            harmless += count;
            continue;
        }
        Finding& finding = out.warning(
            "xid-" + std::to_string(xid),
            "kernel log",
            "XID " + std::to_string(xid) + " on " + pci + ", " + std::to_string(count) +
                " time(s) since boot"
        );
        finding.meaning = xid == 79 ? "the GPU fell off the bus and came back"
                                    : "the GPU or its link had an error that no program caused";
        finding.fix =
            "dmesg | grep 'NVRM: Xid'\nif it goes on: check power and temperature, reset the GPU, "
            "have it replaced";
    }
    if (!out.empty()) return;
    if (harmless != 0) {
        out.info(
            "xid-of-programs",
            "kernel log",
            std::to_string(harmless) + " XID(s) since boot, of kinds that programs cause themselves"
        );
        return;
    }
    out.ok("no-xid", "kernel log", "no XID since boot");
}

void check_limits(const CheckContext& context, Findings& out) {
    const FileView& files = *context.facts.files;
    const char* path = "/proc/sys/fs/inotify/max_user_instances";
    const long instances = number_in(files, path, kFewInotify);
    if (instances < kFewInotify) {
        Finding& finding = out.warning("inotify-few", path, std::to_string(instances));
        finding.meaning =
            "kubelet, runtime and agent watch folders; above the limit they poll, or fail to start";
        finding.fix =
            "sysctl -w fs.inotify.max_user_instances=512\n"
            "echo fs.inotify.max_user_instances=512 > /etc/sysctl.d/90-inotify.conf";
        return;
    }
    std::string off;
    for (const GpuFacts& gpu : context.facts.nvml.gpus) {
        if (gpu.persistence == false) off += (off.empty() ? "" : ", ") + std::to_string(gpu.index);
    }
    if (!off.empty()) {
        Finding& finding =
            out.info("persistence-off", "NVML", "persistence mode is off on GPU " + off);
        finding.meaning =
            "the first program on an idle GPU waits one to some seconds for its start";
        finding.fix = "systemctl enable --now nvidia-persistenced";
        return;
    }
    out.ok("limits", path, std::to_string(instances));
}

void check_clock(const CheckContext& context, Findings& out) {
    const Facts& facts = context.facts;
    if (facts.api.clock_ahead_s && std::abs(*facts.api.clock_ahead_s) > kSkewSeconds) {
        const double ahead = *facts.api.clock_ahead_s;
        Finding& finding = out.warning(
            "clock-skew",
            "Date of " + facts.api.server,
            "this clock is " + std::to_string(std::llround(std::abs(ahead))) + " s " +
                (ahead > 0 ? "ahead of" : "behind") + " the API server's"
        );
        finding.meaning = "certificates and tokens may be refused; leases and events lie";
        finding.fix = "timedatectl set-ntp true   (or chronyc makestep)";
        return;
    }
    if (facts.clock_synchronised == false) {
        Finding& finding =
            out.info("clock-free", "adjtimex", "no time service disciplines the clock");
        finding.meaning = "at the edge it drifts until certificates are refused";
        finding.fix = "timedatectl set-ntp true";
        return;
    }
    if (!facts.clock_synchronised && !facts.api.clock_ahead_s) {
        return out.skip("nothing to compare with");
    }
    out.ok(
        "clock", facts.api.clock_ahead_s ? "Date of " + facts.api.server : "adjtimex", "in step"
    );
}

}  // namespace egpu::doctor
