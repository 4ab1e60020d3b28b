// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// K as text: a handwritten module with every construct comes back; mistakes are located.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "ir/kernel/parse.h"
#include "ir/kernel/print.h"

namespace fusegrad::ir {
namespace {

constexpr const char* softmax_step = R"(stage kernels

program init batch 128 {
  param dense.w: f32[784, 10] packed 0 by 8  # 31360 bytes
  launch {
    kernel k0_dense_w rows(i in 0..784, o in 0..10) {
      inplace dense.w[i, o]: f32 = 0.1 * normal.3(i * 10 + o)
    }
  }
}

program train batch 128 precision f64 {
  input image: u8[rows, 28, 28]  # 100352 bytes
  input label: u8[rows] in 0..10  # 128 bytes
  param dense.w: f64[784, 10] packed 0 by 8  # 62720 bytes
  state dense.w.v: f64[784, 10]  # 62720 bytes
  result objective: f64[]  # 8 bytes
  buffer g: f64[rows, 10] at 0  # 10240 bytes
  buffer nll: f64[rows] at 10240  # 1024 bytes
  arena 11264
  # peak of the buffers in use: 11264 bytes, in launch 1 of 2
  launch {
    kernel k0_g__nll rows(b in 0..rows) schedule(tile b 8, vector b 8, lanes i 8, unroll o 10) {
      local l[o in 0..10]: f64 = sum(i in 0..784: f64(image[b, i // 28, i % 28]) * 0.003921568627450980 * dense.w[i, o])
      local m: f64 = max(o2 in 0..10: l[o2])
      local e[o3 in 0..10]: f64 = exp(l[o3] - m)
      local z: f64 = sum(o4 in 0..10 where o4 < 20: e[o4])
      out nll[b]: f64 = m + log(z) - l[label[b]]
      out g[b, o5 in 0..10]: f64 = (if label[b] == o5 then -1.0 else 0.0) + e[o5] / z
    }
  }
  launch {
    kernel k1_dense_w rows(i in 0..784, o in 0..10) {
      local d: f64 = sum(b in 0..rows: f64(image[b, i // 28, i % 28]) * g[b, o])
      local v: f64 = 0.9 * dense.w.v[i, o] + d
      inplace dense.w.v[i, o]: f64 = v
      inplace dense.w[i, o]: f64 = dense.w[i, o] - 0.1 * v
    }
    kernel k2_objective rows() {
      out objective: f64 = sum(r in 0..rows: nll[r])
    }
  }
  result loss = objective
  result metric mean = objective
}
)";

struct Parsed {
  std::optional<KernelModule> module;
  std::string message;
};

Parsed parse(const std::string& text) {
  SourceManager sources;
  Diagnostics diagnostics;
  Parsed parsed;
  parsed.module = parse_kernel_module(sources, sources.add("model.kernels", text), diagnostics);
  EXPECT_EQ(parsed.module.has_value(), !diagnostics.has_errors());
  EXPECT_LE(diagnostics.all().size(), 1u);
  if (diagnostics.has_errors()) {
    const Diagnostic& first = diagnostics.all()[0];
    EXPECT_EQ(first.code, "E0901");
    const LineColumn at = sources.position(first.primary.span.file, first.primary.span.begin);
    parsed.message = fmt::format("{}:{}: {}", at.line, at.column, first.message);
  }
  return parsed;
}

std::string mistake(const std::string& lines) {
  return parse("stage kernels program p batch 4 { " + lines + "\n}").message;
}

std::string kernel_mistake(const std::string& statements) {
  return mistake("buffer x: f32[rows] launch { kernel k rows(b in 0..rows) {\n" + statements +
                 "\n} }");
}

TEST(KernelText, AHandwrittenModuleComesBack) {
  std::string text = softmax_step;
  // A number with more digits than it needs is the only difference.
  const std::string number = "0.003921568627450980";
  text.replace(text.find(number), number.size(), "0.00392156862745098");
  Parsed parsed = parse(softmax_step);
  ASSERT_TRUE(parsed.module) << parsed.message;
  EXPECT_EQ(print(*parsed.module), text);
}

TEST(KernelText, PartsAreWhatTheTextSays) {
  Parsed parsed = parse(softmax_step);
  ASSERT_TRUE(parsed.module) << parsed.message;
  const KernelProgram& program = parsed.module->programs.at(1);
  EXPECT_EQ(program.real, ScalarType::f64);
  EXPECT_EQ(program.arena_bytes, 11264);
  const Buffer* w = program.find_buffer("dense.w");
  ASSERT_NE(w, nullptr);
  EXPECT_EQ(w->packed_dimension, 0);
  EXPECT_EQ(w->packed_block, 8);
  EXPECT_EQ(program.find_buffer("nll")->offset, 10240);
  EXPECT_EQ(program.find_buffer("label")->range, (IntegerRange{0, 10}));
  const Kernel& kernel = program.launches.at(0).kernels.at(0);
  EXPECT_EQ(kernel.attribute(ScheduleAttribute::Kind::lanes, "i"), 8);
  EXPECT_EQ(kernel.statements[0].storage, Storage::local);
  EXPECT_EQ(kernel.statements[4].storage, Storage::out);
  EXPECT_TRUE(kernel.statements[5].indices[0].is_row);
  EXPECT_FALSE(kernel.statements[5].indices[1].is_row);
  EXPECT_EQ(program.launches[1].kernels[0].statements[2].storage, Storage::inplace);
  EXPECT_EQ(program.results[0].kind, TensorResultKind::loss);
}

TEST(KernelText, MistakesAreNamedAndLocated) {
  EXPECT_EQ(parse("stage tensor").message, "1:7: expected kernels, found `tensor`");
  EXPECT_EQ(mistake("\nbuffer x: f32[rows]\nbuffer x: f32[]"), "3:8: buffer `x` is defined twice");
  EXPECT_EQ(mistake("\nbuffer x: f32[rows] at 8"),
            "2:21: only a temporary has a position, and it is a multiple of 64, not negative");
  EXPECT_EQ(mistake("\nparam x: f32[3] packed 1 by 8"),
            "2:24: `x` has no dimension 1 to pack by 8");
  EXPECT_EQ(mistake("\nparam x: f32[3] in 0..2"), "2:17: only an input of integers has a range");
  EXPECT_EQ(mistake("\nnothing"),
            "2:1: expected a buffer, arena, launch, result or `}`, found `nothing`");
  EXPECT_EQ(mistake("launch { kernel k rows(b in 0..rows) schedule(twist b 2) { } }"),
            "1:81: expected tile, vector, lanes, unroll or segment, found `twist`");
  EXPECT_EQ(mistake("launch { kernel k rows(b in 0..rows) schedule(tile b 0) { } }"),
            "1:88: the number of a schedule attribute is at least 1");
  EXPECT_EQ(kernel_mistake("out x[b]: f32 = y[b]"), "2:17: there is no `y` here");
  EXPECT_EQ(kernel_mistake("out x[b]: f32 = l[0]\nlocal l[o in 0..2]: f32 = 1.0"),
            "2:17: there is no `l` here");
  EXPECT_EQ(kernel_mistake("local l: f32 = 1.0\nlocal l: f32 = 1.0"),
            "3:7: local `l` is defined twice");
  EXPECT_EQ(kernel_mistake("x[b]: f32 = 1.0"),
            "2:1: expected local, out, inplace or `}`, found `x`");
}

TEST(KernelText, DamagedTextIsRefusedOrRead) {
  const std::string text = softmax_step;
  for (size_t i = 0; i < text.size(); i += 5) {
    parse(text.substr(0, i));
    std::string damaged = text;
    damaged.erase(i, 1);
    parse(damaged);
    damaged = text;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 7)));
    parse(damaged);
  }
}

}  // namespace
}  // namespace fusegrad::ir
