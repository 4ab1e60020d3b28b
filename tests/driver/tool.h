// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Running the tool as a person would, in a folder of the test's own.
#pragma once

#include <string>
#include <vector>

namespace fusegrad::test {

struct ToolRun {
  int exit_code = 0;
  std::string output;  ///< stdout
  std::string errors;  ///< stderr
};

/// Runs the tool of this build with these arguments.
ToolRun run_tool(const std::vector<std::string>& arguments, const std::string& standard_input = "");

/// A fresh folder below the test's temporary folder.
std::string make_folder(const std::string& name);

void write_file(const std::string& path, const std::string& content);
std::string read_file(const std::string& path);

/// Writes train (300 samples) and t10k (77 samples) IDX files of 28 x 28 images in ten classes that
/// a linear model can tell apart, with MNIST's file names.
void write_small_images(const std::string& folder);

/// A model file of the repository, by its path from the root.
std::string repository_path(const std::string& path);

}  // namespace fusegrad::test
