// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tests say their programs in the notation of T.
#include "tests/support/tensor_text.h"

#include <gtest/gtest.h>

#include "ir/support/diagnostics.h"
#include "ir/support/source.h"
#include "ir/tensor/parse.h"
#include "ir/tensor/print.h"
#include "ir/tensor/verify.h"

namespace fusegrad::test {

ir::TensorProgram tensor_program(const std::string& text) {
  SourceManager sources;
  Diagnostics diagnostics;
  const uint32_t file = sources.add("test.t", "stage tensor\n" + text);
  std::optional<ir::TensorStage> stage = ir::parse_tensor_module(sources, file, diagnostics);
  if (!stage || stage->module.programs.empty()) {
    ADD_FAILURE() << render(diagnostics, sources);
    return {};
  }
  for (const std::string& violation : ir::verify(stage->module)) ADD_FAILURE() << violation;
  return stage->module.programs[0];
}

std::string statement_lines(const ir::TensorProgram& program, size_t first) {
  std::string lines;
  for (size_t i = first; i < program.statements.size(); ++i) {
    lines += ir::print(program.statements[i], program.real) + "\n";
  }
  return lines;
}

}  // namespace fusegrad::test
