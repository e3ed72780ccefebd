#include "guard/page_files.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guard/limits.h"
#include "guard/pages_view.h"

// Where the two files are. A constant of the build, so that nothing in the container can point
// elsewhere; the tests build the library with a relative folder.
#ifndef EDGE_GPU_GUARD_FOLDER
#define EDGE_GPU_GUARD_FOLDER ::egpu::guard::kFolderInContainer
#endif

namespace egpu::guard {
namespace {

int open_at(int folder, const char* name, int flags) {
    return static_cast<int>(syscall(SYS_openat, folder, name, flags | O_CLOEXEC, 0));
}

// lseek, because fstat is another symbol on every version of the C library.
std::size_t size_of(int fd) {
    const long end = syscall(SYS_lseek, fd, 0L, SEEK_END);
    return end > 0 ? static_cast<std::size_t>(end) : 0;
}

void* map(std::size_t bytes, int protection, int flags, int fd) {
    void* memory = mmap(nullptr, bytes, protection, flags, fd, 0);
    return memory == MAP_FAILED ? nullptr : memory;
}

constinit std::atomic<std::uint32_t> view_state{0};  // 0: not opened, 1: being opened, 2: done
constinit PagesView view;

}  // namespace

const char* folder_path() {
    return EDGE_GPU_GUARD_FOLDER;
}

void close_fd(int fd) {
    syscall(SYS_close, fd);
}

Folder open_folder(int& fd) {
    fd = open_at(AT_FDCWD, folder_path(), O_PATH | O_DIRECTORY);
    if (fd >= 0) return Folder::there;
    return errno == ENOENT ? Folder::absent : Folder::forbidden;
}

const LimitsPage* map_limits(int folder, const char*& wrong) {
    const int fd = open_at(folder, kLimitsFile, O_RDONLY);
    wrong = "the file cannot be opened";
    if (fd < 0) return nullptr;
    const std::size_t size = size_of(fd);
    void* memory = nullptr;
    // Pages behind the end of a file cannot be read: its size comes first.
    if (size < sizeof(LimitsPage)) {
        wrong = "the file is too short";
    } else {
        memory = map(kLimitsFileSize, PROT_READ, MAP_SHARED, fd);
        wrong = memory == nullptr ? "the file cannot be mapped"
                                  : why_invalid(*static_cast<LimitsPage*>(memory), size);
    }
    close_fd(fd);
    if (wrong == nullptr) return static_cast<const LimitsPage*>(memory);
    if (memory != nullptr) munmap(memory, kLimitsFileSize);
    return nullptr;
}

void unmap(const LimitsPage* limits) {
    munmap(const_cast<LimitsPage*>(limits), kLimitsFileSize);
}

Ledger* map_ledger(int folder, bool writable) {
    const int fd = open_at(folder, kLedgerFile, writable ? O_RDWR : O_RDONLY);
    if (fd < 0) return nullptr;
    Ledger* ledger = nullptr;
    if (size_of(fd) >= sizeof(Ledger)) {
        ledger = static_cast<Ledger*>(
            map(sizeof(Ledger), PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd)
        );
    }
    close_fd(fd);
    if (ledger == nullptr) return nullptr;
    std::uint64_t magic = ledger->magic.load(std::memory_order_acquire);
    if (magic == 0 && writable && ledger->magic.compare_exchange_strong(magic, kLedgerMagic)) {
        ledger->abi_major = kAbiMajor;
        ledger->struct_size = sizeof(Ledger);
        magic = kLedgerMagic;
    }
    if (magic == kLedgerMagic) return ledger;
    munmap(ledger, sizeof(Ledger));
    return nullptr;
}

void unmap(Ledger* ledger) {
    munmap(ledger, sizeof(Ledger));
}

Ledger* private_ledger() {
    return static_cast<Ledger*>(
        map(sizeof(Ledger), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1)
    );
}

PagesView view_pages() {
    std::uint32_t state = 0;
    if (view_state.load(std::memory_order_acquire) != 2 &&
        view_state.compare_exchange_strong(state, 1)) {
        int folder = -1;
        if (open_folder(folder) == Folder::there) {
            const char* wrong = nullptr;
            view.limits = map_limits(folder, wrong);
            view.ledger = map_ledger(folder, /*writable=*/false);
            close_fd(folder);
        }
        view_state.store(2, std::memory_order_release);
    }
    // Another thread that comes while it is being opened is told the card's own numbers, once.
    return view_state.load(std::memory_order_acquire) == 2 ? view : PagesView{};
}

}  // namespace egpu::guard
