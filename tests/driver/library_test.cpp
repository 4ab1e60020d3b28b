// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Libraries that fusegrad makes, used from C and from Python.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "tests/driver/program.h"
#include "tests/driver/tool.h"

namespace fusegrad::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// A shell's word for a program on PATH; "" if there is none.
std::string find_program(const std::string& name) {
  const ToolRun run = run_program("/bin/sh", {"-c", "command -v " + name});
  return run.exit_code == 0 ? run.output.substr(0, run.output.find('\n')) : "";
}

class Library : public testing::Test {
 protected:
  Library() : folder(make_folder("library")), data(folder + "/fashion-mnist") {
    std::filesystem::create_directories(data);
    write_small_images(data);
    const ToolRun run = run_tool({"build", repository_path("examples/fashion-softmax/model.fg"),
                                  "--kind=shared", "-o", folder + "/libsoftmax.so"});
    EXPECT_EQ(run.exit_code, 0) << run.errors;
    EXPECT_EQ(run.output + run.errors, "");
  }

  std::string folder;
  std::string data;
};

TEST_F(Library, TrainsInAProgramInC) {
  const std::string compiler = find_program("cc");
  ASSERT_NE(compiler, "");
  ToolRun run =
      run_program(compiler, {"-std=c99", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra",
                             "-Wpedantic", "-Werror", "-I", folder, "-o", folder + "/program",
                             repository_path("tests/driver/programs/library.c"), "-L", folder,
                             "-lsoftmax", "-Wl,-rpath," + folder, "-pthread"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  run = run_program(folder + "/program", {data + "/train-images-idx3-ubyte",
                                          data + "/train-labels-idx1-ubyte", "300", folder + "/w"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  // The bits of the tool; two models on two threads do not disturb each other.
  const ToolRun trained =
      run_tool({"train", repository_path("examples/fashion-softmax/model.fg"), "--data", folder,
                "--epochs", "2", "--save", folder + "/reference", "-q"});
  ASSERT_EQ(trained.exit_code, 0) << trained.errors;
  EXPECT_TRUE(read_file(folder + "/w") == read_file(folder + "/reference"));
  EXPECT_TRUE(read_file(folder + "/w.second") == read_file(folder + "/reference"));
}

TEST_F(Library, ShowsItsNamesOnly) {
  EXPECT_THAT(
      read_file(folder + "/softmax.h"),
      testing::AllOf(HasSubstr("const uint8_t *image; /* u8[n, 28, 28] */"),
                     HasSubstr("const uint8_t *label; /* u8[n] in 0..10 */"),
                     HasSubstr("float *logits; /* f32[n, 10] */"), HasSubstr("double accuracy;"),
                     HasSubstr("softmax_regression_BATCH = 128")));
  EXPECT_THAT(read_file(folder + "/softmax.pc"), HasSubstr("-L${pcfiledir} -lsoftmax"));
  const ToolRun needed = run_program("/usr/bin/ldd", {folder + "/libsoftmax.so"});
  for (const char* library : {"libstdc++", "libgcc", "libz.", "libfmt", "LLVM"}) {
    EXPECT_THAT(needed.output, Not(HasSubstr(library)));
  }
  const std::string nm = find_program("nm");
  if (nm.empty()) GTEST_SKIP() << "no nm";
  const ToolRun names = run_program(nm, {"-D", "--defined-only", folder + "/libsoftmax.so"});
  std::istringstream lines(names.output);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    EXPECT_THAT(line, HasSubstr(" T softmax_regression_"));
  }
  EXPECT_EQ(count, 12);
}

TEST_F(Library, TrainsInPython) {
  const std::string python = find_program("python3");
  if (python.empty()) GTEST_SKIP() << "no python3";
  write_file(folder + "/use.py", R"(
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
images = open(sys.argv[2], 'rb').read()[16:]
labels = open(sys.argv[3], 'rb').read()[8:]
class Inputs(ctypes.Structure):
  _fields_ = [('image', ctypes.c_char_p), ('label', ctypes.c_char_p)]
class Metrics(ctypes.Structure):
  _fields_ = [('loss', ctypes.c_double), ('accuracy', ctypes.c_double)]
library.softmax_regression_create.restype = ctypes.c_void_p
library.softmax_regression_create.argtypes = [ctypes.c_int, ctypes.c_int64]
model = ctypes.c_void_p(library.softmax_regression_create(1, 3))
inputs, metrics = Inputs(images, labels), Metrics()
for epoch in range(2):
  code = library.softmax_regression_train_epoch(
      model, ctypes.byref(inputs), ctypes.c_int64(len(labels)), ctypes.byref(metrics))
  assert code == 0, code
assert library.softmax_regression_save(model, sys.argv[4].encode()) == 0
library.softmax_regression_destroy(model)
print(metrics.accuracy > 0.3)
)");
  const ToolRun run = run_program(
      python, {folder + "/use.py", folder + "/libsoftmax.so", data + "/train-images-idx3-ubyte",
               data + "/train-labels-idx1-ubyte", folder + "/w"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_EQ(run.output, "True\n");
  EXPECT_EQ(run_tool({"train", repository_path("examples/fashion-softmax/model.fg"), "--data",
                      folder, "--epochs", "2", "--save", folder + "/reference", "-q"})
                .exit_code,
            0);
  EXPECT_TRUE(read_file(folder + "/w") == read_file(folder + "/reference"));
}

TEST(LibraryNames, WordsOfCAndOddModels) {
  const std::string folder = make_folder("library");
  write_file(folder + "/odd.fg",
             "model double {\n"
             "  input float: f32[B, 2]\n"
             "  input class: i32[B] in 0..3\n"
             "  param w: real[2] = 0.5\n"
             "  new[b] = sum(i: float[b, i] * w[i])\n"
             "  loss = mean(b: (new[b] - real(class[b])) ^ 2)\n"
             "  metric loss_rate = sqrt(mean(b: new[b] * new[b]))\n"
             "}\n"
             "train { batch = 4  epochs = 1  optimizer = mine(pace = 0.1) }\n"
             "optimizer mine(pace) for p, g { p <- p - pace * g }\n"
             "data d { train { float = npy(\"x.npy\")  class = npy(\"y.npy\") } }\n");
  const ToolRun run =
      run_tool({"build", folder + "/odd.fg", "--kind=shared", "-o", folder + "/odd.so"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  const std::string header = read_file(folder + "/odd.h");
  EXPECT_THAT(header, HasSubstr("const float *float_; /* f32[n, 2] */"));
  EXPECT_THAT(header, HasSubstr("const int32_t *class_; /* i32[n] in 0..3 */"));
  EXPECT_THAT(header, HasSubstr("double loss;\n  double loss_rate;"));
  // No outputs, and no argument `lr`.
  EXPECT_THAT(header, Not(HasSubstr("predict")));
  EXPECT_THAT(header, Not(HasSubstr("learning_rate")));
  EXPECT_FALSE(std::filesystem::exists(folder + "/odd.pc"));
  for (const char* language : {"c", "c++"}) {
    const ToolRun compiled =
        run_program(find_program("c++"), {"-x", language, "-Wall", "-Wextra", "-Wpedantic",
                                          "-Werror", "-fsyntax-only", folder + "/odd.h"});
    EXPECT_EQ(compiled.exit_code, 0) << compiled.errors;
  }
}

}  // namespace
}  // namespace fusegrad::test
