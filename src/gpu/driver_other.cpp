#include "gpu/driver_other.h"

#include <algorithm>
#include <set>
#include <sstream>

namespace egpu::gpu {
namespace {

constexpr const char* kWslLibraries = "/usr/lib/wsl/lib";
constexpr const char* kWslDrivers = "/usr/lib/wsl/drivers";
constexpr const char* kLists = "/etc/nvidia-container-runtime/host-files-for-container.d";

bool regular(const FileView& root, const std::string& path) {
    const auto info = root.look(path);
    return info && info->type == FileType::kRegular;
}

std::string last_part(const std::string& path) {
    return path.substr(path.rfind('/') + 1);
}

std::string trimmed(std::string text) {
    const auto space = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
    while (!text.empty() && space(text.back())) text.pop_back();
    text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), space));
    return text;
}

}  // namespace

bool is_wsl(const FileView& root) {
    return root.exists("/dev/dxg") && root.exists(kWslLibraries);
}

void find_wsl(const FileView& root, Driver& driver) {
    driver.kind = DriverKind::kWsl;
    driver.device_nodes = {"/dev/dxg"};
    // The libraries here load the rest of the driver from Windows' driver store by its path.
    if (root.exists(kWslDrivers)) {
        driver.files.push_back(
            {DriverFile::Kind::kFolder, kWslDrivers, kWslDrivers, kAllCapabilities}
        );
    }
    const auto names = root.list(kWslLibraries);
    if (!names) return;
    for (const std::string& name : *names) {
        const std::string path = std::string(kWslLibraries) + "/" + name;
        const auto real = root.resolve(path);
        if (!real || !regular(root, path)) continue;
        if (name == "nvidia-smi") {
            driver.files.push_back(
                {DriverFile::Kind::kProgram, *real, "/usr/bin/nvidia-smi", kUtility}
            );
            continue;
        }
        if (!name.starts_with("lib") || name.find(".so") == std::string::npos) continue;
        const auto same = std::find_if(
            driver.libraries.begin(),
            driver.libraries.end(),
            [&](const DriverLibrary& l) { return l.path == *real; }
        );
        if (same != driver.libraries.end()) {
            same->names.push_back(name);
            continue;
        }
        DriverLibrary library;
        library.path = *real;
        library.names = {name};
        library.capabilities = kCompute | kUtility;
        driver.libraries.push_back(std::move(library));
    }
}

bool is_tegra(const FileView& root) {
    if (root.exists("/etc/nv_tegra_release")) return true;
    const auto family = root.read("/sys/devices/soc0/family", 4096);
    return family && family->starts_with("Tegra");
}

void find_tegra(const FileView& root, Driver& driver) {
    driver.kind = DriverKind::kTegra;
    const auto lists = root.list(kLists);
    if (!lists) {
        driver.notes.push_back(
            std::string(kLists) +
            " is missing: install nvidia-container-toolkit's lists of "
            "the Jetson image (nvidia-l4t-init)"
        );
        return;
    }
    std::set<std::string> seen;
    std::size_t missing = 0;
    for (const std::string& list : *lists) {
        if (!list.ends_with(".csv")) continue;
        const auto text = root.read(std::string(kLists) + "/" + list);
        if (!text) continue;
        std::istringstream lines(*text);
        for (std::string line; std::getline(lines, line);) {
            const std::size_t comma = line.find(',');
            if (comma == std::string::npos || trimmed(line).starts_with('#')) continue;
            const std::string kind = trimmed(line.substr(0, comma));
            const std::string pattern = trimmed(line.substr(comma + 1));
            if (!pattern.starts_with('/')) continue;
            const auto paths = root.matching(pattern);
            if (paths.empty()) ++missing;
            for (const std::string& path : paths) {
                const auto real = root.resolve(path);
                const auto info = root.look(path);
                if (!real || !info) {
                    ++missing;
                    continue;
                }
                if (!seen.insert(path).second) continue;
                const bool file = info->type == FileType::kRegular;
                if (kind == "dev") {
                    if (info->type == FileType::kChar) driver.device_nodes.push_back(path);
                } else if (kind == "dir") {
                    if (info->type == FileType::kFolder) {
                        driver.files.push_back(
                            {DriverFile::Kind::kFolder, *real, path, kAllCapabilities}
                        );
                    }
                } else if (file && (kind == "lib" || kind == "sym")) {
                    // A link is mounted as the file it leads to: no hook has to make links.
                    driver.files.push_back(
                        {DriverFile::Kind::kConfig, *real, path, kAllCapabilities}
                    );
                    if (last_part(path) == "libcuda.so.1") {
                        DriverLibrary cuda;
                        cuda.path = *real;
                        cuda.names = {"libcuda.so.1", "libcuda.so"};
                        cuda.capabilities = kCompute;
                        if (driver.libraries.empty()) driver.libraries.push_back(std::move(cuda));
                    }
                }
            }
        }
    }
    if (missing > 0) {
        driver.notes.push_back(
            std::to_string(missing) + " files named in " + kLists +
            " are not on this node; they are left out"
        );
    }
}

}  // namespace egpu::gpu
