#include "guard/log_line.h"

#include <cstring>
#include <initializer_list>

#include <sys/syscall.h>
#include <unistd.h>

namespace egpu::guard {

void log_line(const char* text, const char* detail) {
    char line[512];
    std::size_t length = 0;
    for (const char* part : {"edge-gpu guard: ", text, detail, "\n"}) {
        const std::size_t more = std::strlen(part);
        if (length + more > sizeof line) return;
        std::memcpy(line + length, part, more);
        length += more;
    }
    syscall(SYS_write, 2, line, length);
}

}  // namespace egpu::guard
