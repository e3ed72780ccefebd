// Parsers of the kernel's and the driver's text tables. Pure; any input is fine.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_view.h"

namespace egpu::doctor {

// The value after "NAME:" of a table such as /proc/driver/nvidia/gpus/*/information; "" when
// absent.
std::string table_value(std::string_view table, std::string_view name);

struct KernelGpu {
    std::string pci;           // "0000:3b:00.0"
    std::string model;         // "Tesla T4"
    std::optional<int> minor;  // of /dev/nvidiaN
};
// /proc/driver/nvidia/gpus, sorted by address.
std::vector<KernelGpu> kernel_gpus(const FileView& files);

struct XidRecord {
    std::string pci;  // as logged, "0000:3b:00"
    int xid = 0;
};
// The XID of a kernel log line "NVRM: Xid (PCI:0000:3b:00): 79, pid=…"; nullopt for other lines.
std::optional<XidRecord> xid_of(std::string_view line);

// Installed version of a package in dpkg's status file; "" when it is not installed.
std::string dpkg_version(std::string_view status, std::string_view package);

}  // namespace egpu::doctor
