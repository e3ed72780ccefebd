// cuda_spin [--card N] [--kernel-us N] [--seconds N] [--blocks N] [--depth N]
//           [--mode kernel|graph|cooperative|ex] [--clock work|time]
//
// Launches one kernel over and over, --depth launches at most ahead of the card, and prints each
// second what part of the time the card worked for it: launches x their time alone / wall time.
// With `--clock work` (the default) a launch is a fixed amount of work, whose time alone is
// measured first: the card should be idle then. With `--clock time` it spins on the card's timer.
#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "testing/cuda/programs/driver_api.h"
#include "testing/cuda/programs/spin_kernels.h"

using namespace egpu::cuda;
using egpu::testing::programs::DriverApi;
using Clock = std::chrono::steady_clock;

namespace {

struct Options {
    int card = 0;
    std::uint64_t kernel_us = 1000;
    int seconds = 5;
    unsigned blocks = 0;  // 0: one for each multiprocessor
    unsigned depth = 8;
    std::string mode = "kernel";
    std::string clock = "work";
};

Options parse(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; i += 2) {
        const std::string name = argv[i];
        const std::string value = i + 1 < argc ? argv[i + 1] : "";
        char* end = nullptr;
        const unsigned long number = std::strtoul(value.c_str(), &end, 10);
        const bool positive = !value.empty() && *end == '\0' && number < 1'000'000'000;
        if (name == "--card" && positive) {
            options.card = static_cast<int>(number);
        } else if (name == "--kernel-us" && positive && number > 0) {
            options.kernel_us = number;
        } else if (name == "--seconds" && positive) {
            options.seconds = static_cast<int>(number);
        } else if (name == "--blocks" && positive) {
            options.blocks = static_cast<unsigned>(number);
        } else if (name == "--depth" && positive && number > 0) {
            options.depth = static_cast<unsigned>(number);
        } else if (name == "--mode" && (value == "kernel" || value == "graph" || value == "cooperative" || value == "ex")) {
            options.mode = value;
        } else if (name == "--clock" && (value == "work" || value == "time")) {
            options.clock = value;
        } else {
            std::fprintf(stderr, "%s %s: not understood\n", name.c_str(), value.c_str());
            std::exit(2);
        }
    }
    return options;
}

class Spinner {
  public:
    explicit Spinner(const Options& options) : options_(options) {
        cu_.open_card(options.card);
        CUdevice device = 0;
        cu_.call("cuCtxGetDevice", &device);
        int processors = 1;
        cu_.call(
            "cuDeviceGetAttribute", &processors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device
        );
        blocks_ = options.blocks != 0 ? options.blocks : static_cast<unsigned>(processors);
        CUmodule module = nullptr;
        cu_.call(
            "cuModuleLoadData",
            &module,
            static_cast<const void*>(egpu::testing::programs::kSpinKernels)
        );
        const char* name = options.clock == "work" ? "spin_loop" : "spin_ns";
        cu_.call("cuModuleGetFunction", &function_, module, name);
        cu_.call("cuStreamCreate", &stream_, CU_STREAM_NON_BLOCKING);
        cu_.call("cuMemAlloc_v2", &sink_, std::size_t{4});
        events_.resize(options.depth);
        for (CUevent& event : events_) cu_.call("cuEventCreate", &event, CU_EVENT_DISABLE_TIMING);
        amount_ = options.kernel_us * 1000;
        alone_us_ = static_cast<double>(options.kernel_us);
        if (options.clock == "work") calibrate();
        if (options.mode == "graph") make_graph();
    }

    void run() {
        const auto begin = Clock::now();
        auto told = begin;
        std::uint64_t done_before = 0;
        std::uint64_t launches = 0;
        while (Clock::now() - begin < std::chrono::seconds(options_.seconds)) {
            CUevent event = events_[launches % events_.size()];
            if (launches >= events_.size()) cu_.call("cuEventSynchronize", event);
            launch();
            cu_.call("cuEventRecord", event, stream_);
            ++launches;
            const auto now = Clock::now();
            if (now - told < std::chrono::seconds(1)) continue;
            const std::uint64_t done = launches - std::min<std::uint64_t>(launches, events_.size());
            tell("", done - done_before, now - told);
            done_before = done;
            told = now;
        }
        cu_.call("cuStreamSynchronize", stream_);
        tell("all ", launches, Clock::now() - begin);
    }

