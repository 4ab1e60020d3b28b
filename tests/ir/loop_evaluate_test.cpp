// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What every operation of L gives, what statements do, which faults are reported, and that neither
// the order nor the pieces of tasks matter where they must not.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "ir/loop/evaluate.h"
#include "ir/loop/parse.h"
#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

LoopProgram parse(const std::string& text) {
  SourceManager sources;
  Diagnostics diagnostics;
  const uint32_t file = sources.add("test.loops", text);
  std::optional<LoopModule> module = parse_loop_module(sources, file, diagnostics);
  FG_CHECK(module.has_value(), "{}", render(diagnostics, sources));
  return module->programs.at(0);
}

/// A program of one function over out: TYPE[64] and in: TYPE[64] with that body.
LoopProgram one_function(const std::string& type, const std::string& body) {
  return parse(fmt::format(R"(stage loops
program eval batch 4 {{
  buffer x: {0}[64]
  buffer out: {0}[64]
  func f(x: ptr<{0}>[64], mutable out: ptr<{0}>[64]) tasks() {{
{1}
  }}
  launch {{ f }}
}}
)",
                           type, body));
}

/// The value of an expression of one lane over a, b, c, which are the first elements of `x`.
template <typename T>
T value_of(const std::string& expression, std::vector<T> in = {}) {
  const char* type = std::is_same_v<T, float>     ? "f32"
                     : std::is_same_v<T, double>  ? "f64"
                     : std::is_same_v<T, int32_t> ? "i32"
                     : std::is_same_v<T, int64_t> ? "i64"
                                                  : "u8";
  LoopProgram program = one_function(
      type,
      "let a = load x[0]\nlet b = load x[1]\nlet c = load x[2]\nstore out[0] = " + expression);
  OwnedLoopMemory memory(program);
  std::copy(in.begin(), in.end(), memory.elements<T>("x").begin());
  Status status = evaluate(program, memory.view(), {});
  EXPECT_TRUE(status) << status.error().message;
  return memory.elements<T>("out")[0];
}

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

TEST(LoopEvaluate, RealArithmeticRoundsToItsType) {
  EXPECT_EQ(value_of<float>("a + b", {16777216.0F, 1.0F}), 16777216.0F);
  EXPECT_EQ(value_of<double>("a + b", {16777216.0, 1.0}), 16777217.0);
  EXPECT_EQ(value_of<float>("a / b", {1.0F, 3.0F}), 1.0F / 3.0F);
  EXPECT_EQ(value_of<float>("sqrt(a)", {2.0F}), std::sqrt(2.0F));
  EXPECT_EQ(value_of<float>("floor(a)", {-1.5F}), -2.0F);
  EXPECT_EQ(value_of<float>("abs(a)", {-1.5F}), 1.5F);
  EXPECT_TRUE(std::signbit(value_of<float>("-a", {0.0F})));
  EXPECT_FALSE(std::signbit(value_of<float>("abs(a)", {-0.0F})));
  // The smallest subnormal is a number.
  EXPECT_EQ(value_of<float>("a * b", {0x1p-126F, 0x1p-23F}), 0x1p-149F);
}

TEST(LoopEvaluate, FusedMultiplyAddRoundsOnce) {
  const float a = 1.0F + 0x1p-12F;
  // a * a = 1 + 2^-11 + 2^-24, which f32 rounds to 1 + 2^-11.
  EXPECT_EQ(value_of<float>("fma(a, b, c)", {a, a, -1.0F}), 0x1p-11F + 0x1p-24F);
  EXPECT_EQ(value_of<float>("a * b + c", {a, a, -1.0F}), 0x1p-11F);
}

TEST(LoopEvaluate, MinimumAndMaximum) {
  EXPECT_TRUE(std::isnan(value_of<float>("max(a, b)", {nan, 1.0F})));
  EXPECT_TRUE(std::isnan(value_of<float>("max(a, b)", {1.0F, nan})));
  EXPECT_TRUE(std::isnan(value_of<float>("min(a, b)", {nan, 1.0F})));
  EXPECT_TRUE(std::isnan(value_of<float>("min(a, b)", {1.0F, nan})));
  // The first wins ties.
  EXPECT_TRUE(std::signbit(value_of<float>("max(a, b)", {-0.0F, 0.0F})));
  EXPECT_FALSE(std::signbit(value_of<float>("max(a, b)", {0.0F, -0.0F})));
  EXPECT_TRUE(std::signbit(value_of<float>("min(a, b)", {-0.0F, 0.0F})));
  EXPECT_FALSE(std::signbit(value_of<float>("min(a, b)", {0.0F, -0.0F})));
  EXPECT_EQ(value_of<int64_t>("max(a, b)", {-3, 2}), 2);
  EXPECT_EQ(value_of<int32_t>("min(a, b)", {-3, 2}), -3);
}

