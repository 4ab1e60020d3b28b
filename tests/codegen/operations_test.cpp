// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every operation of L on every type and lane count, on the values that go wrong first, bit for bit
// against the evaluator: on this machine, and on the oldest x86-64 with soft fused multiply-add.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "tests/codegen/loops.h"

namespace fusegrad::test {
namespace {

using ir::ExprRef;
using ir::LoopFunction;
using ir::LoopProgram;
using ir::Op;
using ir::ScalarType;

constexpr ScalarType all_types[] = {ScalarType::boolean, ScalarType::u8,  ScalarType::i32,
                                    ScalarType::i64,     ScalarType::f32, ScalarType::f64};
constexpr int lane_counts[] = {1, 4, 8, 16};
/// Every pair of 32 remarkable values.
constexpr int64_t remarkable = 32;
constexpr int64_t elements = remarkable * remarkable;

template <typename T>
std::vector<T> remarkable_reals() {
  using Limits = std::numeric_limits<T>;
  const T two31 = T{2147483648.0};
  const T two63 = T{9223372036854775808.0};
  return {T{0},
          -T{0},
          T{1},
          T{-1},
          Limits::infinity(),
          -Limits::infinity(),
          Limits::quiet_NaN(),
          Limits::denorm_min(),
          -Limits::denorm_min(),
          Limits::min(),
          Limits::min() / 2,
          Limits::max(),
          Limits::lowest(),
          Limits::epsilon(),
          T{0.5},
          T{-0.5},
          T{2.5},
          T{-2.5},
          std::nextafter(T{1}, T{0}),
          std::nextafter(T{1}, T{2}),
          T{255.5},
          T{256},
          T{-255.5},
          two31,
          -two31,
          std::nextafter(two31, T{0}),
          std::nextafter(-two31, -two63),
          two63,
          std::nextafter(two63, T{0}),
          -two63,
          T{16777217.0},
          T{3.14159274}};
}

template <typename T>
std::vector<T> remarkable_integers() {
  using Limits = std::numeric_limits<T>;
  std::vector<T> values;
  for (int i = 0; i < 6; ++i) {
    values.push_back(static_cast<T>(Limits::min() + i));
    values.push_back(static_cast<T>(Limits::max() - i));
    values.push_back(static_cast<T>(i));
    values.push_back(static_cast<T>(-i));
  }
  for (int64_t more : {7, 16, 100, 127, 128, 255, 1000003, 16777217}) {
    values.push_back(static_cast<T>(more));
  }
  return values;
}

template <typename T>
void fill(AlignedMemory& memory, const std::string& type, const std::vector<T>& values) {
  ASSERT_EQ(values.size(), static_cast<size_t>(remarkable));
  std::mt19937_64 random(7);
  for (int64_t i = 0; i < elements; ++i) {
    memory.elements<T>("a_" + type)[i] = values[static_cast<size_t>(i / remarkable)];
    memory.elements<T>("b_" + type)[i] = values[static_cast<size_t>(i % remarkable)];
    memory.elements<T>("c_" + type)[i] = values[random() % remarkable];
  }
}

/// Collects one function per operation; all read the same operands.
class Operations {
 public:
  Operations() {
    program_.name = "operations";
    for (ScalarType type : all_types) {
      for (const char* operand : {"a_", "b_", "c_"}) {
        program_.buffers.push_back(buffer(operand + std::string(spelling(type)), type, elements));
      }
    }
  }

  /// The operand: consecutive elements from `i`.
  static ExprRef operand(char which, ScalarType type, int lanes) {
    return ir::make_load(fmt::format("{}_{}", which, spelling(type)), type, index("i"), lanes);
  }

  /// out[i] = result, for all i in steps of `lanes`; a scalar result is stored at i.
  void add(const std::string& name, int lanes, const ExprRef& result) {
    LoopFunction function;
    function.name = fmt::format("{}_{}", name, program_.functions.size());
    const std::string out = "out_" + function.name;
    program_.buffers.push_back(buffer(out, result->type.scalar, elements));
    std::set<std::string> operands;
    ir::walk(result, [&](const ir::Expr& e) {
      if (e.op == Op::read) operands.insert(e.name);
    });
    for (const std::string& operand_name : operands) {
      function.parameters.push_back(parameter(program_, operand_name, false));
    }
    function.parameters.push_back(parameter(program_, out, true));
    function.body = {
        loop("i", number(0), number(elements), lanes, {store(out, index("i"), result)})};
    program_.functions.push_back(std::move(function));
  }

