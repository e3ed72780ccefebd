#include "base/stop.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"

namespace egpu {

struct StopToken::State {
    std::atomic<bool> stopped{false};
    Fd event{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
};

bool StopToken::stopped() const {
    return state_->stopped.load(std::memory_order_acquire);
}

int StopToken::fd() const {
    return state_->event.get();
}

bool StopToken::wait_for(Duration timeout) const {
    const TimePoint until = MonoClock::now() + timeout;
    while (!stopped()) {
        const auto left = std::chrono::ceil<Millis>(until - MonoClock::now()).count();
        if (left <= 0) return false;
        pollfd entry{fd(), POLLIN, 0};
        ::poll(&entry, 1, static_cast<int>(std::min<Millis::rep>(left, 1 << 30)));
    }
    return true;
}

StopSource::StopSource() : token_(std::make_shared<StopToken::State>()) {
    EG_CHECK(token_.state_->event.valid());
}

void StopSource::request() {
    token_.state_->stopped.store(true, std::memory_order_release);
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto n = ::write(token_.state_->event.get(), &one, sizeof one);
}

StopToken stop_on_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGTERM, SIGINT, SIGQUIT}) sigaddset(&set, number);
    EG_CHECK(::pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
    ::signal(SIGPIPE, SIG_IGN);
    StopSource source;
    std::thread([set, source]() mutable {
        int number = 0;
        if (::sigwait(&set, &number) == 0) source.request();
        const TimePoint meant_again = MonoClock::now() + Seconds(1);
        while (::sigwait(&set, &number) == 0) {
            if (MonoClock::now() >= meant_again) ::_exit(130);
        }
    }).detach();
    return source.token();
}

}  // namespace egpu
