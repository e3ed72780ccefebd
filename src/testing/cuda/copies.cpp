// Copies and fills. Device memory is memory of this process, so the bytes are really moved; with
// the setting copy_gbps they take the time of a bus, too.
#include <algorithm>
#include <cstring>

#include "testing/cuda/arrays.h"
#include "testing/cuda/capture.h"
#include "testing/cuda/graph.h"

namespace egpu::testing::cuda {
namespace {

struct Side {
    std::uint64_t address = 0;
    std::uint64_t pitch = 0;
    std::uint64_t height = 0;
    bool host = false;
};

bool known(std::uint64_t address) {
    const std::lock_guard lock(driver().mutex);
    return find_allocation(address) != driver().allocations.end();
}

std::uint64_t bus_ns(std::uint64_t bytes) {
    const std::uint64_t rate = driver().settings.copy_gbps;
    return rate == 0 ? 0 : bytes / rate;
}

enum class Place : std::uint8_t { kHost, kDevice, kAny };

// `from` and `to` are checked where they must be memory of the driver.
CUresult flat(
    std::uint64_t to,
    Place to_place,
    std::uint64_t from,
    Place from_place,
    std::size_t size,
    CUstream handle,
    Default flavour,
    bool wait
) {
    STREAM(stream, handle, flavour);
    if (size == 0) return CUDA_SUCCESS;
    REQUIRE(to != 0 && from != 0);
    const bool to_known = to_place == Place::kHost ? false : accessible(to, size);
    const bool from_known = from_place == Place::kHost ? false : accessible(from, size);
    REQUIRE(to_place != Place::kDevice || to_known);
    REQUIRE(from_place != Place::kDevice || from_known);
    Task task;
    task.type = CU_GRAPH_NODE_TYPE_MEMCPY;
    auto& copy = task.copy_params;
    copy.srcMemoryType = from_place == Place::kHost ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
    copy.dstMemoryType = to_place == Place::kHost ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = from;
    copy.dstDevice = to;
    copy.srcHost = reinterpret_cast<const void*>(from);
    copy.dstHost = reinterpret_cast<void*>(to);
    copy.WidthInBytes = size;
    copy.Height = copy.Depth = 1;
    if (to_place == Place::kHost || from_place == Place::kHost) {
        task.kernel.cost_ns = bus_ns(size);
        task.engine = to_place == Place::kHost ? CopyEngine::kFromDevice : CopyEngine::kToDevice;
    }
    const bool pageable_source = from_place == Place::kHost && !known(from);
    const bool pageable_target = to_place == Place::kHost && !known(to);
    if (pageable_source && !wait && !any_capture()) {
        // Memory that is not page-locked is the caller's again when the call returns.
        const auto* bytes = reinterpret_cast<const char*>(from);
        task.work = [to, held = std::vector<char>(bytes, bytes + size)] {
            std::memcpy(reinterpret_cast<void*>(to), held.data(), held.size());
        };
    } else {
        task.work = [to, from, size] {
            std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), size);
        };
    }
    return run_task(stream, std::move(task), wait || (pageable_target && !any_capture()));
}

