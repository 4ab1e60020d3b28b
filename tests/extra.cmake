# Tests that are not GoogleTest programs: shell scripts, text tests of the passes, what links alone.
# Included by tests/CMakeLists.txt.

foreach(name setup syntax)
  add_test(NAME house.scripts.${name}
    COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/house/scripts/${name}_test.sh ${PROJECT_SOURCE_DIR})
  set_tests_properties(house.scripts.${name} PROPERTIES TIMEOUT 60)
endforeach()

# runtime/core must link without the compiler: it is all that a shipped trainer contains.
file(GLOB core_alone CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/house/core_alone/*.cpp)
if(core_alone)
  add_executable(core_alone ${core_alone})
  target_link_libraries(core_alone PRIVATE fg_runtime_core)
  add_test(NAME house.core_alone COMMAND core_alone)
  set_tests_properties(house.core_alone PROPERTIES TIMEOUT 60)
endif()

# tests/lit/*.test: the tool's text output against FileCheck. Both tools come with llvm-19-tools.
file(GLOB lit_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/lit/*.test)
if(lit_tests)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  find_file(FUSEGRAD_LIT lit.py HINTS ${LLVM_INSTALL_PREFIX}/build/utils/lit)
  find_program(FUSEGRAD_FILECHECK FileCheck HINTS ${LLVM_TOOLS_BINARY_DIR} NO_DEFAULT_PATH)
  if(NOT FUSEGRAD_LIT OR NOT FUSEGRAD_FILECHECK)
    message(FATAL_ERROR "lit and FileCheck of LLVM ${LLVM_VERSION_MAJOR} were not found. On Debian: "
                        "apt-get install llvm-19-tools; or build without tests: -DFUSEGRAD_BUILD_TESTS=OFF")
  endif()
  add_test(NAME lit.passes
    COMMAND ${Python3_EXECUTABLE} ${FUSEGRAD_LIT} --verbose ${CMAKE_CURRENT_SOURCE_DIR}/lit)
  set_tests_properties(lit.passes PROPERTIES TIMEOUT 900
    ENVIRONMENT "FUSEGRAD_TOOL=$<TARGET_FILE:fusegrad>;FUSEGRAD_LLVM_TOOLS=${LLVM_TOOLS_BINARY_DIR};FUSEGRAD_LIT_OUTPUT=${CMAKE_CURRENT_BINARY_DIR}/lit;FUSEGRAD_VERIFY=each")
endif()
