#include "isolation/measured_time.h"

#include <algorithm>
#include <set>

namespace egpu::isolation {
namespace {

constexpr std::uint64_t kPeriodUs = 1'000'000 / 6;
// An average over longer is of a time in which nobody asked: what was before the last period is
// not known.
constexpr std::uint64_t kLongestUs = 2'000'000;

}  // namespace

std::vector<MeasuredTime::Busy> MeasuredTime::add(
    std::vector<TimeSample> samples, std::uint64_t after_us
) {
    std::sort(samples.begin(), samples.end(), [](const TimeSample& a, const TimeSample& b) {
        return a.time_us != b.time_us ? a.time_us < b.time_us : a.pid < b.pid;
    });
    std::set<unsigned> pids;
    for (const TimeSample& sample : samples) {
        by_period_ = !pids.insert(sample.pid).second || by_period_;
    }
    std::vector<Busy> busy;
    std::uint64_t before = after_us;  // end of the period before the sample's
    std::uint64_t at = after_us;
    for (const TimeSample& sample : samples) {
        if (sample.time_us <= after_us) continue;
        if (sample.time_us != at) {
            before = at;
            at = sample.time_us;
        }
        std::uint64_t length = at - (by_period_ ? before : after_us);
        if (by_period_) length = std::min(length, kPeriodUs);
        if (length > kLongestUs) length = kPeriodUs;
        busy.push_back(
            {sample.pid,
             sample.time_us,
             static_cast<double>(length) * 1000.0 * std::min(sample.percent, 100U) / 100.0}
        );
    }
    return busy;
}

}  // namespace egpu::isolation