// One side of a box. Offsets are added.
CUresult side(
    CUmemorytype type,
    const void* host,
    CUdeviceptr device,
    CUarray handle,
    std::uint64_t pitch,
    std::uint64_t height,
    const std::size_t (&at)[3],
    const CUDA_MEMCPY3D& copy,
    bool checked,
    Side& out
) {
    out.pitch = pitch == 0 ? copy.WidthInBytes : pitch;
    out.height = height == 0 ? copy.Height : height;
    switch (type) {
        case CU_MEMORYTYPE_HOST:
            out.address = reinterpret_cast<std::uint64_t>(host);
            out.host = true;
            break;
        case CU_MEMORYTYPE_DEVICE:
        case CU_MEMORYTYPE_UNIFIED:
            out.address = device;
            break;
        case CU_MEMORYTYPE_ARRAY: {
            const Array* array = array_of(handle);
            if (array == nullptr) return CUDA_ERROR_INVALID_HANDLE;
            if (array->address == 0) return CUDA_ERROR_INVALID_VALUE;  // sparse, nothing mapped
            out.address = array->address;
            out.pitch = array->pitch;
            out.height = array->rows;
            const std::uint64_t depth = std::max<std::uint64_t>(1, array->descriptor.Depth);
            REQUIRE(at[0] + copy.WidthInBytes <= out.pitch && at[1] + copy.Height <= out.height);
            REQUIRE(at[2] + copy.Depth <= depth);
            break;
        }
        default:
            return CUDA_ERROR_INVALID_VALUE;
    }
    REQUIRE(out.address != 0 && out.pitch >= copy.WidthInBytes);
    out.address += at[0] + (at[1] + at[2] * out.height) * out.pitch;
    const std::uint64_t rows = (copy.Depth - 1) * out.height + copy.Height;
    const std::uint64_t span = (rows - 1) * out.pitch + copy.WidthInBytes;
    REQUIRE(!checked || type != CU_MEMORYTYPE_DEVICE || accessible(out.address, span));
    return CUDA_SUCCESS;
}

CUresult box(const CUDA_MEMCPY3D* copy, CUstream handle, Default flavour, bool wait) {
    REQUIRE(copy != nullptr);
    STREAM(stream, handle, flavour);
    if (copy->WidthInBytes == 0 || copy->Height == 0 || copy->Depth == 0) return CUDA_SUCCESS;
    Task task;
    if (const CUresult result = copy_task(*copy, true, task); result != CUDA_SUCCESS) return result;
    const bool host =
        copy->srcMemoryType == CU_MEMORYTYPE_HOST || copy->dstMemoryType == CU_MEMORYTYPE_HOST;
    return run_task(stream, std::move(task), wait && host);
}

CUresult rectangle(const CUDA_MEMCPY2D* flat_copy, CUstream handle, Default flavour, bool wait) {
    REQUIRE(flat_copy != nullptr);
    const CUDA_MEMCPY2D& f = *flat_copy;
    CUDA_MEMCPY3D copy{};
    copy.srcXInBytes = f.srcXInBytes;
    copy.srcY = f.srcY;
    copy.srcMemoryType = f.srcMemoryType;
    copy.srcHost = f.srcHost;
    copy.srcDevice = f.srcDevice;
    copy.srcArray = f.srcArray;
    copy.srcPitch = f.srcPitch;
    copy.dstXInBytes = f.dstXInBytes;
    copy.dstY = f.dstY;
    copy.dstMemoryType = f.dstMemoryType;
    copy.dstHost = f.dstHost;
    copy.dstDevice = f.dstDevice;
    copy.dstArray = f.dstArray;
    copy.dstPitch = f.dstPitch;
    copy.WidthInBytes = f.WidthInBytes;
    copy.Height = f.Height;
    copy.Depth = 1;
    return box(&copy, handle, flavour, wait);
}

CUresult fill(
    CUdeviceptr to,
    std::size_t pitch,
    unsigned value,
    unsigned element,
    std::size_t width,
    std::size_t height,
    CUstream handle,
    Default flavour
) {
    STREAM(stream, handle, flavour);
    if (width == 0 || height == 0) return CUDA_SUCCESS;
    Task task;
    const CUDA_MEMSET_NODE_PARAMS params{to, pitch, value, element, width, height};
    if (const CUresult result = memset_task(params, true, task); result != CUDA_SUCCESS)
        return result;
    return run_task(stream, std::move(task));
}

// An array as `flat` memory, from a byte on.
std::uint64_t bytes_of(CUarray handle, std::size_t offset, std::size_t size) {
    const Array* array = array_of(handle);
    if (array == nullptr || array->address == 0 || offset + size > array->size) return 0;
    return array->address + offset;
}

std::uint64_t address(const void* pointer) {
    return reinterpret_cast<std::uint64_t>(pointer);
}

}  // namespace

