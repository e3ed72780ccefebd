// dlsym and dlvsym of the process. A lookup that is none of the guard's business is a tail jump
// into the C library's own function, with the caller's return address in place: RTLD_NEXT and
// RTLD_DEFAULT depend on it.
#include <cstdint>
#include <cstring>

#include <dlfcn.h>

#include "guard/elf_lookup.h"
#include "guard/hook_table.h"

namespace egpu::guard {
namespace {

// Returned in two registers; see the assembly below.
struct Answer {
    void* value;
    std::uintptr_t answered;  // 0: ask the C library
};
constexpr Answer kAskLibc{nullptr, 0};

using DlSym = void* (*)(void*, const char*);
using DlVSym = void* (*)(void*, const char*, const char*);

bool is_libc(const LoadedObject& object) {
    return is_named(object, "libc.so.6") || is_named(object, "libdl.so.2");
}

}  // namespace
}  // namespace egpu::guard

// Read by the assembly. Set before any answer that makes it jump there.
extern "C" {
__attribute__((visibility("hidden"))) void* egpu_guard_real_dlsym = nullptr;
__attribute__((visibility("hidden"))) void* egpu_guard_real_dlvsym = nullptr;
EGPU_EXPORT void* dlsym(void* handle, const char* name) noexcept;
EGPU_EXPORT void* dlvsym(void* handle, const char* name, const char* version) noexcept;
}

namespace egpu::guard {
namespace {

void* look_up(void* handle, const char* name, const char* version) {
    if (version == nullptr) {
        return reinterpret_cast<DlSym>(egpu_guard_real_dlsym)(handle, name);
    }
    return reinterpret_cast<DlVSym>(egpu_guard_real_dlvsym)(handle, name, version);
}

// What the global scope holds behind the guard; else nothing, with the C library's own error text.
Answer behind_us(const char* name, const char* version) {
    return Answer{look_up(RTLD_NEXT, name, version), 1};
}

// Someone looks for dlsym itself. With the C library's one he would get past the guard.
Answer lookup_function(
    void* handle, const char* name, const char* version, const void* caller, void* own
) {
    LoadedObject owner;
    if (handle == RTLD_DEFAULT || handle == RTLD_NEXT) {
        // Without a version the C library finds ours by itself: it comes first. Asked for with one,
        // it passes ours by.
        if (version == nullptr) {
            void* next = nullptr;
            if (handle == RTLD_NEXT) owner = next_with(object_at(caller), name, next);
        } else {
            owner = object_at(look_up(RTLD_NEXT, name, version));
        }
    } else {
        void* found = look_up(handle, name, version);
        if (found == nullptr) return Answer{nullptr, 1};
        owner = object_at(found);
    }
    return owner && is_libc(owner) ? Answer{own, 1} : kAskLibc;
}

Answer driver_symbol(
    void* handle, const char* name, const char* version, const void* caller, HookId id
) {
    const HookEntry& entry = hook_entry(id);
    const char* library = library_name(entry.library);
    const LoadedObject from = object_at(caller);
    // The driver's own libraries get what they would get without the guard.
    if (from && (is_named(from, "libcuda.so") || is_named(from, "libnvidia-ml.so")))
        return kAskLibc;
    // Our exports must not make anyone believe that there is a driver where there is none: what is
    // not there behind the guard is not there.
    if (handle == RTLD_DEFAULT) {
        // A library that was opened with the driver among its own dependencies sees it; the
        // executable does not.
        const bool own_scope = from && from.path[0] != '\0' && object_named(library);
        const Answer behind = behind_us(name, version);
        return behind.value != nullptr || own_scope ? kAskLibc : behind;
    }
    void* found = nullptr;
    LoadedObject owner;
    if (handle == RTLD_NEXT) {
        owner = next_with(from, name, found);
        if (!owner) return kAskLibc;
    } else {
        found = look_up(handle, name, version);
        if (found == nullptr) return Answer{nullptr, 1};
        owner = object_at(found);
    }
    if (found == entry.hook) {  // a handle of the global scope
        const Answer behind = behind_us(name, version);
        return behind.value != nullptr ? Answer{found, 1} : behind;
    }
    if (!owner || !is_named(owner, library)) {
        return handle == RTLD_NEXT ? kAskLibc : Answer{found, 1};
    }
    keep_driver(entry.library, owner);
    learn_real(id, found);
    return Answer{entry.hook, 1};
}

Answer answer(void* handle, const char* name, const char* version, const void* caller) {
    if (egpu_guard_real_dlsym == nullptr) egpu_guard_real_dlsym = libc_function("dlsym");
    if (egpu_guard_real_dlvsym == nullptr) egpu_guard_real_dlvsym = libc_function("dlvsym");
    if (egpu_guard_real_dlsym == nullptr || egpu_guard_real_dlvsym == nullptr)
        return Answer{nullptr, 1};
    if (name == nullptr) return kAskLibc;
    if (name[0] == 'd' && name[1] == 'l') {
        if (std::strcmp(name, "dlsym") == 0) {
            return lookup_function(handle, name, version, caller, reinterpret_cast<void*>(&dlsym));
        }
        if (std::strcmp(name, "dlvsym") == 0) {
            return lookup_function(handle, name, version, caller, reinterpret_cast<void*>(&dlvsym));
        }
        return kAskLibc;
    }
    const bool ours = (name[0] == 'c' && name[1] == 'u') || std::strncmp(name, "nvml", 4) == 0;
    if (!ours) return kAskLibc;
    const HookId id = find_hook(name);
    if (id == HookId::count_) return kAskLibc;
    return driver_symbol(handle, name, version, caller, id);
}

}  // namespace
}  // namespace egpu::guard

