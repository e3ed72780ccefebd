// Questions about devices.
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstring>

#include "testing/cuda/driver.h"

using namespace egpu::testing::cuda;

namespace {

// The 16 bytes of "GPU-01234567-89ab-...".
void uuid_bytes(const std::string& uuid, std::uint8_t* out) {
    std::memset(out, 0, 16);
    std::string digits;
    for (const char c : uuid.substr(uuid.find('-') + 1)) {
        if (std::isxdigit(static_cast<unsigned char>(c)) != 0) digits += c;
    }
    for (std::size_t i = 0; i < 16 && 2 * i + 1 < digits.size(); ++i) {
        out[i] =
            static_cast<std::uint8_t>(std::stoul(digits.substr(2 * i, 2), nullptr, 16) & 0xFFU);
    }
}

struct Fixed {
    int attribute;
    int value;
};
// What is the same on all cards; 0 for the attributes in between.
constexpr Fixed kFixed[] = {
    {1, 1024},                                      // threads per block
    {2, 1024},                                      // block dimensions
    {3, 1024},        {4, 64},    {5, 0x7FFFFFFF},  // grid dimensions
    {6, 65535},       {7, 65535}, {8, 49152},       // shared memory per block
    {9, 65536},                                     // constant memory
    {10, 32},                                       // warp
    {11, 0x7FFFFFFF},                               // pitch
    {12, 65536},                                    // registers per block
    {13, 1500000},                                  // kHz
    {14, 512},                                      // texture alignment
    {15, 1},                                        // copies beside kernels
    {19, 1},                                        // host memory is mapped
    {31, 1},                                        // concurrent kernels
    {32, 1},                                        // ECC
    {34, 0},                                        // PCI device
    {36, 1000000},                                  // memory clock
    {37, 4096},                                     // bus width
    {38, 40 << 20},                                 // L2
    {40, 2},                                        // copy engines
    {41, 1},                                        // unified addressing
    {51, 32},                                       // texture pitch alignment
    {78, 1},                                        // stream priorities
    {81, 65536},                                    // shared memory per multiprocessor
    {82, 65536},                                    // registers per multiprocessor
    {83, 1},                                        // managed memory
    {89, 1},                                        // managed memory used at the same time
    {91, 1},      // host pointers are device pointers for registered memory
    {92, 1},      // stream memory operations
    {95, 1},      // cooperative launch
    {96, 1},      // ... on several devices
    {97, 65536},  // opt-in shared memory per block
    {99, 1},      // cuMemHostRegister
    {102, 1},     // virtual memory management
    {103, 1},     // ... exported as file descriptors
    {115, 1},     // memory pools
    {119, 1},     // ... exported as file descriptors
    {124, 1},     // deferred mapping of arrays
    {125, 0},     // IPC events
};
constexpr int kAttributes = 146;  // numbers known to CUDA 13

int attribute_of(const Device& device, int attribute) {
    switch (attribute) {
        case 16:
            return static_cast<int>(device.multiprocessors);
        case 33:
            return device.pci_bus;
        case 39:
            return static_cast<int>(device.threads_per_multiprocessor);
        case 75:
            return device.major;
        case 76:
            return device.minor;
        case 106:
            return static_cast<int>(device.threads_per_multiprocessor / 64);
        default:
            break;
    }
    for (const Fixed& fixed : kFixed) {
        if (fixed.attribute == attribute) return fixed.value;
    }
    return 0;
}

}  // namespace

CU(cuDeviceGetCount)(int* count) {
    ENTER();
    REQUIRE(count != nullptr);
    *count = static_cast<int>(driver().devices.size());
    return CUDA_SUCCESS;
}

CU(cuDeviceGet)(CUdevice* out, int ordinal) {
    ENTER();
    REQUIRE(out != nullptr);
    DEVICE(device, ordinal);
    *out = device->ordinal;
    return CUDA_SUCCESS;
}

