// cuda_fill [--card N] [--chunk-mib N] [--family alloc|managed|async|vmm|array] [--hold-s N]
//
// Allocates pieces until the driver refuses, and says how much it got and what the driver said was
// free. Holds the memory for a while, then frees it and says what is free again.
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "testing/cuda/programs/driver_api.h"

using namespace egpu::cuda;
using egpu::testing::programs::DriverApi;

namespace {

constexpr std::size_t kMib = 1 << 20;

struct Options {
    int card = 0;
    std::size_t chunk = 256 * kMib;
    std::string family = "alloc";
    int hold_s = 0;
};

// Ends the program when an option is not known.
Options parse(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; i += 2) {
        const std::string name = argv[i];
        const char* value = i + 1 < argc ? argv[i + 1] : "";
        char* end = nullptr;
        const long number = std::strtol(value, &end, 10);
        const bool is_number = *value != '\0' && *end == '\0' && number >= 0;
        if (name == "--card" && is_number) {
            options.card = static_cast<int>(number);
        } else if (name == "--chunk-mib" && is_number && number > 0 && number % 2 == 0) {
            options.chunk = static_cast<std::size_t>(number) * kMib;
        } else if (name == "--hold-s" && is_number) {
            options.hold_s = static_cast<int>(number);
        } else if (name == "--family" && *value != '\0') {
            options.family = value;
        } else {
            std::fprintf(
                stderr, "%s: not understood; a chunk is a multiple of 2 MiB\n", name.c_str()
            );
            std::exit(2);
        }
    }
    return options;
}

// One piece; what the driver answered, and how to free it in `address`.
CUresult take(const DriverApi& cu, const Options& options, std::uint64_t& address) {
    if (options.family == "alloc") return cu.ask("cuMemAlloc_v2", &address, options.chunk);
    if (options.family == "managed")
        return cu.ask("cuMemAllocManaged", &address, options.chunk, 1U);
    if (options.family == "async") {
        const CUresult result =
            cu.ask("cuMemAllocAsync", &address, options.chunk, static_cast<CUstream>(nullptr));
        const CUresult done = cu.ask("cuStreamSynchronize", static_cast<CUstream>(nullptr));
        return result != CUDA_SUCCESS ? result : done;
    }
    if (options.family == "vmm") {
        CUmemAllocationProp prop{};
        prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
        prop.location = {CU_MEM_LOCATION_TYPE_DEVICE, options.card};
        return cu.ask(
            "cuMemCreate",
            &address,
            options.chunk,
            static_cast<const CUmemAllocationProp*>(&prop),
            0ULL
        );
    }
    if (options.family == "array") {
        CUarray array = nullptr;
        const CUDA_ARRAY_DESCRIPTOR shape{16384, options.chunk / 65536, CU_AD_FORMAT_FLOAT, 1};
        const CUresult result =
            cu.ask("cuArrayCreate_v2", &array, static_cast<const CUDA_ARRAY_DESCRIPTOR*>(&shape));
        std::memcpy(&address, &array, sizeof address);
        return result;
    }
    std::fprintf(
        stderr, "--family %s: alloc, managed, async, vmm or array\n", options.family.c_str()
    );
    std::exit(2);
}

void give_back(const DriverApi& cu, const Options& options, std::uint64_t address) {
    if (options.family == "vmm") {
        cu.call("cuMemRelease", address);
    } else if (options.family == "array") {
        CUarray array = nullptr;
        std::memcpy(&array, &address, sizeof array);
        cu.call("cuArrayDestroy", array);
    } else {
        cu.call("cuMemFree_v2", address);
    }
}

void say_free(const DriverApi& cu, const char* when) {
    std::size_t free = 0;
    std::size_t total = 0;
    cu.call("cuMemGetInfo_v2", &free, &total);
    std::printf("%s: free %zu MiB of %zu MiB\n", when, free / kMib, total / kMib);
    std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
    const Options options = parse(argc, argv);
    const DriverApi cu;
    cu.open_card(options.card);
    say_free(cu, "before");
    std::vector<std::uint64_t> pieces;
    CUresult result = CUDA_SUCCESS;
    std::size_t free = 0;
    std::size_t total = 0;
    cu.call("cuMemGetInfo_v2", &free, &total);
    // Managed memory may be more than the card has: twice as much, then enough is seen.
    while (pieces.size() * options.chunk < 2 * total) {
        std::uint64_t address = 0;
        result = take(cu, options, address);
        if (result != CUDA_SUCCESS) break;
        pieces.push_back(address);
    }
    std::printf(
        result == CUDA_SUCCESS ? "%s: %zu MiB in %zu pieces, and no end\n"
                               : "%s: %zu MiB in %zu pieces, then error %d\n",
        options.family.c_str(),
        pieces.size() * options.chunk / kMib,
        pieces.size(),
        result
    );
    say_free(cu, "full");
    std::this_thread::sleep_for(std::chrono::seconds(options.hold_s));
    for (const std::uint64_t address : pieces) give_back(cu, options, address);
    cu.call("cuCtxSynchronize");
    say_free(cu, "after");
    return result == CUDA_ERROR_OUT_OF_MEMORY || result == CUDA_SUCCESS ? 0 : 1;
}
