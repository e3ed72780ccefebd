# Warning and hardening flags as one INTERFACE target, so that third-party headers never see them.
add_library(edge_gpu_flags INTERFACE)
target_compile_features(edge_gpu_flags INTERFACE cxx_std_20)
target_compile_options(
  edge_gpu_flags
  INTERFACE -Wall
            -Wextra
            -Wpedantic
            -Wshadow
            -Wconversion
            -Wno-sign-conversion
            -Wnon-virtual-dtor
            -Wold-style-cast
            -Wimplicit-fallthrough
            -Werror
            -fstack-protector-strong
            -ffunction-sections
            -fdata-sections
            -ffile-prefix-map=${PROJECT_SOURCE_DIR}=.)
target_compile_definitions(edge_gpu_flags INTERFACE _GLIBCXX_ASSERTIONS)
target_link_options(edge_gpu_flags INTERFACE -fuse-ld=lld -Wl,--gc-sections -Wl,-z,relro,-z,now)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports false positives from inlined std::string and std::variant code at -O1 and above.
  target_compile_options(edge_gpu_flags INTERFACE -Wno-restrict -Wno-maybe-uninitialized -Wno-stringop-overflow -Wno-array-bounds -Wno-dangling-pointer)
  target_compile_options(edge_gpu_flags INTERFACE -fstack-clash-protection)
endif()
if(NOT EDGE_GPU_SANITIZE AND NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  target_compile_definitions(edge_gpu_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:_FORTIFY_SOURCE=2>)
endif()
