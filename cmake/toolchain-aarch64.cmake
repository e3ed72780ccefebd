# Cross build for arm64 with Debian's g++-aarch64-linux-gnu against the sysroot of tools/package/sysroot_arm64.sh, whose path is in
# the environment (or the cache) as EDGE_GPU_SYSROOT. protoc and its gRPC plugin are this machine's.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
if(NOT EDGE_GPU_SYSROOT)
  set(EDGE_GPU_SYSROOT "$ENV{EDGE_GPU_SYSROOT}" CACHE PATH "arm64 packages to build against")
endif()
if(NOT EXISTS "${EDGE_GPU_SYSROOT}/usr/include")
  message(FATAL_ERROR "EDGE_GPU_SYSROOT=\"${EDGE_GPU_SYSROOT}\" is no sysroot: use ./dev package --arch arm64, or set it to what "
                      "tools/package/sysroot_arm64.sh prints")
endif()
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES EDGE_GPU_SYSROOT)

set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
# For -fuse-ld=lld a cross g++ looks for aarch64-linux-gnu-ld.lld only; lld itself knows every machine.
find_program(EDGE_GPU_LLD ld.lld REQUIRED NO_CMAKE_FIND_ROOT_PATH)
file(REAL_PATH "${EDGE_GPU_LLD}" edge_gpu_lld)
get_filename_component(edge_gpu_lld_folder "${edge_gpu_lld}" DIRECTORY)
set(CMAKE_EXE_LINKER_FLAGS_INIT "-B${edge_gpu_lld_folder}")
set(CMAKE_SHARED_LINKER_FLAGS_INIT "-B${edge_gpu_lld_folder}")
set(CMAKE_SYSROOT "${EDGE_GPU_SYSROOT}")
set(CMAKE_FIND_ROOT_PATH "${EDGE_GPU_SYSROOT}")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
