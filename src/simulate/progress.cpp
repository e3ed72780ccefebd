#include "simulate/progress.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include <sys/ioctl.h>
#include <unistd.h>

namespace egpu::simulate {

ProgressBar::ProgressBar() : terminal_(::isatty(STDERR_FILENO) != 0) {
    if (!terminal_) return;
    winsize size{};
    const int columns =
        ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    width_ = std::clamp(columns - 12, 8, 60);
}

ProgressBar::~ProgressBar() {
    if (shown_ >= 0) std::fputs("\r\033[K", stderr);
}

void ProgressBar::show(double done) {
    const int thousandths = static_cast<int>(std::clamp(done, 0.0, 1.0) * 1000);
    if (!terminal_ || thousandths == shown_) return;
    shown_ = thousandths;
    const auto full = static_cast<std::size_t>(width_ * thousandths / 1000);
    const std::string bar =
        std::string(full, '#') + std::string(static_cast<std::size_t>(width_) - full, '.');
    std::fprintf(stderr, "\r[%s] %3d %%", bar.c_str(), thousandths / 10);
    std::fflush(stderr);
}

}  // namespace egpu::simulate
