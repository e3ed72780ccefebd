#include "doctor/nvml_probe.h"

#include <cerrno>
#include <cstring>

#include <dlfcn.h>
#include <unistd.h>

#include "base/child.h"
#include "gpu/nvml.h"

namespace egpu::doctor {
namespace {

using gpu::Nvml;
using nvml::Code;

template <class T>
T value_or(const gpu::Answer<T>& answer, T otherwise) {
    return answer.ok() ? answer.value : otherwise;
}

GpuFacts ask_gpu(const Nvml& nvml, unsigned index) {
    GpuFacts gpu;
    gpu.index = static_cast<int>(index);
    const auto device = nvml.device(index);
    gpu.code = device.code;
    if (!device.ok()) return gpu;
    const auto uuid = nvml.uuid(device.value);
    const auto pci = nvml.pci_bus_id(device.value);
    const auto memory = nvml.memory(device.value);  // fails first on a lost GPU
    for (const Code code : {uuid.code, pci.code, memory.code}) {
        const bool known = code == Code::kSuccess || code == Code::kNotSupported;
        if (!known && gpu.code == Code::kSuccess) gpu.code = code;
    }
    gpu.uuid = value_or(uuid, std::string());
    gpu.pci = value_or(pci, std::string());
    gpu.name = value_or(nvml.name(device.value), std::string());
    gpu.minor = static_cast<int>(value_or(nvml.minor_number(device.value), ~0U));
    if (gpu.code != Code::kSuccess) return gpu;
    gpu.uncorrected_ecc = value_or(nvml.uncorrected_ecc(device.value), std::uint64_t{0});
    const auto rows = value_or(nvml.remapped_rows(device.value), gpu::RemappedRows{});
    gpu.remap_pending = rows.pending;
    gpu.remap_failed = rows.failed;
    gpu.retired_pending = value_or(nvml.retired_pages_pending(device.value), false);
    gpu.recovery_action = value_or(nvml.recovery_action(device.value), 0U);
    gpu.fabric_state = value_or(nvml.fabric_state(device.value), std::uint8_t{0});
    const auto persistence = nvml.persistence(device.value);
    if (persistence.ok()) gpu.persistence = persistence.value;
    return gpu;
}

// In the child.
NvmlFacts ask(const NvmlProbe& probe, const std::string& located) {
    NvmlFacts facts;
    facts.library = located.empty() ? probe.library : located;
    if (const Status entered = enter_root(probe, located); !entered) {
        facts.message = entered.error().message;
        return facts;
    }
    Nvml nvml;
    const Status opened = nvml.open(facts.library, probe.driver_root);
    facts.code = nvml.init_code();
    if (!opened) {
        const bool loaded = opened.error().code == ErrorCode::kUnavailable;
        facts.state = loaded ? NvmlFacts::State::kInitError : NvmlFacts::State::kNoLibrary;
        facts.message = opened.error().message;
        return facts;
    }
    facts.state = NvmlFacts::State::kAnswers;
    facts.library = nvml.path();
    facts.driver_version = value_or(nvml.driver_version(), std::string());
    facts.cuda_version = value_or(nvml.cuda_version(), 0);
    const auto count = nvml.device_count();
    for (unsigned i = 0; count.ok() && i < count.value; ++i) facts.gpus.push_back(ask_gpu(nvml, i));
    return facts;
}

std::string seconds_text(Duration duration) {
    return std::to_string(std::chrono::duration_cast<Seconds>(duration).count()) + " s";
}

}  // namespace

std::string locate_nvml(const FileView& files, const NvmlProbe& probe) {
    for (const std::string& candidate : gpu::library_candidates(probe.library, probe.driver_root)) {
        if (!candidate.starts_with('/')) continue;
        if (auto real = files.resolve(candidate)) return *real;
    }
    return "";
}

Status enter_root(const NvmlProbe& probe, const std::string& located) {
    if (probe.root == "/") return ok_status();
    if (located.empty()) return Error{ErrorCode::kNotFound, probe.library + " is not there"};
    // Opening it again by its path in the new root finds this one: the loader compares files.
    if (::dlopen((probe.root + located).c_str(), RTLD_LAZY) == nullptr) {
        const char* why = ::dlerror();
        return Error{ErrorCode::kUnavailable, why == nullptr ? located + " cannot be loaded" : why};
    }
    if (::chroot(probe.root.c_str()) != 0 || ::chdir("/") != 0) {
        return errno_error("chroot " + probe.root, errno);
    }
    return ok_status();
}

NvmlFacts probe_nvml(const FileView& files, const NvmlProbe& probe) {
    const std::string located = locate_nvml(files, probe);
    ChildOptions options;
    options.limit = probe.limit;
    const auto result = run_function(
        [&](int output) {
            const std::string text = json::to_text(nvml_to_json(ask(probe, located)));
            return write_to(output, text) ? 0 : 1;
        },
        options
    );
    NvmlFacts facts;
    facts.library = located;
    if (!result) {
        facts.state = NvmlFacts::State::kCrashed;
        facts.message = result.error().message;
        return facts;
    }
    if (result->timed_out) {
        facts.state = NvmlFacts::State::kHangs;
        facts.message = "none in " + seconds_text(probe.limit);
        return facts;
    }
    const auto parsed = json::parse(result->output);
    auto answer = parsed ? nvml_from_json(*parsed) : Result<NvmlFacts>(parsed.error());
    if (answer) return *answer;
    facts.state = NvmlFacts::State::kCrashed;
    facts.message = result->signal != 0
                        ? std::string("the asking process died: ") + ::strsignal(result->signal)
                        : answer.error().message;
    return facts;
}

}  // namespace egpu::doctor
