// Modules and what is in them. Any image is accepted. Of PTX text (".entry NAME") only the kernels
// in it are found; of anything else every name is.
//
// How long a kernel runs when it has the card for itself:
//   spin_ns      its first parameter (64 bits), in ns, for every block: grids larger than the card
//                take several turns
//   spin_loop    its first parameter (64 bits) times the setting loop_ns, in the same way
//   *_<N>ns, *_<N>us, *_<N>ms   (as a part of the name: "gemm_250us_v2") N, whatever its grid
//   any other    the setting kernel_ns
#pragma once

#include <string>
#include <string_view>

#include "testing/cuda/driver.h"

namespace egpu::testing::cuda {

enum class Cost : std::uint8_t { kFixed, kSetting, kSpinNs, kSpinLoop };

struct Function {
    static constexpr std::uint32_t kLive = 0x434E5546;
    std::uint32_t live = 0;
    struct Module* module = nullptr;  // or:
    struct Library* library = nullptr;
    std::string name;
    Cost cost = Cost::kSetting;
    std::uint64_t fixed_ns = 0;
    // What cuFuncSetBlockShape and its kin set, for cuLaunchGrid.
    unsigned block[3] = {1, 1, 1};
    std::uint64_t parameter = 0;
};

struct Launch {
    unsigned grid[3];
    unsigned block[3];
    unsigned shared;
    void** parameters;
    void** extra;
    bool cooperative = false;
};

Function* function_of(const void* handle);  // a CUfunction or a CUkernel; null: not a live one
// "..._250us" to 250000; false when the name says nothing.
bool cost_in_name(std::string_view name, std::uint64_t& ns);
// Checks the shape.
CUresult model_kernel(
    const Device& device, const Function& function, const Launch& launch, SmKernel& out
);

}  // namespace egpu::testing::cuda
