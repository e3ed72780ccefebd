#include "guard/probe/families.h"

namespace probe {

CUmemoryPool own_pool() {
    static CUmemoryPool pool = [] {
        CUmemPoolProps props{};
        props.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
        props.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
        CUmemoryPool made = nullptr;
        EXPECT_RESULT(cuMemPoolCreate(&made, &props), CUDA_SUCCESS);
        return made;
    }();
    return pool;
}

namespace {

void free_address(std::uint64_t at) {
    EXPECT_RESULT(cuMemFree(at), CUDA_SUCCESS);
}

void free_on_stream(std::uint64_t at) {
    EXPECT_RESULT(cuMemFreeAsync(at, nullptr), CUDA_SUCCESS);
    EXPECT_RESULT(cuStreamSynchronize(nullptr), CUDA_SUCCESS);
}

}  // namespace

const std::vector<Family>& families() {
    static const std::vector<Family> all = {
        {"plain",
         [](std::size_t n, std::uint64_t& at) { return cuMemAlloc(&at, n); },
         free_address},
        {"pitch",
         [](std::size_t n, std::uint64_t& at) {
             std::size_t pitch = 0;
             return cuMemAllocPitch(&at, &pitch, 65536, (n + 65535) / 65536, 4);
         },
         free_address},
        {"managed",
         [](std::size_t n, std::uint64_t& at) { return cuMemAllocManaged(&at, n, 1); },
         free_address},
        {"async",
         [](std::size_t n, std::uint64_t& at) { return cuMemAllocAsync(&at, n, nullptr); },
         free_on_stream},
        {"pool",
         [](std::size_t n, std::uint64_t& at) {
             return cuMemAllocFromPoolAsync(&at, n, own_pool(), nullptr);
         },
         free_on_stream},
        {"create",
         [](std::size_t n, std::uint64_t& at) {
             const CUmemAllocationProp prop = on_card();
             const std::size_t grain = 2 * kMiB;
             return cuMemCreate(&at, (n + grain - 1) / grain * grain, &prop, 0);
         },
         [](std::uint64_t at) { EXPECT_RESULT(cuMemRelease(at), CUDA_SUCCESS); }},
        {"array",
         [](std::size_t n, std::uint64_t& at) {
             const CUDA_ARRAY_DESCRIPTOR shape{4096, (n + 16383) / 16384, CU_AD_FORMAT_FLOAT, 1};
             return cuArrayCreate(reinterpret_cast<CUarray*>(&at), &shape);
         },
         [](std::uint64_t at) {
             EXPECT_RESULT(cuArrayDestroy(reinterpret_cast<CUarray>(at)), CUDA_SUCCESS);
         }},
        {"array3d",
         [](std::size_t n, std::uint64_t& at) {
             const CUDA_ARRAY3D_DESCRIPTOR shape{
                 256, 256, (n + 262143) / 262144, CU_AD_FORMAT_UNSIGNED_INT8, 4, 0};
             return cuArray3DCreate(reinterpret_cast<CUarray*>(&at), &shape);
         },
         [](std::uint64_t at) {
             EXPECT_RESULT(cuArrayDestroy(reinterpret_cast<CUarray>(at)), CUDA_SUCCESS);
         }},
        {"mipmap",
         [](std::size_t n, std::uint64_t& at) {
             const CUDA_ARRAY3D_DESCRIPTOR shape{
                 4096, (n + 16383) / 16384, 0, CU_AD_FORMAT_FLOAT, 1, 0};
             return cuMipmappedArrayCreate(reinterpret_cast<CUmipmappedArray*>(&at), &shape, 1);
         },
         [](std::uint64_t at) {
             EXPECT_RESULT(
                 cuMipmappedArrayDestroy(reinterpret_cast<CUmipmappedArray>(at)), CUDA_SUCCESS
             );
         }},
    };
    return all;
}

}  // namespace probe
