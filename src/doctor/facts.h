// What was found out about a node before anything is judged: files through a view, and what files
// cannot say, gathered by probes (gather.h) or recorded. The checks read nothing else.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/file_view.h"
#include "base/json.h"
#include "gpu/nvml_abi.h"

namespace egpu::doctor {

struct GpuFacts {
    int index = 0;
    nvml::Code code = nvml::Code::kSuccess;  // of the first question that failed
    std::string uuid;
    std::string name;
    int minor = -1;                     // N of /dev/nvidiaN
    std::string pci;                    // "0000:3b:00.0"
    std::uint64_t uncorrected_ecc = 0;  // since the driver was loaded
    bool remap_pending = false;
    bool remap_failed = false;
    bool retired_pending = false;
    unsigned recovery_action = 0;  // NVML field 230
    int fabric_state = 0;          // nvmlGpuFabricState_t; 0: no NVSwitch
    std::optional<bool> persistence;
};

struct NvmlFacts {
    enum class State {
        kAnswers,
        kNoLibrary,  // dlopen failed: `message` says why
        kInitError,  // nvmlInit gave `code`
        kHangs,      // no answer before the deadline
        kCrashed,    // the asking process died
    };
    State state = State::kNoLibrary;
    nvml::Code code = nvml::Code::kSuccess;
    std::string message;
    std::string library;         // path, below the root
    std::string driver_version;  // "450.102.04"
    int cuda_version = 0;        // 11040 is 11.4; 0 unknown
    std::vector<GpuFacts> gpus;
};

struct Process {
    int pid = 0;
    std::string exe;                // base name of the program file; "" unknown
    std::vector<std::string> args;  // args[0] as started
};

// What happened on connecting. Key: an absolute path, or "address:port".
struct SocketFacts {
    bool connects = false;
    std::string error;  // "Connection refused"
};

struct ApiFacts {
    bool asked = false;                   // a kubeconfig was found
    std::string source;                   // which
    std::string server;                   // URL
    std::string error;                    // why there is no answer; "" when there is one
    std::string node_name;                // the Node asked for
    json::value node;                     // the Node object, null when not had
    json::value pods;                     // list of this node's pods, null when not had
    json::value runtime_classes;          // list, null when not had
    std::optional<double> clock_ahead_s;  // this node's clock minus the API server's
};

struct KernelLog {
    std::string error;               // why it could not be read; "" when it was
    std::vector<std::string> lines;  // of this boot, those with "NVRM"
};

struct Facts {
    const FileView* files = nullptr;  // never null
    std::string root = "/";           // where `files` has its root, for messages and fixes
    std::string driver_root;          // as told; "": to be found
    NvmlFacts nvml;
    std::vector<Process> processes;
    std::map<std::string, SocketFacts> sockets;
    // Output of `PROGRAM --version` by base name: "containerd", "runc", "nvidia-ctk", "kubelet", …
    std::map<std::string, std::string> versions;
    ApiFacts api;
    KernelLog kernel_log;
    std::optional<bool> clock_synchronised;  // the kernel's word on NTP
};

}  // namespace egpu::doctor
