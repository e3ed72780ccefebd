#include "gpu/driver_table.h"

namespace egpu::gpu {
namespace {

constexpr KnownLibrary kLibraries[] = {
    {"libcuda", "1", kCompute, false, "libcuda.so"},
    {"libcudadebugger", "1", kCompute},
    {"libnvidia-ptxjitcompiler", "1", kCompute},
    {"libnvidia-nvvm", "4", kCompute},
    {"libnvidia-nvvm70", "4", kCompute, true},
    {"libnvidia-gpucomp", "", kCompute | kGraphics},
    {"libnvidia-fatbinaryloader", "", kCompute},
    {"libnvidia-opencl", "1", kCompute},
    {"libnvidia-compiler", "", kCompute},
    {"libnvidia-pkcs11", "", kCompute},
    {"libnvidia-pkcs11-openssl3", "", kCompute},
    {"libnvidia-allocator", "1", kCompute | kGraphics},
    {"libnvidia-ml", "1", kUtility},
    {"libnvidia-cfg", "1", kUtility},
    {"libnvidia-nscq", "2", kUtility},
    {"libnvidia-sandboxutils", "1", kUtility},
    {"libnvcuvid", "1", kVideo},
    {"libnvidia-encode", "1", kVideo},
    {"libnvidia-opticalflow", "1", kVideo, false, "libnvidia-opticalflow.so"},
    {"libvdpau_nvidia", "1", kVideo, false, {}, "vdpau"},
    {"libnvidia-eglcore", "", kGraphics},
    {"libnvidia-glcore", "", kGraphics},
    {"libnvidia-tls", "", kGraphics},
    {"libnvidia-glsi", "", kGraphics},
    {"libnvidia-glvkspirv", "", kGraphics},
    {"libnvidia-rtcore", "", kGraphics},
    {"libnvidia-cbl", "", kGraphics},
    {"libnvidia-fbc", "1", kGraphics},
    {"libnvidia-ifr", "1", kGraphics},
    {"libnvidia-vulkan-producer", "", kGraphics},
    {"libnvidia-present", "", kGraphics},
    {"libnvidia-api", "1", kGraphics},
    {"libnvoptix", "1", kGraphics},
    {"libGLX_nvidia", "0", kGraphics, false, "libGLX_indirect.so.0"},
    {"libEGL_nvidia", "0", kGraphics},
    {"libGLESv2_nvidia", "2", kGraphics},
    {"libGLESv1_CM_nvidia", "1", kGraphics},
    {"libnvidia-egl-gbm", "1", kGraphics, true},
    {"libnvidia-egl-wayland", "1", kGraphics, true},
    {"libnvidia-egl-wayland2", "1", kGraphics, true},
    {"libnvidia-egl-xcb", "1", kGraphics, true},
    {"libnvidia-egl-xlib", "1", kGraphics, true},
    {"libnvidia-ngx", "1", kNgx},
    // Of nvidia-settings, for the desktop of the host.
    {"libnvidia-gtk2", "", 0},
    {"libnvidia-gtk3", "", 0},
    {"libnvidia-wayland-client", "", 0},
};

constexpr auto kProgram = DriverFile::Kind::kProgram;
constexpr auto kConfig = DriverFile::Kind::kConfig;
constexpr auto kFirmware = DriverFile::Kind::kFirmware;

constexpr KnownFile kFiles[] = {
    {kProgram,
     {"/usr/bin/nvidia-smi",
      "/bin/nvidia-smi",
      "/opt/bin/nvidia-smi",
      "/usr/local/nvidia/bin/nvidia-smi"},
     "/usr/bin",
     kUtility},
    {kProgram,
     {"/usr/bin/nvidia-debugdump",
      "/bin/nvidia-debugdump",
      "/opt/bin/nvidia-debugdump",
      "/usr/local/nvidia/bin/nvidia-debugdump"},
     "/usr/bin",
     kUtility},
    {kProgram,
     {"/usr/bin/nvidia-cuda-mps-control",
      "/bin/nvidia-cuda-mps-control",
      "/opt/bin/nvidia-cuda-mps-control",
      "/usr/local/nvidia/bin/nvidia-cuda-mps-control"},
     "/usr/bin",
     kCompute},
    {kProgram,
     {"/usr/bin/nvidia-cuda-mps-server",
      "/bin/nvidia-cuda-mps-server",
      "/opt/bin/nvidia-cuda-mps-server",
      "/usr/local/nvidia/bin/nvidia-cuda-mps-server"},
     "/usr/bin",
     kCompute},
    // The kernel reads it in the mount namespace of the first process that opens a card.
    {kFirmware,
     {"/lib/firmware/nvidia/{version}/*.bin"},
     "/lib/firmware/nvidia/{version}",
     kUtility},
    {kConfig,
     {"/etc/OpenCL/vendors/nvidia.icd", "/usr/share/OpenCL/vendors/nvidia.icd"},
     "/etc/OpenCL/vendors",
     kCompute},
    {kConfig,
     {"/etc/vulkan/icd.d/nvidia_icd.json",
      "/usr/share/vulkan/icd.d/nvidia_icd.json",
      "/usr/share/vulkan/icd.d/nvidia_icd.x86_64.json",
      "/usr/share/vulkan/icd.d/nvidia_icd.aarch64.json"},
     "/etc/vulkan/icd.d",
     kGraphics},
    {kConfig,
     {"/etc/vulkan/implicit_layer.d/nvidia_layers.json",
      "/usr/share/vulkan/implicit_layer.d/nvidia_layers.json"},
     "/etc/vulkan/implicit_layer.d",
     kGraphics},
    {kConfig,
     {"/usr/share/glvnd/egl_vendor.d/10_nvidia.json", "/etc/glvnd/egl_vendor.d/10_nvidia.json"},
     "/usr/share/glvnd/egl_vendor.d",
     kGraphics},
    {kConfig,
     {"/usr/share/egl/egl_external_platform.d/*nvidia*.json"},
     "/usr/share/egl/egl_external_platform.d",
     kGraphics},
    {kConfig, {"/usr/share/nvidia/nvoptix.bin"}, "/usr/share/nvidia", kGraphics},
    {kConfig,
     {"/usr/share/X11/xorg.conf.d/10-nvidia.conf"},
     "/usr/share/X11/xorg.conf.d",
     kDisplay},
    {kConfig,
     {"/usr/lib/x86_64-linux-gnu/nvidia/xorg/*_nvidia.so.{version}",
      "/usr/lib/xorg/modules/extensions/*_nvidia.so.{version}",
      "/usr/lib64/xorg/modules/extensions/*_nvidia.so.{version}",
      "/usr/lib/aarch64-linux-gnu/nvidia/xorg/*_nvidia.so.{version}"},
     "/usr/lib/xorg/modules/extensions",
     kDisplay},
    {kConfig,
     {"/usr/lib/xorg/modules/drivers/nvidia_drv.so",
      "/usr/lib64/xorg/modules/drivers/nvidia_drv.so",
      "/usr/lib/x86_64-linux-gnu/nvidia/xorg/nvidia_drv.so"},
     "/usr/lib/xorg/modules/drivers",
     kDisplay},
};

constexpr LibraryFolder kFolders[] = {
    {"/usr/lib/x86_64-linux-gnu", false},
    {"/usr/lib/aarch64-linux-gnu", false},
    {"/usr/lib64", false},
    {"/lib/x86_64-linux-gnu", false},
    {"/lib/aarch64-linux-gnu", false},
    {"/lib64", false},
    {"/usr/lib/x86_64-linux-gnu/nvidia/current", false},
    {"/usr/lib/aarch64-linux-gnu/nvidia/current", false},
    {"/usr/lib64/nvidia", false},
    {"/usr/local/nvidia/lib64", false},
    {"/opt/nvidia/lib64", false},
    {"/usr/lib/i386-linux-gnu", true},
    {"/usr/lib/i386-linux-gnu/nvidia/current", true},
    {"/usr/lib32", true},
    // The 64-bit folder of distributions where /usr/lib64 leads here (it is then known by that
    // name already), the 32-bit folder of those where it does not.
    {"/usr/lib", true},
};

}  // namespace

std::span<const KnownLibrary> known_libraries() {
    return kLibraries;
}

std::span<const KnownFile> known_files() {
    return kFiles;
}

std::span<const LibraryFolder> library_folders() {
    return kFolders;
}

}  // namespace egpu::gpu