CUresult copy_task(const CUDA_MEMCPY3D& copy, bool checked, Task& out) {
    REQUIRE(copy.WidthInBytes > 0 && copy.Height > 0 && copy.Depth > 0);
    Side from;
    Side to;
    CUresult result = side(
        copy.srcMemoryType,
        copy.srcHost,
        copy.srcDevice,
        copy.srcArray,
        copy.srcPitch,
        copy.srcHeight,
        {copy.srcXInBytes, copy.srcY, copy.srcZ},
        copy,
        checked,
        from
    );
    if (result != CUDA_SUCCESS) return result;
    result = side(
        copy.dstMemoryType,
        copy.dstHost,
        copy.dstDevice,
        copy.dstArray,
        copy.dstPitch,
        copy.dstHeight,
        {copy.dstXInBytes, copy.dstY, copy.dstZ},
        copy,
        checked,
        to
    );
    if (result != CUDA_SUCCESS) return result;
    out.type = CU_GRAPH_NODE_TYPE_MEMCPY;
    out.copy_params = copy;
    if (from.host || to.host) {
        out.kernel.cost_ns = bus_ns(copy.WidthInBytes * copy.Height * copy.Depth);
        out.engine = to.host ? CopyEngine::kFromDevice : CopyEngine::kToDevice;
    }
    out.work = [from, to, width = copy.WidthInBytes, height = copy.Height, depth = copy.Depth] {
        for (std::size_t z = 0; z < depth; ++z) {
            for (std::size_t y = 0; y < height; ++y) {
                std::memmove(
                    reinterpret_cast<void*>(to.address + (z * to.height + y) * to.pitch),
                    reinterpret_cast<const void*>(
                        from.address + (z * from.height + y) * from.pitch
                    ),
                    width
                );
            }
        }
    };
    return CUDA_SUCCESS;
}

CUresult memset_task(const CUDA_MEMSET_NODE_PARAMS& params, bool checked, Task& out) {
    const unsigned element = params.elementSize;
    REQUIRE(params.width > 0 && params.height > 0 && params.dst % std::max(1U, element) == 0);
    REQUIRE(element == 1 || element == 2 || element == 4);
    const std::uint64_t row = params.width * element;
    const std::uint64_t pitch = params.height == 1 ? row : params.pitch;
    REQUIRE(pitch >= row);
    REQUIRE(!checked || accessible(params.dst, (params.height - 1) * pitch + row));
    out.type = CU_GRAPH_NODE_TYPE_MEMSET;
    out.memset_params = params;
    out.work = [params, pitch, element] {
        for (std::size_t y = 0; y < params.height; ++y) {
            auto* at = reinterpret_cast<char*>(params.dst + y * pitch);
            if (element == 1) {
                std::memset(at, static_cast<int>(params.value & 0xFFU), params.width);
                continue;
            }
            for (std::size_t x = 0; x < params.width; ++x) {
                std::memcpy(at + x * element, &params.value, element);
            }
        }
    };
    return CUDA_SUCCESS;
}

}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

// Both flavours of a call: that of the legacy default stream, and that of the thread's.
#define BOTH(name, suffix, parameters, ...)              \
    CU(name) parameters {                                \
        ENTER();                                         \
        constexpr Default flavour = Default::kLegacy;    \
        __VA_ARGS__                                      \
    }                                                    \
    CU(name##suffix) parameters {                        \
        ENTER();                                         \
        constexpr Default flavour = Default::kPerThread; \
        __VA_ARGS__                                      \
    }

using enum Place;
using Size = std::size_t;

BOTH(cuMemcpy,
     _ptds,
     (CUdeviceptr to, CUdeviceptr from, Size size),
     return flat(to, kAny, from, kAny, size, nullptr, flavour, true);)
BOTH(cuMemcpyAsync,
     _ptsz,
     (CUdeviceptr to, CUdeviceptr from, Size size, CUstream stream),
     return flat(to, kAny, from, kAny, size, stream, flavour, false);)
BOTH(cuMemcpyPeer,
     _ptds,
     (CUdeviceptr to, CUcontext, CUdeviceptr from, CUcontext, Size size),
     return flat(to, kDevice, from, kDevice, size, nullptr, flavour, true);)