TEST(LoopEvaluate, IntegersWrapAtTheirWidth) {
  EXPECT_EQ(value_of<int64_t>("a + b", {INT64_MAX, 1}), INT64_MIN);
  EXPECT_EQ(value_of<int64_t>("a * b", {INT64_MIN, -1}), INT64_MIN);
  EXPECT_EQ(value_of<int64_t>("-a", {INT64_MIN}), INT64_MIN);
  EXPECT_EQ(value_of<int64_t>("abs(a)", {INT64_MIN}), INT64_MIN);
  EXPECT_EQ(value_of<int32_t>("a - b", {INT32_MIN, 1}), INT32_MAX);
  EXPECT_EQ(value_of<int32_t>("a * b", {65536, 65536}), 0);
  EXPECT_EQ(value_of<uint8_t>("a + b", {200, 100}), 44);
  EXPECT_EQ(value_of<uint8_t>("a * b", {200, 200}), 64);
}

TEST(LoopEvaluate, DivisionRoundsTowardMinusInfinity) {
  EXPECT_EQ(value_of<int64_t>("a // 7", {-1}), -1);
  EXPECT_EQ(value_of<int64_t>("a % 7", {-1}), 6);
  EXPECT_EQ(value_of<int64_t>("a // 7", {INT64_MIN}), INT64_MIN / 7 - 1);
  EXPECT_EQ(value_of<int32_t>("a % 7:i32", {-8}), 6);
  EXPECT_EQ(value_of<int64_t>("a // 7", {13}), 1);
}

TEST(LoopEvaluate, BitsAndShifts) {
  EXPECT_EQ(value_of<int32_t>("shift_right(a, 31:i32)", {-1}), 1);
  EXPECT_EQ(value_of<int64_t>("shift_right(a, 32)", {-1}), 0xffffffff);
  EXPECT_EQ(value_of<int32_t>("shift_left(a, 31:i32)", {3}), INT32_MIN);
  EXPECT_EQ(value_of<int64_t>("bit_and(a, b)", {12, 10}), 8);
  EXPECT_EQ(value_of<int64_t>("bit_or(a, b)", {12, 10}), 14);
  EXPECT_EQ(value_of<int64_t>("bit_xor(a, b)", {12, 10}), 6);
  EXPECT_EQ(value_of<float>("bits.f32(bits.i32(a) + 1:i32)", {1.0F}), 1.0F + 0x1p-23F);
  EXPECT_EQ(value_of<double>("bits.f64(bits.i64(a) + 1)", {1.0}), 1.0 + 0x1p-52);
}

TEST(LoopEvaluate, Conversions) {
  const struct {
    float from;
    int64_t i64;
    int64_t i32;
    int64_t u8;
  } cases[] = {
      {1.9F, 1, 1, 1},
      {-1.9F, -1, -1, 0},
      {300.0F, 300, 300, 255},
      {nan, 0, 0, 0},
      {3e9F, 3000000000, INT32_MAX, 255},
      {-3e9F, -3000000000, INT32_MIN, 0},
      {infinity, INT64_MAX, INT32_MAX, 255},
      {-infinity, INT64_MIN, INT32_MIN, 0},
      {0x1p63F, INT64_MAX, INT32_MAX, 255},
      {-0x1p63F, INT64_MIN, INT32_MIN, 0},
      {0x1p31F, 2147483648, INT32_MAX, 255},
      {-0x1p31F, -2147483648, INT32_MIN, 0},
  };
  for (const auto& c : cases) {
    for (const auto& [type, expected] :
         {std::pair("i64", c.i64), std::pair("i32", c.i32), std::pair("u8", c.u8)}) {
      const std::string text = fmt::format("bits.f64(i64({}(f32(a))))", type);
      const double bits = value_of<double>(text, {static_cast<double>(c.from)});
      EXPECT_EQ(std::bit_cast<int64_t>(bits), expected) << type << " of " << c.from;
    }
  }
  // Integers: narrower ones wrap, reals are rounded to nearest even.
  EXPECT_EQ(value_of<int64_t>("i64(i32(a))", {0x180000001}), INT32_MIN + 1);
  EXPECT_EQ(value_of<int64_t>("i64(u8(a))", {-1}), 255);
  EXPECT_EQ(value_of<float>("f32(i64(a))", {16777216.0F}), 16777216.0F);
  EXPECT_EQ(value_of<float>("f32(16777217)"), 16777216.0F);
  EXPECT_EQ(value_of<float>("f32(16777219)"), 16777220.0F);
  EXPECT_EQ(value_of<float>("f32(a < b) + f32(b < a)", {1.0F, 2.0F}), 1.0F);
  EXPECT_EQ(value_of<float>("f32(0.1:f64)"), 0.1F);
}

