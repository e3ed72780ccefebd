#include "base/metrics.h"

#include <mutex>

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace egpu::metrics {
namespace {

struct State {
    std::mutex mutex;
    prometheus::Registry registry;
    // Family pointers stay valid for the registry's life.
    std::map<std::string, prometheus::Family<prometheus::Gauge>*, std::less<>> gauges;
    std::map<std::string, prometheus::Family<prometheus::Counter>*, std::less<>> counters;
};

State& state() {
    static auto* s = new State;  // lives until the process ends: handles are kept in statics
    return *s;
}

}  // namespace

void Counter::add(double by) {
    counter_->Increment(by);
}
double Counter::value() const {
    return counter_->Value();
}
void Gauge::set(double to) {
    gauge_->Set(to);
}
double Gauge::value() const {
    return gauge_->Value();
}
void Histogram::observe(double value) {
    histogram_->Observe(value);
}

Counter counter(std::string_view name, std::string_view help, const Labels& labels) {
    auto& family = prometheus::BuildCounter()
                       .Name(std::string(name))
                       .Help(std::string(help))
                       .Register(state().registry);
    const std::lock_guard lock(state().mutex);
    state().counters.insert_or_assign(std::string(name), &family);
    return Counter(family.Add(labels));
}

Gauge gauge(std::string_view name, std::string_view help, const Labels& labels) {
    auto& family = prometheus::BuildGauge()
                       .Name(std::string(name))
                       .Help(std::string(help))
                       .Register(state().registry);
    const std::lock_guard lock(state().mutex);
    state().gauges.insert_or_assign(std::string(name), &family);
    return Gauge(family.Add(labels));
}

Histogram histogram(
    std::string_view name,
    std::string_view help,
    const std::vector<double>& buckets,
    const Labels& labels
) {
    auto& family = prometheus::BuildHistogram()
                       .Name(std::string(name))
                       .Help(std::string(help))
                       .Register(state().registry);
    return Histogram(family.Add(labels, buckets));
}

void remove_gauge(std::string_view name, const Labels& labels) {
    const std::lock_guard lock(state().mutex);
    const auto it = state().gauges.find(name);
    if (it != state().gauges.end()) it->second->Remove(&it->second->Add(labels));
}

void remove_counter(std::string_view name, const Labels& labels) {
    const std::lock_guard lock(state().mutex);
    const auto it = state().counters.find(name);
    if (it != state().counters.end()) it->second->Remove(&it->second->Add(labels));
}

const std::vector<double>& latency_buckets() {
    static const std::vector<double> buckets{
        0.0001,
        0.00025,
        0.0005,
        0.001,
        0.0025,
        0.005,
        0.01,
        0.025,
        0.05,
        0.1,
        0.25,
        0.5,
        1,
        2.5,
        5,
        10};
    return buckets;
}

std::string render() {
    return prometheus::TextSerializer().Serialize(state().registry.Collect());
}

}  // namespace egpu::metrics
