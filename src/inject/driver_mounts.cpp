#include "inject/driver_mounts.h"

#include <map>

namespace egpu::inject {
namespace {

using Kind = gpu::DriverFile::Kind;

class Mounts {
  public:
    explicit Mounts(bool staged) : staged_(staged) {}
    // The first one wins: the search order of the driver's folders.
    void add(const std::string& path, const std::string& container, const std::string& staged) {
        by_container_.try_emplace(container, DriverMount{path, container, staged_ ? staged : ""});
    }
    std::vector<DriverMount> take() {
        std::vector<DriverMount> mounts;
        mounts.reserve(by_container_.size());
        for (auto& [container, mount] : by_container_) mounts.push_back(std::move(mount));
        return mounts;
    }

  private:
    const bool staged_;
    std::map<std::string, DriverMount> by_container_;
};

void add_library(
    const gpu::DriverLibrary& library, bool all_names, std::string_view machine, Mounts& mounts
) {
    const std::string below = library.subfolder.empty() ? "" : library.subfolder + "/";
    const std::string own = library.is_32bit ? "lib/" : "lib64/";
    for (const std::string& name : library.names) {
        const std::string staged = own + below + name;
        mounts.add(library.path, std::string(kContainerFolder) + "/" + staged, staged);
        // The other names are for linking, not for running.
        if (!all_names && name != library.names[0] && name != "libcuda.so") continue;
        if (library.is_32bit) {
            mounts.add(library.path, "/usr/lib/i386-linux-gnu/" + below + name, staged);
            continue;
        }
        mounts.add(library.path, "/usr/lib64/" + below + name, staged);
        mounts.add(
            library.path, "/usr/lib/" + std::string(machine) + "-linux-gnu/" + below + name, staged
        );
    }
}

}  // namespace

std::vector<DriverMount> driver_mounts(
    const gpu::Driver& driver, gpu::Capabilities capabilities, std::string_view machine
) {
    const bool is_linux = driver.kind == gpu::DriverKind::kLinux;
    Mounts mounts(is_linux);
    for (const gpu::DriverLibrary& library : driver.libraries) {
        // Jetson's lists name every library with its place.
        if (driver.kind == gpu::DriverKind::kTegra) break;
        if ((library.capabilities & capabilities) == 0) continue;
        if (library.is_32bit && (capabilities & gpu::kCompat32) == 0) continue;
        add_library(library, !is_linux, machine, mounts);
    }
    for (const gpu::DriverFile& file : driver.files) {
        if ((file.capabilities & capabilities) == 0) continue;
        const std::string name = file.container_path.substr(file.container_path.rfind('/') + 1);
        switch (file.kind) {
            case Kind::kProgram:
                mounts.add(
                    file.path, std::string(kContainerFolder) + "/bin/" + name, "bin/" + name
                );
                mounts.add(file.path, file.container_path, "bin/" + name);
                break;
            case Kind::kConfig:
                mounts.add(file.path, file.container_path, "root" + file.container_path);
                break;
            case Kind::kFirmware:
            case Kind::kFolder:
                mounts.add(file.path, file.container_path, "");
                break;
        }
    }
    return mounts.take();
}

std::string_view this_machine() {
#if defined(__aarch64__)
    return "aarch64";
#else
    return "x86_64";
#endif
}

}  // namespace egpu::inject
