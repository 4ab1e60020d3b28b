// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Fusion: which statements share a kernel, which kernels a launch, and that no name matters.
#include <gtest/gtest.h>

#include <string>

#include "ir/kernel/print.h"
#include "ir/passes/passes.h"
#include "ir/support/diagnostics.h"
#include "ir/tensor/parse.h"

namespace fusegrad::ir {
namespace {

TensorProgram parse_program(const std::string& body) {
  SourceManager sources;
  Diagnostics diagnostics;
  uint32_t file =
      sources.add("test.txt", "stage tensor.grad\n\nprogram train batch 64 {\n" + body + "}\n");
  auto stage = parse_tensor_module(sources, file, diagnostics);
  EXPECT_TRUE(stage.has_value()) << render(diagnostics, sources);
  return stage ? stage->module.programs[0] : TensorProgram{};
}

size_t kernels(const Launch& launch) { return launch.kernels.size(); }

const FusionRemark* remark(const KernelProgram& program, const std::string& producer,
                           const std::string& consumer) {
  for (const FusionRemark& candidate : program.remarks) {
    if (candidate.producer == producer && candidate.consumer == consumer) return &candidate;
  }
  return nullptr;
}

// A dense layer, softmax cross-entropy, its gradient and SGD, as differentiation leaves them.
std::string softmax_step(const std::string& w, const std::string& x) {
  auto named = [&](std::string text) {
    for (size_t at = 0; (at = text.find("$W", at)) != std::string::npos;) text.replace(at, 2, w);
    for (size_t at = 0; (at = text.find("$X", at)) != std::string::npos;) text.replace(at, 2, x);
    return text;
  };
  return named(R"(
  input $X: u8[rows, 28, 28]
  input label: u8[rows] in 0..10
  param $W: f32[784, 10]
  param bias: f32[10]
  flat[i in 0..rows, j in 0..784]: f32 = f32($X[i, j // 28, j % 28]) / 255.0
  l0[p in 0..rows, o in 0..10]: f32 = sum(i in 0..784: flat[p, i] * $W[i, o])
  l[p in 0..rows, o in 0..10]: f32 = l0[p, o] + bias[o]
  m[p in 0..rows]: f32 = max(k in 0..10: l[p, k])
  z[p in 0..rows]: f32 = sum(k in 0..10: exp(l[p, k] - m[p]))
  nll[p in 0..rows]: f32 = m[p] + log(z[p]) - l[p, label[p]]
  total: f32 = sum(r in 0..rows: nll[r])
  objective: f32 = total / f32(rows)
  g[q in 0..rows, k in 0..10]: f32 = (if label[q] == k then -1.0 / f32(rows) else 0.0) + 1.0 / f32(rows) / z[q] * exp(l[q, k] - m[q])
  d.bias[q in 0..10]: f32 = sum(p in 0..rows: g[p, q])
  d.w[q in 0..784, k in 0..10]: f32 = sum(p in 0..rows: g[p, k] * flat[p, q])
  new.w[u in 0..784, v in 0..10]: f32 = $W[u, v] - 0.5 * d.w[u, v]
  new.bias[u in 0..10]: f32 = bias[u] - 0.5 * d.bias[u]
  result loss = objective
  $W <- new.w
  bias <- new.bias
)");
}

TEST(Group, SoftmaxRegressionStepIsTwoLaunchesWithoutGradientBuffer) {
  KernelProgram program = group(simplify(parse_program(softmax_step("dense.w", "image"))));
  ASSERT_EQ(program.launches.size(), 2U) << print(program);
  EXPECT_EQ(kernels(program.launches[0]), 1U) << print(program);
  // Weight gradient with its update, bias gradient with its update, the loss.
  EXPECT_EQ(kernels(program.launches[1]), 3U) << print(program);
  for (const Buffer& buffer : program.buffers) {
    if (buffer.kind != BufferKind::temporary) continue;
    // What goes between the launches is per sample: no buffer has the weights' shape.
    ASSERT_FALSE(buffer.shape.empty());
    EXPECT_TRUE(buffer.shape[0].depends_on_rows()) << buffer.name;
  }
  std::string text = print(program);
  EXPECT_NE(text.find("inplace dense.w["), std::string::npos);
  // u8 to real is inside both contractions.
  size_t first = text.find("f32(image[");
  ASSERT_NE(first, std::string::npos);
  EXPECT_NE(text.find("f32(image[", first + 1), std::string::npos);
}

TEST(Group, NamesDoNotMatter) {
  KernelProgram a = group(simplify(parse_program(softmax_step("dense.w", "image"))));
  KernelProgram b = group(simplify(parse_program(softmax_step("q7", "zebra"))));
  ASSERT_EQ(a.launches.size(), b.launches.size());
  for (size_t l = 0; l < a.launches.size(); ++l) {
    ASSERT_EQ(kernels(a.launches[l]), kernels(b.launches[l]));
    for (size_t k = 0; k < kernels(a.launches[l]); ++k) {
      EXPECT_EQ(a.launches[l].kernels[k].statements.size(),
                b.launches[l].kernels[k].statements.size());
    }
  }
}

TEST(Group, UpdateWaitsForEveryReaderOfTheOldValue) {
  // dx reads the old w while w's own gradient is ready: without the edge the update would run too
  // early.
  KernelProgram program = group(parse_program(R"(
  input x: f32[rows, 40]
  param w: f32[40]
  param v: f32[40]
  h[b in 0..rows, i in 0..40]: f32 = x[b, i] * w[i]
  d.w[i in 0..40]: f32 = sum(b in 0..rows: x[b, i])
  new.w[i in 0..40]: f32 = w[i] - d.w[i]
  d.v[i in 0..40]: f32 = sum(j in 0..40: w[j] * v[i])
  new.v[i in 0..40]: f32 = v[i] - d.v[i]
  total: f32 = sum(b in 0..rows, i in 0..40: h[b, i])
  result loss = total
  w <- new.w
  v <- new.v
)"));
  size_t update_launch = 0;
  size_t last_reader = 0;
  for (size_t l = 0; l < program.launches.size(); ++l) {
    for (const Kernel& kernel : program.launches[l].kernels) {
      for (const KernelStatement& statement : kernel.statements) {
        if (statement.storage == Storage::inplace && statement.name == "w") {
          update_launch = l;
          continue;
        }
        walk(statement.value, [&](const Expr& node) {
          if (node.op == Op::read && node.name == "w") last_reader = std::max(last_reader, l);
        });
      }
    }
  }
  EXPECT_GT(update_launch, last_reader) << print(program);
}

TEST(Group, UpdatesThatReadEachOtherSwapThroughCopies) {
  KernelProgram program = group(parse_program(R"(
  param a: f32[40]
  param b: f32[40]
  new.a[i in 0..40]: f32 = b[39 - i]
  new.b[i in 0..40]: f32 = a[39 - i]
  a <- new.a
  b <- new.b
)"));
  // Both old values are read before either is overwritten.
  ASSERT_GE(program.launches.size(), 2U) << print(program);
  for (const Kernel& kernel : program.launches[0].kernels) {
    for (const KernelStatement& statement : kernel.statements)
      EXPECT_NE(statement.storage, Storage::inplace);
  }
}

TEST(Group, ReductionOverRowsIsABoundaryAndSaysSo) {
  KernelProgram program = group(parse_program(R"(
  input x: f32[rows, 40]
  y[b in 0..rows, i in 0..40]: f32 = x[b, i] * 2.0
  s[i in 0..40]: f32 = sum(b in 0..rows: y[b, i])
  t: f32 = sum(i in 0..40: s[i])
  result loss = t
)"));
  const FusionRemark* r = remark(program, "s", "t");
  ASSERT_NE(r, nullptr);
  EXPECT_FALSE(r->fused);
  EXPECT_NE(r->reason.find("no row dimension is shared"), std::string::npos) << r->reason;
}

TEST(Group, StreamingALargeOperandOncePerRowIsRefused) {
  // A row-wise product would read the 512 x 256 weights again for every row.
  KernelProgram program = group(parse_program(R"(
  input x: f32[rows, 512]
  param w: f32[512, 256]
  h[b in 0..rows, o in 0..256]: f32 = sum(i in 0..512: x[b, i] * w[i, o])
  m[b in 0..rows]: f32 = max(o in 0..256: h[b, o])
  t: f32 = sum(b in 0..rows: m[b])
  result loss = t
)"));
  const FusionRemark* r = remark(program, "h", "m");
  ASSERT_NE(r, nullptr);
  EXPECT_FALSE(r->fused);
  EXPECT_NE(r->reason.find("re-read"), std::string::npos) << r->reason;
}

TEST(Schedule, LayoutFollowsTheVectorsOfBothContractions) {
  KernelModule module;
  module.programs.push_back(group(simplify(parse_program(softmax_step("dense.w", "image")))));
  module = schedule(module);
  const Buffer* w = module.programs[0].find_buffer("dense.w");
  ASSERT_NE(w, nullptr);
  EXPECT_EQ(w->packed_dimension, 0);
  EXPECT_EQ(w->packed_block, 8);
  const Kernel& forward = module.programs[0].launches[0].kernels[0];
  bool has_lanes = false;
  for (const ScheduleAttribute& attribute : forward.schedule) {
    has_lanes = has_lanes || attribute.kind == ScheduleAttribute::Kind::lanes;
  }
  EXPECT_TRUE(has_lanes) << print(module);
}

TEST(PlanMemory, BuffersThatLiveTogetherDoNotOverlap) {
  KernelProgram program = plan_memory(group(parse_program(R"(
  input x: f32[rows, 40]
  a[i in 0..40]: f32 = sum(b in 0..rows: x[b, i])
  b1[i in 0..40]: f32 = sum(j in 0..40: a[j] * a[i])
  c[i in 0..40]: f32 = sum(j in 0..40: b1[j] * b1[i])
  d[i in 0..40]: f32 = sum(j in 0..40: c[j] * c[i])
  t: f32 = sum(i in 0..40: d[i])
  result loss = t
)")));
  const Buffer* a = program.find_buffer("a");
  const Buffer* b = program.find_buffer("b1");
  const Buffer* c = program.find_buffer("c");
  ASSERT_TRUE(a != nullptr && b != nullptr && c != nullptr) << print(program);
  EXPECT_NE(a->offset, b->offset);
  EXPECT_NE(b->offset, c->offset);
  EXPECT_EQ(a->offset, c->offset);  // a is dead when c is written
  EXPECT_LT(program.arena_bytes, 4 * 192);
}

}  // namespace
}  // namespace fusegrad::ir
