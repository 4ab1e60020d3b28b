// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The index solver by itself: one golden for each rule, and every solution against enumeration.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "ir/expr_text.h"
#include "ir/passes/differentiate_solver.h"
#include "ir/tensor/evaluate.h"
#include "ir/tensor/print.h"
#include "tests/support/repeats.h"

namespace fusegrad::ir {
namespace {

constexpr int64_t batch = 4;

/// "i in 0..6" for every index; `rows` and `rows*3` are sizes too.
std::vector<IndexRange> parse_ranges(std::vector<std::pair<std::string, Extent>> list) {
  std::vector<IndexRange> ranges;
  for (auto& [name, end] : list) ranges.push_back({name, 0, end});
  return ranges;
}

Extent n(int64_t value) { return Extent::number(value); }
Extent rows(int64_t factor = 1) { return Extent::of_rows(batch, factor); }
ExprRef num(int64_t value) { return make_integer(value); }
ExprRef ix(const char* name) { return make_index(name); }
ExprRef add(ExprRef a, ExprRef b) { return make_binary(Op::add, a, b); }
ExprRef sub(ExprRef a, ExprRef b) { return make_binary(Op::subtract, a, b); }
ExprRef mul(ExprRef a, int64_t b) { return make_binary(Op::multiply, a, num(b)); }
ExprRef over(ExprRef a, int64_t b) { return make_binary(Op::floor_divide, a, num(b)); }
ExprRef mod(ExprRef a, int64_t b) { return make_binary(Op::modulo, a, num(b)); }

/// The value of a scatter is 1 + sum of weight * index, so that a wrong solution shows.
ExprRef marker(const std::vector<IndexRange>& domain) {
  ExprRef value = make_real(1, ScalarType::f64);
  double weight = 1;
  for (const IndexRange& range : domain) {
    value = add(value, make_binary(Op::multiply, make_real(weight, ScalarType::f64),
                                   make_convert(ScalarType::f64, make_index(range.name))));
    weight *= 17;
  }
  return value;
}

SolverContext context() {
  static const Shape no_shape;
  SolverContext result;
  result.batch = batch;
  result.shape_of = [](const std::string&) -> const Shape& { return no_shape; };
  for (const char* name : {"rows", "step"}) result.forbidden.insert(name);
  return result;
}

TensorStatement statement_of(const Gather& gather) {
  TensorStatement statement;
  statement.name = "d";
  statement.type = ScalarType::f64;
  statement.indices = gather.indices;
  statement.binders = gather.binders;
  if (gather.binders.empty()) {
    statement.value = gather.condition == nullptr ? gather.value
                                                  : make_select(gather.condition, gather.value,
                                                                make_real(0, ScalarType::f64));
  } else {
    statement.reduction = Reduction::sum;
    statement.condition = gather.condition;
    statement.value = gather.value;
  }
  return statement;
}

/// Compares the solution with the scatter done point by point, for 1 row and for a full batch.
void expect_right(const Scatter& scatter, const std::optional<Gather>& gather) {
  for (int64_t row_count : {int64_t{1}, batch}) {
    Uniforms uniforms;
    uniforms.rows = row_count;
    // The oracle: target[map(point)] += value, with the statement "every point's map and value".
    std::vector<int64_t> sizes = sizes_at(scatter.target, row_count);
    TensorValue expected(ScalarType::f64, sizes);
    std::map<std::string, int> slots;
    for (const IndexRange& range : scatter.domain) {
      const int slot = static_cast<int>(slots.size());
      slots[range.name] = slot;
    }
    ScalarScope scope;
    scope.index = [&](std::string_view name) {
      auto found = slots.find(std::string(name));
      return found == slots.end() ? -1 : found->second;
    };
    scope.tensor = [](std::string_view) -> const TensorValue* { return nullptr; };
    std::vector<ScalarCode> map;
    for (const ExprRef& e : scatter.map) {
      map.push_back(compile_scalar(e, scope, uniforms, Precision::all_f64));
    }
    std::vector<ScalarCode> conditions;
    for (const ExprRef& e : scatter.conditions) {
      conditions.push_back(compile_scalar(e, scope, uniforms, Precision::all_f64));
    }
    const ScalarCode value = compile_scalar(scatter.value, scope, uniforms, Precision::all_f64);
    std::vector<int64_t> point;
    bool empty = false;
    for (const IndexRange& range : scatter.domain) {
      point.push_back(range.begin);
      empty = empty || range.begin >= range.end.at(row_count);
    }
    while (!empty) {
      bool holds = true;
      for (const ScalarCode& condition : conditions) {
        holds = holds && condition.integer(point.data()) != 0;
      }
      int64_t position = 0;
      for (size_t k = 0; k < map.size(); ++k) {
        const int64_t index = map[k].integer(point.data());
        holds = holds && index >= 0 && index < sizes[k];
        position = position * sizes[k] + index;
      }
      if (holds) expected.reals[static_cast<size_t>(position)] += value.real(point.data());
      size_t d = point.size();
      for (; d-- > 0;) {
        if (++point[d] < scatter.domain[d].end.at(row_count)) break;
        point[d] = scatter.domain[d].begin;
      }
      if (d == static_cast<size_t>(-1)) break;
    }
    TensorValue actual(ScalarType::f64, sizes);
    std::string text = "nothing";
    if (gather) {
      TensorProgram program;
      program.name = "p";
      program.batch = batch;
      program.real = ScalarType::f64;
      program.statements.push_back(statement_of(*gather));
      text = print(program.statements[0], ScalarType::f64);
      actual = evaluate(program, {}, uniforms, Precision::all_f64).at("d");
    }
    ASSERT_EQ(actual.reals, expected.reals) << text << "\n" << row_count << " rows";
  }
}

std::string solved(const Scatter& scatter) {
  std::optional<Gather> gather = solve(scatter, context());
  expect_right(scatter, gather);
  if (!gather) return "nothing";
  TensorStatement statement = statement_of(*gather);
  statement.value = nullptr;
  std::string text;
  auto list = [&](const std::vector<IndexRange>& ranges) {
    std::string result;
    for (const IndexRange& range : ranges) {
      result += fmt::format("{}{} in {}..{}", result.empty() ? "" : ", ", range.name, range.begin,
                            spelling(range.end));
    }
    return result;
  };
  text = "[" + list(gather->indices) + "]";
  if (!gather->binders.empty()) text += " sum " + list(gather->binders);
  if (gather->condition != nullptr) text += " where " + print_expression(gather->condition, {});
  return text;
}

Scatter scatter_of(std::vector<IndexRange> domain, std::vector<ExprRef> map, Shape target) {
  ExprRef value = marker(domain);
  return {std::move(domain), std::move(map), std::move(target), {}, std::move(value)};
}

TEST(Solver, R1SingleIndices) {
  EXPECT_EQ(solved(scatter_of(parse_ranges({{"i", n(6)}, {"j", n(3)}}), {ix("j"), ix("i")},
                              {n(3), n(6)})),
            "[j in 0..3, i in 0..6]");
  // Reversed, shifted, into a larger and a smaller tensor.
  EXPECT_EQ(solved(scatter_of(parse_ranges({{"i", n(6)}}), {sub(num(5), ix("i"))}, {n(6)})),
            "[q in 0..6]");
  EXPECT_EQ(solved(scatter_of(parse_ranges({{"i", n(4)}}), {add(ix("i"), num(2))}, {n(8)})),
            "[q in 0..8] where q >= 2 and q < 6");
  EXPECT_EQ(solved(scatter_of(parse_ranges({{"i", n(6)}}), {sub(ix("i"), num(1))}, {n(3)})),
            "[q in 0..3]");
  EXPECT_EQ(solved(scatter_of(parse_ranges({{"b", rows()}}), {ix("b")}, {n(batch)})),
            "[b in 0..4] where b < rows");
}

TEST(Solver, R2Digits) {
  ExprRef v = ix("v");
  EXPECT_EQ(solved(scatter_of(parse_ranges({{"v", n(24)}}),
                              {over(v, 12), mod(over(v, 4), 3), mod(v, 4)}, {n(2), n(3), n(4)})),
            "[q in 0..2, q2 in 0..3, q3 in 0..4]");
  // The last digit is cut off.
  EXPECT_EQ(solved(scatter_of(parse_ranges({{"v", n(10)}}), {over(v, 4), mod(v, 4)}, {n(3), n(4)})),
            "[q in 0..3, q2 in 0..4] where q * 4 + q2 < 10");
  // A digit that nobody reads stays bound: nearest-neighbour enlargement, and tiling.
  EXPECT_EQ(solved(scatter_of(parse_ranges({{"v", n(12)}}), {over(v, 3)}, {n(4)})),
            "[q in 0..4] sum v in 0..3");
  EXPECT_EQ(solved(scatter_of(parse_ranges({{"v", n(12)}}), {mod(v, 3)}, {n(3)})),
            "[q in 0..3] sum v in 0..4");
  // A flattened batch.
  EXPECT_EQ(
      solved(scatter_of(parse_ranges({{"v", rows(6)}}), {over(v, 6), mod(v, 6)}, {rows(), n(6)})),
      "[q in 0..rows, q2 in 0..6]");
  // From one shape to another through the flattened order.
  ExprRef flat = add(mul(ix("i"), 6), ix("j"));
  EXPECT_EQ(solved(scatter_of(parse_ranges({{"i", n(4)}, {"j", n(6)}}),
                              {over(flat, 8), mod(flat, 8)}, {n(3), n(8)})),
            "[q in 0..3, q2 in 0..8]");
}

TEST(Solver, R3OneOfSeveral) {
  EXPECT_EQ(
      solved(scatter_of(parse_ranges({{"h", n(6)}, {"k", n(3)}}), {add(ix("h"), ix("k"))}, {n(8)})),
      "[q in 0..8] sum k in 0..3 where q - k >= 0 and q - k < 6");
  // A diagonal: the second dimension has nothing left to solve.
  EXPECT_EQ(solved(scatter_of(parse_ranges({{"i", n(5)}}), {ix("i"), ix("i")}, {n(5), n(5)})),
            "[i in 0..5, q in 0..5] where i == q");
}

TEST(Solver, R4Strides) {
  ExprRef window = sub(add(mul(ix("h"), 2), ix("k")), num(1));
  EXPECT_EQ(solved(scatter_of(parse_ranges({{"h", n(16)}, {"k", n(3)}}), {window}, {n(32)})),
            "[q in 0..32] sum k in 0..2 where (q + 1) // 2 - k >= 0 and (q + 1) // 2 - k < 16 and "
            "k * 2 + (q + 1) % 2 < 3");
  // A window as large as the stride: one element each, nothing to add up.
  EXPECT_EQ(solved(scatter_of(parse_ranges({{"h", n(4)}, {"k", n(3)}}),
                              {add(mul(ix("h"), 3), ix("k"))}, {n(12)})),
            "[q in 0..12]");
  EXPECT_EQ(solved(scatter_of(parse_ranges({{"b", rows()}, {"i", n(5)}}),
                              {add(mul(ix("b"), 5), ix("i"))}, {rows(5)})),
            "[q in 0..rows*5]");
}

TEST(Solver, R5Multiples) {
  EXPECT_EQ(
      solved(scatter_of(parse_ranges({{"i", n(4)}}), {add(mul(ix("i"), 3), num(1))}, {n(12)})),
      "[q in 0..12] where (q + 2) // 3 >= 1 and (q + 2) % 3 == 0");
  EXPECT_EQ(solved(scatter_of(parse_ranges({{"h", n(5)}, {"k", n(3)}}),
                              {add(mul(ix("h"), 2), mul(ix("k"), 4))}, {n(17)})),
            "[q in 0..17] sum k in 0..3 where q // 2 - k * 2 >= 0 and q // 2 - k * 2 < 5 and "
            "q % 2 == 0");
}

TEST(Solver, R6Conditions) {
  EXPECT_EQ(solved(scatter_of(parse_ranges({{"i", n(5)}}), {num(2)}, {n(4)})),
            "[q in 0..4] sum i in 0..5 where q == 2");
  EXPECT_EQ(solved(scatter_of(parse_ranges({{"i", n(5)}}), {num(7)}, {n(4)})), "nothing");
  EXPECT_EQ(solved(scatter_of({}, {}, {})), "[]");
}

/// Every kind of map, thousands of times, against enumeration.
TEST(Solver, RandomMapsAgainstEnumeration) {
  std::mt19937_64 engine(7);
  auto below = [&](int k) { return static_cast<int>(engine() % static_cast<uint64_t>(k)); };
  static const char* const names[] = {"i", "j", "k"};
  int summed = 0;
  for (int round = 0; round < test::repeats(4000); ++round) {
    std::vector<IndexRange> domain;
    const int count = 1 + below(3);
    for (int d = 0; d < count; ++d) {
      const int64_t begin = below(6) == 0 ? below(5) - 2 : 0;
      const bool over_rows = below(4) == 0;
      domain.push_back({names[d], over_rows ? 0 : begin,
                        over_rows ? rows(1 + below(3)) : n(begin + 1 + below(7))});
    }
    auto linear = [&] {
      ExprRef e = num(below(9) - 4);
      for (const IndexRange& range : domain) {
        if (below(3) == 0) continue;
        static const int64_t factors[] = {1, 1, 1, 2, 3, 4, -1, -2, 6};
        e = add(e, mul(ix(range.name.c_str()), factors[below(9)]));
      }
      return e;
    };
    auto any_map = [&]() -> ExprRef {
      switch (below(6)) {
        case 0:
          return mod(over(linear(), 1 + below(4)), 1 + below(6));
        case 1:
          return over(linear(), 1 + below(4));
        case 2:
          return mod(linear(), 1 + below(7));
        case 3:
          return add(over(linear(), 2), mod(linear(), 3));
        default:
          return linear();
      }
    };
    std::vector<ExprRef> map;
    Shape target;
    const int rank = 1 + below(3);
    for (int k = 0; k < rank; ++k) {
      map.push_back(any_map());
      target.push_back(below(5) == 0 ? rows(1 + below(2)) : n(1 + below(8)));
    }
    Scatter scatter = scatter_of(domain, map, target);
    if (below(3) == 0) {
      scatter.conditions.push_back(make_binary(Op::less_equal, linear(), linear()));
    }
    std::optional<Gather> gather = solve(scatter, context());
    expect_right(scatter, gather);
    if (HasFatalFailure()) {
      for (const ExprRef& e : map) ADD_FAILURE() << print_expression(e, {});
      return;
    }
    summed += gather && !gather->binders.empty() ? 1 : 0;
  }
  EXPECT_GT(summed, test::repeats(500));
}

}  // namespace
}  // namespace fusegrad::ir
