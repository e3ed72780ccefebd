# Debian's gRPC packages ship static archives, but their CMake files export the shared libraries only.
# edge_gpu_grpc links the static group; edge_gpu_proto_library() generates and compiles .proto files.
find_program(EDGE_GPU_PROTOC protoc REQUIRED)
find_program(EDGE_GPU_GRPC_PLUGIN grpc_cpp_plugin REQUIRED)
file(GLOB edge_gpu_absl_archives ${CMAKE_SYSROOT}/usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/libabsl_*.a)
list(FILTER edge_gpu_absl_archives EXCLUDE REGEX "absl_(flags|.*test|.*benchmark|.*mock)")
add_library(edge_gpu_grpc INTERFACE)
target_link_libraries(
  edge_gpu_grpc
  INTERFACE -Wl,--start-group
            -l:libgrpc++_unsecure.a
            -l:libgrpc_unsecure.a
            -l:libgpr.a
            -l:libupb.a
            -l:libaddress_sorting.a
            -l:libprotobuf.a
            -l:libre2.a
            -l:libcares.a
            ${edge_gpu_absl_archives}
            -Wl,--end-group
            -lz
            -lpthread)

function(edge_gpu_proto_library target)
  set(generated)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/proto)
  file(MAKE_DIRECTORY ${out})
  foreach(proto ${ARGN})
    get_filename_component(stem ${proto} NAME_WE)
    set(files ${out}/${stem}.pb.cc ${out}/${stem}.pb.h ${out}/${stem}.grpc.pb.cc ${out}/${stem}.grpc.pb.h)
    add_custom_command(
      OUTPUT ${files}
      COMMAND ${EDGE_GPU_PROTOC} --cpp_out=${out} --grpc_out=${out} --plugin=protoc-gen-grpc=${EDGE_GPU_GRPC_PLUGIN}
              -I ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/${proto}
      DEPENDS ${proto}
      COMMENT "protoc ${proto}")
    list(APPEND generated ${out}/${stem}.pb.cc ${out}/${stem}.grpc.pb.cc)
  endforeach()
  add_library(${target} STATIC ${generated})
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_compile_options(${target} PRIVATE -w -ffunction-sections -fdata-sections)
  target_include_directories(${target} SYSTEM PUBLIC ${out})
  target_link_libraries(${target} PUBLIC edge_gpu_grpc)
endfunction()
