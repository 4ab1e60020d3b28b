// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A simplified program is simple: a second run of the simplifier changes nothing, on every model of
// the repository.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "driver/compile.h"
#include "ir/tensor/print.h"
#include "tests/driver/tool.h"

namespace fusegrad::driver {
namespace {

std::vector<std::string> models() {
  std::vector<std::string> paths;
  for (const char* folder :
       {"examples", "bench", "tests/driver/programs", "tests/frontend/programs"}) {
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(test::repository_path(folder))) {
      if (entry.path().extension() == ".fg") paths.push_back(entry.path().string());
    }
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

TEST(Simplify, ASecondRunChangesNothing) {
  int programs = 0;
  for (const std::string& path : models()) {
    SCOPED_TRACE(path);
    CompileRequest request;
    request.model_path = path;
    request.elaborate.needs_data = false;
    request.elaborate.needs_epochs = false;
    request.elaborate.needs_train_block = false;
    request.until = Stage::tensor_grad;
    Messages messages;
    const std::optional<Compilation> compilation = compile(request, messages);
    // Some are files of definitions only.
    if (!compilation) continue;
    for (const ir::TensorProgram& program : ir::split_metrics(compilation->tensor_grad).programs) {
      const ir::TensorProgram once = ir::simplify(program);
      EXPECT_EQ(ir::print(ir::simplify(once)), ir::print(once));
      ++programs;
    }
  }
  EXPECT_GE(programs, 25);
}

}  // namespace
}  // namespace fusegrad::driver