  private:
    void launch() {
        void* parameters[] = {&amount_, &sink_};
        const auto none = static_cast<void**>(nullptr);
        if (options_.mode == "graph" && exec_ != nullptr) {
            cu_.call("cuGraphLaunch", exec_, stream_);
        } else if (options_.mode == "cooperative") {
            cu_.call(
                "cuLaunchCooperativeKernel",
                function_,
                blocks_,
                1U,
                1U,
                32U,
                1U,
                1U,
                0U,
                stream_,
                static_cast<void**>(parameters)
            );
        } else if (options_.mode == "ex") {
            CUlaunchConfig config{};
            config.gridDimX = blocks_;
            config.gridDimY = config.gridDimZ = config.blockDimY = config.blockDimZ = 1;
            config.blockDimX = 32;
            config.hStream = stream_;
            cu_.call(
                "cuLaunchKernelEx",
                static_cast<const CUlaunchConfig*>(&config),
                function_,
                static_cast<void**>(parameters),
                none
            );
        } else {
            cu_.call(
                "cuLaunchKernel",
                function_,
                blocks_,
                1U,
                1U,
                32U,
                1U,
                1U,
                0U,
                stream_,
                static_cast<void**>(parameters),
                none
            );
        }
    }

    // As many iterations as take the time that was asked for; the shortest of several measurements.
    void calibrate() {
        CUevent start = nullptr;
        CUevent end = nullptr;
        cu_.call("cuEventCreate", &start, 0U);
        cu_.call("cuEventCreate", &end, 0U);
        amount_ = 1'000'000;
        float best = 1e9F;
        for (int i = 0; i < 5; ++i) {
            cu_.call("cuEventRecord", start, stream_);
            launch();
            cu_.call("cuEventRecord", end, stream_);
            cu_.call("cuEventSynchronize", end);
            float ms = 0;
            cu_.call("cuEventElapsedTime", &ms, start, end);
            best = std::min(best, ms);
        }
        const double ns_each = static_cast<double>(best) * 1e6 / 1e6;
        amount_ =
            std::max<std::uint64_t>(1, static_cast<std::uint64_t>(alone_us_ * 1000 / ns_each));
        std::printf(
            "one iteration takes %.3f ns, a launch %llu of them\n",
            ns_each,
            static_cast<unsigned long long>(amount_)
        );
        cu_.call("cuEventDestroy_v2", start);
        cu_.call("cuEventDestroy_v2", end);
    }

    void make_graph() {
        CUgraph graph = nullptr;
        cu_.call("cuStreamBeginCapture_v2", stream_, 2);
        launch();
        cu_.call("cuStreamEndCapture", stream_, &graph);
        cu_.call("cuGraphInstantiateWithFlags", &exec_, graph, 0ULL);
        cu_.call("cuGraphDestroy", graph);
    }

    void tell(const char* what, std::uint64_t launches, Clock::duration took) const {
        const double us = std::chrono::duration<double, std::micro>(took).count();
        const auto count = static_cast<double>(launches);
        std::printf(
            "%s%.1f launches/s, %.1f %%\n", what, count * 1e6 / us, 100 * count * alone_us_ / us
        );
        std::fflush(stdout);
    }

    Options options_;
    DriverApi cu_;
    CUfunction function_ = nullptr;
    CUstream stream_ = nullptr;
    CUgraphExec exec_ = nullptr;
    CUdeviceptr sink_ = 0;
    std::vector<CUevent> events_;
    unsigned blocks_ = 1;
    std::uint64_t amount_ = 0;
    double alone_us_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    Spinner(parse(argc, argv)).run();
    return 0;
}