  void check() {
    AlignedMemory memory(program_, 1);
    for (int64_t i = 0; i < elements; ++i) {
      memory.elements<uint8_t>("a_bool")[i] = (i & 1) != 0;
      memory.elements<uint8_t>("b_bool")[i] = (i & 2) != 0;
      memory.elements<uint8_t>("c_bool")[i] = (i & 4) != 0;
    }
    fill(memory, "u8", remarkable_integers<uint8_t>());
    fill(memory, "i32", remarkable_integers<int32_t>());
    fill(memory, "i64", remarkable_integers<int64_t>());
    fill(memory, "f32", remarkable_reals<float>());
    fill(memory, "f64", remarkable_reals<double>());
    EXPECT_EQ(run_and_compare(program_, memory, {}), "");

    runtime::JitOptions old;
    old.target = codegen::baseline_target();
    EXPECT_EQ(run_and_compare(program_, memory, {}, old), "") << "on the oldest x86-64";

    runtime::JitOptions plain;
    plain.target = codegen::host_target();
    plain.target->level = codegen::CodegenLevel::none;
    plain.passes = "";
    EXPECT_EQ(run_and_compare(program_, memory, {}, plain), "") << "without optimisation";
  }

 private:
  LoopProgram program_;
};

TEST(Operations, Binary) {
  Operations operations;
  for (int lanes : lane_counts) {
    for (ScalarType type : all_types) {
      ExprRef a = Operations::operand('a', type, lanes);
      ExprRef b = Operations::operand('b', type, lanes);
      std::vector<Op> ops;
      if (type == ScalarType::boolean) {
        ops = {Op::logical_and, Op::logical_or, Op::equal, Op::not_equal};
      } else {
        ops = {Op::add,        Op::subtract, Op::multiply,      Op::minimum, Op::maximum,  Op::less,
               Op::less_equal, Op::greater,  Op::greater_equal, Op::equal,   Op::not_equal};
      }
      if (ir::is_real(type)) ops.push_back(Op::divide);
      if (ir::is_integer(type)) {
        ops.insert(ops.end(), {Op::bit_and, Op::bit_or, Op::bit_xor});
      }
      for (Op op : ops) operations.add("binary", lanes, ir::make_binary(op, a, b));
    }
  }
  operations.check();
}

TEST(Operations, MinimumAndMaximumWithConstants) {
  Operations operations;
  for (int lanes : lane_counts) {
    for (Op op : {Op::minimum, Op::maximum}) {
      for (double constant : {0.0, -0.0, 1.5, std::numeric_limits<double>::infinity(),
                              std::numeric_limits<double>::quiet_NaN()}) {
        ExprRef a = Operations::operand('a', ScalarType::f32, lanes);
        operations.add("constant_second", lanes, ir::make_binary(op, a, real(constant, lanes)));
        operations.add("constant_first", lanes, ir::make_binary(op, real(constant, lanes), a));
      }
    }
  }
  operations.check();
}

TEST(Operations, UnaryAndFusedMultiplyAdd) {
  Operations operations;
  for (int lanes : lane_counts) {
    for (ScalarType type : all_types) {
      ExprRef a = Operations::operand('a', type, lanes);
      ExprRef b = Operations::operand('b', type, lanes);
      ExprRef c = Operations::operand('c', type, lanes);
      if (type == ScalarType::boolean) {
        operations.add("not", lanes, ir::make_unary(Op::logical_not, a));
        continue;
      }
      operations.add("negate", lanes, ir::make_unary(Op::negate, a));
      operations.add("abs", lanes, ir::make_unary(Op::abs, a));
      if (!ir::is_real(type)) continue;
      operations.add("sqrt", lanes, ir::make_unary(Op::sqrt, a));
      operations.add("floor", lanes, ir::make_unary(Op::floor, a));
      operations.add("fma", lanes, ir::make_fma(a, b, c));
      // Written apart it must stay apart: two roundings.
      operations.add("apart", lanes, a * b + c);
      operations.add("difference", lanes, c - a * b);
    }
  }
  operations.check();
}

TEST(Operations, Conversions) {
  Operations operations;
  for (int lanes : lane_counts) {
    for (ScalarType from : all_types) {
      ExprRef a = Operations::operand('a', from, lanes);
      for (ScalarType to : all_types) {
        if (to == ScalarType::boolean) continue;
        operations.add("convert", lanes, ir::make_convert(to, a));
        // A round trip must not be folded where it loses something.
        if (from != ScalarType::boolean) {
          operations.add("round_trip", lanes, ir::make_convert(from, ir::make_convert(to, a)));
        }
      }
    }
    auto bits = [&](ScalarType from, ScalarType to) {
      operations.add("bits", lanes,
                     ir::make_bit_cast({to, lanes}, Operations::operand('a', from, lanes)));
    };
    bits(ScalarType::f32, ScalarType::i32);
    bits(ScalarType::i32, ScalarType::f32);
    bits(ScalarType::f64, ScalarType::i64);
    bits(ScalarType::i64, ScalarType::f64);
  }
  operations.check();
}

TEST(Operations, DivisionAndShiftsByConstants) {
  Operations operations;
  for (int lanes : lane_counts) {
    for (ScalarType type : {ScalarType::u8, ScalarType::i32, ScalarType::i64}) {
      ExprRef a = Operations::operand('a', type, lanes);
      for (int64_t divisor :
           {int64_t{1}, int64_t{2}, int64_t{3}, int64_t{7}, int64_t{8}, int64_t{10}, int64_t{64},
            int64_t{100}, int64_t{127}, int64_t{2147483647}, int64_t{9223372036854775807}}) {
        if (type != ScalarType::i64 && divisor > std::numeric_limits<int32_t>::max()) continue;
        if (type == ScalarType::u8 && divisor > 255) continue;
        ExprRef b = ir::make_splat(ir::make_integer(divisor, type), lanes);
        operations.add("floor_divide", lanes, ir::make_binary(Op::floor_divide, a, b));
        operations.add("modulo", lanes, ir::make_binary(Op::modulo, a, b));
      }
      for (int64_t bits = 0; bits < 8 * byte_size(type); bits += 13) {
        ExprRef count = ir::make_splat(ir::make_integer(bits, type), lanes);
        operations.add("shift_left", lanes, ir::make_binary(Op::shift_left, a, count));
        operations.add("shift_right", lanes, ir::make_binary(Op::shift_right, a, count));
        operations.add("shift_scalar", lanes,
                       ir::make_binary(Op::shift_right, a, ir::make_integer(bits)));
      }
    }
  }
  operations.check();
}

TEST(Operations, SelectionAndLanes) {
  Operations operations;
  for (int lanes : lane_counts) {
    for (ScalarType type : all_types) {
      ExprRef a = Operations::operand('a', type, lanes);
      ExprRef b = Operations::operand('b', type, lanes);
      ExprRef condition = Operations::operand('c', ScalarType::boolean, lanes);
      ExprRef scalar_condition = Operations::operand('c', ScalarType::boolean, 1);
      operations.add("select", lanes, ir::make_select(condition, a, b));
      operations.add("select_all", lanes, ir::make_select(scalar_condition, a, b));
      operations.add("splat", lanes, ir::make_splat(Operations::operand('a', type, 1), lanes));
      for (int lane = 0; lane < lanes; lane += 3) {
        operations.add("lane", lanes, ir::make_lane(a, lane));
      }
      if (type != ScalarType::boolean) operations.add("sum", lanes, ir::make_vector_sum(a));
    }
    operations.add("iota", lanes,
                   ir::make_iota(lanes) + Operations::operand('a', ScalarType::i64, lanes));
  }
  operations.check();
}

/// What the header of L says about the order, on numbers for which every order differs.
TEST(Operations, VectorSumHalves) {
  LoopProgram program;
  program.name = "sum";
  program.buffers = {buffer("v", ScalarType::f32, 8), buffer("s", ScalarType::f32, 1)};
  LoopFunction function;
  function.name = "sum";
  function.parameters = {parameter(program, "v", false), parameter(program, "s", true)};
  function.body = {store("s", number(0),
                         ir::make_vector_sum(ir::make_load("v", ScalarType::f32, number(0), 8)))};
  program.functions.push_back(function);
  AlignedMemory memory(program, 1);
  auto* v = memory.elements<float>("v");
  std::mt19937 random(3);
  auto compiled = runtime::compile(program);
  ASSERT_TRUE(compiled);
  int told_apart = 0;
  for (int round = 0; round < 100; ++round) {
    for (int i = 0; i < 8; ++i) v[i] = static_cast<float>(random()) * 0x1p-32F;
    std::vector<void*> pointers = memory.pointers(compiled->buffer_names());
    runtime::Uniforms uniforms;
    compiled->function("sum")(pointers.data(), &uniforms, 0, 1);
    float expected = ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
    float in_order = ((((((v[0] + v[1]) + v[2]) + v[3]) + v[4]) + v[5]) + v[6]) + v[7];
    EXPECT_EQ(std::bit_cast<uint32_t>(memory.elements<float>("s")[0]),
              std::bit_cast<uint32_t>(expected));
    told_apart += expected != in_order ? 1 : 0;
  }
  EXPECT_GT(told_apart, 0);
  EXPECT_EQ(run_and_compare(program, memory, {}), "");
}

}  // namespace
}  // namespace fusegrad::test
