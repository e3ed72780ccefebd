#include "testing/cuda/arrays.h"

#include <algorithm>

#include "testing/cuda/engine.h"

namespace egpu::testing::cuda {
namespace {

constexpr std::uint64_t kArrayGrain = 64 << 10;

struct Mipmap {
    static constexpr std::uint32_t kLive = 0x50494D4D;
    std::uint32_t live = 0;
    Context* context = nullptr;
    std::uint64_t address = 0;
    std::uint64_t size = 0;
    std::vector<Array*> levels;
};

struct All {
    std::set<Array*> arrays;
    std::set<Mipmap*> mipmaps;
};
All& all() {  // under Driver::mutex
    static auto* instance = new All;
    return *instance;
}

unsigned element_bytes(CUarray_format format) {
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
            return 0;
    }
}

bool valid(const CUDA_ARRAY3D_DESCRIPTOR& d) {
    return d.Width > 0 && element_bytes(d.Format) != 0 && d.Width <= (1U << 20U) &&
           d.Height <= (1U << 20U) && d.Depth <= (1U << 20U) &&
           (d.NumChannels == 1 || d.NumChannels == 2 || d.NumChannels == 4);
}

void set_shape(Array& array) {
    const auto& d = array.descriptor;
    array.pitch = d.Width * element_bytes(d.Format) * d.NumChannels;
    array.rows = std::max<std::uint64_t>(1, d.Height);
}

std::uint64_t bytes_of(const Array& array) {
    return array.pitch * array.rows * std::max<std::uint64_t>(1, array.descriptor.Depth);
}

bool without_memory(unsigned flags) {
    return (flags & (CUDA_ARRAY3D_SPARSE | CUDA_ARRAY3D_DEFERRED_MAPPING)) != 0;
}

CUresult create(CUarray* out, const CUDA_ARRAY3D_DESCRIPTOR& descriptor) {
    REQUIRE(out != nullptr && valid(descriptor));
    CONTEXT(context);
    if (const CUresult result = refuse_in_capture(); result != CUDA_SUCCESS) return result;
    Array made;
    made.context = context;
    made.descriptor = descriptor;
    set_shape(made);
    spend(driver().settings.alloc_ns);
    const std::lock_guard lock(driver().mutex);
    if (!without_memory(descriptor.Flags)) {
        made.size = round_up(bytes_of(made), kArrayGrain);
        const CUresult result = allocate_device_locked(*context->device, made.size, made.address);
        if (result != CUDA_SUCCESS) return result;
    }
    Array* array = Stable<Array>::make();
    *array = made;
    array->live = Array::kLive;
    all().arrays.insert(array);
    *out = reinterpret_cast<CUarray>(array);
    return CUDA_SUCCESS;
}

void destroy(Array* array) {
    if (array->address != 0 && !array->level) {
        release_device_locked(*array->context->device, array->address, array->size);
    }
    all().arrays.erase(array);
    Stable<Array>::drop(array);
}

Mipmap* mipmap_of(CUmipmappedArray handle) {
    auto* mipmap = reinterpret_cast<Mipmap*>(handle);
    return mipmap != nullptr && mipmap->live == Mipmap::kLive ? mipmap : nullptr;
}

CUresult create_mipmap(CUmipmappedArray* out, const CUDA_ARRAY3D_DESCRIPTOR& top, unsigned levels) {
    REQUIRE(out != nullptr && valid(top) && levels > 0);
    CONTEXT(context);
    if (const CUresult result = refuse_in_capture(); result != CUDA_SUCCESS) return result;
    std::vector<Array> made;
    std::uint64_t size = 0;
    CUDA_ARRAY3D_DESCRIPTOR descriptor = top;
    for (unsigned i = 0; i < levels; ++i) {
        Array array;
        array.context = context;
        array.descriptor = descriptor;
        array.level = true;
        set_shape(array);
        array.address = size;  // its place, until there is memory
        size += round_up(bytes_of(array), 512);
        made.push_back(array);
        if (descriptor.Width == 1 && descriptor.Height <= 1 && descriptor.Depth <= 1) break;
        descriptor.Width = std::max<std::size_t>(1, descriptor.Width / 2);
        if (descriptor.Height > 1) descriptor.Height /= 2;
        const bool layers = (descriptor.Flags & CUDA_ARRAY3D_LAYERED) != 0;
        if (descriptor.Depth > 1 && !layers) descriptor.Depth /= 2;
    }
    spend(driver().settings.alloc_ns);
    const std::lock_guard lock(driver().mutex);
    Mipmap mipmap;
    mipmap.context = context;
    if (!without_memory(top.Flags)) {
        mipmap.size = round_up(size, kArrayGrain);
        const CUresult result =
            allocate_device_locked(*context->device, mipmap.size, mipmap.address);
        if (result != CUDA_SUCCESS) return result;
    }
    for (const Array& level : made) {
        Array* array = Stable<Array>::make();
        *array = level;
        array->address = mipmap.address == 0 ? 0 : mipmap.address + level.address;
        array->live = Array::kLive;
        all().arrays.insert(array);
        mipmap.levels.push_back(array);
    }
    Mipmap* object = Stable<Mipmap>::make();
    *object = mipmap;
    object->live = Mipmap::kLive;
    all().mipmaps.insert(object);
    *out = reinterpret_cast<CUmipmappedArray>(object);
    return CUDA_SUCCESS;
}

void destroy_mipmap(Mipmap* mipmap) {
    for (Array* level : mipmap->levels) destroy(level);
    if (mipmap->address != 0) {
        release_device_locked(*mipmap->context->device, mipmap->address, mipmap->size);
    }
    all().mipmaps.erase(mipmap);
    Stable<Mipmap>::drop(mipmap);
}

CUDA_ARRAY3D_DESCRIPTOR widened(const CUDA_ARRAY_DESCRIPTOR& d) {
    return {d.Width, d.Height, 0, d.Format, d.NumChannels, 0};
}

// The driver's CUDA_ARRAY_MEMORY_REQUIREMENTS.
struct Requirements {
    std::size_t size;
    std::size_t alignment;
    unsigned reserved[4];
};

}  // namespace

