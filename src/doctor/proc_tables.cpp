#include "doctor/proc_tables.h"

#include <algorithm>
#include <charconv>

namespace egpu::doctor {
namespace {

std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) {
        text.remove_suffix(1);
    }
    return text;
}

// Calls `each` with every line.
template <class F>
void for_lines(std::string_view text, F each) {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        each(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
}

template <class Number>
std::optional<Number> leading_number(std::string_view text) {
    Number value{};
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    if (parsed.ec != std::errc{}) return std::nullopt;
    return value;
}

}  // namespace

std::string table_value(std::string_view table, std::string_view name) {
    std::string found;
    for_lines(table, [&](std::string_view line) {
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos || !found.empty()) return;
        if (trim(line.substr(0, colon)) == name) found = trim(line.substr(colon + 1));
    });
    return found;
}

std::vector<KernelGpu> kernel_gpus(const FileView& files) {
    std::vector<KernelGpu> gpus;
    const std::string folder = "/proc/driver/nvidia/gpus";
    const auto names = files.list(folder);
    if (!names) return gpus;
    for (const std::string& name : *names) {
        KernelGpu gpu;
        gpu.pci = name;
        if (const auto table = files.read(folder + "/" + name + "/information", 64U << 10)) {
            gpu.model = table_value(*table, "Model");
            gpu.minor = leading_number<int>(table_value(*table, "Device Minor"));
        }
        gpus.push_back(std::move(gpu));
    }
    return gpus;
}

std::optional<XidRecord> xid_of(std::string_view line) {
    const std::size_t marker = line.find("NVRM: Xid (");
    if (marker == std::string_view::npos) return std::nullopt;
    std::string_view rest = line.substr(marker + 11);
    const std::size_t close = rest.find("):");
    if (close == std::string_view::npos) return std::nullopt;
    XidRecord record;
    std::string_view pci = rest.substr(0, close);
    if (pci.starts_with("PCI:")) pci.remove_prefix(4);
    record.pci = pci;
    const auto xid = leading_number<int>(trim(rest.substr(close + 2)));
    if (!xid) return std::nullopt;
    record.xid = *xid;
    return record;
}

std::string dpkg_version(std::string_view status, std::string_view package) {
    std::string version;
    std::string name;
    bool installed = false;
    std::string found;
    const auto finish = [&] {
        if (name == package && installed) found = version;
        name.clear();
        version.clear();
        installed = false;
    };
    for_lines(status, [&](std::string_view line) {
        if (line.empty()) return finish();
        if (line.starts_with("Package:")) name = trim(line.substr(8));
        if (line.starts_with("Version:")) version = trim(line.substr(8));
        if (line.starts_with("Status:")) {
            installed = line.find(" installed") != std::string_view::npos;
        }
    });
    finish();
    return found;
}

}  // namespace egpu::doctor
