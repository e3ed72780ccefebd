#include "testing/cuda/modules.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <fstream>
#include <sstream>

#include "testing/cuda/engine.h"

namespace egpu::testing::cuda {

struct Module {
    static constexpr std::uint32_t kLive = 0x4D4F444D;
    std::uint32_t live = 0;
    Context* context = nullptr;
    std::string text;  // PTX; else empty
    std::map<std::string, Function*> functions;
    std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> globals;  // address, size
};

struct Library {
    static constexpr std::uint32_t kLive = 0x4252494C;
    std::uint32_t live = 0;
    std::string text;
    std::map<std::string, Function*> kernels;
    std::map<Context*, Module*> modules;
};

namespace {

std::set<Module*>& modules() {  // under Driver::mutex
    static auto* instance = new std::set<Module*>;
    return *instance;
}

bool is_ptx(std::string_view text) {
    return text.find(".version") != std::string_view::npos &&
           text.find(".target") != std::string_view::npos;
}

// PTX is text that ends with a zero byte; binary images begin with one of these.
std::string text_of(const void* image) {
    const auto* bytes = static_cast<const unsigned char*>(image);
    const bool elf = std::memcmp(
                         bytes,
                         "\x7F"
                         "ELF",
                         4
                     ) == 0;
    const bool fat = bytes[0] == 0x50 && bytes[1] == 0xED && bytes[2] == 0x55 && bytes[3] == 0xBA;
    const bool wrapped =
        bytes[0] == 0xB1 && bytes[1] == 0x43 && bytes[2] == 0x62 && bytes[3] == 0x46;
    if (elf || fat || wrapped) return "";
    const std::string text = static_cast<const char*>(image);
    return is_ptx(text) ? text : "";
}

bool has_entry(const std::string& text, const std::string& name) {
    if (text.empty()) return true;
    for (std::size_t at = text.find(".entry"); at != std::string::npos;
         at = text.find(".entry", at + 1)) {
        std::size_t start = at + 6;
        while (start < text.size() && std::isspace(static_cast<unsigned char>(text[start])) != 0)
            ++start;
        const std::size_t end = text.find_first_of(" \t\r\n({", start);
        if (text.substr(start, end - start) == name) return true;
    }
    return false;
}

Function* make_function(const std::string& name) {
    Function* function = Stable<Function>::make();
    function->name = name;
    if (name == "spin_ns") {
        function->cost = Cost::kSpinNs;
    } else if (name == "spin_loop") {
        function->cost = Cost::kSpinLoop;
    } else if (cost_in_name(name, function->fixed_ns)) {
        function->cost = Cost::kFixed;
    }
    function->live = Function::kLive;
    return function;
}

Module* module_of(CUmodule handle) {
    auto* module = reinterpret_cast<Module*>(handle);
    return module != nullptr && module->live == Module::kLive ? module : nullptr;
}

Library* library_of(CUlibrary handle) {
    auto* library = reinterpret_cast<Library*>(handle);
    return library != nullptr && library->live == Library::kLive ? library : nullptr;
}

Module* make_module(Context* context, std::string text) {
    Module* module = Stable<Module>::make();
    module->context = context;
    module->text = std::move(text);
    module->live = Module::kLive;
    modules().insert(module);
    return module;
}

void unload(Module* module) {
    for (const auto& [name, function] : module->functions) Stable<Function>::drop(function);
    for (const auto& [name, global] : module->globals) {
        release_device_locked(*module->context->device, global.first, global.second);
        driver().allocations.erase(global.first);
    }
    modules().erase(module);
    Stable<Module>::drop(module);
}

CUresult load(CUmodule* out, const void* image) {
    REQUIRE(out != nullptr && image != nullptr);
    CONTEXT(context);
    const std::lock_guard lock(driver().mutex);
    *out = reinterpret_cast<CUmodule>(make_module(context, text_of(image)));
    return CUDA_SUCCESS;
}

bool read_file(const char* name, std::string& out) {
    std::ifstream in(name, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    out = text.str();
    return static_cast<bool>(in);
}

CUresult global(std::uint64_t& address, std::uint64_t& size, CUmodule handle, const char* name) {
    REQUIRE(name != nullptr);
    const std::lock_guard lock(driver().mutex);
    Module* module = module_of(handle);
    if (module == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (!module->text.empty() && module->text.find(name) == std::string::npos) {
        return CUDA_ERROR_NOT_FOUND;
    }
    auto& entry = module->globals[name];
    if (entry.first == 0) {
        entry.second = 4096;  // sizes are not read from the image
        Device& device = *module->context->device;
        const CUresult result = allocate_device_locked(device, entry.second, entry.first);
        if (result != CUDA_SUCCESS) {
            module->globals.erase(name);
            return result;
        }
        Allocation allocation;
        allocation.size = entry.second;
        allocation.device = &device;
        allocation.kind = Kind::kExternal;  // not the caller's to free
        allocation.id = driver().next_id++;
        driver().allocations[entry.first] = allocation;
    }
    address = entry.first;
    size = entry.second;
    return CUDA_SUCCESS;
}

CUresult get_function(CUfunction* out, Module* module, const char* name) {
    if (!has_entry(module->text, name)) return CUDA_ERROR_NOT_FOUND;
    Function*& function = module->functions[name];
    if (function == nullptr) {
        function = make_function(name);
        function->module = module;
    }
    *out = reinterpret_cast<CUfunction>(function);
    return CUDA_SUCCESS;
}

}  // namespace

Function* function_of(const void* handle) {
    auto* function = static_cast<Function*>(const_cast<void*>(handle));
    return function != nullptr && function->live == Function::kLive ? function : nullptr;
}

void forget_context_modules(Context* context) {
    const std::lock_guard lock(driver().mutex);
    const std::set<Module*> all = modules();
    for (Module* module : all) {
        if (module->context == context) unload(module);
    }
}

}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

CU(cuModuleLoadData)(CUmodule* out, const void* image) {
    ENTER();
    return load(out, image);
}
CU(cuModuleLoadDataEx)
(CUmodule* out, const void* image, unsigned count, int* options, void** values) {
    ENTER();
    REQUIRE(count == 0 || (options != nullptr && values != nullptr));
    return load(out, image);
}
CU(cuModuleLoadFatBinary)(CUmodule* out, const void* image) {
    ENTER();
    return load(out, image);
}
CU(cuModuleLoad)(CUmodule* out, const char* name) {
    ENTER();
    std::string image;
    REQUIRE(out != nullptr && name != nullptr);
    if (!read_file(name, image)) return 301;  // file not found
    image.append(8, '\0');
    return load(out, image.data());
}
CU(cuModuleUnload)(CUmodule handle) {
    ENTER();
    Module* module = module_of(handle);
    if (module == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    engine().wait_for_device(module->context->device);
    const std::lock_guard lock(driver().mutex);
    unload(module);
    return CUDA_SUCCESS;
}
CU(cuModuleGetLoadingMode)(int* mode) {
    ENTER();
    REQUIRE(mode != nullptr);
    *mode = 1;  // eager
    return CUDA_SUCCESS;
}
CU(cuModuleGetFunction)(CUfunction* out, CUmodule handle, const char* name) {
    ENTER();
    REQUIRE(out != nullptr && name != nullptr && *name != '\0');
    const std::lock_guard lock(driver().mutex);
    Module* module = module_of(handle);
    if (module == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    return get_function(out, module, name);
}
CU(cuModuleGetGlobal_v2)
(CUdeviceptr* address, std::size_t* size, CUmodule handle, const char* name) {
    ENTER();
    std::uint64_t found = 0;
    std::uint64_t bytes = 0;
    const CUresult result = global(found, bytes, handle, name);
    if (result != CUDA_SUCCESS) return result;
    if (address != nullptr) *address = found;
    if (size != nullptr) *size = bytes;
    return CUDA_SUCCESS;
}

CU(cuFuncGetAttribute)(int* value, int attribute, CUfunction handle) {
    ENTER();
    REQUIRE(value != nullptr && attribute >= 0 && attribute < 17);
    if (function_of(handle) == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    *value = attribute == 0                     ? 1024
             : attribute == 4                   ? 16
             : attribute == 5 || attribute == 6 ? 75
                                                : 0;
    return CUDA_SUCCESS;
}
CU(cuFuncSetAttribute)(CUfunction handle, int attribute, int) {
    ENTER();
    REQUIRE(attribute >= 0 && attribute < 17);
    return function_of(handle) != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
CU(cuFuncSetCacheConfig)(CUfunction handle, int config) {
    ENTER();
    REQUIRE(config >= 0 && config <= 3);
    return function_of(handle) != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
CU(cuFuncGetModule)(CUmodule* out, CUfunction handle) {
    ENTER();
    REQUIRE(out != nullptr);
    const Function* function = function_of(handle);
    if (function == nullptr || function->module == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    *out = reinterpret_cast<CUmodule>(function->module);
    return CUDA_SUCCESS;
}
CU(cuFuncGetName)(const char** out, CUfunction handle) {
    ENTER();
    REQUIRE(out != nullptr);
    const Function* function = function_of(handle);
    if (function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    *out = function->name.c_str();
    return CUDA_SUCCESS;
}
CU(cuFuncLoad)(CUfunction handle) {
    ENTER();
    return function_of(handle) != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
CU(cuOccupancyMaxActiveBlocksPerMultiprocessor)
(int* blocks, CUfunction handle, int block_size, std::size_t) {
    ENTER();
    REQUIRE(blocks != nullptr && block_size > 0 && block_size <= 1024);
    CONTEXT(context);
    if (function_of(handle) == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    const unsigned threads = context->device->threads_per_multiprocessor;
    *blocks = static_cast<int>(std::min(threads / static_cast<unsigned>(block_size), threads / 64));
    return CUDA_SUCCESS;
}
CU(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags)
(int* blocks, CUfunction handle, int block_size, std::size_t shared, unsigned) {
    ENTER();
    return cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, handle, block_size, shared);
}

CU(cuLibraryLoadData)
(CUlibrary* out, const void* image, int*, void**, unsigned, int*, void**, unsigned) {
    ENTER();
    REQUIRE(out != nullptr && image != nullptr);
    Library* library = Stable<Library>::make();
    library->text = text_of(image);
    library->live = Library::kLive;
    *out = reinterpret_cast<CUlibrary>(library);
    return CUDA_SUCCESS;
}
CU(cuLibraryLoadFromFile)
(CUlibrary* out, const char* name, int*, void**, unsigned, int*, void**, unsigned) {
    ENTER();
    std::string image;
    REQUIRE(out != nullptr && name != nullptr);
    if (!read_file(name, image)) return 301;
    image.append(8, '\0');
    Library* library = Stable<Library>::make();
    library->text = text_of(image.data());
    library->live = Library::kLive;
    *out = reinterpret_cast<CUlibrary>(library);
    return CUDA_SUCCESS;
}
CU(cuLibraryUnload)(CUlibrary handle) {
    ENTER();
    Library* library = library_of(handle);
    if (library == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    for (const auto& device : driver().devices) engine().wait_for_device(device.get());
    const std::lock_guard lock(driver().mutex);
    for (const auto& [name, kernel] : library->kernels) Stable<Function>::drop(kernel);
    for (const auto& [context, module] : library->modules) {
        if (modules().count(module) != 0) unload(module);
    }
    Stable<Library>::drop(library);
    return CUDA_SUCCESS;
}
CU(cuLibraryGetKernel)(CUkernel* out, CUlibrary handle, const char* name) {
    ENTER();
    REQUIRE(out != nullptr && name != nullptr && *name != '\0');
    const std::lock_guard lock(driver().mutex);
    Library* library = library_of(handle);
    if (library == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (!has_entry(library->text, name)) return CUDA_ERROR_NOT_FOUND;
    Function*& kernel = library->kernels[name];
    if (kernel == nullptr) {
        kernel = make_function(name);
        kernel->library = library;
    }
    *out = reinterpret_cast<CUkernel>(kernel);
    return CUDA_SUCCESS;
}
CU(cuLibraryGetModule)(CUmodule* out, CUlibrary handle) {
    ENTER();
    REQUIRE(out != nullptr);
    CONTEXT(context);
    const std::lock_guard lock(driver().mutex);
    Library* library = library_of(handle);
    if (library == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    Module*& module = library->modules[context];
    if (module == nullptr || modules().count(module) == 0)
        module = make_module(context, library->text);
    *out = reinterpret_cast<CUmodule>(module);
    return CUDA_SUCCESS;
}
CU(cuKernelGetFunction)(CUfunction* out, CUkernel handle) {
    ENTER();
    REQUIRE(out != nullptr);
    CONTEXT(context);
    const std::lock_guard lock(driver().mutex);
    const Function* kernel = function_of(handle);
    if (kernel == nullptr || kernel->library == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    Module*& module = kernel->library->modules[context];
    if (module == nullptr || modules().count(module) == 0) {
        module = make_module(context, kernel->library->text);
    }
    return get_function(out, module, kernel->name.c_str());
}
CU(cuKernelGetName)(const char** out, CUkernel handle) {
    ENTER();
    REQUIRE(out != nullptr);
    const Function* kernel = function_of(handle);
    if (kernel == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    *out = kernel->name.c_str();
    return CUDA_SUCCESS;
}
CU(cuKernelGetLibrary)(CUlibrary* out, CUkernel handle) {
    ENTER();
    REQUIRE(out != nullptr);
    const Function* kernel = function_of(handle);
    if (kernel == nullptr || kernel->library == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    *out = reinterpret_cast<CUlibrary>(kernel->library);
    return CUDA_SUCCESS;
}
CU(cuKernelGetAttribute)(int* value, int attribute, CUkernel handle, CUdevice) {
    ENTER();
    REQUIRE(value != nullptr && attribute >= 0 && attribute < 17);
    if (function_of(handle) == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    *value = attribute == 0 ? 1024 : 0;
    return CUDA_SUCCESS;
}
CU(cuKernelSetAttribute)(int attribute, int, CUkernel handle, CUdevice) {
    ENTER();
    REQUIRE(attribute >= 0 && attribute < 17);
    return function_of(handle) != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
