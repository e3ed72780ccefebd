#include "cli/shared_libraries.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include <elf.h>

#include "base/child.h"
#include "base/files.h"

namespace egpu::cli {
namespace {

constexpr Duration kLoaderDeadline = Seconds(20);
constexpr std::size_t kLargestBinary = 1U << 30;

#if defined(__x86_64__)
constexpr Elf64_Half kMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr Elf64_Half kMachine = EM_AARCH64;
#else
#error "add the ELF machine of this architecture"
#endif

template <class T>
std::optional<T> read_at(const std::string& content, std::size_t at) {
    if (at > content.size() || content.size() - at < sizeof(T)) return std::nullopt;
    T out;
    std::memcpy(&out, content.data() + at, sizeof out);
    return out;
}

}  // namespace

Result<std::filesystem::path> loader_of(const std::filesystem::path& binary) {
    EG_TRY(const std::string content, read_file(binary, kLargestBinary));
    const auto refused = [&](const char* why) {
        return Error{ErrorCode::kInvalid, binary.string() + " " + why};
    };
    const auto header = read_at<Elf64_Ehdr>(content, 0);
    if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) {
        return refused("is no executable (ELF) file");
    }
    if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != kMachine) {
        return refused("is an executable for another machine; run install on a machine of that kind"
        );
    }
    for (std::size_t i = 0; i < header->e_phnum; ++i) {
        const auto segment = read_at<Elf64_Phdr>(content, header->e_phoff + i * sizeof(Elf64_Phdr));
        if (!segment) return refused("is cut off");
        if (segment->p_type != PT_INTERP) continue;
        if (segment->p_offset >= content.size() || segment->p_filesz > 4096)
            return refused("is damaged");
        const std::string text = content.substr(segment->p_offset, segment->p_filesz);
        return std::filesystem::path(text.substr(0, text.find('\0')));
    }
    return std::filesystem::path();
}

bool is_system_loader(const std::filesystem::path& loader) {
    const std::string text = loader.string();
    return text.starts_with("/lib/") || text.starts_with("/lib64/") || text.starts_with("/usr/lib");
}

std::vector<SharedLibrary> parse_loader_output(std::string_view output) {
    std::vector<SharedLibrary> out;
    while (!output.empty()) {
        std::string_view line = output.substr(0, output.find('\n'));
        output.remove_prefix(std::min(line.size() + 1, output.size()));
        while (line.starts_with('\t') || line.starts_with(' ')) line.remove_prefix(1);
        const std::size_t arrow = line.find(" => ");
        if (arrow == std::string_view::npos) continue;  // the vdso, the loader itself
        SharedLibrary library;
        library.name = line.substr(0, arrow);
        const std::string_view where = line.substr(arrow + 4);
        const std::size_t address = where.rfind(" (0x");
        if (where.starts_with('/')) library.file = where.substr(0, address);
        out.push_back(std::move(library));
    }
    return out;
}

Result<std::vector<SharedLibrary>> list_libraries(const std::filesystem::path& binary) {
    EG_TRY(const std::filesystem::path loader, loader_of(binary));
    if (loader.empty()) return std::vector<SharedLibrary>();
    std::error_code ignored;
    const std::string path = std::filesystem::absolute(binary, ignored).string();
    ChildOptions child;
    child.limit = kLoaderDeadline;
    child.environment = {"LD_TRACE_LOADED_OBJECTS=1"};
    EG_TRY(const ChildResult ran, run_program({loader.string(), path}, child));
    if (ran.timed_out || ran.exit_status != 0) {
        return Error{
            ErrorCode::kInvalid,
            "the libraries of " + path + " cannot be found out: " +
                (ran.timed_out ? loader.string() + " hangs" : ran.output)};
    }
    return parse_loader_output(ran.output);
}

bool is_of_the_system(std::string_view name) {
    constexpr std::string_view kStems[] = {
        "libc.so",
        "libm.so",
        "libdl.so",
        "libpthread.so",
        "librt.so",
        "libresolv.so",
        "libutil.so",
        "ld-linux",
        "libstdc++.so",
        "libgcc_s.so",
        "libz.so",
        "libssl.so",
        "libcrypto.so"};
    return std::any_of(std::begin(kStems), std::end(kStems), [&](std::string_view stem) {
        return name.starts_with(stem);
    });
}

}  // namespace egpu::cli
