#include "guard/array_size.h"

namespace egpu::guard {
namespace {

using namespace egpu::cuda;

constexpr std::uint64_t kBlock = std::uint64_t{64} << 10U;
constexpr std::uint64_t kTooMuch = ~std::uint64_t{0} - kBlock;

std::uint64_t times(std::uint64_t a, std::uint64_t b) {
    std::uint64_t product = 0;
    return __builtin_mul_overflow(a, b, &product) || product > kTooMuch ? kTooMuch : product;
}

bool has_no_memory(const CUDA_ARRAY3D_DESCRIPTOR& shape) {
    return (shape.Flags & (CUDA_ARRAY3D_SPARSE | CUDA_ARRAY3D_DEFERRED_MAPPING)) != 0;
}

std::uint64_t exact_bytes(const CUDA_ARRAY3D_DESCRIPTOR& shape) {
    std::uint64_t bytes =
        times(channel_bytes(shape.Format), shape.NumChannels == 0 ? 1 : shape.NumChannels);
    bytes = times(bytes, shape.Width);
    bytes = times(bytes, shape.Height == 0 ? 1 : shape.Height);
    return times(bytes, shape.Depth == 0 ? 1 : shape.Depth);
}

std::uint64_t in_blocks(std::uint64_t bytes) {
    return (bytes + kBlock - 1) / kBlock * kBlock;
}

std::size_t halved(std::size_t extent, unsigned level) {
    if (extent == 0) return 0;
    const std::size_t smaller = level < 63 ? extent >> level : 0;
    return smaller == 0 ? 1 : smaller;
}

}  // namespace

std::uint64_t channel_bytes(CUarray_format format) {
    switch (format) {
        case CU_AD_FORMAT_UNSIGNED_INT8:
        case CU_AD_FORMAT_SIGNED_INT8:
            return 1;
        case CU_AD_FORMAT_UNSIGNED_INT16:
        case CU_AD_FORMAT_SIGNED_INT16:
        case CU_AD_FORMAT_HALF:
            return 2;
        case CU_AD_FORMAT_UNSIGNED_INT32:
        case CU_AD_FORMAT_SIGNED_INT32:
        case CU_AD_FORMAT_FLOAT:
            return 4;
        default:
            return 16;
    }
}

std::uint64_t array_bytes(const CUDA_ARRAY3D_DESCRIPTOR& shape) {
    return has_no_memory(shape) ? 0 : in_blocks(exact_bytes(shape));
}

std::uint64_t mipmap_bytes(const CUDA_ARRAY3D_DESCRIPTOR& shape, unsigned levels) {
    if (has_no_memory(shape)) return 0;
    const bool layered = (shape.Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP)) != 0;
    std::uint64_t sum = 0;
    for (unsigned level = 0; level < levels && level < 64; ++level) {
        CUDA_ARRAY3D_DESCRIPTOR part = shape;
        part.Width = halved(shape.Width, level);
        part.Height = halved(shape.Height, level);
        if (!layered) part.Depth = halved(shape.Depth, level);
        const std::uint64_t bytes = exact_bytes(part);
        sum = sum > kTooMuch - bytes ? kTooMuch : sum + bytes;
    }
    return in_blocks(sum);
}

}  // namespace egpu::guard
