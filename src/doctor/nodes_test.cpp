// Every recorded broken node: its fault is named with a fix, and nothing else is blamed.
#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "doctor/check.h"
#include "doctor/recorded_node_for_test.h"
#include "doctor/render.h"

namespace egpu::doctor {
namespace {

std::string text(const Report& report) {
    TextStyle style;
    style.verbose = true;
    return render_text(report, style);
}

TEST(HealthyNode, has_nothing_but_ok) {
    const RecordedNode node = load_healthy_node();
    const Report report = run_checks(node.facts);
    EXPECT_EQ(report.severity(), Severity::kOk) << text(report);
    EXPECT_EQ(exit_code(report), 0);
    int ran = 0;
    for (const CheckResult& check : report.checks) {
        EXPECT_FALSE(check.blocked) << check.id;
        EXPECT_NE(check.skipped.empty(), check.findings.empty()) << check.id;
        ran += check.skipped.empty() ? 1 : 0;
    }
    EXPECT_GE(ran, 19) << text(report);
}

class BrokenNode : public ::testing::TestWithParam<std::string> {};

TEST_P(BrokenNode, is_named_with_its_fix_and_nothing_else_is_blamed) {
    const RecordedNode node = load_broken_node(GetParam());
    const Report report = run_checks(node.facts);
    std::vector<std::string> blamed;
    for (const CheckResult& check : report.checks) {
        for (const Finding& finding : check.findings) {
            if (finding.severity < Severity::kWarning) continue;
            blamed.push_back(finding.id + " " + std::string(to_string(finding.severity)));
            EXPECT_FALSE(finding.fix.empty()) << finding.id;
            EXPECT_FALSE(finding.meaning.empty()) << finding.id;
            EXPECT_FALSE(finding.looked_at.empty()) << finding.id;
        }
    }
    const std::vector<std::string> expected{node.expected_id + " " + node.expected_severity};
    EXPECT_EQ(blamed, expected) << text(report);
    EXPECT_EQ(exit_code(report), node.expected_severity == "error" ? 2 : 1);
}

INSTANTIATE_TEST_SUITE_P(
    recorded,
    BrokenNode,
    ::testing::ValuesIn(broken_node_names()),
    [](const auto& parameter) {
        std::string name = parameter.param;
        std::replace(name.begin(), name.end(), '-', '_');
        return name;
    }
);

TEST(BrokenNodes, are_many) {
    EXPECT_GE(broken_node_names().size(), 15U);
}

}  // namespace
}  // namespace egpu::doctor
