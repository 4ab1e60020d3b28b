// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The work of the compiler grows with the number of statements, whatever the shape of the model: a
// chain of layers, layers side by side, a chain of maps. Seconds say little on a busy machine, so
// two things are counted that are the same in every run: requests for memory of all stages and
// verifiers down to loops, and what grouping looks at.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "driver/compile.h"
#include "ir/passes/row_groups.h"
#include "tests/driver/allocations.h"
#include "tests/driver/tool.h"

namespace fusegrad::driver {
namespace {

std::string layers(int count) {
  std::string text = "  h0 = dense(x, 8)\n";
  for (int i = 0; i < count; ++i) text += fmt::format("  h{} = tanh(dense(h{}, 8))\n", i + 1, i);
  return text + fmt::format("  y = h{}\n", count);
}

/// The outputs meet in a tree.
std::string side_by_side(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += fmt::format("  h{} = tanh(dense(x, 8))\n", i);
  int last = count;
  for (int i = 0; i + 1 < last; i += 2)
    text += fmt::format("  h{} = h{} + h{}\n", last++, i, i + 1);
  return text + fmt::format("  y = h{}\n", last - 1);
}

std::string maps(int count) {
  std::string text = "  h0 = dense(x, 8)\n";
  for (int i = 0; i < count; ++i) text += fmt::format("  h{} = tanh(h{}) + x\n", i + 1, i);
  return text + fmt::format("  y = h{}\n", count);
}

struct Work {
  size_t statements = 0;  ///< of the training step
  long allocations = 0;
  int64_t grouping = 0;
};

Work work_of(const std::string& body, const std::string& path) {
  test::write_file(path, "model generated {\n  input x: f32[B, 8]\n  input t: f32[B, 8]\n" + body +
                             "  loss = mean(b: sum(i: (y[b, i] - t[b, i]) ^ 2))\n}\n"
                             "train { batch = 16 optimizer = momentum(lr = 0.01) epochs = 1 }\n");
  CompileRequest request;
  request.model_path = path;
  request.elaborate.needs_data = false;
  request.until = Stage::loops;
  request.verify_each = true;
  Messages messages;
  const long before = test::allocations();
  const std::optional<Compilation> compilation = compile(request, messages);
  EXPECT_TRUE(compilation) << render(messages.diagnostics, messages.sources);
  if (!compilation) return {};
  Work work;
  work.allocations = test::allocations() - before;
  const ir::TensorProgram& train = *compilation->tensor_opt.find("train");
  work.statements = train.statements.size();
  const ir::Dependences order = ir::dependences(train);
  work.grouping = ir::group_rows(train, order, ir::GroupingLimits{}).steps;
  return work;
}

TEST(CompileWork, GrowsWithTheNumberOfStatements) {
  if (!test::counts_allocations()) GTEST_SKIP() << "a sanitizer has its own requests for memory";
  const std::string path = test::make_folder("models") + "/model.fg";
  struct Shape {
    const char* name;
    std::string (*body)(int);
    int size;
  };
  for (const Shape& shape : {Shape{"layers", layers, 60}, Shape{"side by side", side_by_side, 60},
                             Shape{"maps", maps, 200}}) {
    const Work small = work_of(shape.body(shape.size), path);
    const Work large = work_of(shape.body(4 * shape.size), path);
    fmt::print("{}: {} and {} statements, {} and {} requests for memory, {} and {} steps\n",
               shape.name, small.statements, large.statements, small.allocations, large.allocations,
               small.grouping, large.grouping);
    const double size =
        static_cast<double>(large.statements) / static_cast<double>(small.statements);
    EXPECT_GT(size, 3.5) << shape.name;
    EXPECT_LT(static_cast<double>(large.grouping), 1.3 * size * static_cast<double>(small.grouping))
        << shape.name;
    EXPECT_LT(static_cast<double>(large.allocations),
              1.15 * size * static_cast<double>(small.allocations))
        << shape.name;
  }
}

}  // namespace
}  // namespace fusegrad::driver
