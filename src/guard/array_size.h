// What an array takes on the card. Pure.
#pragma once

#include <cstdint>

#include "guard/cuda_abi.h"

namespace egpu::guard {

// Bytes of one element's channel by format; formats of later drivers that are not known count
// as 16.
std::uint64_t channel_bytes(cuda::CUarray_format format);

// Elements x channels, rounded up to 64 KiB; 0 for sparse arrays and those whose memory is mapped
// later.
std::uint64_t array_bytes(const cuda::CUDA_ARRAY3D_DESCRIPTOR& shape);

// The sum over `levels` mipmap levels (those down to 1x1x1).
std::uint64_t mipmap_bytes(const cuda::CUDA_ARRAY3D_DESCRIPTOR& shape, unsigned levels);

}  // namespace egpu::guard
