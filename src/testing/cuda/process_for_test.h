// For tests of the simulated driver: each part runs in a child process of its own, because the
// library keeps its state, and tells what was not as expected.
#pragma once

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <sstream>
#include <string>

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guard/cuda_abi.h"
#include "testing/nvml/sim_state.h"
#include "testing/temp_folder.h"

namespace egpu::testing {

inline constexpr std::size_t kMib = 1 << 20;

// A library's functions by name. The types are those of the arguments given: sizes must be size_t.
class Library {
  public:
    explicit Library(const std::string& path) : handle_(dlopen(path.c_str(), RTLD_NOW)) {
        if (handle_ == nullptr) std::fprintf(stderr, "%s\n", dlerror());
    }
    void* symbol(const char* name) const { return dlsym(handle_, name); }
    template <class... Args>
    int operator()(const char* name, Args... args) const {
        void* function = symbol(name);
        if (function == nullptr) {
            std::fprintf(stderr, "no %s\n", name);
            return -1;
        }
        return reinterpret_cast<int (*)(Args...)>(function)(args...);
    }

  private:
    void* handle_;
};

// What was not as expected.
class Report {
  public:
    template <class A, class B>
    void same(const A& actual, const B& expected, const char* what, int line) {
        if (actual == expected) return;
        text_ << "line " << line << ": " << what << " is " << actual << ", not " << expected
              << "\n";
    }
    template <class A, class B>
    void within(A actual, B low, B high, const char* what, int line) {
        if (actual >= low && actual <= high) return;
        text_ << "line " << line << ": " << what << " is " << actual << ", not in " << low << " to "
              << high << "\n";
    }
    std::string text() const { return text_.str(); }

  private:
    std::ostringstream text_;
};

// A child that runs `body` and then exits; its report is read by finish().
class Child {
  public:
    explicit Child(const std::function<void(Report&)>& body) {
        int ends[2] = {-1, -1};
        if (::pipe(ends) != 0) std::abort();
        pid_ = ::fork();
        if (pid_ == 0) {
            ::close(ends[0]);
            Report report;
            body(report);
            const std::string text = report.text();
            const ssize_t written = ::write(ends[1], text.data(), text.size());
            ::_exit(written == static_cast<ssize_t>(text.size()) ? 0 : 3);
        }
        ::close(ends[1]);
        from_ = ends[0];
    }
    ~Child() {
        if (pid_ > 0) kill();
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    pid_t pid() const { return pid_; }
    void kill() {
        ::kill(pid_, SIGKILL);
        reap();
    }
    // "" when all was as expected.
    std::string finish() {
        std::string text;
        char buffer[4096];
        while (true) {
            pollfd waited{from_, POLLIN, 0};
            if (::poll(&waited, 1, 60'000) <= 0) {
                kill();
                return text + "no end within 60 s\n";
            }
            const ssize_t got = ::read(from_, buffer, sizeof buffer);
            if (got <= 0) break;
            text.append(buffer, static_cast<std::size_t>(got));
        }
        const int status = reap();
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            text += "ended with status " + std::to_string(status) + "\n";
        }
        return text;
    }

  private:
    int reap() {
        int status = 0;
        ::waitpid(pid_, &status, 0);
        ::close(from_);
        pid_ = -1;
        return status;
    }

    pid_t pid_ = -1;
    int from_ = -1;
};

// Lets two processes take turns: a byte each way.
class Baton {
  public:
    Baton() {
        if (::pipe(ends_) != 0) std::abort();
    }
    ~Baton() {
        ::close(ends_[0]);
        ::close(ends_[1]);
    }
    Baton(const Baton&) = delete;
    Baton& operator=(const Baton&) = delete;
    void pass() const {
        if (::write(ends_[1], "x", 1) != 1) std::abort();
    }
    void take() const {
        char c = 0;
        pollfd waited{ends_[0], POLLIN, 0};
        if (::poll(&waited, 1, 60'000) <= 0 || ::read(ends_[0], &c, 1) != 1) std::abort();
    }

  private:
    int ends_[2] = {-1, -1};
};

// A node with two T4 of 15360 MiB and contexts of 300 MiB.
class SimDriver : public ::testing::Test {
  protected:
    static constexpr std::size_t kTotal = 15360 * kMib;
    static constexpr std::size_t kIdle = 3 * kMib;
    static constexpr std::size_t kContext = 300 * kMib;

    SimDriver() {
        write();
        ::setenv(kSimNvmlEnv, (folder_ / "state").c_str(), 1);
        ::unsetenv("CUDA_VISIBLE_DEVICES");
        ::unsetenv("EDGE_GPU_SIM_CUDA");
    }
    void write() { ASSERT_TRUE(node_.write(folder_ / "state").ok()); }
    void set(const char* line) {
        node_.add_cuda(line);
        write();
    }

    SimGpus node_ = SimGpus::make("t4", "node-1").value();
    TempFolder folder_;
};

inline Library cuda_library() {
    return Library(EDGE_GPU_SIM_CUDA_LIBRARY);
}

// Initialised, with a context of device 0.
inline Library cuda_with_context(void** context = nullptr) {
    Library cu = cuda_library();
    void* made = nullptr;
    if (cu("cuInit", 0U) != 0 || cu("cuCtxCreate_v2", &made, 0U, 0) != 0) std::abort();
    if (context != nullptr) *context = made;
    return cu;
}

inline std::size_t free_memory(const Library& cu) {
    std::size_t free = 0;
    std::size_t total = 0;
    return cu("cuMemGetInfo_v2", &free, &total) == 0 ? free : 0;
}

// A kernel that does nothing but take time.
inline void* kernel(const Library& cu, const char* name) {
    void* module = nullptr;
    void* function = nullptr;
    if (cu("cuModuleLoadData", &module, static_cast<const void*>("anything at all")) != 0 ||
        cu("cuModuleGetFunction", &function, module, name) != 0) {
        std::abort();
    }
    return function;
}

inline int launch(
    const Library& cu,
    void* function,
    void* stream = nullptr,
    unsigned blocks = 40,
    const char* name = "cuLaunchKernel"
) {
    return cu(
        name,
        function,
        blocks,
        1U,
        1U,
        1024U,
        1U,
        1U,
        0U,
        stream,
        static_cast<void**>(nullptr),
        static_cast<void**>(nullptr)
    );
}

// A process with a context and `mib` of memory on card 0, until it is killed; `spin`: its kernels
// run one after the other.
inline std::unique_ptr<Child> cuda_process(std::size_t mib, bool spin = false) {
    const Baton ready;
    auto child = std::make_unique<Child>([&](Report&) {
        const Library cu = cuda_with_context();
        void* memory = nullptr;
        if (mib != 0 && cu("cuMemAlloc_v2", &memory, mib * kMib) != 0) std::abort();
        void* function = spin ? kernel(cu, "spin_1ms") : nullptr;
        ready.pass();
        while (true) {
            if (spin && launch(cu, function) == 0) {
                cu("cuCtxSynchronize");
            } else {
                ::pause();
            }
        }
    });
    ready.take();
    return child;
}

// Times have a lower end only, or a generous upper one: the machine may be busy with other things.
inline constexpr double kSlow = 30'000;  // ms

}  // namespace egpu::testing

#define IS(actual, expected) report.same(actual, expected, #actual, __LINE__)
#define WITHIN(actual, low, high) report.within(actual, low, high, #actual, __LINE__)
