#include "base/metrics.h"

#include <gtest/gtest.h>

namespace egpu::metrics {
namespace {

TEST(Metrics, RendersPrometheusText) {
    counter("t_binds_total", "Pods bound.", {{"result", "ok"}}).add(2);
    counter("t_binds_total", "Pods bound.", {{"result", "ok"}}).add();
    gauge("t_free_percent", "Free.", {{"card", "GPU-1"}}).set(40);
    histogram("t_seconds", "Time.", {0.1, 1}).observe(0.5);
    const std::string text = render();
    EXPECT_NE(text.find("# HELP t_binds_total Pods bound.\n"), std::string::npos) << text;
    EXPECT_NE(text.find("t_binds_total{result=\"ok\"} 3\n"), std::string::npos) << text;
    EXPECT_NE(text.find("t_free_percent{card=\"GPU-1\"} 40\n"), std::string::npos) << text;
    EXPECT_NE(text.find("t_seconds_bucket{le=\"1\"} 1\n"), std::string::npos) << text;
}

TEST(Metrics, ForgetsOneGauge) {
    gauge("t_gone", "x", {{"card", "a"}}).set(1);
    gauge("t_gone", "x", {{"card", "b"}}).set(1);
    remove_gauge("t_gone", {{"card", "a"}});
    const std::string text = render();
    EXPECT_EQ(text.find("t_gone{card=\"a\"}"), std::string::npos);
    EXPECT_NE(text.find("t_gone{card=\"b\"}"), std::string::npos);
}

}  // namespace
}  // namespace egpu::metrics
