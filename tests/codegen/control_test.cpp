// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Statements of L in generated code: loops, branches, variables, memory of every kind.
#include <gtest/gtest.h>

#include <random>

#include "codegen/cpu/emit_llvm.h"
#include "tests/codegen/loops.h"

namespace fusegrad::test {
namespace {

using ir::ExprRef;
using ir::LoopBlock;
using ir::LoopFunction;
using ir::LoopProgram;
using ir::make_binary;
using ir::make_load;
using ir::make_uniform;
using ir::Op;
using ir::ScalarType;
using ir::TaskDimension;

constexpr ScalarType f32 = ScalarType::f32;
constexpr ScalarType i64 = ScalarType::i64;

/// One function `f` with all buffers as parameters; those called "out..." are written.
LoopProgram program_of(std::vector<ir::Buffer> buffers, LoopBlock body,
                       std::vector<TaskDimension> tasks = {}, int64_t batch = 1,
                       bool row_list = false) {
  LoopProgram program;
  program.name = "control";
  program.batch = batch;
  program.buffers = std::move(buffers);
  LoopFunction function;
  function.name = "f";
  for (const ir::Buffer& source : program.buffers) {
    function.parameters.push_back(parameter(program, source.name, source.name.starts_with("out")));
    if (source.offset >= 0) {
      program.arena_bytes = std::max(
          program.arena_bytes, source.offset + source.physical_elements() * byte_size(source.type));
    }
  }
  if (row_list) function.parameters.push_back(parameter(program, ir::row_list_name, false));
  function.tasks = std::move(tasks);
  function.body = std::move(body);
  program.functions.push_back(std::move(function));
  return program;
}

void fill_reals(AlignedMemory& memory, const LoopProgram& program, std::string_view name) {
  std::mt19937 random(11);
  const auto count = program.find_buffer(name)->physical_elements();
  for (int64_t i = 0; i < count; ++i) {
    memory.elements<float>(name)[i] = static_cast<float>(random()) * 0x1p-31F - 1.0F;
  }
}

std::string check(const LoopProgram& program, const AlignedMemory& memory,
                  const ir::LoopUniforms& uniforms = {}) {
  std::string text = run_and_compare(program, memory, uniforms);
  if (!text.empty()) return text;
  runtime::JitOptions plain;
  plain.target = codegen::baseline_target();
  plain.target->level = codegen::CodegenLevel::none;
  plain.passes = "";
  return run_and_compare(program, memory, uniforms, plain);
}

TEST(Control, LoopBoundsFromNothingToMany) {
  // out[10 * begin + end] counts the rounds of `for i = begin to end step 3`, and sums i.
  ExprRef at = index("a") * number(10) + index("z");
  LoopProgram program = program_of({buffer("out", i64, 200)},
                                   {loop("a", number(0), number(10), 1,
                                         {loop("z", number(0), number(10), 1,
                                               {var("count", number(0)), var("sum", number(0)),
                                                loop("i", index("a"), index("z"), 3,
                                                     {assign("count", index("count") + number(1)),
                                                      assign("sum", index("sum") + index("i"))}),
                                                store("out", at, index("count")),
                                                store("out", at + number(100), index("sum"))})})});
  AlignedMemory memory(program, 1);
  EXPECT_EQ(check(program, memory), "");
  auto compiled = runtime::compile(program);
  ASSERT_TRUE(compiled);
  std::vector<void*> pointers = memory.pointers(compiled->buffer_names());
  runtime::Uniforms uniforms;
  compiled->function("f")(pointers.data(), &uniforms, 0, 1);
  EXPECT_EQ(memory.elements<int64_t>("out")[9], 3);
  EXPECT_EQ(memory.elements<int64_t>("out")[109], 0 + 3 + 6);
  EXPECT_EQ(memory.elements<int64_t>("out")[95], 0);
}

TEST(Control, BoundsAreTakenBeforeTheFirstRound) {
  // The bound is read from memory that the body changes.
  LoopProgram program =
      program_of({buffer("out", i64, 8)},
                 {store("out", number(0), number(5)), var("n", number(0)),
                  loop("i", number(0), make_load("out", i64, number(0)), 1,
                       {store("out", number(0), number(1)), assign("n", index("n") + number(1))}),
                  store("out", number(1), index("n"))});
  AlignedMemory memory(program, 1);
  EXPECT_EQ(check(program, memory), "");
}

TEST(Control, BranchesJoinVariables) {
  ExprRef i = index("i");
  ExprRef odd = make_binary(Op::equal, make_binary(Op::modulo, i, number(2)), number(1));
  ExprRef large = make_binary(Op::greater, i, number(20));
  LoopProgram program =
      program_of({buffer("out", i64, 64)},
                 {var("x", number(1)), var("y", number(2)), var("untouched", number(3)),
                  loop("i", number(0), number(40), 1,
                       {branch(odd,
                               {assign("x", index("x") + i),
                                branch(large, {assign("y", index("x")), assign("x", number(0))})},
                               {assign("y", index("y") * number(3))}),
                        store("out", i, index("x") - index("y") + index("untouched"))}),
                  store("out", number(40), index("x")), store("out", number(41), index("y"))});
  AlignedMemory memory(program, 1);
  EXPECT_EQ(check(program, memory), "");
}

TEST(Control, NamesEndWithTheirBlock) {
  LoopProgram program =
      program_of({buffer("out", i64, 16)},
                 {let("k", number(7)),
                  loop("i", number(0), number(3), 1,
                       {let("v", index("i") + index("k")), store("out", index("i"), index("v"))}),
                  loop("i", number(3), number(6), 1,
                       {let("v", index("i") * index("k")), store("out", index("i"), index("v"))})});
  AlignedMemory memory(program, 1);
  EXPECT_EQ(check(program, memory), "");
}

TEST(Control, ALoadSeesTheStoreBeforeIt) {
  // The same expression before and after a store: two values. Also through overlapping vectors.
  ExprRef first = make_load("out", f32, number(3), 4);
  LoopProgram program = program_of(
      {buffer("out", f32, 32), buffer("a", f32, 8)},
      {let("before", first), store("out", number(2), make_load("a", f32, number(1), 4)),
       let("after", first), store("out", number(8), value("before", f32, 4)),
       store("out", number(12), value("after", f32, 4)),
       loop("i", number(16), number(28), 1,
            {store("out", index("i") + number(1), make_load("out", f32, index("i")) + real(1))})});
  AlignedMemory memory(program, 1);
  fill_reals(memory, program, "a");
  fill_reals(memory, program, "out");
  EXPECT_EQ(check(program, memory), "");
}

TEST(Control, StacksOfEveryType) {
  LoopBlock body;
  std::vector<ir::Buffer> buffers;
  for (ScalarType type : {ScalarType::boolean, ScalarType::u8, ScalarType::i32, ScalarType::i64,
                          ScalarType::f32, ScalarType::f64}) {
    std::string name(spelling(type));
    buffers.push_back(buffer("a_" + name, type, 40));
    buffers.push_back(buffer("out_" + name, type, 40));
    body.push_back(stack("s_" + name, type, 40));
    body.push_back(
        loop("i", number(0), number(40), 8,
             {store("s_" + name, index("i"), make_load("a_" + name, type, index("i"), 8))}));
    // Backwards, one by one, at an address that is known only at run time.
    body.push_back(loop(
        "i", number(0), number(40), 1,
        {store("out_" + name, index("i"), make_load("s_" + name, type, number(39) - index("i")))}));
  }
  LoopProgram program = program_of(std::move(buffers), std::move(body));
  AlignedMemory memory(program, 1);
  for (int i = 0; i < 40; ++i) {
    memory.elements<uint8_t>("a_bool")[i] = i % 3 == 0;
    memory.elements<uint8_t>("a_u8")[i] = static_cast<uint8_t>(i * 7);
    memory.elements<int32_t>("a_i32")[i] = i * -70000;
    memory.elements<int64_t>("a_i64")[i] = int64_t{i} << 40;
    memory.elements<float>("a_f32")[i] = static_cast<float>(i) / 3;
    memory.elements<double>("a_f64")[i] = i / 3.0;
  }
  EXPECT_EQ(check(program, memory), "");
}

TEST(Control, AStackInALoopIsFreshMemory) {
  LoopProgram program =
      program_of({buffer("out", f32, 64), buffer("a", f32, 64)},
                 {loop("i", number(0), number(64), 8,
                       {stack("acc", f32, 16), store("acc", number(0), real(0, 8)),
                        store("acc", number(8), make_load("a", f32, index("i"), 8)),
                        loop("k", number(0), number(3), 1,
                             {store("acc", number(0),
                                    ir::make_fma(make_load("acc", f32, number(8), 8),
                                                 make_load("acc", f32, number(8), 8),
                                                 make_load("acc", f32, number(0), 8)))}),
                        store("out", index("i"), make_load("acc", f32, number(0), 8))})});
  AlignedMemory memory(program, 1);
  fill_reals(memory, program, "a");
  EXPECT_EQ(check(program, memory), "");
}

TEST(Control, GatherAndScatterInLaneOrder) {
  for (ScalarType type :
       {ScalarType::boolean, ScalarType::u8, ScalarType::i32, ScalarType::f32, ScalarType::f64}) {
    for (int lanes : {4, 8, 16}) {
      // Addresses repeat, so the last lane must win.
      ExprRef address =
          make_binary(Op::modulo, ir::make_iota(lanes) * ir::make_splat(number(5), lanes),
                      ir::make_splat(number(13), lanes));
      ExprRef twice =
          make_binary(Op::floor_divide, ir::make_iota(lanes), ir::make_splat(number(2), lanes));
      LoopProgram program = program_of({buffer("out", type, 16), buffer("a", type, 16)},
                                       {store("out", twice, make_load("a", type, address))});
      AlignedMemory memory(program, 1);
      auto* bytes = memory.elements<uint8_t>("a");
      for (int64_t i = 0; i < 16 * byte_size(type); ++i) {
        bytes[i] = static_cast<uint8_t>(type == ScalarType::boolean ? i % 2 : i * 5 % 120);
      }
      EXPECT_EQ(check(program, memory), "") << spelling(type) << "x" << lanes;
    }
  }
}

TEST(Control, UnalignedVectorsAndKnownAlignment) {
  // Odd addresses next to addresses that are multiples of 8 and 16: on the oldest x86-64 an aligned
  // load of an unaligned address would end the process.
  LoopBlock body;
  for (int64_t stride : {1, 3, 8, 12, 16}) {
    for (int64_t offset : {0, 1, 4, 8}) {
      ExprRef address = index("i") * number(stride) + number(offset);
      body.push_back(loop("i", number(0), number(4), 1,
                          {store("out", address, make_load("a", f32, address, 8))}));
    }
  }
  body.push_back(loop("i", number(4), number(64), 12,
                      {store("out", index("i"), make_load("a", f32, index("i"), 4))}));
  LoopProgram program = program_of({buffer("out", f32, 80), buffer("a", f32, 80)}, body);
  AlignedMemory memory(program, 1);
  fill_reals(memory, program, "a");
  EXPECT_EQ(check(program, memory), "");
}

TEST(Control, OverlappingTemporariesMayAlias) {
  // Two temporaries on the same bytes of the arena, one used after the other: nothing may tell LLVM
  // that they are apart.
  ir::Buffer first = buffer("out_first", f32, 64, ir::BufferKind::temporary);
  ir::Buffer second = buffer("out_second", f32, 64, ir::BufferKind::temporary);
  first.offset = 64;
  second.offset = 128;
  LoopProgram program = program_of(
      {first, second, buffer("out", f32, 64)},
      {loop("i", number(0), number(48), 1,
            {store("out_first", index("i") + number(16), real(1)),
             store("out_second", index("i"), make_load("out_second", f32, index("i")) + real(1)),
             store("out", index("i"), make_load("out_first", f32, index("i") + number(16)))})});
  AlignedMemory memory(program, 1);
  EXPECT_EQ(check(program, memory), "");
  auto compiled = runtime::compile(program);
  ASSERT_TRUE(compiled);
  std::vector<void*> pointers = memory.pointers(compiled->buffer_names());
  runtime::Uniforms uniforms;
  compiled->function("f")(pointers.data(), &uniforms, 0, 1);
  EXPECT_EQ(memory.elements<float>("out")[5], 2.0F);
}

TEST(Control, RowsOfAResidentColumn) {
  constexpr int64_t batch = 8;
  constexpr int64_t samples = 20;
  constexpr int64_t width = 24;
  ir::Buffer x = buffer("x", ScalarType::u8, 1, ir::BufferKind::input);
  x.shape = {ir::Extent::of_rows(batch), ir::Extent::number(width)};
  ir::Buffer out = buffer("out", f32, 1);
  out.shape = {ir::Extent::of_rows(batch), ir::Extent::number(width)};
  ExprRef row = ir::make_convert(i64, make_load(ir::row_list_name, ScalarType::i32, index("b")));
  LoopBlock per_row = {
      let("start", row * number(width)),
      loop("k", number(0), number(width), 8,
           {store("out", index("b") * number(width) + index("k"),
                  ir::make_convert(
                      f32, make_load("x", ScalarType::u8, index("start") + index("k"), 8)))})};
  ExprRef base = index("t") * number(3);
  LoopProgram program = program_of(
      {x, out},
      {loop("t", index("begin"), index("end"), 1,
            {loop("b", base, make_binary(Op::minimum, base + number(3), make_uniform("rows")), 1,
                  per_row)})},
      {{ir::Extent::of_rows(batch), 3}}, batch, true);
  AlignedMemory memory(program, samples);
  for (int64_t i = 0; i < samples * width; ++i) {
    memory.elements<uint8_t>("x")[i] = static_cast<uint8_t>(i * 7);
  }
  memory.row_list() = {19, 3, 3, 0, 11, 7, 18, 1};
  for (int64_t rows = 1; rows <= batch; ++rows) {
    ir::LoopUniforms uniforms;
    uniforms.rows = rows;
    EXPECT_EQ(check(program, memory, uniforms), "") << rows << " rows";
  }
}

TEST(Control, AnyPartitionOfTheTasks) {
  LoopProgram program = program_of(
      {buffer("out", i64, 70)},
      {loop("t", index("begin"), index("end"), 1,
            {let("i", make_binary(Op::floor_divide, index("t"), number(7))),
             let("j", make_binary(Op::modulo, index("t"), number(7))),
             store("out", index("i") * number(7) + index("j"), index("t") * index("t"))})},
      {{ir::Extent::number(20), 2}, {ir::Extent::number(7), 1}});
  auto compiled = runtime::compile(program);
  ASSERT_TRUE(compiled);
  runtime::Uniforms uniforms;
  AlignedMemory whole(program, 1);
  compiled->function("f")(whole.pointers(compiled->buffer_names()).data(), &uniforms, 0, 70);
  for (int64_t size : {1, 3, 69}) {
    AlignedMemory pieces(program, 1);
    std::vector<void*> pointers = pieces.pointers(compiled->buffer_names());
    for (int64_t begin = 0; begin < 70; begin += size) {
      compiled->function("f")(pointers.data(), &uniforms, begin,
                              std::min<int64_t>(begin + size, 70));
    }
    EXPECT_EQ(difference(program, whole, pieces), "") << "pieces of " << size;
  }
}

TEST(Control, Uniforms) {
  LoopBlock body;
  int64_t position = 0;
  for (std::string_view name : codegen::uniform_order) {
    body.push_back(store("out", number(position++), make_uniform(name)));
  }
  LoopProgram program = program_of({buffer("out", i64, 5)}, body, {}, 4);
  AlignedMemory memory(program, 4);
  ir::LoopUniforms uniforms;
  uniforms.rows = 3;
  uniforms.step = 1000;
  uniforms.epoch = 20;
  uniforms.steps = 123456789012;
  uniforms.seed = -5;
  EXPECT_EQ(check(program, memory, uniforms), "");
}

TEST(Control, SharedSubexpressionsStaySmall) {
  // A tree of 2^60 nodes that is a chain of 60 when sharing is seen.
  ExprRef x = make_load("a", f32, number(0));
  for (int i = 0; i < 60; ++i) x = x * x + x;
  LoopProgram program =
      program_of({buffer("a", f32, 1), buffer("out", f32, 1)}, {store("out", number(0), x)});
  AlignedMemory memory(program, 1);
  memory.elements<float>("a")[0] = 0.01F;
  EXPECT_EQ(check(program, memory), "");
}

TEST(Control, DeepExpressionsAndNesting) {
  ExprRef x = make_load("a", f32, number(0));
  for (int i = 0; i < ir::maximum_expression_depth - 10; ++i) x = x + real(1);
  LoopBlock block = {assign("n", index("n") + number(1))};
  for (int depth = 0; depth < 150; ++depth) {
    block = {loop("i" + std::to_string(depth), number(0), number(1), 1, std::move(block))};
  }
  block.insert(block.begin(), var("n", number(0)));
  block.push_back(store("out", number(0), x));
  block.push_back(store("out_n", number(0), index("n")));
  LoopProgram program = program_of(
      {buffer("a", f32, 1), buffer("out", f32, 1), buffer("out_n", i64, 1)}, std::move(block));
  AlignedMemory memory(program, 1);
  EXPECT_EQ(check(program, memory), "");
}

using ControlDeath = testing::Test;

TEST(ControlDeath, WhatMustHaveBeenExpandedIsOurBug) {
  LoopProgram program = program_of(
      {buffer("a", f32, 1), buffer("out", f32, 1)},
      {store("out", number(0), ir::make_unary(Op::exp, make_load("a", f32, number(0))))});
  EXPECT_EXIT((void)runtime::compile(program), testing::ExitedWithCode(70),
              "`exp` reached code generation");
}

}  // namespace
}  // namespace fusegrad::test
