// Arrays and mipmapped arrays: what copies.cpp must know of them.
#pragma once

#include "testing/cuda/driver.h"

namespace egpu::testing::cuda {

struct Array {
    static constexpr std::uint32_t kLive = 0x59525241;
    std::uint32_t live = 0;
    Context* context = nullptr;
    CUDA_ARRAY3D_DESCRIPTOR descriptor{};
    std::uint64_t address = 0;  // rows lie end to end; 0: sparse, nothing behind it
    std::uint64_t pitch = 0;    // of a row, bytes
    std::uint64_t rows = 1;     // of a slice
    std::uint64_t size = 0;     // charged
    bool level = false;         // of a mipmapped array: its memory is the array's
};

Array* array_of(CUarray handle);  // null: not a live one

}  // namespace egpu::testing::cuda
