// The functions of entry_points.inc, by name. Here they are only addresses, whatever their
// parameters: this file must not see their declarations.
#include "testing/cuda/proc_table.h"

#include <string_view>
#include <unordered_map>

#define ENTRY(base, since, symbol) extern "C" int symbol();
#define ENTRY_FLAVOURS(base, since, symbol, per_thread) \
    extern "C" int symbol();                            \
    extern "C" int per_thread();
#include "testing/cuda/entry_points.inc"
#undef ENTRY
#undef ENTRY_FLAVOURS

namespace egpu::testing::cuda {
namespace {

using Entries = std::unordered_map<std::string_view, std::vector<Entry>>;

void* address(int (*function)()) {
    return reinterpret_cast<void*>(function);
}

const Entries& entries() {
    static const auto* table = [] {
        auto* made = new Entries;
#define ENTRY(base, since, symbol) \
    (*made)[#base].push_back({since, address(&symbol), address(&symbol)});
#define ENTRY_FLAVOURS(base, since, symbol, per_thread) \
    (*made)[#base].push_back({since, address(&symbol), address(&per_thread)});
#include "testing/cuda/entry_points.inc"
#undef ENTRY
#undef ENTRY_FLAVOURS
        return made;
    }();
    return *table;
}

}  // namespace

const std::vector<Entry>& entries_of(std::string_view name) {
    static const auto* none = new std::vector<Entry>;
    const auto found = entries().find(name);
    return found == entries().end() ? *none : found->second;
}

}  // namespace egpu::testing::cuda