BOTH(cuMemcpyPeerAsync,
     _ptsz,
     (CUdeviceptr to, CUcontext, CUdeviceptr from, CUcontext, Size size, CUstream stream),
     return flat(to, kDevice, from, kDevice, size, stream, flavour, false);)
BOTH(cuMemcpyHtoD_v2,
     _ptds,
     (CUdeviceptr to, const void* from, Size size),
     return flat(to, kDevice, address(from), kHost, size, nullptr, flavour, true);)
BOTH(cuMemcpyDtoH_v2,
     _ptds,
     (void* to, CUdeviceptr from, Size size),
     return flat(address(to), kHost, from, kDevice, size, nullptr, flavour, true);)
BOTH(cuMemcpyDtoD_v2,
     _ptds,
     (CUdeviceptr to, CUdeviceptr from, Size size),
     return flat(to, kDevice, from, kDevice, size, nullptr, flavour, false);)
BOTH(cuMemcpyHtoDAsync_v2,
     _ptsz,
     (CUdeviceptr to, const void* from, Size size, CUstream stream),
     return flat(to, kDevice, address(from), kHost, size, stream, flavour, false);)
BOTH(cuMemcpyDtoHAsync_v2,
     _ptsz,
     (void* to, CUdeviceptr from, Size size, CUstream stream),
     return flat(address(to), kHost, from, kDevice, size, stream, flavour, false);)
BOTH(cuMemcpyDtoDAsync_v2,
     _ptsz,
     (CUdeviceptr to, CUdeviceptr from, Size size, CUstream stream),
     return flat(to, kDevice, from, kDevice, size, stream, flavour, false);)
BOTH(cuMemcpyDtoA_v2,
     _ptds,
     (CUarray to, Size at, CUdeviceptr from, Size size),
     return flat(bytes_of(to, at, size), kAny, from, kDevice, size, nullptr, flavour, false);)
BOTH(cuMemcpyAtoD_v2,
     _ptds,
     (CUdeviceptr to, CUarray from, Size at, Size size),
     return flat(to, kDevice, bytes_of(from, at, size), kAny, size, nullptr, flavour, false);)
BOTH(cuMemcpyHtoA_v2,
     _ptds,
     (CUarray to, Size at, const void* from, Size size),
     return flat(bytes_of(to, at, size), kAny, address(from), kHost, size, nullptr, flavour, true);)
BOTH(cuMemcpyAtoH_v2,
     _ptds,
     (void* to, CUarray from, Size at, Size size),
     return flat(address(to), kHost, bytes_of(from, at, size), kAny, size, nullptr, flavour, true);)
BOTH(cuMemcpyAtoA_v2,
     _ptds,
     (CUarray to, Size to_at, CUarray from, Size from_at, Size size),
     return flat(
         bytes_of(to, to_at, size),
         kAny,
         bytes_of(from, from_at, size),
         kAny,
         size,
         nullptr,
         flavour,
         false
     );)
BOTH(cuMemcpyHtoAAsync_v2,
     _ptsz,
     (CUarray to, Size at, const void* from, Size size, CUstream stream),
     return flat(bytes_of(to, at, size), kAny, address(from), kHost, size, stream, flavour, false);)
BOTH(cuMemcpyAtoHAsync_v2,
     _ptsz,
     (void* to, CUarray from, Size at, Size size, CUstream stream),
     return flat(address(to), kHost, bytes_of(from, at, size), kAny, size, stream, flavour, false);)
BOTH(cuMemcpy2D_v2,
     _ptds,
     (const CUDA_MEMCPY2D* copy),
     return rectangle(copy, nullptr, flavour, true);)
BOTH(cuMemcpy2DUnaligned_v2,
     _ptds,
     (const CUDA_MEMCPY2D* copy),
     return rectangle(copy, nullptr, flavour, true);)
BOTH(cuMemcpy2DAsync_v2,
     _ptsz,
     (const CUDA_MEMCPY2D* copy, CUstream stream),
     return rectangle(copy, stream, flavour, false);)
