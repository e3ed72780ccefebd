#include "gpu/driver.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <sstream>

#include "gpu/driver_libraries.h"
#include "gpu/driver_other.h"
#include "gpu/driver_table.h"

namespace egpu::gpu {
namespace {

struct Word {
    std::string_view text;
    Capabilities capability;
};
constexpr Word kWords[] = {
    {"compute", kCompute},
    {"utility", kUtility},
    {"video", kVideo},
    {"graphics", kGraphics},
    {"display", kDisplay},
    {"ngx", kNgx},
    {"compat32", kCompat32},
};

std::string with_version(std::string_view pattern, const std::string& version) {
    std::string out(pattern);
    constexpr std::string_view kPlace = "{version}";
    for (std::size_t at = out.find(kPlace); at != std::string::npos; at = out.find(kPlace)) {
        out.replace(at, kPlace.size(), version);
    }
    return out;
}

void find_files(const FileView& root, Driver& driver) {
    std::set<std::string> seen;
    const auto add = [&](const KnownFile& known, const std::string& path) {
        const auto real = root.resolve(path);
        const auto info = root.look(path);
        if (!real || !info) return false;
        if (info->type != FileType::kRegular || !seen.insert(*real).second) return false;
        const std::string name = path.substr(path.rfind('/') + 1);
        const std::string folder = with_version(known.container_folder, driver.version);
        driver.files.push_back(
            {known.kind, *real, folder.empty() ? path : folder + "/" + name, known.capabilities}
        );
        return true;
    };
    for (const KnownFile& known : known_files()) {
        for (const std::string_view place : known.places) {
            if (place.empty()) break;
            if (driver.version.empty() && place.find("{version}") != std::string_view::npos) {
                continue;
            }
            const std::string pattern = with_version(place, driver.version);
            bool added = false;
            for (const std::string& path : root.matching(pattern))
                added = add(known, path) || added;
            if (added) break;
        }
    }
}

}  // namespace

Result<Capabilities> parse_capabilities(std::string_view text) {
    Capabilities capabilities = 0;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(','), text.size());
        const std::string_view word = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (word == "all") {
            capabilities = kAllCapabilities;
            continue;
        }
        const auto* found = std::find_if(std::begin(kWords), std::end(kWords), [&](const Word& w) {
            return w.text == word;
        });
        if (found == std::end(kWords)) {
            return Error{
                ErrorCode::kInvalid,
                "\"" + std::string(word.substr(0, 64)) +
                    "\" is not a driver capability (all, or a comma list of compute, utility, "
                    "video, graphics, display, ngx, compat32)"};
        }
        capabilities |= found->capability;
    }
    return capabilities;
}

std::string capabilities_text(Capabilities capabilities) {
    if (capabilities == kAllCapabilities) return "all";
    std::string out;
    for (const Word& word : kWords) {
        if ((capabilities & word.capability) == 0) continue;
        out += (out.empty() ? "" : ",") + std::string(word.text);
    }
    return out;
}

std::string_view to_string(DriverKind kind) {
    switch (kind) {
        case DriverKind::kLinux:
            return "linux";
        case DriverKind::kWsl:
            return "wsl";
        case DriverKind::kTegra:
            return "tegra";
        case DriverKind::kNone:
            break;
    }
    return "none";
}

bool Driver::usable() const {
    return std::any_of(libraries.begin(), libraries.end(), [](const DriverLibrary& library) {
        const auto& names = library.names;
        return !library.is_32bit &&
               std::find(names.begin(), names.end(), "libcuda.so.1") != names.end();
    });
}

Driver find_driver(const FileView& root, const DriverHints& hints) {
    Driver driver;
    if (is_wsl(root)) {
        find_wsl(root, driver);
        return driver;
    }
    Driver linux_driver;
    find_libraries(root, hints, linux_driver);
    // A Jetson board's libcuda lies in a folder of its own; one with a server's driver (an external
    // card) is a server.
    if (!linux_driver.usable() && is_tegra(root)) {
        find_tegra(root, driver);
        driver.version = hints.version;
        return driver;
    }
    driver = std::move(linux_driver);
    if (driver.libraries.empty()) {
        driver.version.clear();
        return driver;
    }
    driver.kind = DriverKind::kLinux;
    if (driver.version.empty()) driver.version = hints.version;
    find_files(root, driver);
    return driver;
}

std::string loaded_module_version(const FileView& host) {
    if (const auto text = host.read("/sys/module/nvidia/version", 4096)) {
        return text->substr(0, text->find_first_of(" \n"));
    }
    // "NVRM version: NVIDIA UNIX x86_64 Kernel Module  450.102.04  Tue Dec 29 …"
    const auto text = host.read("/proc/driver/nvidia/version", 65536);
    if (!text) return "";
    std::istringstream words(text->substr(0, text->find('\n')));
    for (std::string word; words >> word;) {
        if (word.size() > 4 && word[3] == '.' &&
            word.find_first_not_of("0123456789.") == std::string::npos) {
            return word;
        }
    }
    return "";
}

bool older_version(std::string_view a, std::string_view b) {
    while (!a.empty() || !b.empty()) {
        const auto next = [](std::string_view& text) {
            unsigned value = 0;
            const std::size_t end = std::min(text.find('.'), text.size());
            std::from_chars(text.data(), text.data() + end, value);
            text.remove_prefix(std::min(end + 1, text.size()));
            return value;
        };
        const unsigned left = next(a);
        const unsigned right = next(b);
        if (left != right) return left < right;
    }
    return false;
}

}  // namespace egpu::gpu
