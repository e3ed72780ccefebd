// A node on disk for tests: recorded trees made real below a folder, with devices where the test
// may create them.
#pragma once

#include <filesystem>
#include <string>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/file_view.h"
#include "base/files.h"
#include "inject/injector.h"
#include "testing/temp_folder.h"

namespace egpu::inject {

class NodeOnDisk : public ::testing::Test {
  protected:
    void file(const std::string& path, const std::string& content) {
        std::filesystem::create_directories((root_ / path.substr(1)).parent_path());
        ASSERT_TRUE(write_file_atomically(root_ / path.substr(1), content, 0755).ok());
    }
    void link(const std::string& path, const std::string& target) {
        std::filesystem::create_directories((root_ / path.substr(1)).parent_path());
        std::error_code error;
        std::filesystem::remove(root_ / path.substr(1), error);
        std::filesystem::create_symlink(target, root_ / path.substr(1));
    }
    void remove(const std::string& path) { std::filesystem::remove_all(root_ / path.substr(1)); }
    // The driver's two main libraries, one whose SONAME has the version in it, and nvidia-smi.
    void driver(const std::string& version) {
        for (const char* name : {"libcuda", "libnvidia-ml"}) {
            const std::string base = std::string("/usr/lib64/") + name + ".so";
            file(base + "." + version, std::string(name) + " " + version);
            link(base + ".1", std::string(name) + ".so." + version);
        }
        file("/usr/lib64/libnvidia-gpucomp.so." + version, "gpucomp " + version);
        file("/usr/bin/nvidia-smi", "smi " + version);
    }
    void remove_driver(const std::string& version) {
        for (const char* name : {"libcuda", "libnvidia-ml", "libnvidia-gpucomp"}) {
            remove(std::string("/usr/lib64/") + name + ".so." + version);
        }
    }
    bool device(const std::string& path, unsigned major, unsigned minor) {
        std::filesystem::create_directories((root_ / path.substr(1)).parent_path());
        return ::mknod((root_ / path.substr(1)).c_str(), S_IFCHR | 0666, makedev(major, minor)) ==
               0;
    }
    InjectOptions options(const std::string& strategy) const {
        InjectOptions options;
        options.strategy = strategy;
        options.host_root = root_.path();
        options.driver_files_dir = root_ / "state/driver";
        options.cdi_spec_dir = root_ / "var/run/cdi";
        return options;
    }
    std::string content(const std::filesystem::path& path) const {
        const auto text = read_file(path);
        return text ? *text : "(" + text.error().message + ")";
    }

    testing::TempFolder root_;
};

}  // namespace egpu::inject