Array* array_of(CUarray handle) {
    auto* array = reinterpret_cast<Array*>(handle);
    return array != nullptr && array->live == Array::kLive ? array : nullptr;
}

void forget_context_arrays(Context* context) {
    const std::lock_guard lock(driver().mutex);
    const std::set<Mipmap*> mipmaps = all().mipmaps;
    for (Mipmap* mipmap : mipmaps) {
        if (mipmap->context == context) destroy_mipmap(mipmap);
    }
    const std::set<Array*> arrays = all().arrays;
    for (Array* array : arrays) {
        if (array->context == context) destroy(array);
    }
}

}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

CU(cuArrayCreate_v2)(CUarray* out, const CUDA_ARRAY_DESCRIPTOR* descriptor) {
    ENTER();
    REQUIRE(descriptor != nullptr);
    return create(out, widened(*descriptor));
}
CU(cuArrayCreate)(CUarray* out, const CUDA_ARRAY_DESCRIPTOR_v1* descriptor) {
    ENTER();
    REQUIRE(descriptor != nullptr);
    return create(
        out,
        {descriptor->Width, descriptor->Height, 0, descriptor->Format, descriptor->NumChannels, 0}
    );
}
CU(cuArray3DCreate_v2)(CUarray* out, const CUDA_ARRAY3D_DESCRIPTOR* descriptor) {
    ENTER();
    REQUIRE(descriptor != nullptr);
    return create(out, *descriptor);
}
CU(cuArray3DCreate)(CUarray* out, const CUDA_ARRAY3D_DESCRIPTOR_v1* d) {
    ENTER();
    REQUIRE(d != nullptr);
    return create(out, {d->Width, d->Height, d->Depth, d->Format, d->NumChannels, d->Flags});
}
CU(cuArrayDestroy)(CUarray handle) {
    ENTER();
    Array* array = array_of(handle);
    if (array == nullptr || array->level) return CUDA_ERROR_INVALID_HANDLE;
    engine().wait_for_device(array->context->device);
    const std::lock_guard lock(driver().mutex);
    destroy(array);
    return CUDA_SUCCESS;
}
CU(cuArrayGetDescriptor_v2)(CUDA_ARRAY_DESCRIPTOR* out, CUarray handle) {
    ENTER();
    const Array* array = array_of(handle);
    if (array == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    REQUIRE(out != nullptr);
    const auto& d = array->descriptor;
    *out = {d.Width, d.Height, d.Format, d.NumChannels};
    return CUDA_SUCCESS;
}
CU(cuArray3DGetDescriptor_v2)(CUDA_ARRAY3D_DESCRIPTOR* out, CUarray handle) {
    ENTER();
    const Array* array = array_of(handle);
    if (array == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    REQUIRE(out != nullptr);
    *out = array->descriptor;
    return CUDA_SUCCESS;
}
CU(cuArrayGetMemoryRequirements)(Requirements* out, CUarray handle, CUdevice device) {
    ENTER();
    const Array* array = array_of(handle);
    if (array == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    REQUIRE(out != nullptr && device_of(device) != nullptr);
    *out = {round_up(bytes_of(*array), kArrayGrain), kArrayGrain, {}};
    return CUDA_SUCCESS;
}
CU(cuMipmappedArrayCreate)
(CUmipmappedArray* out, const CUDA_ARRAY3D_DESCRIPTOR* descriptor, unsigned levels) {
    ENTER();
    REQUIRE(descriptor != nullptr);
    return create_mipmap(out, *descriptor, levels);
}
CU(cuMipmappedArrayDestroy)(CUmipmappedArray handle) {
    ENTER();
    Mipmap* mipmap = mipmap_of(handle);
    if (mipmap == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    engine().wait_for_device(mipmap->context->device);
    const std::lock_guard lock(driver().mutex);
    destroy_mipmap(mipmap);
    return CUDA_SUCCESS;
}
CU(cuMipmappedArrayGetLevel)(CUarray* out, CUmipmappedArray handle, unsigned level) {
    ENTER();
    Mipmap* mipmap = mipmap_of(handle);
    if (mipmap == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    REQUIRE(out != nullptr && level < mipmap->levels.size());
    *out = reinterpret_cast<CUarray>(mipmap->levels[level]);
    return CUDA_SUCCESS;
}
CU(cuMipmappedArrayGetMemoryRequirements)
(Requirements* out, CUmipmappedArray handle, CUdevice device) {
    ENTER();
    Mipmap* mipmap = mipmap_of(handle);
    if (mipmap == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    REQUIRE(out != nullptr && device_of(device) != nullptr);
    std::uint64_t size = 0;
    for (const Array* level : mipmap->levels) size += round_up(bytes_of(*level), 512);
    *out = {round_up(size, kArrayGrain), kArrayGrain, {}};
    return CUDA_SUCCESS;
}
