// Stream-ordered memory: what pools reserve, use, keep and give back.
#include "testing/cuda/process_for_test.h"

namespace egpu::testing {
namespace {

using namespace egpu::cuda;

class SimPools : public SimDriver {};

std::uint64_t attribute(const Library& cu, void* pool, int which) {
    std::uint64_t value = 0;
    return cu("cuMemPoolGetAttribute", pool, which, static_cast<void*>(&value)) == 0 ? value
                                                                                     : ~0ULL;
}
std::uint64_t reserved(const Library& cu, void* pool) {
    return attribute(cu, pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT);
}
std::uint64_t used(const Library& cu, void* pool) {
    return attribute(cu, pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT);
}

TEST_F(SimPools, the_default_pool_grows_and_shrinks_at_synchronisation) {
    Child child([](Report& report) {
        const Library cu = cuda_with_context();
        const std::size_t before = free_memory(cu);
        void* pool = nullptr;
        IS(cu("cuDeviceGetDefaultMemPool", &pool, 0), 0);
        void* stream = nullptr;
        IS(cu("cuStreamCreate", &stream, 1U), 0);
        CUdeviceptr a = 0;
        CUdeviceptr b = 0;
        IS(cu("cuMemAllocAsync", &a, kMib, stream), 0);
        IS(cu("cuMemAllocAsync", &b, 100 * kMib, stream), 0);
        IS(reserved(cu, pool), (32 + 128) * kMib);
        IS(used(cu, pool), 101 * kMib);
        IS(free_memory(cu), before - 160 * kMib);
        IS(cu("cuMemcpyHtoD_v2", b, static_cast<const void*>("x"), std::size_t{2}), 0);
        IS(cu("cuMemFreeAsync", b, stream), 0);
        IS(cu("cuMemFreeAsync", b, stream), 1);
        IS(used(cu, pool), kMib);
        IS(reserved(cu, pool), 160 * kMib);
        IS(cu("cuStreamSynchronize", stream), 0);
        IS(reserved(cu, pool), 32 * kMib);
        IS(cu("cuMemFree_v2", a), 0);  // also frees this family, and synchronises
        IS(reserved(cu, pool), 0U);
        IS(attribute(cu, pool, CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH), 160 * kMib);
        IS(free_memory(cu), before);
    });
    EXPECT_EQ(child.finish(), "");
}

TEST_F(SimPools, memory_freed_behind_a_kernel_is_used_until_then) {
    Child child([](Report& report) {
        const Library cu = cuda_with_context();
        void* pool = nullptr;
        IS(cu("cuDeviceGetDefaultMemPool", &pool, 0), 0);
        void* first = nullptr;
        void* second = nullptr;
        IS(cu("cuStreamCreate", &first, 1U), 0);
        IS(cu("cuStreamCreate", &second, 1U), 0);
        CUdeviceptr a = 0;
        CUdeviceptr same = 0;
        CUdeviceptr other = 0;
        IS(cu("cuMemAllocAsync", &a, 32 * kMib, first), 0);
        IS(launch(cu, kernel(cu, "work_500ms"), first), 0);
        IS(cu("cuMemFreeAsync", a, first), 0);
        IS(used(cu, pool), 32 * kMib);
        // Another stream cannot have it, the same one can.
        IS(cu("cuMemAllocAsync", &other, 32 * kMib, second), 0);
        IS(other != a, true);
        IS(reserved(cu, pool), 64 * kMib);
        IS(cu("cuMemAllocAsync", &same, 32 * kMib, first), 0);
        IS(same, a);
        IS(cu("cuMemFreeAsync", same, first), 0);
        IS(cu("cuStreamSynchronize", first), 0);
        IS(reserved(cu, pool), 32 * kMib);
        IS(used(cu, pool), 32 * kMib);
    });
    EXPECT_EQ(child.finish(), "");
}

TEST_F(SimPools, threshold_trim_and_pools_of_the_program) {
    Child child([](Report& report) {
        const Library cu = cuda_with_context();
        const std::size_t before = free_memory(cu);
        CUmemPoolProps props{};
        props.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
        props.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
        props.maxSize = 64 * kMib;
        void* pool = nullptr;
        IS(cu("cuMemPoolCreate", &pool, static_cast<const CUmemPoolProps*>(&props)), 0);
        std::uint64_t keep = ~0ULL;
        IS(cu("cuMemPoolSetAttribute",
              pool,
              CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
              static_cast<void*>(&keep)),
           0);
        CUdeviceptr a = 0;
        CUdeviceptr b = 0;
        void* legacy = nullptr;
        IS(cu("cuMemAllocFromPoolAsync", &a, 10 * kMib, pool, legacy), 0);
        IS(cu("cuMemAllocFromPoolAsync", &b, 40 * kMib, pool, legacy), 2);  // beyond maxSize
        IS(cu("cuMemFreeAsync", a, legacy), 0);
        IS(cu("cuCtxSynchronize"), 0);
        IS(reserved(cu, pool), 32 * kMib);
        IS(free_memory(cu), before - 32 * kMib);
        IS(cu("cuMemPoolTrimTo", pool, std::size_t{0}), 0);
        IS(free_memory(cu), before);
        // The device's current pool is what cuMemAllocAsync takes from.
        IS(cu("cuDeviceSetMemPool", 0, pool), 0);
        IS(cu("cuMemAllocAsync", &a, 10 * kMib, legacy), 0);
        IS(used(cu, pool), 10 * kMib);
        IS(cu("cuMemPoolDestroy", pool), 0);
        IS(free_memory(cu), before - 32 * kMib);  // until its memory is freed
        IS(cu("cuMemFreeAsync", a, legacy), 0);
        IS(free_memory(cu), before);
        IS(cu("cuMemAllocFromPoolAsync", &a, kMib, pool, legacy), 1);
        IS(cu("cuMemAllocAsync", &a, ~std::size_t{0} / 2, legacy), 2);
        // Plain memory may be freed in order, too.
        IS(cu("cuMemAlloc_v2", &a, 10 * kMib), 0);
        IS(cu("cuMemFreeAsync", a, legacy), 0);
        IS(free_memory(cu), before);
    });
    EXPECT_EQ(child.finish(), "");
}

}  // namespace
}  // namespace egpu::testing
