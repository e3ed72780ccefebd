// Memory of each family: what it takes from the card, whether the bytes are there, what is refused.
#include <cstring>
#include <numeric>
#include <vector>

#include "testing/cuda/copy_abi.h"
#include "testing/cuda/process_for_test.h"

namespace egpu::testing {
namespace {

using namespace egpu::cuda;

class SimMemory : public SimDriver {};

TEST_F(SimMemory, plain_memory_holds_bytes_and_is_counted) {
    Child child([](Report& report) {
        void* context = nullptr;
        const Library cu = cuda_with_context(&context);
        std::size_t free = 0;
        std::size_t total = 0;
        IS(cu("cuMemGetInfo_v2", &free, &total), 0);
        IS(total, kTotal);
        IS(free, kTotal - kIdle - kContext);
        CUdeviceptr large = 0;
        CUdeviceptr small[3] = {};
        IS(cu("cuMemAlloc_v2", &large, 1000 * kMib), 0);
        IS(free_memory(cu), free - 1000 * kMib);
        for (CUdeviceptr& one : small) IS(cu("cuMemAlloc_v2", &one, std::size_t{1000}), 0);
        IS(free_memory(cu), free - 1002 * kMib);  // small ones share a block
        std::vector<int> in(250);
        std::vector<int> out(250);
        std::iota(in.begin(), in.end(), 1);
        IS(cu("cuMemcpyHtoD_v2", small[1], static_cast<const void*>(in.data()), std::size_t{1000}),
           0);
        IS(cu("cuMemcpyDtoD_v2", large + 512, small[1], std::size_t{1000}), 0);
        IS(cu("cuMemcpyDtoH_v2", static_cast<void*>(out.data()), large + 512, std::size_t{1000}),
           0);
        IS(in == out, true);
        // Beyond the end, and in the middle.
        IS(cu("cuMemcpyHtoD_v2", small[1], static_cast<const void*>(in.data()), std::size_t{1001}),
           1);
        IS(cu("cuMemFree_v2", small[1] + 512), 1);
        IS(cu("cuMemFree_v2", small[1]), 0);
        IS(cu("cuMemFree_v2", small[1]), 1);
        IS(cu("cuMemFree_v2", CUdeviceptr{0}), 0);
        IS(cu("cuMemAlloc_v2", &large, std::size_t{0}), 1);
        CUdeviceptr refused = 7;
        IS(cu("cuMemAlloc_v2", &refused, free), 2);
        IS(refused, 7U);
        IS(cu("cuMemAlloc_v2", &refused, ~std::size_t{0}), 2);
        IS(cu("cuCtxDestroy_v2", context), 0);  // frees the rest
        IS(cu("cuMemGetInfo_v2", &free, &total), 201);
        void* next = nullptr;
        IS(cu("cuDevicePrimaryCtxRetain", &next, 0), 0);
        IS(cu("cuCtxSetCurrent", next), 0);
        IS(free_memory(cu), kTotal - kIdle - kContext);
    });
    EXPECT_EQ(child.finish(), "");
}

TEST_F(SimMemory, a_full_card_gives_its_last_byte) {
    Child child([](Report& report) {
        const Library cu = cuda_with_context();
        CUdeviceptr all = 0;
        IS(cu("cuMemAlloc_v2", &all, free_memory(cu) / (2 * kMib) * (2 * kMib)), 0);
        WITHIN(free_memory(cu), std::size_t{0}, 2 * kMib - 1);
        CUdeviceptr more = 0;
        IS(cu("cuMemAlloc_v2", &more, 2 * kMib), 2);
        IS(cu("cuMemFree_v2", all), 0);
    });
    EXPECT_EQ(child.finish(), "");
}

TEST_F(SimMemory, pitched_managed_host_and_32_bit) {
    Child child([](Report& report) {
        const Library cu = cuda_with_context();
        const std::size_t before = free_memory(cu);
        CUdeviceptr pitched = 0;
        std::size_t pitch = 0;
        IS(cu("cuMemAllocPitch_v2", &pitched, &pitch, std::size_t{1000}, std::size_t{8192}, 4U), 0);
        IS(pitch, 1024U);
        IS(free_memory(cu), before - 8 * kMib);
        CUdeviceptr managed = 0;
        IS(cu("cuMemAllocManaged", &managed, 4 * kMib, 1U), 0);
        reinterpret_cast<char*>(managed)[5] = 'x';
        IS(free_memory(cu), before - 12 * kMib);
        unsigned flag = 0;
        IS(cu("cuPointerGetAttribute", static_cast<void*>(&flag), 8, managed), 0);
        IS(flag, 1U);
        void* host = nullptr;
        IS(cu("cuMemHostAlloc", &host, 64 * kMib, 0U), 0);
        IS(free_memory(cu), before - 12 * kMib);  // of the host
        std::strcpy(static_cast<char*>(host), "bytes");
        CUdeviceptr mapped = 0;
        IS(cu("cuMemHostGetDevicePointer_v2", &mapped, host, 0U), 0);
        char read[6] = {};
        IS(cu("cuMemcpyDtoH_v2", static_cast<void*>(read), mapped, std::size_t{6}), 0);
        IS(std::string(read), "bytes");
        IS(cu("cuMemFree_v2", mapped), 1);
        IS(cu("cuMemFreeHost", host), 0);
        char own[64] = {};
        IS(cu("cuMemHostRegister_v2", static_cast<void*>(own), sizeof own, 0U), 0);
        IS(cu("cuMemHostRegister_v2", static_cast<void*>(own + 8), std::size_t{8}, 0U), 712);
        IS(cu("cuMemHostUnregister", static_cast<void*>(own)), 0);
        IS(cu("cuMemHostUnregister", static_cast<void*>(own)), 713);
        CUdeviceptr_v1 low = 0;
        IS(cu("cuMemAlloc", &low, 1000U), 0);
        IS(low != 0, true);
        IS(cu("cuMemcpyHtoD", low, static_cast<const void*>("123"), 4U), 0);
        IS(cu("cuMemcpyDtoH", static_cast<void*>(read), low, 4U), 0);
        IS(std::string(read), "123");
        IS(cu("cuMemFree", low), 0);
        CUdeviceptr beyond = 0;  // managed memory may be more than the card has
        IS(cu("cuMemAllocManaged", &beyond, kTotal, 1U), 0);
        IS(free_memory(cu), before - 12 * kMib);
        IS(cu("cuMemFree_v2", beyond), 0);
        IS(cu("cuMemFree_v2", managed), 0);
        IS(cu("cuMemFree_v2", pitched), 0);
        IS(free_memory(cu), before);
    });
    EXPECT_EQ(child.finish(), "");
}

TEST_F(SimMemory, fills_and_copies_of_rectangles_and_arrays) {
    Child child([](Report& report) {
        const Library cu = cuda_with_context();
        const std::size_t before = free_memory(cu);
        CUdeviceptr linear = 0;
        IS(cu("cuMemAlloc_v2", &linear, std::size_t{4096}), 0);
        IS(cu("cuMemsetD32_v2", linear, 0x01020304U, std::size_t{1024}), 0);
        IS(cu("cuMemsetD2D8_v2",
              linear + 1,
              std::size_t{64},
              static_cast<unsigned char>(9),
              std::size_t{2},
              std::size_t{3}),
           0);
        unsigned char bytes[200] = {};
        IS(cu("cuMemcpyDtoH_v2", static_cast<void*>(bytes), linear, sizeof bytes), 0);
        IS(static_cast<int>(bytes[0]), 4);
        IS(static_cast<int>(bytes[1]), 9);
        IS(static_cast<int>(bytes[3]), 1);
        IS(static_cast<int>(bytes[130]), 9);
        IS(static_cast<int>(bytes[193]), 3);

        void* array = nullptr;
        const CUDA_ARRAY3D_DESCRIPTOR shape{64, 32, 4, CU_AD_FORMAT_FLOAT, 2, 0};
        IS(cu("cuArray3DCreate_v2", &array, &shape), 0);
        IS(free_memory(cu), before - 4 * kMib);  // two blocks of small pieces
        std::vector<char> in(16 * 3 * 2, 'a');
        in.back() = 'z';
        cuda::CUDA_MEMCPY3D copy{};
        copy.srcMemoryType = cuda::CU_MEMORYTYPE_HOST;
        copy.srcHost = in.data();
        copy.srcPitch = 16;
        copy.srcHeight = 3;
        copy.dstMemoryType = cuda::CU_MEMORYTYPE_ARRAY;
        copy.dstArray = static_cast<CUarray>(array);
        copy.dstXInBytes = 8;
        copy.dstZ = 2;
        copy.WidthInBytes = 16;
        copy.Height = 3;
        copy.Depth = 2;
        IS(cu("cuMemcpy3D_v2", &copy), 0);
        char last = 0;
        const std::size_t at = (3 * 32 + 2) * 512 + 8 + 15;
        IS(cu("cuMemcpyAtoH_v2", static_cast<void*>(&last), array, at, std::size_t{1}), 0);
        IS(last, 'z');
        copy.dstZ = 3;
        IS(cu("cuMemcpy3D_v2", &copy), 1);
        IS(cu("cuArrayDestroy", array), 0);
        IS(cu("cuArrayDestroy", array), 400);

        void* mipmap = nullptr;
        void* level = nullptr;
        const CUDA_ARRAY3D_DESCRIPTOR top{1024, 1024, 0, CU_AD_FORMAT_FLOAT, 4, 0};
        IS(cu("cuMipmappedArrayCreate", &mipmap, &top, 20U), 0);
        IS(free_memory(cu), before - 2 * kMib - 22 * kMib);  // 16 + 4 + 1 + ...
        IS(cu("cuMipmappedArrayGetLevel", &level, mipmap, 10U), 0);
        IS(cu("cuMipmappedArrayGetLevel", &level, mipmap, 11U), 1);
        IS(cu("cuMipmappedArrayDestroy", mipmap), 0);
        const CUDA_ARRAY3D_DESCRIPTOR sparse{
            1024, 1024, 0, CU_AD_FORMAT_FLOAT, 4, CUDA_ARRAY3D_SPARSE};
        IS(cu("cuArray3DCreate_v2", &array, &sparse), 0);
        IS(free_memory(cu), before - 2 * kMib);
    });
    EXPECT_EQ(child.finish(), "");
}

TEST_F(SimMemory, virtual_memory_lives_until_reference_and_mapping_are_gone) {
    Child child([](Report& report) {
        const Library cu = cuda_with_context();
        const std::size_t before = free_memory(cu);
        CUmemAllocationProp prop{};
        prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
        prop.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
        std::size_t grain = 0;
        IS(cu("cuMemGetAllocationGranularity", &grain, &prop, 0), 0);
        IS(grain, 2 * kMib);
        CUdeviceptr address = 0;
        IS(cu("cuMemAddressReserve", &address, 64 * kMib, std::size_t{0}, CUdeviceptr{0}, 0ULL), 0);
        IS(free_memory(cu), before);
        CUmemGenericAllocationHandle handle = 0;
        IS(cu("cuMemCreate", &handle, 8 * kMib, &prop, 0ULL), 0);
        IS(cu("cuMemCreate", &handle, 8 * kMib + 1, &prop, 0ULL), 1);
        IS(free_memory(cu), before - 8 * kMib);
        IS(cu("cuMemMap", address, 8 * kMib, std::size_t{0}, handle, 0ULL), 0);
        IS(cu("cuMemMap", address + 2 * kMib, 8 * kMib, std::size_t{0}, handle, 0ULL), 1);
        IS(cu("cuMemMap", address + 32 * kMib, 8 * kMib, std::size_t{0}, handle, 0ULL), 0);
        IS(cu("cuMemcpyHtoD_v2", address, static_cast<const void*>("abc"), std::size_t{4}), 1);
        const CUmemAccessDesc access{{CU_MEM_LOCATION_TYPE_DEVICE, 0}, 3};
        IS(cu("cuMemSetAccess", address, 8 * kMib, &access, std::size_t{1}), 0);
        IS(cu("cuMemSetAccess", address + 32 * kMib, 8 * kMib, &access, std::size_t{1}), 0);
        IS(cu("cuMemcpyHtoD_v2", address + kMib, static_cast<const void*>("abc"), std::size_t{4}),
           0);
        char read[4] = {};
        // Mapped twice: the same bytes.
        IS(cu("cuMemcpyDtoH_v2", static_cast<void*>(read), address + 33 * kMib, std::size_t{4}), 0);
        IS(std::string(read), "abc");
        IS(cu("cuMemRelease", handle), 0);
        IS(free_memory(cu), before - 8 * kMib);
        CUmemGenericAllocationHandle again = 0;
        IS(cu("cuMemRetainAllocationHandle", &again, reinterpret_cast<void*>(address + kMib)), 0);
        IS(again, handle);
        IS(cu("cuMemUnmap", address, 8 * kMib), 0);
        IS(cu("cuMemUnmap", address + 32 * kMib, 4 * kMib), 1);
        IS(cu("cuMemAddressFree", address, 64 * kMib), 1);
        IS(cu("cuMemUnmap", address + 32 * kMib, 8 * kMib), 0);
        IS(free_memory(cu), before - 8 * kMib);
        IS(cu("cuMemRelease", again), 0);
        IS(free_memory(cu), before);
        IS(cu("cuMemRelease", again), 1);
        IS(cu("cuMemAddressFree", address, 64 * kMib), 0);
    });
    EXPECT_EQ(child.finish(), "");
}

TEST_F(SimMemory, pointers_are_known) {
    Child child([](Report& report) {
        void* context = nullptr;
        const Library cu = cuda_with_context(&context);
        CUdeviceptr address = 0;
        IS(cu("cuMemAlloc_v2", &address, std::size_t{5000}), 0);
        CUdeviceptr base = 0;
        std::size_t size = 0;
        IS(cu("cuMemGetAddressRange_v2", &base, &size, address + 100), 0);
        IS(base, address);
        IS(size, 5000U);
        IS(cu("cuMemGetAddressRange_v2", &base, &size, address + 5000), 500);
        unsigned type = 0;
        int ordinal = -1;
        void* owner = nullptr;
        IS(cu("cuPointerGetAttribute", static_cast<void*>(&type), 2, address + 1), 0);
        IS(type, 2U);
        IS(cu("cuPointerGetAttribute", static_cast<void*>(&ordinal), 9, address), 0);
        IS(ordinal, 0);
        IS(cu("cuPointerGetAttribute", static_cast<void*>(&owner), 1, address), 0);
        IS(owner, context);
        int local = 0;
        const auto stranger = reinterpret_cast<CUdeviceptr>(&local);
        IS(cu("cuPointerGetAttribute", static_cast<void*>(&type), 2, stranger), 1);
        int wanted[] = {2, 9};
        void* answers[] = {&type, &ordinal};
        IS(cu("cuPointerGetAttributes",
              2U,
              static_cast<int*>(wanted),
              static_cast<void**>(answers),
              stranger),
           0);
        IS(type, 0U);
        IS(ordinal, -2);
    });
    EXPECT_EQ(child.finish(), "");
}

}  // namespace
}  // namespace egpu::testing
