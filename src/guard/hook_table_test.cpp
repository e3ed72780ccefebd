// The list of hooks against the list of what must be covered, and against what a driver exports.
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace egpu::guard {
namespace {

const std::set<std::string>& hooks() {
    static const std::set<std::string> names = {
#define EGPU_CUDA(spelling, base, since, stream) #spelling,
#define EGPU_NVML(spelling) #spelling,
#include "guard/hooks.def"
#undef EGPU_CUDA
#undef EGPU_NVML
    };
    return names;
}

// Each name stands for all its exported versions (_v2, ...) and flavours of the default stream
// (_ptsz, _ptds).
const std::vector<std::string>& must() {
    static const std::vector<std::string> names = {
        "cuInit",
        "cuGetProcAddress",
        "cuMemAlloc",
        "cuMemAllocPitch",
        "cuMemAllocManaged",
        "cuMemAllocAsync",
        "cuMemAllocFromPoolAsync",
        "cuMemFree",
        "cuMemFreeAsync",
        "cuMemPoolCreate",
        "cuMemPoolDestroy",
        "cuMemPoolTrimTo",
        "cuMemPoolSetAttribute",
        "cuDeviceSetMemPool",
        "cuMemSetMemPool",
        "cuMemCreate",
        "cuMemRelease",
        "cuMemMap",
        "cuMemUnmap",
        "cuMemRetainAllocationHandle",
        "cuMemImportFromShareableHandle",
        "cuMemMapArrayAsync",
        "cuArrayCreate",
        "cuArray3DCreate",
        "cuMipmappedArrayCreate",
        "cuArrayDestroy",
        "cuMipmappedArrayDestroy",
        "cuGraphInstantiate",
        "cuGraphInstantiateWithFlags",
        "cuGraphInstantiateWithParams",
        "cuGraphLaunch",
        "cuGraphExecDestroy",
        "cuDeviceGraphMemTrim",
        "cuMemGetInfo",
        "cuDeviceTotalMem",
        "cuLaunchKernel",
        "cuLaunchKernelEx",
        "cuLaunchCooperativeKernel",
        "cuLaunchCooperativeKernelMultiDevice",
        "cuLaunch",
        "cuLaunchGrid",
        "cuLaunchGridAsync",
        "cuDevicePrimaryCtxRetain",
        "cuDevicePrimaryCtxRelease",
        "cuDevicePrimaryCtxReset",
        "cuCtxCreate",
        "cuCtxDestroy",
        "cuCtxDetach",
        "cuGreenCtxCreate",
        "cuGreenCtxDestroy",
        "cuCtxFromGreenCtx",
        "cuImportExternalMemory",
        "cuDestroyExternalMemory",
        "cuGetExportTable",
        "nvmlInit",
        "nvmlInitWithFlags",
        "nvmlDeviceGetMemoryInfo",
        "nvmlDeviceGetComputeRunningProcesses",
        "nvmlDeviceGetGraphicsRunningProcesses",
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetProcessUtilization"};
    return names;
}

// What drivers of CUDA 11 to 13 export of them beside the plain name.
const std::set<std::string>& spellings() {
    static const std::set<std::string> names = {
        "cuGetProcAddress_v2",
        "cuMemAlloc_v2",
        "cuMemAllocPitch_v2",
        "cuMemAllocAsync_ptsz",
        "cuMemAllocFromPoolAsync_ptsz",
        "cuMemFree_v2",
        "cuMemFreeAsync_ptsz",
        "cuMemMapArrayAsync_ptsz",
        "cuArrayCreate_v2",
        "cuArray3DCreate_v2",
        "cuGraphInstantiate_v2",
        "cuGraphInstantiateWithParams_ptsz",
        "cuGraphLaunch_ptsz",
        "cuMemGetInfo_v2",
        "cuDeviceTotalMem_v2",
        "cuLaunchKernel_ptsz",
        "cuLaunchKernelEx_ptsz",
        "cuLaunchCooperativeKernel_ptsz",
        "cuDevicePrimaryCtxRelease_v2",
        "cuDevicePrimaryCtxReset_v2",
        "cuCtxCreate_v2",
        "cuCtxCreate_v3",
        "cuCtxCreate_v4",
        "cuCtxDestroy_v2",
        "nvmlInit_v2",
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetComputeRunningProcesses_v2",
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetGraphicsRunningProcesses_v2",
        "nvmlDeviceGetGraphicsRunningProcesses_v3"};
    return names;
}

TEST(HookTable, CoversWhatMustBeCovered) {
    for (const std::string& name : must()) EXPECT_TRUE(hooks().contains(name)) << name;
    for (const std::string& name : spellings()) EXPECT_TRUE(hooks().contains(name)) << name;
}

// Whatever the simulated driver exports of a covered function, in whatever version or flavour, has
// its own hook.
TEST(HookTable, CoversEveryVersionThatTheSimulatedDriverExports) {
    std::set<std::string> bases;
    for (const std::string& hook : hooks())
        bases.insert(std::regex_replace(hook, std::regex("(_v[0-9]+|_ptsz|_ptds)+$"), ""));
    FILE* list = popen("nm -D --defined-only " EDGE_GPU_TEST_LIBCUDA, "r");
    ASSERT_NE(list, nullptr);
    char line[512];
    int covered = 0;
    while (std::fgets(line, sizeof line, list) != nullptr) {
        std::smatch match;
        const std::string text = line;
        if (!std::regex_search(text, match, std::regex(" T (cu[A-Za-z0-9_]+)"))) continue;
        const std::string base =
            std::regex_replace(match[1].str(), std::regex("(_v[0-9]+|_ptsz|_ptds)+$"), "");
        if (!bases.contains(base)) continue;
        ++covered;
        EXPECT_TRUE(hooks().contains(match[1].str())) << match[1];
    }
    pclose(list);
    EXPECT_GT(covered, 60);
}

}  // namespace
}  // namespace egpu::guard
