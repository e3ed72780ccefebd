// Looking at the loaded objects of this process without the dynamic loader's lookup functions: the
// guard replaces dlsym itself, and on old C libraries those functions live in a library that need
// not be loaded.
#pragma once

#include <cstddef>
#include <cstdint>

namespace egpu::guard {

// One loaded object, as far as it is needed here. Valid while the object stays loaded.
struct LoadedObject {
    std::uintptr_t base = 0;
    const void* dynamic = nullptr;  // its ElfW(Dyn) table
    const char* path = "";          // as it was opened; "" for the executable
    explicit operator bool() const { return dynamic != nullptr; }
};

// The object whose segments contain `address`; empty when there is none.
LoadedObject object_at(const void* address);

// The first object in load order whose DT_SONAME, or else the last part of its path, begins with
// `name`. `name` should end where versions begin: "libcuda.so", "libc.so.6".
LoadedObject object_named(const char* name);

// Whether object_named(name) would accept this object.
bool is_named(const LoadedObject& object, const char* name);

// A function that this one object itself defines (its default version); nullptr when it does not.
void* function_in(const LoadedObject& object, const char* symbol);

// The first object after `object` in load order that defines `symbol`: what RTLD_NEXT means for its
// code.
LoadedObject next_with(const LoadedObject& object, const char* symbol, void*& found);

// From now on the object stays loaded, however often it is closed: pointers into it are remembered.
void keep_loaded(const LoadedObject& object);

// A function of the C library, wherever this C library keeps it (libc, libdl, libpthread).
void* libc_function(const char* symbol);

}  // namespace egpu::guard