CU(cuDeviceGetName)(char* name, int length, CUdevice ordinal) {
    ENTER();
    REQUIRE(name != nullptr && length > 0);
    DEVICE(device, ordinal);
    const std::size_t size = std::min(device->name.size(), static_cast<std::size_t>(length - 1));
    std::memcpy(name, device->name.data(), size);
    name[size] = '\0';
    return CUDA_SUCCESS;
}

CU(cuDeviceGetUuid)(CUuuid* uuid, CUdevice ordinal) {
    ENTER();
    REQUIRE(uuid != nullptr);
    DEVICE(device, ordinal);
    uuid_bytes(device->uuid, uuid->bytes);
    return CUDA_SUCCESS;
}

CU(cuDeviceGetUuid_v2)(CUuuid* uuid, CUdevice ordinal) {
    ENTER();
    REQUIRE(uuid != nullptr);
    DEVICE(device, ordinal);
    uuid_bytes(device->uuid, uuid->bytes);
    return CUDA_SUCCESS;
}

CU(cuDeviceTotalMem_v2)(std::size_t* bytes, CUdevice ordinal) {
    ENTER();
    REQUIRE(bytes != nullptr);
    DEVICE(device, ordinal);
    *bytes = device->bytes;
    return CUDA_SUCCESS;
}

CU(cuDeviceTotalMem)(unsigned* bytes, CUdevice ordinal) {  // 32 bits: before CUDA 3.2
    ENTER();
    REQUIRE(bytes != nullptr);
    DEVICE(device, ordinal);
    *bytes = static_cast<unsigned>(std::min<std::uint64_t>(device->bytes, 0xFFFFFFFFU));
    return CUDA_SUCCESS;
}

CU(cuDeviceGetAttribute)(int* value, CUdevice_attribute attribute, CUdevice ordinal) {
    ENTER();
    REQUIRE(value != nullptr && attribute > 0 && attribute < kAttributes);
    DEVICE(device, ordinal);
    *value = attribute_of(*device, attribute);
    return CUDA_SUCCESS;
}

CU(cuDeviceComputeCapability)(int* major, int* minor, CUdevice ordinal) {
    ENTER();
    REQUIRE(major != nullptr && minor != nullptr);
    DEVICE(device, ordinal);
    *major = device->major;
    *minor = device->minor;
    return CUDA_SUCCESS;
}

CU(cuDeviceGetPCIBusId)(char* id, int length, CUdevice ordinal) {
    ENTER();
    REQUIRE(id != nullptr && length >= 13);
    DEVICE(device, ordinal);
    std::snprintf(
        id,
        static_cast<std::size_t>(length),
        "0000:%02X:00.0",
        static_cast<unsigned>(device->pci_bus)
    );
    return CUDA_SUCCESS;
}

CU(cuDeviceGetByPCIBusId)(CUdevice* out, const char* id) {
    ENTER();
    REQUIRE(out != nullptr && id != nullptr);
    unsigned domain = 0;
    unsigned bus = 0;
    if (std::sscanf(id, "%x:%x:", &domain, &bus) != 2) return CUDA_ERROR_INVALID_VALUE;
    for (const auto& device : driver().devices) {
        if (device->pci_bus != static_cast<int>(bus)) continue;
        *out = device->ordinal;
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_INVALID_DEVICE;
}

CU(cuDeviceCanAccessPeer)(int* can, CUdevice from, CUdevice to) {
    ENTER();
    REQUIRE(can != nullptr);
    DEVICE(first, from);
    DEVICE(second, to);
    *can = first != second ? 1 : 0;
    return CUDA_SUCCESS;
}

CU(cuDeviceGetP2PAttribute)(int* value, int attribute, CUdevice from, CUdevice to) {
    ENTER();
    REQUIRE(value != nullptr && attribute >= 1 && attribute <= 4);
    DEVICE(first, from);
    DEVICE(second, to);
    REQUIRE(first != second);
    *value = attribute == 1 ? 0 : 1;  // performance rank; access, atomics, arrays
    return CUDA_SUCCESS;
}
