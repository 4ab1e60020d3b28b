// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From L to the runtime's tables: every field, and a program run through its table alone.
#include "runtime/jit/job_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/codegen/loops.h"

namespace fusegrad::test {
namespace {

using ir::LoopFunction;
using ir::LoopModule;
using ir::LoopProgram;
using ir::make_load;
using ir::ScalarType;
using runtime::BufferKind;
using runtime::ElementType;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int64_t batch = 6;

/// y[b, j] = x[row b, j] * w[j] into a temporary, then its sum into the loss.
LoopProgram train_program() {
  LoopProgram program;
  program.name = "train";
  program.batch = batch;
  ir::Buffer x = buffer("x", ScalarType::u8, 1, ir::BufferKind::input);
  x.shape = {ir::Extent::of_rows(batch), ir::Extent::number(2), ir::Extent::number(2)};
  x.range = ir::IntegerRange{0, 200};
  ir::Buffer w = buffer("dense.w", ScalarType::f32, 4);
  w.shape = {ir::Extent::number(3), ir::Extent::number(4)};
  w.packed_dimension = 0;
  w.packed_block = 8;
  ir::Buffer v = buffer("dense.w.v", ScalarType::f32, 12, ir::BufferKind::state);
  ir::Buffer y = buffer("y", ScalarType::f32, 1, ir::BufferKind::temporary);
  y.shape = {ir::Extent::of_rows(batch), ir::Extent::number(4)};
  y.offset = 64;
  ir::Buffer loss = buffer("objective", ScalarType::f32, 1, ir::BufferKind::result);
  loss.shape = {};
  program.buffers = {x, w, v, y, loss};
  program.arena_bytes = 64 + 6 * 4 * 4;

  LoopFunction first;
  first.name = "forward";
  first.parameters = {parameter(program, "x", false), parameter(program, ir::row_list_name, false),
                      parameter(program, "dense.w", false), parameter(program, "y", true)};
  first.tasks = {{ir::Extent::of_rows(batch), 1}};
  ir::ExprRef row =
      ir::make_convert(ScalarType::i64, make_load(ir::row_list_name, ScalarType::i32, index("b")));
  ir::ExprRef pixels =
      ir::make_convert(ScalarType::f32, make_load("x", ScalarType::u8, row * number(4), 4));
  first.body = {loop("b", index("begin"), index("end"), 1,
                     {store("y", index("b") * number(4),
                            pixels * make_load("dense.w", ScalarType::f32, number(0), 4))})};
  LoopFunction second;
  second.name = "sum";
  second.parameters = {parameter(program, "y", false), parameter(program, "objective", true)};
  second.body = {var("total", real(0)),
                 loop("b", number(0), ir::make_uniform("rows"), 1,
                      {assign("total", value("total", ScalarType::f32) +
                                           ir::make_vector_sum(make_load(
                                               "y", ScalarType::f32, index("b") * number(4), 4)))}),
                 store("objective", number(0), value("total", ScalarType::f32))};
  program.functions = {first, second};
  program.launches = {{{"forward"}}, {{"sum"}}};
  program.results = {{ir::TensorResultKind::loss, "loss", "objective"},
                     {ir::TensorResultKind::metric, "same", "objective"}};
  return program;
}

LoopProgram init_program() {
  LoopProgram program;
  program.name = "init";
  program.batch = batch;
  program.buffers = {buffer("dense.w", ScalarType::f32, 32)};
  LoopFunction fill;
  fill.name = "fill";
  fill.parameters = {parameter(program, "dense.w", true)};
  fill.body = {loop("i", number(0), number(32), 8, {store("dense.w", index("i"), real(0.5, 8))})};
  program.functions = {fill};
  program.launches = {{{"fill"}}};
  return program;
}

TEST(JobBuilder, FillsEveryFieldOfAProgram) {
  LoopProgram program = train_program();
  auto compiled = runtime::compile(program);
  ASSERT_TRUE(compiled);
  auto built = runtime::build_program_table(program, *compiled);
  ASSERT_TRUE(built);
  const runtime::ProgramTable& table = *built;
  EXPECT_EQ(table.name, "train");
  EXPECT_EQ(table.batch, batch);
  EXPECT_EQ(table.arena_bytes, 160);
  ASSERT_EQ(table.buffers.size(), 6U);
  EXPECT_EQ(table.buffers[0].kind, BufferKind::input);
  EXPECT_EQ(table.buffers[0].element, ElementType::u8);
  EXPECT_THAT(table.buffers[0].layout.shape, ElementsAre(2, 2)) << "one row";
  EXPECT_EQ(table.buffers[1].name, "dense.w");
  EXPECT_EQ(table.buffers[1].kind, BufferKind::parameter);
  EXPECT_THAT(table.buffers[1].layout.shape, ElementsAre(3, 4));
  EXPECT_EQ(table.buffers[1].layout.blocked_dimension, 0);
  EXPECT_EQ(table.buffers[1].layout.block, 8);
  EXPECT_EQ(table.buffers[1].layout.physical_elements(), program.buffers[1].physical_elements());
  EXPECT_EQ(table.buffers[2].kind, BufferKind::state);
  EXPECT_EQ(table.buffers[2].layout.blocked_dimension, -1);
  EXPECT_EQ(table.buffers[3].kind, BufferKind::temporary);
  EXPECT_EQ(table.buffers[3].arena_offset, 64);
  EXPECT_THAT(table.buffers[3].layout.shape, ElementsAre(batch, 4));
  EXPECT_EQ(table.buffers[4].kind, BufferKind::result);
  EXPECT_THAT(table.buffers[4].layout.shape, IsEmpty());
  EXPECT_EQ(table.buffers[5].name, "row_list");
  EXPECT_EQ(table.buffers[5].kind, BufferKind::row_list);
  EXPECT_EQ(table.buffers[5].element, ElementType::i32);
  EXPECT_THAT(table.buffers[5].layout.shape, ElementsAre(batch));
  ASSERT_EQ(table.launches.size(), 2U);
  ASSERT_EQ(table.launches[0].kernels.size(), 1U);
  EXPECT_EQ(table.launches[0].kernels[0].name, "forward");
  EXPECT_EQ(table.launches[0].kernels[0].function, compiled->function("forward"));
  EXPECT_EQ(table.launches[0].kernels[0].task_count(4), 4);
  EXPECT_EQ(table.launches[1].kernels[0].task_count(4), 1);
  ASSERT_EQ(table.results.size(), 2U);
  EXPECT_EQ(table.results[0].kind, runtime::ResultKind::loss);
  EXPECT_EQ(table.results[1].kind, runtime::ResultKind::metric);
  EXPECT_EQ(table.results[1].label, "same");
  EXPECT_EQ(table.results[1].buffer, 4);
}

TEST(JobBuilder, AProgramRunsThroughItsTable) {
  runtime::JobSettings settings;
  settings.model_name = "m";
  settings.train.batch = batch;
  LoopModule module;
  module.programs = {init_program(), train_program()};
  auto built = runtime::build_job(module, settings);
  ASSERT_TRUE(built);
  EXPECT_EQ(built->table.model_name, "m");
  ASSERT_EQ(built->table.inputs.size(), 1U);
  EXPECT_EQ(built->table.inputs[0].name, "x");
  EXPECT_THAT(built->table.inputs[0].row_shape, ElementsAre(2, 2));
  EXPECT_TRUE(built->table.inputs[0].has_range);
  EXPECT_EQ(built->table.inputs[0].range_end, 200);
  ASSERT_EQ(built->table.programs.size(), 2U);
  EXPECT_EQ(built->table.programs[0].name, "init");

  AlignedMemory memory(module.programs[1], 10);
  for (int i = 0; i < 40; ++i) memory.elements<uint8_t>("x")[i] = static_cast<uint8_t>(i);
  memory.row_list() = {9, 0, 4, 4, 1, 2};
  runtime::Uniforms uniforms;
  uniforms.rows = 5;
  void* weights = memory.data("dense.w");
  built->table.programs[0].launches[0].kernels[0].function(&weights, &uniforms, 0, 1);
  const runtime::ProgramTable& train = built->table.programs[1];
  std::vector<std::string> names;
  for (const runtime::BufferEntry& entry : train.buffers) names.push_back(entry.name);
  std::vector<void*> pointers = memory.pointers(names);
  for (const runtime::LaunchEntry& launch : train.launches) {
    for (const runtime::KernelEntry& kernel : launch.kernels) {
      kernel.function(pointers.data(), &uniforms, 0, kernel.task_count(uniforms.rows));
    }
  }
  float expected = 0;
  for (int row : {9, 0, 4, 4, 1})
    expected += 0.5F * static_cast<float>(4 * 4 * row + 0 + 1 + 2 + 3);
  EXPECT_EQ(memory.elements<float>("objective")[0], expected);
}

TEST(JobBuilder, RefusesWhatTheRuntimeLacks) {
  auto message = [](const LoopProgram& program) -> std::string {
    auto compiled = runtime::compile(program);
    if (!compiled) return "not compiled";
    auto table = runtime::build_program_table(program, *compiled);
    return table ? "" : table.error().message;
  };
  LoopProgram wide = init_program();
  wide.buffers.push_back(buffer("count", ScalarType::i64, 4));
  EXPECT_THAT(message(wide), HasSubstr("`count` has elements of type i64"));
  LoopProgram gradient = train_program();
  gradient.results[0].kind = ir::TensorResultKind::gradient;
  EXPECT_THAT(message(gradient), HasSubstr("gradients"));
  LoopProgram missing = train_program();
  missing.results[0].buffer = "nowhere";
  EXPECT_THAT(message(missing), HasSubstr("no buffer `nowhere`"));
  LoopProgram launch = train_program();
  launch.launches[0].functions = {"nowhere"};
  EXPECT_THAT(message(launch), HasSubstr("unknown function `nowhere`"));
  LoopProgram packed = train_program();
  packed.buffers[0].packed_dimension = 1;
  packed.buffers[0].packed_block = 2;
  EXPECT_THAT(message(packed), HasSubstr("cannot be packed"));
  LoopProgram rowless = train_program();
  rowless.buffers[0].shape[0] = ir::Extent::number(batch);
  EXPECT_THAT(message(rowless), HasSubstr("does not begin with the rows"));
}

TEST(JobBuilder, OneInputHasOneType) {
  LoopModule module;
  module.programs = {train_program(), train_program()};
  module.programs[1].buffers[0].shape[1] = ir::Extent::number(3);
  auto inputs = runtime::build_input_entries(module);
  ASSERT_FALSE(inputs);
  EXPECT_THAT(inputs.error().message, HasSubstr("`x` has two types"));
}

}  // namespace
}  // namespace fusegrad::test
