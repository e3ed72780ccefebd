// Prometheus metrics of this process. A metric is made where it is used, once, and kept:
//   static auto binds = metrics::counter("edge_gpu_binds_total", "Pods bound.", {{"result",
//   "ok"}});
// Handles are cheap to copy and thread-safe. Names carry their unit (_seconds, _bytes, _total).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
}  // namespace prometheus

namespace egpu::metrics {

using Labels = std::map<std::string, std::string>;

class Counter {
  public:
    explicit Counter(prometheus::Counter& c) : counter_(&c) {}
    void add(double by = 1.0);
    double value() const;

  private:
    prometheus::Counter* counter_;
};

class Gauge {
  public:
    explicit Gauge(prometheus::Gauge& g) : gauge_(&g) {}
    void set(double to);
    double value() const;

  private:
    prometheus::Gauge* gauge_;
};

class Histogram {
  public:
    explicit Histogram(prometheus::Histogram& h) : histogram_(&h) {}
    void observe(double value);

  private:
    prometheus::Histogram* histogram_;
};

// The same name and labels give the same metric. The first call's help (and buckets) count.
Counter counter(std::string_view name, std::string_view help, const Labels& labels = {});
Gauge gauge(std::string_view name, std::string_view help, const Labels& labels = {});
Histogram histogram(
    std::string_view name,
    std::string_view help,
    const std::vector<double>& buckets,
    const Labels& labels = {}
);
// Forgets one gauge or counter, for example of a card that is gone. No handle of it may be kept.
void remove_gauge(std::string_view name, const Labels& labels);
void remove_counter(std::string_view name, const Labels& labels);

// Buckets for request times, in seconds: 100 us to 10 s.
const std::vector<double>& latency_buckets();

// The text exposition format (version 0.0.4).
std::string render();

}  // namespace egpu::metrics