TEST(LoopEvaluate, ComparisonsAndLogic) {
  const auto holds = [](const std::string& condition, std::vector<float> in) {
    return value_of<float>("if " + condition + " then 1.0 else 0.0", in) == 1.0F;
  };
  EXPECT_TRUE(holds("a < b and not b < a", {1, 2}));
  EXPECT_TRUE(holds("a <= b and a >= b and a == b", {2, 2}));
  EXPECT_TRUE(holds("a != b or a > b", {2, 1}));
  EXPECT_TRUE(holds("a != a", {nan}));
  EXPECT_FALSE(holds("a == a or a < a or a >= a", {nan}));
}

template <typename T>
std::vector<T> run(const LoopProgram& program, const std::vector<T>& in, size_t count) {
  OwnedLoopMemory memory(program);
  std::copy(in.begin(), in.end(), memory.elements<T>("x").begin());
  Status status = evaluate(program, memory.view(), {});
  EXPECT_TRUE(status) << status.error().message;
  auto out = memory.elements<T>("out");
  return {out.begin(), out.begin() + static_cast<ptrdiff_t>(count)};
}

TEST(LoopEvaluate, VectorsLaneByLane) {
  EXPECT_THAT(
      run<float>(one_function("f32", "store out[0] = load4 x[0] * splat4(2.0) + load4 x[4]"),
                 {1, 2, 3, 4, 10, 20, 30, 40}, 4),
      ElementsAre(12, 24, 36, 48));
  EXPECT_THAT(run<int64_t>(one_function("i64", "store out[1] = iota4() * splat4(3)"), {}, 5),
              ElementsAre(0, 0, 3, 6, 9));
  // A gather, and a scatter in lane order.
  EXPECT_THAT(run<float>(one_function("f32", "store out[0] = load4 x[iota4() * splat4(2)]"),
                         {0, 1, 2, 3, 4, 5, 6}, 4),
              ElementsAre(0, 2, 4, 6));
  EXPECT_THAT(run<float>(one_function("f32", "store out[iota4() // splat4(2)] = load4 x[0]"),
                         {5, 6, 7, 8}, 2),
              ElementsAre(6, 8));
  // A select by lanes, by one condition, and a lane.
  EXPECT_THAT(run<float>(one_function("f32",
                                      "let v = load4 x[0]\n"
                                      "store out[0] = if v < splat4(3.0) then v else -v\n"
                                      "store out[4] = if lane(v, 3) == 4.0 then v else -v"),
                         {1, 2, 3, 4}, 8),
              ElementsAre(1, 2, -3, -4, 1, 2, 3, 4));
}

TEST(LoopEvaluate, VectorSumHalves) {
  // ((v0+v4)+(v2+v6)) + ((v1+v5)+(v3+v7)) in f32.
  const std::vector<float> v = {1e8F, 1.0F, -1e8F, 3.0F, 7.0F, 1e-3F, 5.0F, -2.0F};
  const float expected = ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
  EXPECT_THAT(run<float>(one_function("f32", "store out[0] = vector_sum(load8 x[0])"), v, 1),
              ElementsAre(expected));
  EXPECT_THAT(
      run<int32_t>(one_function("i32", "store out[0] = vector_sum(load4 x[0])"), {1, 2, 3, 4}, 1),
      ElementsAre(10));
}

TEST(LoopEvaluate, StatementsAndScopes) {
  // A var keeps its value over rounds; a let of a var is the value at that time; equal names in
  // different blocks are different variables.
  EXPECT_THAT(run<int64_t>(one_function("i64", R"(
    var sum = 0
    for i = 2 to 11 step 3 {
      let before = sum
      sum = sum * 10 + i
      store out[i] = before
      if i == 5 {
        let x = 7
        store out[0] = x
      } else {
        let x = 9
        store out[1] = x
      }
    }
    store out[3] = sum
    for i = 5 to 5 step 1 {
      store out[4] = 1
    })"),
                           {}, 9),
              ElementsAre(7, 9, 0, 258, 0, 2, 0, 0, 25));
}