extern "C" {
__attribute__((visibility("hidden"), used)) egpu::guard::Answer egpu_guard_dlsym(
    void* handle, const char* name, const void* caller
) {
    return egpu::guard::answer(handle, name, nullptr, caller);
}
__attribute__((visibility("hidden"), used)) egpu::guard::Answer egpu_guard_dlvsym(
    void* handle, const char* name, const char* version, const void* caller
) {
    return egpu::guard::answer(handle, name, version, caller);
}
}

#if defined(__x86_64__)
asm(R"(
    .text
    .globl dlsym
    .type dlsym, @function
dlsym:
    .cfi_startproc
    endbr64
    pushq %rdi
    .cfi_adjust_cfa_offset 8
    pushq %rsi
    .cfi_adjust_cfa_offset 8
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    movq 24(%rsp), %rdx
    call egpu_guard_dlsym
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %rsi
    .cfi_adjust_cfa_offset -8
    popq %rdi
    .cfi_adjust_cfa_offset -8
    testq %rdx, %rdx
    jne 1f
    movq egpu_guard_real_dlsym(%rip), %rax
    jmp *%rax
1:  ret
    .cfi_endproc
    .size dlsym, . - dlsym

    .globl dlvsym
    .type dlvsym, @function
dlvsym:
    .cfi_startproc
    endbr64
    pushq %rdi
    .cfi_adjust_cfa_offset 8
    pushq %rsi
    .cfi_adjust_cfa_offset 8
    pushq %rdx
    .cfi_adjust_cfa_offset 8
    movq 24(%rsp), %rcx
    call egpu_guard_dlvsym
    movq %rdx, %r8
    popq %rdx
    .cfi_adjust_cfa_offset -8
    popq %rsi
    .cfi_adjust_cfa_offset -8
    popq %rdi
    .cfi_adjust_cfa_offset -8
    testq %r8, %r8
    jne 1f
    movq egpu_guard_real_dlvsym(%rip), %rax
    jmp *%rax
1:  ret
    .cfi_endproc
    .size dlvsym, . - dlvsym
)");
#elif defined(__aarch64__)
asm(R"(
    .text
    .globl dlsym
    .type dlsym, %function
dlsym:
    hint #34
    stp x29, x30, [sp, #-48]!
    mov x29, sp
    stp x0, x1, [sp, #16]
    mov x2, x30
    bl egpu_guard_dlsym
    mov x9, x0
    mov x10, x1
    ldp x0, x1, [sp, #16]
    ldp x29, x30, [sp], #48
    cbz x10, 1f
    mov x0, x9
    ret
1:  adrp x16, egpu_guard_real_dlsym
    ldr x16, [x16, :lo12:egpu_guard_real_dlsym]
    br x16
    .size dlsym, . - dlsym

    .globl dlvsym
    .type dlvsym, %function
dlvsym:
    hint #34
    stp x29, x30, [sp, #-48]!
    mov x29, sp
    stp x0, x1, [sp, #16]
    str x2, [sp, #32]
    mov x3, x30
    bl egpu_guard_dlvsym
    mov x9, x0
    mov x10, x1
    ldp x0, x1, [sp, #16]
    ldr x2, [sp, #32]
    ldp x29, x30, [sp], #48
    cbz x10, 1f
    mov x0, x9
    ret
1:  adrp x16, egpu_guard_real_dlvsym
    ldr x16, [x16, :lo12:egpu_guard_real_dlvsym]
    br x16
    .size dlvsym, . - dlvsym
)");
#else
#error "the guard's dlsym is written for x86-64 and aarch64"
#endif
