#include "guard/elf_lookup.h"

#include <cstring>

#include <dlfcn.h>
#include <elf.h>
#include <link.h>

namespace egpu::guard {
namespace {

struct Tables {
    const ElfW(Sym) * symbols = nullptr;
    const char* strings = nullptr;
    const std::uint32_t* gnu_hash = nullptr;
    const std::uint32_t* sysv_hash = nullptr;
    const ElfW(Half) * versions = nullptr;
    const char* soname = nullptr;
};

// glibc relocates the addresses in most objects' dynamic tables, but not in all (the vDSO).
template <class T>
const T* at(const LoadedObject& object, ElfW(Addr) value) {
    return reinterpret_cast<const T*>(value < object.base ? object.base + value : value);
}

Tables tables_of(const LoadedObject& object) {
    Tables tables;
    ElfW(Xword) soname = 0;
    bool has_soname = false;
    for (const auto* d = static_cast<const ElfW(Dyn)*>(object.dynamic); d->d_tag != DT_NULL; ++d) {
        switch (d->d_tag) {
            case DT_SYMTAB:
                tables.symbols = at<ElfW(Sym)>(object, d->d_un.d_ptr);
                break;
            case DT_STRTAB:
                tables.strings = at<char>(object, d->d_un.d_ptr);
                break;
            case DT_GNU_HASH:
                tables.gnu_hash = at<std::uint32_t>(object, d->d_un.d_ptr);
                break;
            case DT_HASH:
                tables.sysv_hash = at<std::uint32_t>(object, d->d_un.d_ptr);
                break;
            case DT_VERSYM:
                tables.versions = at<ElfW(Half)>(object, d->d_un.d_ptr);
                break;
            case DT_SONAME:
                soname = d->d_un.d_val;
                has_soname = true;
                break;
            default:
                break;
        }
    }
    if (has_soname && tables.strings != nullptr) tables.soname = tables.strings + soname;
    return tables;
}

bool fits(const Tables& tables, std::uint32_t index, const char* symbol) {
    const ElfW(Sym)& entry = tables.symbols[index];
    const unsigned type = entry.st_info & 0xfU;
    if (entry.st_shndx == SHN_UNDEF || entry.st_value == 0) return false;
    if (type != STT_FUNC && type != STT_NOTYPE) return false;
    // A hidden version is an old one that only versioned references may see.
    if (tables.versions != nullptr && (tables.versions[index] & 0x8000U) != 0) return false;
    return std::strcmp(tables.strings + entry.st_name, symbol) == 0;
}

const ElfW(Sym) * search_gnu(const Tables& tables, const char* symbol) {
    std::uint32_t hash = 5381;
    for (const char* c = symbol; *c != '\0'; ++c) hash = hash * 33 + static_cast<unsigned char>(*c);
    const std::uint32_t buckets = tables.gnu_hash[0];
    const std::uint32_t first = tables.gnu_hash[1];
    const std::uint32_t bloom = tables.gnu_hash[2];
    if (buckets == 0) return nullptr;
    const std::uint32_t* bucket = tables.gnu_hash + 4 + bloom * (sizeof(ElfW(Addr)) / 4);
    const std::uint32_t* chain = bucket + buckets;
    std::uint32_t index = bucket[hash % buckets];
    if (index < first) return nullptr;
    for (;; ++index) {
        const std::uint32_t seen = chain[index - first];
        if ((seen | 1U) == (hash | 1U) && fits(tables, index, symbol))
            return &tables.symbols[index];
        if ((seen & 1U) != 0) return nullptr;
    }
}

const ElfW(Sym) * search_sysv(const Tables& tables, const char* symbol) {
    const std::uint32_t count = tables.sysv_hash[1];
    for (std::uint32_t index = 1; index < count; ++index) {
        if (fits(tables, index, symbol)) return &tables.symbols[index];
    }
    return nullptr;
}

LoadedObject describe(const dl_phdr_info& info) {
    LoadedObject object;
    object.base = info.dlpi_addr;
    object.path = info.dlpi_name != nullptr ? info.dlpi_name : "";
    for (int i = 0; i < info.dlpi_phnum; ++i) {
        if (info.dlpi_phdr[i].p_type == PT_DYNAMIC) {
            object.dynamic =
                reinterpret_cast<const void*>(info.dlpi_addr + info.dlpi_phdr[i].p_vaddr);
        }
    }
    return object;
}

struct Search {
    const void* address = nullptr;
    const char* name = nullptr;
    const char* symbol = nullptr;
    const void* after = nullptr;  // the dynamic table of the object to start behind
    bool passed = false;
    LoadedObject found;
    void* function = nullptr;
};

int by_address(dl_phdr_info* info, std::size_t, void* context) {
    auto& search = *static_cast<Search*>(context);
    const auto address = reinterpret_cast<std::uintptr_t>(search.address);
    for (int i = 0; i < info->dlpi_phnum; ++i) {
        const auto& segment = info->dlpi_phdr[i];
        const std::uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
        if (segment.p_type == PT_LOAD && address >= begin && address - begin < segment.p_memsz) {
            search.found = describe(*info);
            return 1;
        }
    }
    return 0;
}

int by_name(dl_phdr_info* info, std::size_t, void* context) {
    auto& search = *static_cast<Search*>(context);
    const LoadedObject object = describe(*info);
    if (!object || !is_named(object, search.name)) return 0;
    search.found = object;
    return 1;
}

int behind(dl_phdr_info* info, std::size_t, void* context) {
    auto& search = *static_cast<Search*>(context);
    const LoadedObject object = describe(*info);
    if (!object) return 0;
    if (!search.passed) {
        search.passed = object.dynamic == search.after;
        return 0;
    }
    search.function = function_in(object, search.symbol);
    if (search.function == nullptr) return 0;
    search.found = object;
    return 1;
}

}  // namespace

LoadedObject object_at(const void* address) {
    Search search;
    search.address = address;
    dl_iterate_phdr(by_address, &search);
    return search.found;
}

LoadedObject object_named(const char* name) {
    Search search;
    search.name = name;
    dl_iterate_phdr(by_name, &search);
    return search.found;
}

bool is_named(const LoadedObject& object, const char* name) {
    const std::size_t length = std::strlen(name);
    const Tables tables = tables_of(object);
    if (tables.soname != nullptr && std::strncmp(tables.soname, name, length) == 0) return true;
    const char* slash = std::strrchr(object.path, '/');
    return std::strncmp(slash != nullptr ? slash + 1 : object.path, name, length) == 0;
}

void* function_in(const LoadedObject& object, const char* symbol) {
    if (!object) return nullptr;
    const Tables tables = tables_of(object);
    if (tables.symbols == nullptr || tables.strings == nullptr) return nullptr;
    const ElfW(Sym)* entry = nullptr;
    if (tables.gnu_hash != nullptr) {
        entry = search_gnu(tables, symbol);
    } else if (tables.sysv_hash != nullptr) {
        entry = search_sysv(tables, symbol);
    }
    return entry == nullptr ? nullptr : reinterpret_cast<void*>(object.base + entry->st_value);
}

LoadedObject next_with(const LoadedObject& object, const char* symbol, void*& found) {
    Search search;
    search.after = object.dynamic;
    search.symbol = symbol;
    dl_iterate_phdr(behind, &search);
    found = search.function;
    return search.found;
}

void keep_loaded(const LoadedObject& object) {
    using Open = void* (*)(const char*, int);
    const auto open = reinterpret_cast<Open>(libc_function("dlopen"));
    if (open != nullptr && object.path[0] != '\0')
        open(object.path, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

void* libc_function(const char* symbol) {
    constexpr const char* kLibraries[] = {"libc.so.6", "libdl.so.2", "libpthread.so.0"};
    for (const char* library : kLibraries) {
        void* function = function_in(object_named(library), symbol);
        if (function != nullptr) return function;
    }
    return nullptr;
}

}  // namespace egpu::guard