TEST(LoopEvaluate, ForBoundsAreEvaluatedOnce) {
  EXPECT_THAT(run<int64_t>(one_function("i64", R"(
    var limit = 3
    var rounds = 0
    for i = 0 to limit step 1 {
      limit = limit + 1
      rounds = rounds + 1
    }
    store out[0] = rounds
    for i = 9223372036854775800 to 9223372036854775807 step 5 {
      store out[1] = i
    })"),
                           {}, 2),
              ElementsAre(3, 9223372036854775805));
}

TEST(LoopEvaluate, AssignmentsMayReadTheirOwnVariable) {
  EXPECT_THAT(run<float>(one_function("f32", R"(
    var v = load4 x[0]
    v = splat4(lane(v, 3)) + v
    v = splat4(vector_sum(v)) - v
    store out[0] = v)"),
                         {1, 2, 3, 4}, 4),
              ElementsAre(21, 20, 19, 18));
}

TEST(LoopEvaluate, UniformsAndTasks) {
  LoopProgram program = parse(R"(stage loops
program eval batch 4 {
  buffer out: i64[8]
  func f(mutable out: ptr<i64>[8]) tasks(rows tile 2, 3 tile 1) {
    store out[0] = rows
    store out[1] = step
    store out[2] = epoch
    store out[3] = steps
    store out[4] = seed
    store out[5] = begin
    store out[6] = end
  }
  launch { f }
}
)");
  OwnedLoopMemory memory(program);
  ASSERT_TRUE(evaluate(program, memory.view(), {3, 5, 7, 9, -11}));
  EXPECT_THAT(memory.elements<int64_t>("out").subspan(0, 7), ElementsAre(3, 5, 7, 9, -11, 0, 6));
  EXPECT_EQ(task_count(program.functions[0], 3), 6);
  EXPECT_EQ(task_count(program.functions[0], 1), 3);
}

/// Two launches: rows of an input through the row list, then the sum; the first launch has two
/// functions.
constexpr const char* two_launches = R"(stage loops
program train batch 5 {
  input x: u8[rows, 2]
  param w: f32[2]
  buffer a: f32[rows] at 0
  buffer b: f32[rows] at 64
  result sum: f32[]
  arena 128
  func fa(row_list: ptr<i32>[5], x: ptr<u8>, w: ptr<f32>[2], mutable a: ptr<f32>[5]) tasks(rows tile 2) {
    for t = begin to end step 1 {
      for r = t * 2 to min(t * 2 + 2, rows) step 1 {
        var acc = 0.0
        for i = 0 to 2 step 1 {
          acc = fma(f32(load x[i64(load row_list[r]) * 2 + i]), load w[i], acc)
        }
        store a[r] = acc
      }
    }
  }
  func fb(mutable b: ptr<f32>[5]) tasks(rows tile 1) {
    for t = begin to end step 1 {
      store b[t] = f32(t) * 100.0
    }
  }
  func total(a: ptr<f32>[5], b: ptr<f32>[5], mutable sum: ptr<f32>[1]) tasks() {
    for t = begin to end step 1 {
      var acc = 0.0
      for r = 0 to rows step 1 {
        acc = acc + load a[r] + load b[r]
      }
      store sum[0] = acc
    }
  }
  launch { fa fb }
  launch { total }
  result loss = sum
}
)";

TEST(LoopEvaluate, LaunchesInAnyOrderOfTasks) {
  LoopProgram program = parse(two_launches);
  for (const LoopOrder& order : {LoopOrder{1, false}, LoopOrder{1, true}, LoopOrder{2, false},
                                 LoopOrder{3, true}, LoopOrder{100, true}}) {
    OwnedLoopMemory memory(program, 7);
    auto x = memory.elements<uint8_t>("x");
    ASSERT_EQ(x.size(), 14u);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(i);
    memory.elements<float>("w")[0] = 1.0F;
    memory.elements<float>("w")[1] = 0.5F;
    const int32_t rows[] = {6, 0, 3, 1, 5};
    std::copy(std::begin(rows), std::end(rows), memory.row_list().begin());
    LoopEvaluator evaluator(program);
    for (int64_t count : {5, 4}) {
      Status status = evaluator.run(memory.view(), {count}, order);
      ASSERT_TRUE(status) << status.error().message;
      float expected = 0;
      for (int64_t r = 0; r < count; ++r) {
        const auto row = static_cast<float>(rows[r]);
        expected = expected + (2 * row + (2 * row + 1) * 0.5F) + static_cast<float>(r) * 100.0F;
      }
      EXPECT_EQ(memory.elements<float>("sum")[0], expected);
    }
  }
}

