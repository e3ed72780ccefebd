# edge_gpu_module(NAME name [SOURCES ...] [TESTS ...] [BENCHES ...] [FUZZERS ...] [DEPS ...] [TEST_DEPS ...] [LABELS ...])
#
# One folder under src/ is one static library `egpu_<name>`. Tests, benchmarks and fuzzers lie beside the code:
#   TESTS    become one executable `<name>_test`, its cases registered with ctest (LABELS apply to all of them)
#   BENCHES  become one executable `<name>_bench`
#   FUZZERS  become one executable each: a fuzzer in the `fuzz` preset, elsewhere a test that replays tests/data/fuzz/<name>
#
# A list of several files is sorted, one file a line: two changes that add files merge.
#
# Tests labelled `grpc` are left out of the ThreadSanitizer build: the packaged gRPC is not instrumented. That build (and the
# fuzzers') makes only what its tests need.
function(edge_gpu_module)
  cmake_parse_arguments(M "" "NAME" "SOURCES;TESTS;BENCHES;FUZZERS;DEPS;TEST_DEPS;LABELS" ${ARGN})
  set(lib egpu_${M_NAME})
  if(EDGE_GPU_SANITIZE MATCHES "thread" AND M_LABELS MATCHES "grpc")
    set(M_TESTS)
  endif()
  if(M_SOURCES)
    add_library(${lib} STATIC ${M_SOURCES})
    target_include_directories(${lib} PUBLIC ${PROJECT_SOURCE_DIR}/src)
    target_link_libraries(${lib} PUBLIC ${M_DEPS} PRIVATE edge_gpu_flags)
    if(EDGE_GPU_SANITIZE MATCHES "thread" OR EDGE_GPU_FUZZ)
      set_target_properties(${lib} PROPERTIES EXCLUDE_FROM_ALL ON)
    endif()
  else()
    add_library(${lib} INTERFACE)
    target_include_directories(${lib} INTERFACE ${PROJECT_SOURCE_DIR}/src)
    target_link_libraries(${lib} INTERFACE ${M_DEPS})
  endif()

  if(M_TESTS AND EDGE_GPU_TESTS AND NOT EDGE_GPU_FUZZ)
    add_executable(${M_NAME}_test ${M_TESTS})
    target_link_libraries(${M_NAME}_test PRIVATE edge_gpu_flags ${lib} ${M_TEST_DEPS} GTest::gmock GTest::gtest_main)
    gtest_discover_tests(
      ${M_NAME}_test
      TEST_PREFIX "${M_NAME}."
      DISCOVERY_MODE PRE_TEST
      NO_PRETTY_VALUES # they would print objects as bytes: another name at each build
      PROPERTIES TIMEOUT 300 LABELS "${M_LABELS}")
  endif()

  if(M_BENCHES AND EDGE_GPU_TESTS AND NOT EDGE_GPU_SANITIZE AND NOT EDGE_GPU_FUZZ)
    add_executable(${M_NAME}_bench ${M_BENCHES})
    target_link_libraries(${M_NAME}_bench PRIVATE edge_gpu_flags ${lib} ${M_TEST_DEPS} benchmark::benchmark_main)
  endif()

  if(M_FUZZERS AND EDGE_GPU_TESTS AND NOT EDGE_GPU_SANITIZE MATCHES "thread")
    foreach(source ${M_FUZZERS})
      get_filename_component(target ${source} NAME_WE)
      add_executable(${target} ${source})
      target_link_libraries(${target} PRIVATE edge_gpu_flags ${lib} ${M_TEST_DEPS})
      if(EDGE_GPU_FUZZ)
        target_link_options(${target} PRIVATE -fsanitize=fuzzer)
      else()
        target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/src/testing/replay_seeds.cpp)
        add_test(NAME ${M_NAME}.seeds.${target} COMMAND ${target} ${PROJECT_SOURCE_DIR}/tests/data/fuzz/${target})
        set_tests_properties(${M_NAME}.seeds.${target} PROPERTIES TIMEOUT 300)
      endif()
    endforeach()
  endif()
endfunction()