BOTH(cuMemcpy3D_v2, _ptds, (const CUDA_MEMCPY3D* copy), return box(copy, nullptr, flavour, true);)
BOTH(cuMemcpy3DAsync_v2,
     _ptsz,
     (const CUDA_MEMCPY3D* copy, CUstream stream),
     return box(copy, stream, flavour, false);)
BOTH(cuMemcpy3DPeer, _ptds, (const CUDA_MEMCPY3D* copy), return box(copy, nullptr, flavour, true);)
BOTH(cuMemcpy3DPeerAsync,
     _ptsz,
     (const CUDA_MEMCPY3D* copy, CUstream stream),
     return box(copy, stream, flavour, false);)

BOTH(cuMemsetD8_v2,
     _ptds,
     (CUdeviceptr to, unsigned char value, Size count),
     return fill(to, 0, value, 1, count, 1, nullptr, flavour);)
BOTH(cuMemsetD16_v2,
     _ptds,
     (CUdeviceptr to, unsigned short value, Size count),
     return fill(to, 0, value, 2, count, 1, nullptr, flavour);)
BOTH(cuMemsetD32_v2,
     _ptds,
     (CUdeviceptr to, unsigned value, Size count),
     return fill(to, 0, value, 4, count, 1, nullptr, flavour);)
BOTH(cuMemsetD2D8_v2,
     _ptds,
     (CUdeviceptr to, Size pitch, unsigned char value, Size width, Size height),
     return fill(to, pitch, value, 1, width, height, nullptr, flavour);)
BOTH(cuMemsetD2D16_v2,
     _ptds,
     (CUdeviceptr to, Size pitch, unsigned short value, Size width, Size height),
     return fill(to, pitch, value, 2, width, height, nullptr, flavour);)
BOTH(cuMemsetD2D32_v2,
     _ptds,
     (CUdeviceptr to, Size pitch, unsigned value, Size width, Size height),
     return fill(to, pitch, value, 4, width, height, nullptr, flavour);)
BOTH(cuMemsetD8Async,
     _ptsz,
     (CUdeviceptr to, unsigned char value, Size count, CUstream stream),
     return fill(to, 0, value, 1, count, 1, stream, flavour);)
BOTH(cuMemsetD16Async,
     _ptsz,
     (CUdeviceptr to, unsigned short value, Size count, CUstream stream),
     return fill(to, 0, value, 2, count, 1, stream, flavour);)
BOTH(cuMemsetD32Async,
     _ptsz,
     (CUdeviceptr to, unsigned value, Size count, CUstream stream),
     return fill(to, 0, value, 4, count, 1, stream, flavour);)
BOTH(cuMemsetD2D8Async,
     _ptsz,
     (CUdeviceptr to, Size pitch, unsigned char value, Size width, Size height, CUstream stream),
     return fill(to, pitch, value, 1, width, height, stream, flavour);)
BOTH(cuMemsetD2D16Async,
     _ptsz,
     (CUdeviceptr to, Size pitch, unsigned short value, Size width, Size height, CUstream stream),
     return fill(to, pitch, value, 2, width, height, stream, flavour);)
BOTH(cuMemsetD2D32Async,
     _ptsz,
     (CUdeviceptr to, Size pitch, unsigned value, Size width, Size height, CUstream stream),
     return fill(to, pitch, value, 4, width, height, stream, flavour);)

// Of the 32-bit era.
CU(cuMemcpyHtoD)(CUdeviceptr_v1 to, const void* from, unsigned size) {
    ENTER();
    return flat(to, kDevice, address(from), kHost, size, nullptr, Default::kLegacy, true);
}
CU(cuMemcpyDtoH)(void* to, CUdeviceptr_v1 from, unsigned size) {
    ENTER();
    return flat(address(to), kHost, from, kDevice, size, nullptr, Default::kLegacy, true);
}
CU(cuMemcpyDtoD)(CUdeviceptr_v1 to, CUdeviceptr_v1 from, unsigned size) {
    ENTER();
    return flat(to, kDevice, from, kDevice, size, nullptr, Default::kLegacy, false);
}