TEST(LoopEvaluate, TemporariesLiveInTheArena) {
  LoopProgram program = parse(two_launches);
  OwnedLoopMemory memory(program);
  EXPECT_EQ(memory.bytes("b").data() - memory.bytes("a").data(), 64);
}

TEST(LoopEvaluate, OneFunctionOnSomeTasks) {
  LoopProgram program = parse(two_launches);
  OwnedLoopMemory memory(program);
  LoopEvaluator evaluator(program);
  ASSERT_TRUE(evaluator.run_function("fb", memory.view(), {5}, 2, 4));
  EXPECT_THAT(memory.elements<float>("b"), ElementsAre(0, 0, 200, 300, 0));
}

// ---- Faults.

std::string fault_of(const std::string& body) {
  LoopProgram program = one_function("f32", body);
  OwnedLoopMemory memory(program);
  Status status = evaluate(program, memory.view(), {});
  return status ? "" : status.error().message;
}

TEST(LoopEvaluate, AddressesOutsideAreReported) {
  EXPECT_EQ(
      fault_of("store out[64] = 1.0"),
      "function `f`, statement `store out[64] = 1.0`: address 64 of `out` is outside [0, 64)");
  EXPECT_EQ(fault_of("let a = load x[-1]"),
            "function `f`, statement `let a = load x[-1]`: address -1 of `x` is outside [0, 64)");
  // The vector's last lanes.
  EXPECT_THAT(fault_of("store out[0] = lane(load8 x[57], 0)"), HasSubstr("address 57 of `x`"));
  EXPECT_THAT(fault_of("store out[57] = splat8(1.0)"), HasSubstr("address 57 of `out`"));
  EXPECT_THAT(fault_of("store out[iota8() * splat8(10)] = splat8(1.0)"),
              HasSubstr("address 70 of `out`"));
  EXPECT_THAT(fault_of("let a = load8 x[splat8(60) + iota8()]"), HasSubstr("address 64 of `x`"));
  // Inside of a block, the statement itself.
  EXPECT_THAT(fault_of("for i = 60 to 70 step 1 {\nif i > 0 {\nstore out[i] = 0.0\n}\n}"),
              HasSubstr("statement `store out[i] = 0.0`: address 64"));
  EXPECT_THAT(fault_of("for i = 0 to i64(load x[100]) step 1 {\n}"),
              HasSubstr("statement `for i = 0 to i64(load x[100]) step 1`"));
  EXPECT_THAT(fault_of("let a = load x[9223372036854775807]"), HasSubstr("9223372036854775807"));
  EXPECT_THAT(fault_of("let a = load8 x[9223372036854775807]"), HasSubstr("9223372036854775807"));
}

TEST(LoopEvaluate, StackIsWrittenBeforeItIsRead) {
  EXPECT_EQ(fault_of("stack s: f32[4]\nstore s[0] = splat2(1.0)\nlet a = load2 s[0]"), "");
  EXPECT_EQ(fault_of("stack s: f32[4]\nstore s[0] = splat2(1.0)\nlet a = load3 s[0]"),
            "function `f`, statement `let a = load3 s[0]`: element 2 of `s` is read before it is "
            "written");
  EXPECT_THAT(fault_of("stack s: f32[4]\nstore s[iota2() * splat2(2)] = splat2(1.0)\n"
                       "let a = load2 s[iota2()]"),
              HasSubstr("element 1 of `s`"));
  // A new round starts with nothing written.
  EXPECT_THAT(
      fault_of("for i = 0 to 2 step 1 {\nstack s: f32[1]\nif i == 0 {\nstore s[0] = 1.0\n}\n"
               "let a = load s[0]\n}"),
      HasSubstr("element 0 of `s`"));
  EXPECT_THAT(fault_of("stack s: f32[4]\nstore s[4] = 1.0"), HasSubstr("address 4 of `s`"));
}

TEST(LoopEvaluate, MemoryThatIsTooSmallIsReported) {
  LoopProgram program = one_function("f32", "store out[0] = 1.0");
  OwnedLoopMemory memory(program);
  memory.view().buffers[1] = memory.view().buffers[1].subspan(0, 128);
  Status status = evaluate(program, memory.view(), {});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message,
            "function `f`: `out` has 64 elements, the memory given holds 32");
  LoopProgram rows = parse(two_launches);
  OwnedLoopMemory row_memory(rows);
  row_memory.view().row_list = row_memory.row_list().subspan(0, 2);
  status = evaluate(rows, row_memory.view(), {3});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "function `fa`: the row list has 2 of 3 rows");
}

}  // namespace
}  // namespace fusegrad::ir
