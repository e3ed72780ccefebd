#include "gpu/nvml.h"

#include <filesystem>

#include <dlfcn.h>

#include "gpu/nvml_functions.h"

namespace egpu::gpu {
namespace {

using nvml::Code;

struct CodeName {
    Code code;
    const char* name;
};
constexpr CodeName kCodes[] = {
    {Code::kSuccess, "SUCCESS"},
    {Code::kUninitialized, "UNINITIALIZED"},
    {Code::kInvalidArgument, "INVALID_ARGUMENT"},
    {Code::kNotSupported, "NOT_SUPPORTED"},
    {Code::kNoPermission, "NO_PERMISSION"},
    {Code::kNotFound, "NOT_FOUND"},
    {Code::kInsufficientSize, "INSUFFICIENT_SIZE"},
    {Code::kDriverNotLoaded, "DRIVER_NOT_LOADED"},
    {Code::kTimeout, "TIMEOUT"},
    {Code::kLibraryNotFound, "LIBRARY_NOT_FOUND"},
    {Code::kFunctionNotFound, "FUNCTION_NOT_FOUND"},
    {Code::kGpuIsLost, "GPU_IS_LOST"},
    {Code::kResetRequired, "RESET_REQUIRED"},
    {Code::kOperatingSystem, "OPERATING_SYSTEM"},
    {Code::kVersionMismatch, "LIB_RM_VERSION_MISMATCH"},
    {Code::kUnknown, "UNKNOWN"},
};

const char* fix_for(Code init) {
    switch (init) {
        case Code::kDriverNotLoaded:
            return "the kernel module is not loaded: run `modprobe nvidia`, then `nvidia-smi`";
        case Code::kVersionMismatch:
            return "the driver was upgraded without reloading the kernel module: reload it or "
                   "reboot";
        case Code::kNoPermission:
            return "no access to /dev/nvidiactl: run as root with the host's /dev";
        case Code::kGpuIsLost:
            return "a GPU fell off the bus: see `dmesg | grep -i xid`, then reboot";
        default:
            return "see `nvidia-smi` and `dmesg | grep -i nvrm` on the node";
    }
}

}  // namespace

std::string nvml_code_text(Code code) {
    for (const auto& known : kCodes) {
        if (known.code == code) {
            return std::string(known.name) + " (" + std::to_string(static_cast<int>(code)) + ")";
        }
    }
    return "NVML error " + std::to_string(static_cast<int>(code));
}

std::vector<std::string> library_candidates(std::string_view library, std::string_view root) {
    if (library.find('/') != std::string_view::npos) return {std::string(library)};
    std::vector<std::string> candidates;
    while (!root.empty() && root.back() == '/') root.remove_suffix(1);
    if (root.empty()) candidates.emplace_back(library);
    // Debian's own packages keep the library in nvidia/current; the link to it in the folder above
    // goes through /etc/alternatives, which leads astray below a driver root.
    for (const char* folder :
         {"/usr/lib64",
          "/usr/lib/x86_64-linux-gnu",
          "/usr/lib/aarch64-linux-gnu",
          "/usr/lib/x86_64-linux-gnu/nvidia/current",
          "/usr/lib/aarch64-linux-gnu/nvidia/current",
          "/usr/lib",
          "/lib64",
          "/lib/x86_64-linux-gnu",
          "/lib/aarch64-linux-gnu",
          "/lib"}) {
        candidates.push_back(std::string(root) + folder + "/" + std::string(library));
    }
    return candidates;
}

Status Nvml::load(const std::string& path) {
    dlerror();
    void* library = dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (library == nullptr) {
        const char* why = dlerror();
        return Error{ErrorCode::kNotFound, why == nullptr ? path + ": cannot be loaded" : why};
    }
    library_ = library;
    path_ = path;
    return {};
}

void Nvml::resolve() {
    static_assert(kFunctionCount <= kFunctions);
    for (std::size_t f = 0; f < kFunctionCount; ++f) {
        for (std::size_t v = 0; v < kVersions; ++v) {
            symbols_[f][v] =
                kNvmlNames[f][v] == nullptr ? nullptr : dlsym(library_, kNvmlNames[f][v]);
        }
    }
}

Status Nvml::open(std::string_view library, std::string_view driver_root) {
    close();
    init_code_ = Code::kLibraryNotFound;
    std::string why;
    for (const auto& candidate : library_candidates(library, driver_root)) {
        std::error_code ignored;
        const bool absolute = candidate.front() == '/';
        if (absolute && !std::filesystem::exists(candidate, ignored)) continue;
        const Status loaded = load(candidate);
        if (loaded) break;
        why += (why.empty() ? "" : "; ") + loaded.error().message;
    }
    if (library_ == nullptr) {
        return Error{
            ErrorCode::kNotFound,
            "NVML library " + std::string(library) + " not found below driver root " +
                std::string(driver_root) + " (NVML code LIBRARY_NOT_FOUND (12)" +
                (why.empty() ? "" : "; " + why) +
                "): install the NVIDIA driver, or set the driver root to where it is"};
    }
    resolve();
    const Code code = call(kInit);
    init_code_ = code;
    if (code != Code::kSuccess) {
        const std::string path = path_;
        close();
        return Error{
            ErrorCode::kUnavailable,
            "nvmlInit of " + path + ": " + nvml_code_text(code) + ": " + fix_for(code)};
    }
    initialised_ = true;
    // Branch 535 changed the struct of the third version, and back, under the same name.
    if (driver_version().value.starts_with("535.")) {
        for (const std::size_t list : {kComputeList, kGraphicsList, kMpsList}) {
            symbols_[list][0] = nullptr;
        }
    }
    return {};
}

void Nvml::close() {
    if (library_ == nullptr) return;
    if (initialised_) (void)call(kShutdown);
    initialised_ = false;
    symbols_ = {};
    dlclose(library_);
    library_ = nullptr;
    path_.clear();
}

}  // namespace egpu::gpu
