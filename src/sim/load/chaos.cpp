#include "sim/load/chaos.h"

#include <array>

#include "base/check.h"

namespace egpu::sim::load {

namespace {

using testing::FaultAction;

constexpr const char* kBinding = "/binding$";
constexpr const char* kPods = "/api/v1/pods$";

}  // namespace

Chaos::Chaos(testing::ApiServer& api, std::uint64_t seed)
    : api_(api), random_(seed), thread_([this] { work(); }) {}

Chaos::~Chaos() {
    stop();
}

std::uint64_t Chaos::stop() {
    stopping_ = true;
    if (thread_.joinable()) {
        thread_.join();
        EG_CHECK(api_.faults().clear().ok());
    }
    return faults_;
}

void Chaos::work() {
    while (!stopping_) {
        one_fault();
        ++faults_;
        std::this_thread::sleep_for(Millis(random_.between(50, 400)));
    }
}

void Chaos::one_fault() {
    testing::Faults& faults = api_.faults();
    static constexpr std::array kStatuses{409, 429, 500, 503};
    const int count = random_.between(1, 3);
    // Faults of reads are few: what fails faster than it is asked again would never come to an end.
    const TimePoint now = MonoClock::now();
    const bool reads = now >= next_read_fault_;
    const std::uint64_t kind = random_.below(reads ? 12 : 7);
    if (kind >= 7) next_read_fault_ = now + Seconds(5);
    switch (kind) {
        case 0:
        case 1:
        case 2:
        case 3: {
            const int status = kStatuses[random_.below(kStatuses.size())];
            faults.fail_next(
                count, "POST", kBinding, status, status == 429 ? std::optional(1) : std::nullopt
            );
            break;
        }
        case 4:
            faults.drop_after_commit(count, "POST", kBinding);
            break;
        case 5:
            faults.drop_before(count, "POST", kBinding);
            break;
        case 6:
            EG_CHECK(faults
                         .add(
                             {.action = FaultAction::kStallAfterCommit,
                              .method = "POST",
                              .path = kBinding,
                              .message = {},
                              .retry_after_s = {},
                              .delay = Millis(random_.between(10, 6000))}
                         )
                         .ok());
            break;
        case 7:
            faults.fail_next(1, "GET", "/api/v1/namespaces/default/pods/", 500);
            break;
        case 8:
            faults.fail_next(1, "GET", kPods, 500);
            break;
        case 9:
            faults.fail_next(1, "WATCH", kPods, 429, 1);
            break;
        case 10:
            faults.expire_history();
            break;
        default:
            faults.break_watches();
    }
}

}  // namespace egpu::sim::load
