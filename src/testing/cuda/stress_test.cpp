// All families at once, from several threads of several processes, some of them killed: nothing is
// lost, nothing is there twice.
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "testing/cuda/process_for_test.h"

namespace egpu::testing {
namespace {

using namespace egpu::cuda;

class SimStress : public SimDriver {};

// One thread's work until `end`; every answer but success and "out of memory" counts as wrong.
class Worker {
  public:
    Worker(const Library& cu, void* context, void* work, std::uint64_t seed)
        : cu_(cu), work_(work), random_(seed * 0x9E3779B97F4A7C15ULL + 1) {
        need(cu("cuCtxSetCurrent", context));
        need(cu("cuStreamCreate", &stream_, static_cast<unsigned>(seed % 2)));
        need(cu("cuEventCreate", &event_, 0U));
    }

    int run(std::chrono::steady_clock::time_point end) {
        while (std::chrono::steady_clock::now() < end) step();
        for (const CUdeviceptr address : plain_) need(cu_("cuMemFree_v2", address));
        for (const CUdeviceptr address : ordered_) need(cu_("cuMemFreeAsync", address, stream_));
        need(cu_("cuStreamSynchronize", stream_));
        need(cu_("cuEventDestroy_v2", event_));
        need(cu_("cuStreamDestroy_v2", stream_));
        return wrong_;
    }

  private:
    std::uint64_t next(std::uint64_t below) {
        random_ ^= random_ << 13U;
        random_ ^= random_ >> 7U;
        random_ ^= random_ << 17U;
        return random_ % below;
    }
    bool need(int result) {
        if (result != 0 && result != CUDA_ERROR_OUT_OF_MEMORY) {
            if (wrong_++ == 0) std::fprintf(stderr, "step %d: error %d\n", kind_, result);
        }
        return result == 0;
    }
    std::size_t size() { return next(3) == 0 ? (1 + next(800)) * kMib : 1 + next(100'000); }

    void step() {
        CUdeviceptr address = 0;
        kind_ = static_cast<int>(next(9));
        switch (kind_) {
            case 0:
            case 1:
                if (need(cu_("cuMemAlloc_v2", &address, size()))) plain_.push_back(address);
                break;
            case 2:
                if (plain_.empty()) break;
                need(cu_("cuMemFree_v2", plain_.back()));
                plain_.pop_back();
                break;
            case 3:
                if (!need(cu_("cuMemAllocAsync", &address, size(), stream_))) break;
                ordered_.push_back(address);
                need(
                    cu_("cuMemsetD8Async",
                        address,
                        static_cast<unsigned char>(1),
                        std::size_t{1},
                        stream_)
                );
                break;
            case 4:
                if (ordered_.empty()) break;
                need(cu_("cuMemFreeAsync", ordered_.back(), stream_));
                ordered_.pop_back();
                break;
            case 5: {
                need(launch(cu_, work_, stream_, 4));
                need(cu_("cuEventRecord", event_, stream_));
                const int ready = cu_("cuEventQuery", event_);
                if (ready != CUDA_ERROR_NOT_READY) need(ready);
                break;
            }
            case 6:
                virtual_memory();
                break;
            case 7: {
                void* array = nullptr;
                const CUDA_ARRAY_DESCRIPTOR shape{
                    1 + next(4096), 1 + next(512), CU_AD_FORMAT_FLOAT, 4};
                if (need(cu_("cuArrayCreate_v2", &array, &shape)))
                    need(cu_("cuArrayDestroy", array));
                break;
            }
            default:
                graph();
                break;
        }
    }

    void virtual_memory() {
        CUmemAllocationProp prop{};
        prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
        prop.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
        const std::size_t bytes = (1 + next(20)) * 2 * kMib;
        CUmemGenericAllocationHandle handle = 0;
        CUdeviceptr address = 0;
        if (!need(cu_("cuMemCreate", &handle, bytes, &prop, 0ULL))) return;
        need(cu_("cuMemAddressReserve", &address, bytes, std::size_t{0}, CUdeviceptr{0}, 0ULL));
        need(cu_("cuMemMap", address, bytes, std::size_t{0}, handle, 0ULL));
        need(cu_("cuMemRelease", handle));
        need(cu_("cuMemUnmap", address, bytes));
        need(cu_("cuMemAddressFree", address, bytes));
    }

    void graph() {
        void* made = nullptr;
        void* exec = nullptr;
        CUdeviceptr inside = 0;
        if (!need(cu_("cuStreamBeginCapture_v2", stream_, 2))) return;
        const bool allocated = need(cu_("cuMemAllocAsync", &inside, size(), stream_));
        need(launch(cu_, work_, stream_, 4));
        if (allocated) need(cu_("cuMemFreeAsync", inside, stream_));
        need(cu_("cuStreamEndCapture", stream_, &made));
        if (need(cu_("cuGraphInstantiateWithFlags", &exec, made, 0ULL))) {
            need(cu_("cuGraphLaunch", exec, stream_));
            need(cu_("cuGraphExecDestroy", exec));
        }
        need(cu_("cuGraphDestroy", made));
    }

    const Library& cu_;
    void* work_;
    std::uint64_t random_;
    void* stream_ = nullptr;
    void* event_ = nullptr;
    std::vector<CUdeviceptr> plain_;
    std::vector<CUdeviceptr> ordered_;
    int wrong_ = 0;
    int kind_ = -1;
};

void work_with_threads(Report& report, std::uint64_t seed) {
    void* context = nullptr;
    const Library cu = cuda_with_context(&context);
    void* work = kernel(cu, "work_20us");
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (std::uint64_t i = 0; i < 4; ++i) {
        threads.emplace_back([&, i] { wrong += Worker(cu, context, work, seed * 4 + i).run(end); });
    }
    for (auto& thread : threads) thread.join();
    IS(wrong.load(), 0);
    void* pool = nullptr;
    IS(cu("cuDeviceGetDefaultMemPool", &pool, 0), 0);
    IS(cu("cuCtxSynchronize"), 0);
    IS(cu("cuMemPoolTrimTo", pool, std::size_t{0}), 0);
    IS(cu("cuDeviceGraphMemTrim", 0), 0);
    std::uint64_t used = 1;
    IS(cu("cuMemPoolGetAttribute", pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, static_cast<void*>(&used)
       ),
       0);
    IS(used, 0U);
}

TEST_F(SimStress, all_families_threads_and_deaths) {
    set("context_mib 16");
    std::vector<std::unique_ptr<Child>> children;
    for (std::uint64_t i = 0; i < 4; ++i) {
        children.push_back(std::make_unique<Child>([i](Report& report) {
            work_with_threads(report, i);
        }));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(700));
    children[3]->kill();
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(children[i]->finish(), "");
    Child last([](Report& report) {
        IS(free_memory(cuda_with_context()), kTotal - kIdle - 16 * kMib);
    });
    EXPECT_EQ(last.finish(), "");
}

TEST_F(SimStress, what_a_process_frees_is_free_while_it_lives) {
    Child child([](Report& report) {
        work_with_threads(report, 99);
        const Library cu = cuda_library();
        void* context = nullptr;
        IS(cu("cuDevicePrimaryCtxRetain", &context, 0), 0);
        IS(cu("cuCtxSetCurrent", context), 0);
        IS(free_memory(cu), kTotal - kIdle - 2 * kContext);
    });
    EXPECT_EQ(child.finish(), "");
}

}  // namespace
}  // namespace egpu::testing
