#include "doctor/render.h"

#include <gtest/gtest.h>

#include "doctor/check.h"

namespace egpu::doctor {
namespace {

Report sample() {
    Report report;
    report.node = "edge-7";
    report.root = "/";
    CheckResult pci{"pci", "GPUs on the bus", "Driver", {}, "", false};
    Findings(pci).ok("gpu-present", "/sys/bus/pci/devices", "2 GPU(s)");
    CheckResult module{"module", "kernel modules", "Driver", {}, "", false};
    Finding& finding = Findings(module).error(
        "module-not-loaded", "/proc/modules", "nvidia is not \x1b[31mloaded"
    );
    finding.meaning =
        "the driver is installed but not in use and so no program on this node sees a GPU";
    finding.fix = "modprobe nvidia\ndmesg | grep -i nvrm";
    finding.repair = Repair::kDeviceNodes;
    CheckResult nvml{"nvml", "NVML answers", "Driver", {}, "see \"kernel modules\" first", true};
    CheckResult docker{"docker", "Docker", "Container runtime", {}, "not in use", false};
    report.checks = {pci, module, nvml, docker};
    return report;
}

TEST(RenderText, groups_wraps_prose_and_never_commands) {
    TextStyle style;
    style.width = 60;
    EXPECT_EQ(render_text(sample(), style), R"(Driver
  ok    GPUs on the bus              2 GPU(s)
 FAIL   kernel modules               /proc/modules: nvidia
                                     is not  [31mloaded
        means   the driver is installed but not in use and
                so no program on this node sees a GPU
        fix     modprobe nvidia
                dmesg | grep -i nvrm
  --    NVML answers                 not checked: see
                                     "kernel modules" first

1 check had nothing to look at (--verbose lists them)
edge-7: 1 error: GPU pods cannot run here as they should
)");
}

TEST(RenderText, is_coloured_only_when_asked) {
    TextStyle style;
    EXPECT_EQ(render_text(sample(), style).find('\x1b'), std::string::npos);
    style.colour = true;
    EXPECT_NE(render_text(sample(), style).find("\x1b[31m FAIL \x1b[0m"), std::string::npos);
}

TEST(RenderJson, has_the_documented_fields) {
    const json::value value = render_json(sample());
    EXPECT_EQ(json::get_int(value, {"version"}), 1);
    EXPECT_EQ(json::get_string(value, {"verdict"}), "errors");
    EXPECT_EQ(json::get_int(value, {"errors"}), 1);
    const json::array& checks = *json::get_array(value, {"checks"});
    ASSERT_EQ(checks.size(), 4U);
    EXPECT_EQ(json::get_string(checks[0], {"state"}), "ok");
    EXPECT_EQ(json::get_string(checks[1], {"state"}), "error");
    EXPECT_EQ(json::get_string(checks[2], {"state"}), "skipped");
    const json::value& finding = json::get_array(checks[1], {"findings"})->front();
    EXPECT_EQ(json::get_string(finding, {"id"}), "module-not-loaded");
    EXPECT_EQ(json::get_string(finding, {"lookedAt"}), "/proc/modules");
    EXPECT_TRUE(json::get_bool(finding, {"automatic"}));
}

TEST(RenderJson, stays_json_whatever_was_found) {
    Report report;
    CheckResult check;
    Findings(check).error("x", "/f", "\xff\xfe \x01\" caf\xc3\xa9");
    report.checks = {check};
    const auto parsed = json::parse(json::to_text(render_json(report)));
    ASSERT_TRUE(parsed.ok()) << parsed.error().message;
    const json::value& finding =
        json::get_array(json::get_array(*parsed, {"checks"})->front(), {"findings"})->front();
    EXPECT_EQ(json::get_string(finding, {"found"}), "\xef\xbf\xbd\xef\xbf\xbd \x01\" caf\xc3\xa9");
}

TEST(Verdict, is_one_line_for_each_outcome) {
    Report report;
    EXPECT_EQ(verdict(report), "ready: nothing keeps GPU pods from running here");
    EXPECT_EQ(exit_code(report), 0);
    report.has_gpu = false;
    EXPECT_EQ(verdict(report), "no NVIDIA GPU on this machine: nothing for edge-gpu to do");
    EXPECT_EQ(exit_code(report), kExitNoGpu);
    report.has_gpu = true;
    CheckResult check;
    Findings(check).warning("w", "x", "y");
    report.checks = {check};
    EXPECT_EQ(verdict(report), "1 warning: GPU pods run here, with the limits above");
    EXPECT_EQ(exit_code(report), 1);
}

}  // namespace
}  // namespace egpu::doctor
