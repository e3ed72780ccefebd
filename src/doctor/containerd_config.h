// containerd's configuration, versions 1, 2 and 3, with its imports merged as containerd merges
// them. Pure but for the file view.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_view.h"
#include "base/json.h"

namespace egpu::doctor {

struct ContainerdRuntime {
    std::string name;         // "runc", "nvidia"
    std::string binary_name;  // options.BinaryName; "" default
    bool systemd_cgroup = false;
};

struct ContainerdConfig {
    std::string path;                // of the main file
    bool exists = false;             // false: containerd runs on its defaults
    std::string error_file;          // the file that cannot be used; "" all fine
    std::string error;               // why
    std::vector<std::string> files;  // read, main file first
    int version = 2;
    bool cri_disabled = false;
    std::string default_runtime = "runc";
    std::vector<ContainerdRuntime> runtimes;
    std::optional<bool> enable_cdi;  // as written; absent: the default of that containerd
    std::string enable_cdi_file;     // the file whose CRI section counts; "" none has one
    std::optional<std::vector<std::string>> cdi_spec_dirs;

    const ContainerdRuntime* runtime(std::string_view name) const;
};

// `merge_plugins`: containerd 2 merges an import's plugin section into the main file's; containerd
// 1 replaces the whole section.
ContainerdConfig read_containerd_config(
    const FileView& files, const std::string& path, bool merge_plugins
);

// The TOML path of the CRI plugin's runtime section for a configuration version:
// "io.containerd.grpc.v1.cri" for 2.
std::string_view cri_plugin_name(int version);

}  // namespace egpu::doctor
