// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Child processes and small files for the tests of the tool.
#include "tests/driver/tool.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/driver/program.h"

namespace fusegrad::test {

std::string make_folder(const std::string& name) {
  const testing::TestInfo* info = testing::UnitTest::GetInstance()->current_test_info();
  std::filesystem::path path = std::filesystem::path(testing::TempDir()) / "fusegrad-driver" /
                               (std::string(info->test_suite_name()) + "." + info->name()) / name;
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path.string();
}

void write_file(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
  ASSERT_TRUE(file.good()) << path;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

std::string repository_path(const std::string& path) {
  return std::string(FUSEGRAD_SOURCE_DIR) + "/" + path;
}

ToolRun run_tool(const std::vector<std::string>& arguments, const std::string& standard_input) {
  return run_program(FUSEGRAD_TOOL, arguments, standard_input);
}

ToolRun run_program(const std::string& program, const std::vector<std::string>& arguments,
                    const std::string& standard_input) {
  std::string folder = testing::TempDir() + "/fusegrad-run-" + std::to_string(getpid());
  std::filesystem::create_directories(folder);
  std::string in = folder + "/in";
  std::string out = folder + "/out";
  std::string err = folder + "/err";
  write_file(in, standard_input);
  pid_t child = fork();
  if (child == 0) {
    bool redirected = std::freopen(in.c_str(), "rb", stdin) != nullptr &&
                      std::freopen(out.c_str(), "wb", stdout) != nullptr &&
                      std::freopen(err.c_str(), "wb", stderr) != nullptr;
    if (!redirected) _exit(126);
    std::vector<char*> raw;
    raw.push_back(const_cast<char*>(program.c_str()));
    for (const std::string& argument : arguments)
      raw.push_back(const_cast<char*>(argument.c_str()));
    raw.push_back(nullptr);
    execv(program.c_str(), raw.data());
    _exit(127);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  ToolRun run;
  run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  run.output = read_file(out);
  run.errors = read_file(err);
  return run;
}

namespace {

void write_split(const std::string& folder, const std::string& prefix, uint32_t count,
                 uint32_t seed) {
  auto big_endian = [](uint32_t value) {
    return std::string{static_cast<char>(value >> 24), static_cast<char>(value >> 16),
                       static_cast<char>(value >> 8), static_cast<char>(value)};
  };
  std::string images = big_endian(0x803) + big_endian(count) + big_endian(28) + big_endian(28);
  std::string labels = big_endian(0x801) + big_endian(count);
  uint32_t state = seed;
  auto next = [&] { return (state = state * 1664525U + 1013904223U) >> 24; };
  for (uint32_t sample = 0; sample < count; ++sample) {
    uint32_t label = next() % 10;
    labels += static_cast<char>(label);
    for (uint32_t pixel = 0; pixel < 784; ++pixel) {
      // A bright band per class over noise.
      bool band = pixel / 70 == label;
      images += static_cast<char>(band ? 200 + next() % 56 : next() % 60);
    }
  }
  write_file(folder + "/" + prefix + "-images-idx3-ubyte", images);
  write_file(folder + "/" + prefix + "-labels-idx1-ubyte", labels);
}

}  // namespace

void write_small_images(const std::string& folder) {
  write_split(folder, "train", 300, 1);
  write_split(folder, "t10k", 77, 2);
}

}  // namespace fusegrad::test
