// Where the shared file is, and mapping it.
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testing/nvml/profile.h"
#include "testing/nvml/shared_layout.h"

namespace egpu::testing {
namespace {

constexpr std::uint64_t kMagic = 0x3144524143554745ULL;
constexpr const char* kDefaultFolder = "/dev/shm/edge-gpu-sim-";

std::string path_for(const StateSource& source, const SimNode& node) {
    if (const char* path = std::getenv("EDGE_GPU_SIM_CARDS")) return path;
    if (!node.cards.empty()) return node.cards;
    if (!source.beside_library && !source.path.empty()) {
        const auto slash = source.path.rfind('/');
        const std::string folder =
            slash == std::string::npos ? "." : source.path.substr(0, slash + 1);
        if (::access(folder.c_str(), W_OK) == 0) return source.path + ".cards";
    }
    std::uint64_t hash = 0xCBF29CE484222325ULL;
    for (const char c : node.profile + "/" + node.node) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
    }
    char name[32];
    std::snprintf(name, sizeof name, "%016llx", static_cast<unsigned long long>(hash));
    return std::string(kDefaultFolder) + name;
}

SharedFile* map_file(int fd) {
    if (!lock_byte(fd, kInitByte, true)) return nullptr;
    struct stat info {};
    ::fstat(fd, &info);
    if (info.st_size < kFileSize && ::ftruncate(fd, kFileSize) != 0) return nullptr;
    void* mapped = ::mmap(nullptr, sizeof(SharedFile), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) return nullptr;
    auto* file = static_cast<SharedFile*>(mapped);
    if (file->magic != kMagic) {
        make_mutex(&file->mutex);
        file->size = sizeof(SharedFile);
        file->magic = kMagic;
    }
    unlock_byte(fd, kInitByte);
    if (file->size != sizeof(SharedFile)) {
        ::munmap(mapped, sizeof(SharedFile));
        errno = EPROTO;
        return nullptr;
    }
    return file;
}

}  // namespace

SharedNode* SharedNode::open(const StateSource& source, const SimNode& node) {
    return open_path(path_for(source, node), O_CREAT);
}

SharedNode* SharedNode::open_existing(const StateSource& source, const SimNode& node) {
    const std::string path = path_for(source, node);
    return ::access(path.c_str(), F_OK) == 0 ? open_path(path, 0) : nullptr;
}

SharedNode* SharedNode::open_path(const std::string& path, int flags) {
    static std::mutex mutex;
    static auto* opened = new std::map<std::string, SharedNode*>;
    const std::lock_guard lock(mutex);
    if (const auto found = opened->find(path); found != opened->end()) {
        // A test may have removed the file; what was mapped is then nobody else's.
        struct stat there {};
        struct stat here {};
        if (::stat(path.c_str(), &there) == 0 && ::fstat(found->second->fd_, &here) == 0 &&
            there.st_ino == here.st_ino && there.st_dev == here.st_dev) {
            return found->second;
        }
    }
    // First without O_CREAT: with it, a sticky folder refuses another user's file.
    int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0 && flags != 0) fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | flags, 0666);
    if (fd < 0 && flags != 0 && path.rfind(kDefaultFolder, 0) == 0) {
        // A container without that folder has the node's cards for itself.
        fd = ::memfd_create("simulated-cards", MFD_CLOEXEC);
    }
    SharedFile* file = fd < 0 ? nullptr : map_file(fd);
    if (file == nullptr) {
        std::fprintf(stderr, "simulated cards: %s: %s\n", path.c_str(), std::strerror(errno));
        return nullptr;
    }
    ::fchmod(
        fd, 0666
    );  // processes of other users, whatever the umask; fails for those, harmlessly
    auto* made = new SharedNode(file, fd, path);
    (*opened)[path] = made;
    return made;
}

}  // namespace egpu::testing
