#include "gpu/driver_libraries.h"

#include <algorithm>
#include <map>
#include <set>

#include "gpu/driver_table.h"
#include "gpu/ld_cache.h"

namespace egpu::gpu {
namespace {

constexpr std::size_t kMostCache = 16U << 20;

struct Folder {
    std::string path;
    bool is_32bit;
    std::string subfolder;
};

// A file, under all the names that lead to it.
struct Found {
    std::string path;
    std::string base;     // "libcuda"
    std::string version;  // what follows ".so." in the file's own name: "450.102.04", "1", ""
    std::set<std::string> names;
    bool is_32bit = false;
    std::string subfolder;
};

std::string last_part(const std::string& path) {
    return path.substr(path.rfind('/') + 1);
}

std::string folder_of(const std::string& path) {
    return path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
}

// "libcuda.so.450.102.04" -> "libcuda" and "450.102.04".
bool split_name(const std::string& name, std::string& base, std::string& version) {
    const std::size_t so = name.find(".so");
    if (!name.starts_with("lib") || so == std::string::npos) return false;
    const std::string rest = name.substr(so + 3);
    if (!rest.empty() && (rest[0] != '.' || rest.size() == 1)) return false;
    if (rest.find_first_not_of("0123456789.") != std::string::npos) return false;
    base = name.substr(0, so);
    version = rest.empty() ? "" : rest.substr(1);
    return true;
}

// A driver's version: at least two numbers, the first of three digits.
bool driver_version(const std::string& text) {
    return text.size() > 4 && text[3] == '.' && text.find('.') == 3 && text.back() != '.';
}

const KnownLibrary* known(const std::string& base) {
    for (const KnownLibrary& library : known_libraries()) {
        if (library.base == base) return &library;
    }
    return nullptr;
}

// A library of the driver that is newer than the table.
bool looks_like_nvidias(const std::string& base) {
    return base.starts_with("libnvidia-") || base.starts_with("libcuda") ||
           base.ends_with("_nvidia");
}

std::vector<Folder> folders_of(const FileView& root) {
    std::vector<Folder> folders;
    std::set<std::string> seen;
    const auto add = [&](const std::string& path, bool is_32bit) {
        const auto real = root.resolve(path);
        if (!real || !seen.insert(*real).second) return;
        folders.push_back({*real, is_32bit, ""});
        folders.push_back({*real + "/vdpau", is_32bit, "vdpau"});
    };
    for (const LibraryFolder& folder : library_folders()) {
        add(std::string(folder.path), folder.is_32bit);
    }
    const auto cache = root.read("/etc/ld.so.cache", kMostCache);
    if (!cache) return folders;
    const auto entries = parse_ld_cache(*cache);
    if (!entries) return folders;
    for (const LdCacheEntry& entry : *entries) {
        if (entry.name == "libcuda.so.1" || entry.name == "libnvidia-ml.so.1") {
            if (entry.path.starts_with('/')) add(folder_of(entry.path), !entry.is_64bit);
        }
    }
    return folders;
}

// In the order of the folders.
std::vector<Found> look_around(const FileView& root) {
    std::vector<Found> all;
    std::map<std::string, std::size_t> by_path;
    for (const Folder& folder : folders_of(root)) {
        const auto names = root.list(folder.path);
        if (!names) continue;
        for (const std::string& name : *names) {
            std::string base;
            std::string version;
            if (!split_name(name, base, version)) continue;
            if (known(base) == nullptr && !looks_like_nvidias(base)) continue;
            const auto real = root.resolve(folder.path + "/" + name);
            if (!real) continue;
            const auto info = root.look(*real);
            if (!info || info->type != FileType::kRegular) continue;
            const auto [at, added] = by_path.try_emplace(*real, all.size());
            if (added) {
                Found& found = all.emplace_back();
                found.path = *real;
                found.is_32bit = folder.is_32bit;
                found.subfolder = folder.subfolder;
                if (!split_name(last_part(*real), found.base, found.version)) {
                    found.base = base;  // a link to a file with a name of its own
                }
            }
            all[at->second].names.insert(name);
        }
    }
    return all;
}

bool is_core(const std::string& base) {
    return base == "libcuda" || base == "libnvidia-ml";
}

std::string choose_version(
    const std::vector<Found>& all, const DriverHints& hints, std::vector<std::string>& notes
) {
    std::string linked;  // what the loader takes now
    std::string newest;
    bool hinted = false;
    for (const Found& found : all) {
        if (found.is_32bit || !is_core(found.base) || !driver_version(found.version)) continue;
        hinted = hinted || found.version == hints.version;
        if (linked.empty() && found.names.contains(found.base + ".so.1")) linked = found.version;
        if (newest.empty() || older_version(newest, found.version)) newest = found.version;
    }
    if (hinted) return hints.version;
    std::string chosen = linked.empty() ? newest : linked;
    if (!hints.version.empty() && !chosen.empty()) {
        notes.push_back(
            "the driver that runs is " + hints.version + " but the libraries found are of " +
            chosen + ": reload the kernel modules or reboot"
        );
    }
    return chosen;
}

DriverLibrary described(const Found& found, const KnownLibrary* table, bool carries_version) {
    DriverLibrary library;
    library.path = found.path;
    library.is_32bit = found.is_32bit;
    library.subfolder = found.subfolder;
    library.capabilities = table != nullptr ? table->capabilities : kCompute;
    library.carries_version = carries_version;
    const auto add = [&](const std::string& name) {
        auto& names = library.names;
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    };
    if (table != nullptr && !table->soname.empty()) {
        add(found.base + ".so." + std::string(table->soname));
        if (!table->also.empty()) add(std::string(table->also));
    } else if (carries_version && table != nullptr) {
        add(last_part(found.path));
    }
    for (const std::string& name : found.names) {
        const bool of_version = name.ends_with(found.version) && driver_version(found.version);
        if (name.starts_with(found.base + ".so") && !of_version) add(name);
    }
    if (library.names.empty()) {
        add(last_part(found.path));
        library.carries_version = driver_version(found.version);
    }
    return library;
}

}  // namespace

void find_libraries(const FileView& root, const DriverHints& hints, Driver& driver) {
    const std::vector<Found> all = look_around(root);
    driver.version = choose_version(all, hints, driver.notes);
    std::set<std::string> stale;
    std::set<std::string> taken;  // names, apart by width
    const auto take = [&](const Found& found, const KnownLibrary* table, bool carries) {
        if (table != nullptr && table->capabilities == 0) return;
        DriverLibrary library = described(found, table, carries);
        const std::string width = found.is_32bit ? "32/" : "64/";
        std::erase_if(library.names, [&](const std::string& name) {
            return !taken.insert(width + name).second;
        });
        if (!library.names.empty()) driver.libraries.push_back(std::move(library));
    };
    // First what has the driver's version in its name, then what has no version or one of its own:
    // files without version are of the driver only where the versioned one is absent.
    for (const Found& found : all) {
        const KnownLibrary* table = known(found.base);
        if (table != nullptr && table->own_version) continue;
        if (!driver_version(found.version)) continue;
        if (found.version == driver.version) {
            take(found, table, table == nullptr || table->soname.empty());
        } else {
            stale.insert(found.version);
        }
    }
    for (const Found& found : all) {
        const KnownLibrary* table = known(found.base);
        if (table == nullptr) continue;
        if (table->own_version) {
            // Several may lie side by side; the link of its SONAME says which is in use.
            if (found.names.contains(found.base + ".so." + std::string(table->soname))) {
                take(found, table, false);
            }
        } else if (!driver_version(found.version) && found.version == table->soname && !found.version.empty()) {
            take(found, table, false);
        }
    }
    for (const std::string& version : stale) {
        driver.notes.push_back(
            "files of driver " + version + " lie beside those of " +
            (driver.version.empty() ? "the driver in use" : driver.version) + "; they are not used"
        );
    }
}

}  // namespace egpu::gpu
