// The inside of Faults: rules, counters and what ApiServer hooks in. Not for tests.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <mutex>
#include <regex>
#include <vector>

#include "testing/apiserver/faults.h"

namespace egpu::testing {

struct Faults::State {
    struct Rule {
        FaultRule rule;
        std::regex path;
    };

    mutable std::mutex mutex;
    std::vector<Rule> rules;
    Duration latency{};
    std::deque<RequestRecord> requests;
    std::atomic<ServerMode> mode{ServerMode::kOnline};
    std::atomic<std::size_t> open_watches{0};

    std::function<void()> break_watches;
    std::function<void()> expire_history;
    std::function<Status(ServerMode)> change_mode;

    // The first rule that matches, with one use taken off it.
    std::optional<FaultRule> take(std::string_view method, const std::string& path);
    Duration current_latency() const;
    void record(RequestRecord record);
};

}  // namespace egpu::testing
