// The frame of all checks: a check looks at facts and writes findings; it is pure. One root cause
// is named once: a check whose needs failed, or were themselves skipped, is skipped with the
// reason.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "doctor/facts.h"
#include "doctor/finding.h"
#include "doctor/node_model.h"

namespace egpu::doctor {

struct CheckContext {
    const Facts& facts;
    const NodeModel& node;
};

// Collects the findings of one check.
class Findings {
  public:
    explicit Findings(CheckResult& into) : into_(into) {}

    Finding& ok(std::string_view id, std::string looked_at, std::string found);
    Finding& info(std::string_view id, std::string looked_at, std::string found);
    Finding& warning(std::string_view id, std::string looked_at, std::string found);
    Finding& error(std::string_view id, std::string looked_at, std::string found);
    // Nothing to look at here; `why` completes "not checked: ".
    void skip(std::string why) { into_.skipped = std::move(why); }
    bool empty() const { return into_.findings.empty(); }

  private:
    Finding& add(Severity severity, std::string_view id, std::string looked_at, std::string found);
    CheckResult& into_;
};

struct Check {
    std::string_view id;
    std::string_view title;
    std::string_view group;
    std::vector<std::string_view> needs;  // ids of earlier checks
    void (*run)(const CheckContext& context, Findings& out);
};

// Every check, in order of report.
std::span<const Check> all_checks();

// Pure.
Report run_checks(const Facts& facts);

// The checks, by file.
void check_pci(const CheckContext& context, Findings& out);
void check_module(const CheckContext& context, Findings& out);
void check_nvml(const CheckContext& context, Findings& out);
void check_cards(const CheckContext& context, Findings& out);
void check_libraries(const CheckContext& context, Findings& out);
void check_majors(const CheckContext& context, Findings& out);
void check_device_nodes(const CheckContext& context, Findings& out);
void check_dev_char(const CheckContext& context, Findings& out);
void check_cuda(const CheckContext& context, Findings& out);
void check_fabric(const CheckContext& context, Findings& out);
void check_docker(const CheckContext& context, Findings& out);
void check_containerd(const CheckContext& context, Findings& out);
void check_crio(const CheckContext& context, Findings& out);
void check_toolkit(const CheckContext& context, Findings& out);
void check_cdi(const CheckContext& context, Findings& out);
void check_injection(const CheckContext& context, Findings& out);
void check_cgroup(const CheckContext& context, Findings& out);
void check_kubelet(const CheckContext& context, Findings& out);
void check_plugins(const CheckContext& context, Findings& out);
void check_lite_apiserver(const CheckContext& context, Findings& out);
void check_api(const CheckContext& context, Findings& out);
void check_extender(const CheckContext& context, Findings& out);
void check_security(const CheckContext& context, Findings& out);
void check_history(const CheckContext& context, Findings& out);
void check_limits(const CheckContext& context, Findings& out);
void check_clock(const CheckContext& context, Findings& out);

}  // namespace egpu::doctor
