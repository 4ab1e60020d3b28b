// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// LLVM comes into the process when machine code is made, and at no other time; where it cannot
// come, the tool says what it looked for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/driver/program.h"
#include "tests/driver/tool.h"

namespace fusegrad::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

constexpr const char* module_name = "libfusegrad_llvm.so";

std::string model() { return repository_path("examples/fashion-softmax/model.fg"); }

/// Every library that the dynamic loader opened while the command ran, among other things.
std::string opened_libraries(const std::vector<std::string>& arguments,
                             const std::string& standard_input = "") {
  setenv("LD_DEBUG", "files", 1);
  const ToolRun run = run_tool(arguments, standard_input);
  unsetenv("LD_DEBUG");
  EXPECT_EQ(run.exit_code, 0) << arguments[0];
  EXPECT_THAT(run.errors, HasSubstr("libc.so")) << "the loader tells nothing";
  return run.errors;
}

TEST(MachineCode, TheToolIsNotLinkedWithLlvm) {
  const ToolRun needed = run_program("/usr/bin/ldd", {FUSEGRAD_TOOL});
  ASSERT_EQ(needed.exit_code, 0) << needed.errors;
  EXPECT_THAT(needed.output, HasSubstr("libc.so"));
  EXPECT_THAT(needed.output, Not(HasSubstr("LLVM")));
}

TEST(MachineCode, LlvmIsOpenedOnlyToMakeIt) {
  const std::string folder = make_folder("work");
  const std::vector<std::vector<std::string>> without = {
      {"check", model()},
      {"fmt", "--check", model()},
      {"list"},
      {"explain", "E0203"},
      {"emit", model(), "--stage=loops"},
      {"grad-check", model(), "--batch=2", "--directions=1"},
  };
  for (const std::vector<std::string>& arguments : without) {
    EXPECT_THAT(opened_libraries(arguments), Not(HasSubstr("LLVM"))) << arguments[0];
  }
  const std::string loops = run_tool({"emit", model(), "--stage=tensor"}).output;
  EXPECT_THAT(opened_libraries({"opt", "--passes=simplify", "-"}, loops), Not(HasSubstr("LLVM")));
  EXPECT_THAT(opened_libraries({"emit", model(), "--stage=asm"}), HasSubstr("libLLVM"));
}

TEST(MachineCode, TheModuleIsFoundFromAnyFolderAndInAnInstallation) {
  const std::string folder = make_folder("installed");
  fs::create_directories(folder + "/bin");
  fs::create_directories(folder + "/lib/fusegrad");
  const fs::path built = fs::path(FUSEGRAD_TOOL).parent_path();
  fs::copy(FUSEGRAD_TOOL, folder + "/bin/fusegrad");
  fs::copy(built / module_name, folder + "/lib/fusegrad");
  const std::vector<std::string> arguments = {"emit", model(), "--stage=asm"};
  const std::string wanted = run_tool(arguments).output;
  const fs::path here = fs::current_path();
  fs::current_path("/");
  const ToolRun built_run = run_tool(arguments);
  const ToolRun installed_run = run_program(folder + "/bin/fusegrad", arguments);
  fs::current_path(here);
  EXPECT_EQ(built_run.exit_code, 0) << built_run.errors;
  EXPECT_EQ(installed_run.exit_code, 0) << installed_run.errors;
  EXPECT_NE(wanted, "");
  EXPECT_TRUE(built_run.output == wanted);
  EXPECT_TRUE(installed_run.output == wanted);
}

TEST(MachineCode, WithoutTheModuleEverythingElseWorks) {
  const std::string folder = make_folder("alone");
  const std::string tool = folder + "/bin/fusegrad";
  const std::string module = folder + "/bin/" + module_name;
  fs::create_directories(folder + "/bin");
  fs::copy(FUSEGRAD_TOOL, tool);
  EXPECT_EQ(run_program(tool, {"check", model()}).exit_code, 0);
  EXPECT_EQ(run_program(tool, {"emit", model(), "--stage=loops"}).exit_code, 0);
  const auto fails_with = [&](const std::string& message) {
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"emit", model(), "--stage=asm"},
          std::vector<std::string>{"build", model(), "-o", folder + "/trainer"}}) {
      const ToolRun run = run_program(tool, arguments);
      EXPECT_EQ(run.exit_code, 5) << run.errors;
      EXPECT_EQ(run.output, "");
      EXPECT_THAT(run.errors, HasSubstr("error: "));
      EXPECT_THAT(run.errors, HasSubstr(message));
    }
  };
  fails_with(std::string(module_name) + ", which is not in `" + folder + "/bin` and `" + folder +
             "/lib/fusegrad`");
  write_file(module, "no library");
  fails_with("`" + module + "` cannot be opened: ");

  // A library of somebody else's, and one of another version.
  const auto write_library = [&](const std::string& source) {
    write_file(folder + "/module.cpp", source);
    const ToolRun made =
        run_program("/usr/bin/c++", {"-shared", "-fPIC", "-o", module, folder + "/module.cpp"});
    ASSERT_EQ(made.exit_code, 0) << made.errors;
  };
  write_library("int other = 1;\n");
  fails_with("`" + module + "` is no module of fusegrad: ");
  write_library(
      "static const char* const table[4] = {\"0.0.0\"};\n"
      "extern \"C\" const void* fusegrad_machine_code() { return table; }\n");
  fails_with("`" + module + "` belongs to fusegrad 0.0.0, not to this one, which is ");
}

}  // namespace
}  // namespace fusegrad::test
