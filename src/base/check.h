// EG_CHECK: broken invariants abort, in release builds too. A restart is cheap and safe here: state
// is rebuilt from the API server, the kubelet and one small file.
#pragma once

namespace egpu {
[[noreturn]] void check_failed(const char* condition, const char* file, int line);
}

#define EG_CHECK(condition)                                                     \
    do {                                                                        \
        if (!(condition)) ::egpu::check_failed(#condition, __FILE__, __LINE__); \
    } while (false)
