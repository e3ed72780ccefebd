# edge_gpu_embed(HEADER header NAMESPACE ns SYMBOL name FILE file): a header in the build folder with the file's text as
# `inline constexpr std::string_view ns::name`. It is made again when the file changes.
function(edge_gpu_embed)
  cmake_parse_arguments(E "" "HEADER;NAMESPACE;SYMBOL;FILE" "" ${ARGN})
  file(READ ${E_FILE} text)
  if(text MATCHES "\\)EMBED\"")
    message(FATAL_ERROR "${E_FILE} holds the end mark of the raw string")
  endif()
  set(content "#pragma once\n\n#include <string_view>\n\nnamespace ${E_NAMESPACE} {\n")
  string(APPEND content "inline constexpr std::string_view ${E_SYMBOL} = R\"EMBED(${text})EMBED\";\n}\n")
  file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/embedded/${E_HEADER} CONTENT "@content@" @ONLY)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${E_FILE})
endfunction()
