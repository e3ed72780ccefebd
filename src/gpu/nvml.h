// NVML, loaded at run time from the host's driver. Every symbol is looked up by name with fallback
// to its older versions; one the driver lacks answers FUNCTION_NOT_FOUND.
//
// Any call may block for seconds on a sick GPU: never call under a lock that others wait on. The
// methods are as thread-safe as NVML (they are), except that open() and close() must not run beside
// others. Units: bytes, milliseconds.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "gpu/nvml_abi.h"

namespace egpu::gpu {

// "GPU_IS_LOST (15)"
std::string nvml_code_text(nvml::Code code);

template <class T>
struct [[nodiscard]] Answer {
    nvml::Code code = nvml::Code::kUnknown;
    T value{};

    bool ok() const { return code == nvml::Code::kSuccess; }
};

struct MigIds {
    unsigned gpu_instance = 0;
    unsigned compute_instance = 0;
};
// One process with work on a card; its PID as this process's PID namespace knows it.
struct ProcessMemory {
    unsigned pid = 0;
    std::optional<std::uint64_t> bytes;  // none: the driver does not tell
};
struct ProcessSample {
    unsigned pid = 0;
    std::uint64_t time_us = 0;  // CLOCK_REALTIME
    unsigned sm_percent = 0;
};
enum class ProcessKind { kCudaWork, kGraphicsWork, kMpsClients };
struct RemappedRows {
    bool pending = false;
    bool failed = false;
};

class Nvml {
  public:
    Nvml() = default;
    ~Nvml() { close(); }
    Nvml(const Nvml&) = delete;
    Nvml& operator=(const Nvml&) = delete;

    // Loads the library and initialises NVML. `library`: an absolute path is taken as it is; a
    // soname is searched for below `driver_root` in the usual library folders, and with root "/" by
    // the loader first. kNotFound: no library; kUnavailable: the driver is not (yet) usable; both
    // name the fix. Opening again replaces the library (driver upgrade).
    Status open(std::string_view library, std::string_view driver_root);
    void close();
    bool is_open() const { return library_ != nullptr; }
    const std::string& path() const { return path_; }
    // What the last open() got from nvmlInit; LIBRARY_NOT_FOUND when it came to no call.
    nvml::Code init_code() const { return init_code_; }

    Answer<std::string> driver_version() const;
    Answer<int> cuda_version() const;  // 11040 is 11.4
    Answer<unsigned> device_count() const;
    Answer<nvml::Device> device(unsigned index) const;

    Answer<std::string> uuid(nvml::Device device) const;
    Answer<std::string> name(nvml::Device device) const;
    Answer<unsigned> minor_number(nvml::Device device) const;
    Answer<std::string> pci_bus_id(nvml::Device device) const;  // as in sysfs, "0000:3b:00.0"
    Answer<nvml::Memory> memory(nvml::Device device) const;
    Answer<nvml::Utilization> utilization(nvml::Device device) const;
    // Of a card or a MIG instance. NOT_SUPPORTED or FUNCTION_NOT_FOUND where there is no such list.
    Answer<std::vector<ProcessMemory>> processes(nvml::Device device, ProcessKind kind) const;
    // What processes did since `after_us` (0: as far as the driver remembers); nothing is an empty
    // answer. Not with MIG. One sample a process is its average since then, several are periods.
    Answer<std::vector<ProcessSample>> process_utilization(
        nvml::Device device, std::uint64_t after_us
    ) const;
    Answer<std::string> compute_capability(nvml::Device device) const;
    Answer<std::string> brand(nvml::Device device) const;

    Answer<bool> mig_enabled(nvml::Device device) const;
    Answer<unsigned> mig_slots(nvml::Device device) const;
    Answer<nvml::Device> mig_device(nvml::Device device, unsigned slot) const;
    Answer<MigIds> mig_ids(nvml::Device mig_device) const;

    Answer<RemappedRows> remapped_rows(nvml::Device device) const;
    Answer<std::uint64_t> uncorrected_ecc(nvml::Device device) const;
    Answer<unsigned> recovery_action(nvml::Device device) const;  // from r550; NOT_SUPPORTED before
    Answer<std::uint8_t> fabric_state(nvml::Device device) const;
    Answer<bool> persistence(nvml::Device device) const;
    Answer<bool> retired_pages_pending(nvml::Device device) const;

    // nvml::kTopology…
    Answer<std::uint32_t> common_ancestor(nvml::Device a, nvml::Device b) const;
    // NVLink number `link` of the device; INVALID_ARGUMENT or NOT_SUPPORTED beyond the last one.
    Answer<bool> nvlink_active(nvml::Device device, unsigned link) const;
    // nvml::kRemote…; a driver before 455 cannot tell.
    Answer<std::uint32_t> nvlink_remote_type(nvml::Device device, unsigned link) const;
    Answer<std::string> nvlink_remote_pci(nvml::Device device, unsigned link)
        const;  // as pci_bus_id

    Answer<nvml::EventSet> create_event_set() const;
    void free_event_set(nvml::EventSet set) const;
    // Registers those of `types` that the device supports; NOT_SUPPORTED when that is none.
    nvml::Code register_events(nvml::Device device, std::uint64_t types, nvml::EventSet set) const;
    Answer<nvml::EventData> wait_event(nvml::EventSet set, unsigned timeout_ms) const;

  private:
    template <class... Args>
    nvml::Code call(int function, Args... args) const;

    template <class Info>
    Answer<std::vector<ProcessMemory>> list_processes(int function, nvml::Device device) const;

    static constexpr int kFunctions = 44;
    static constexpr int kVersions = 3;
    Status load(const std::string& path);
    void resolve();

    void* library_ = nullptr;
    bool initialised_ = false;
    nvml::Code init_code_ = nvml::Code::kLibraryNotFound;
    std::string path_;
    std::array<std::array<void*, kVersions>, kFunctions> symbols_{};  // newest first
};

// Where a soname may lie below `driver_root`, in order of search.
std::vector<std::string> library_candidates(std::string_view library, std::string_view driver_root);

}  // namespace egpu::gpu
