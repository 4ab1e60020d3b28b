// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Two compilations of one model in two processes write the same bytes, at every stage down to the
// instructions: nothing depends on addresses, on the environment or on where the command runs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/driver/tool.h"
#include "tests/support/repeats.h"

namespace fusegrad::test {
namespace {

namespace files = std::filesystem;

std::vector<std::string> model_files() {
  std::vector<std::string> paths;
  for (const char* folder : {"examples", "tests/driver/programs", "tests/frontend/programs"}) {
    for (const auto& entry : files::recursive_directory_iterator(repository_path(folder))) {
      if (entry.path().extension() == ".fg") paths.push_back(entry.path().string());
    }
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

/// Runs `emit --dump-dir` in the folder `where`, with variables set in front. Gives the exit code.
int dump(const std::string& model, const std::string& folder, const std::string& where,
         const std::string& variables) {
  const std::string command = "cd '" + where + "' && env " + variables + " '" + FUSEGRAD_TOOL +
                              "' emit '" + model + "' --stage=tensor --dump-dir '" + folder +
                              "' > messages 2>&1";
  return std::system(command.c_str());
}

std::map<std::string, std::string> contents(const std::string& folder) {
  std::map<std::string, std::string> texts;
  if (!files::exists(folder)) return texts;
  for (const auto& entry : files::directory_iterator(folder)) {
    texts[entry.path().filename().string()] = read_file(entry.path().string());
  }
  return texts;
}

/// The first line in which they differ.
std::string first_difference(const std::string& a, const std::string& b) {
  const auto [x, y] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  const auto at = static_cast<size_t>(x - a.begin());
  const size_t line = a.rfind('\n', at == 0 ? 0 : at - 1);
  const size_t begin = line == std::string::npos ? 0 : line + 1;
  return a.substr(begin, 200) + "\n--- and ---\n" + b.substr(begin, 200);
}

TEST(Determinism, TwoProcessesWriteTheSameDumps) {
  const std::vector<std::string> models = model_files();
  const auto step = static_cast<size_t>(10 / repeats(10));
  size_t compiled = 0;
  for (size_t number = 0; number < models.size(); number += step) {
    const std::string& model = models[number];
    SCOPED_TRACE(model);
    const std::string first_place = make_folder("first");
    const std::string second_place = make_folder("second/below");
    const int first = dump(model, first_place + "/dump", first_place, "FUSEGRAD_VERIFY= LC_ALL=C");
    // Other bytes in fresh memory, another stack, other places of the heap.
    const int second = dump(model, second_place + "/dump", second_place,
                            "FUSEGRAD_VERIFY=each MALLOC_PERTURB_=165 MALLOC_TOP_PAD_=1234567 "
                            "MALLOC_ARENA_MAX=1 OTHER=" +
                                std::string(5000, 'x'));
    ASSERT_EQ(first, second) << read_file(first_place + "/messages");
    if (first != 0) continue;  // it needs something from the command line
    ++compiled;
    const auto texts = contents(first_place + "/dump");
    const auto again = contents(second_place + "/dump");
    EXPECT_GE(texts.size(), 10U) << "stages are missing";
    EXPECT_EQ(texts.size(), again.size());
    for (const auto& [name, text] : texts) {
      ASSERT_TRUE(again.contains(name)) << name;
      EXPECT_FALSE(text.empty()) << name;
      EXPECT_TRUE(text == again.at(name)) << name << ": " << first_difference(text, again.at(name));
    }
  }
  EXPECT_GE(compiled * step, 10U);
}

}  // namespace
}  // namespace fusegrad::test
