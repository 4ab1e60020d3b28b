// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ranges of integer expressions: strong enough for the guards of gradients, and never wrong (every
// point of small boxes is tried).
#include "ir/range_analysis.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>
#include <string>

#include "ir/expr_text.h"

namespace fusegrad::ir {
namespace {

/// i, j, k, q, o are indices; t[..] and label[..] integer tensors.
ExprRef parse(const std::string& text) {
  SourceManager sources;
  Diagnostics diagnostics;
  TextReader reader(sources, sources.add("text", text), diagnostics);
  NameResolver resolve = [](std::string_view name, bool) {
    if (name == "t" || name == "label") return NameMeaning::tensor(ScalarType::i32, 1);
    if (name == "r") return NameMeaning::tensor(ScalarType::f32, 0);
    return is_uniform_name(name) ? NameMeaning::uniform() : NameMeaning::index();
  };
  ExprRef e = parse_expression(reader, resolve, {});
  EXPECT_NE(e, nullptr) << text << ": " << render(diagnostics, sources);
  return e;
}

struct Box {
  std::string name;
  int64_t begin;
  int64_t end;
};

RangeAnalysis analysis(const std::vector<Box>& boxes, const std::string& condition = "",
                       int64_t rows = 4) {
  RangeAnalysis known(rows);
  for (const Box& box : boxes) known.add_index(box.name, box.begin, box.end);
  known.add_tensor("label", {0, 9});
  if (!condition.empty()) known.assume(parse(condition));
  return known;
}

ValueRange range(const std::string& text, const std::vector<Box>& boxes,
                 const std::string& condition = "") {
  return analysis(boxes, condition).range(parse(text));
}

TEST(RangeAnalysis, FactsAboutWhatIsDivided) {
  const std::vector<Box> boxes = {{"i", 0, 74}, {"k", 1, 38}, {"j", 0, 5}, {"q", 0, 1000}};
  // i < 2 * k says i // 2 <= k - 1.
  EXPECT_EQ(range("k - 1 - i // 2", boxes, "i < 2 * k"), (ValueRange{0, 36}));
  EXPECT_EQ(range("5 * k - i // 2 * 5 - 5 + j", boxes, "i < 2 * k"), (ValueRange{0, 184}));
  EXPECT_EQ(range("k - i // 2", boxes, "2 * k > i").min, 1);
  EXPECT_EQ(range("i // 2 - k", boxes, "i - 2 * k + 6 >= 0").min, -3);
  // Exact where constants are no multiples: i <= 2 * k + 1, and i < 2 * k + 1.
  EXPECT_EQ(range("k - i // 2", boxes, "i <= 2 * k + 1").min, 0);
  EXPECT_EQ(range("k - i // 2", boxes, "i <= 2 * k + 2").min, -1);
  EXPECT_EQ(range("(q + 3) // 6 - 2 * k", boxes, "q <= 12 * k").max, 0);
  EXPECT_EQ(range("(q + 6) // 6 - 2 * k", boxes, "q <= 12 * k").max, 1);
  // 3 * k is no multiple of 2: nothing is known but the box.
  EXPECT_LT(range("k - i // 2", boxes, "i < 3 * k").min, 0);
}

TEST(RangeAnalysis, Arithmetic) {
  const std::vector<Box> boxes = {{"i", 0, 28}, {"j", 0, 3}, {"q", 0, 784}};
  EXPECT_EQ(range("7", boxes), (ValueRange{7, 7}));
  EXPECT_EQ(range("rows * 3 - 1", boxes), (ValueRange{11, 11}));
  EXPECT_EQ(range("i + j - 1", boxes), (ValueRange{-1, 28}));
  EXPECT_EQ(range("-i", boxes), (ValueRange{-27, 0}));
  EXPECT_EQ(range("i - i", boxes), (ValueRange{0, 0}));
  EXPECT_EQ(range("2 * i + i * 3 - (i + j)", boxes), (ValueRange{-2, 108}));
  EXPECT_EQ(range("q // 28", boxes), (ValueRange{0, 27}));
  EXPECT_EQ(range("q % 28", boxes), (ValueRange{0, 27}));
  EXPECT_EQ(range("i % 28", boxes), (ValueRange{0, 27}));
  EXPECT_EQ(range("(i - 1) // 2", boxes), (ValueRange{-1, 13}));
  EXPECT_EQ(range("(i - 1) % 2", boxes), (ValueRange{0, 1}));
  EXPECT_EQ(range("(j + 4) % 8", boxes), (ValueRange{4, 6}));
  EXPECT_EQ(range("i * j", boxes), (ValueRange{0, 54}));
  EXPECT_EQ(range("(i - 5) * (j - 1)", boxes), (ValueRange{-22, 22}));
  EXPECT_EQ(range("min(i, 5)", boxes), (ValueRange{0, 5}));
  EXPECT_EQ(range("max(i - 5, j)", boxes), (ValueRange{0, 22}));
  EXPECT_EQ(range("abs(i - 5)", boxes), (ValueRange{0, 22}));
  EXPECT_EQ(range("label[i] + 1", boxes), (ValueRange{1, 10}));
  EXPECT_EQ(range("t[i]", boxes), ValueRange{});
  EXPECT_EQ(range("i64(r)", boxes), ValueRange{});
  EXPECT_EQ(range("i64(i32(r))", boxes), (ValueRange{INT32_MIN, INT32_MAX}));
  EXPECT_EQ(range("i64(u8(q))", boxes), (ValueRange{0, 255}));
  EXPECT_EQ(range("i64(u8(i))", boxes), (ValueRange{0, 27}));
  EXPECT_EQ(range("i64(r < 1.0)", boxes), (ValueRange{0, 1}));
  EXPECT_EQ(range("step * 2", boxes).min, 0);
  EXPECT_EQ(range("seed", boxes), ValueRange{});
}

TEST(RangeAnalysis, DigitsAreTakenApartAndPutTogether) {
  const std::vector<Box> boxes = {{"i", 0, 28}, {"j", 0, 28}, {"q", 0, 784}};
  EXPECT_EQ(range("i * 28 + j", boxes), (ValueRange{0, 783}));
  EXPECT_EQ(range("(i * 28 + j) // 28 - i", boxes), (ValueRange{0, 0}));
  EXPECT_EQ(range("(i * 28 + j) % 28 - j", boxes), (ValueRange{0, 0}));
  EXPECT_EQ(range("q // 28 * 28 + q % 28 - q", boxes), (ValueRange{0, 0}));
  EXPECT_EQ(range("2 * ((q + 1) // 2 - i) + (q + 1) % 2 + 2 * i - 1 - q", boxes),
            (ValueRange{0, 0}));
  EXPECT_EQ(range("q // 4 // 7 - q // 28", boxes), (ValueRange{0, 0}));
  EXPECT_EQ(range("q % 28 % 4 - q % 4", boxes), (ValueRange{0, 0}));
}

TEST(RangeAnalysis, GuardsOfShiftedReads) {
  const std::vector<Box> boxes = {{"q", 0, 28}, {"k", 0, 3}};
  EXPECT_EQ(range("q - 1", boxes, "q - 1 >= 0 and q + 1 < 28"), (ValueRange{0, 25}));
  EXPECT_EQ(range("q - 1", boxes, "q >= 1"), (ValueRange{0, 26}));
  EXPECT_EQ(range("q - k + 1", boxes, "q - k + 1 >= 0 and q - k + 1 < 28"), (ValueRange{0, 27}));
  EXPECT_EQ(range("q - k + 1", boxes, "0 <= q - k + 1 and not (q - k + 1 >= 28)"),
            (ValueRange{0, 27}));
  EXPECT_EQ(range("27 - q + k", boxes, "k <= q"), (ValueRange{0, 27}));
  EXPECT_EQ(range("2 * q - 2 * k", boxes, "q > k"), (ValueRange{2, 54}));
  EXPECT_EQ(range("q", boxes, "3 * q + k < 10"), (ValueRange{0, 3}));
  EXPECT_EQ(range("q", boxes, "q == k + 1"), (ValueRange{1, 3}));
  EXPECT_EQ(range("q - 1", boxes, "q != 0"), (ValueRange{0, 26}));
  EXPECT_EQ(range("q", boxes, "not (q < 3 or q > 5)"), (ValueRange{3, 5}));
  EXPECT_EQ(range("q", boxes, "q < 3 or q > 5"), (ValueRange{0, 27}));
  EXPECT_EQ(range("q", boxes, "(q < 3) == (k < 2)"), (ValueRange{0, 27}));
}

TEST(RangeAnalysis, GuardsOfTransposedStridedReads) {
  const std::vector<Box> boxes = {{"q", 0, 32}, {"k", 0, 2}};
  const std::string guard =
      "(q + 1) % 2 + 2 * k < 3 and (q + 1) // 2 - k >= 0 and (q + 1) // 2 - k < 16";
  EXPECT_EQ(range("(q + 1) // 2 - k", boxes, guard), (ValueRange{0, 15}));
  EXPECT_EQ(range("(q + 1) % 2 + 2 * k", boxes, guard), (ValueRange{0, 2}));
  EXPECT_EQ(range("(1 + q) // 2 - k", boxes, guard), (ValueRange{0, 15}));
  // A fact about a quotient says something about what is divided.
  EXPECT_EQ(range("q", boxes, "q // 2 < 3"), (ValueRange{0, 5}));
  EXPECT_EQ(range("q // 2", boxes, "q < 5"), (ValueRange{0, 2}));
  EXPECT_EQ(range("(q - 1) // 3", boxes, "(q - 1) % 3 == 0 and (q - 1) // 3 >= 0"),
            (ValueRange{0, 10}));
}

TEST(RangeAnalysis, GuardsOverReads) {
  const std::vector<Box> boxes = {{"i", 0, 8}, {"q", 0, 16}};
  EXPECT_EQ(range("q", boxes, "label[i] == q"), (ValueRange{0, 9}));
  EXPECT_EQ(range("t[i]", boxes, "t[i] == q"), (ValueRange{0, 15}));
  EXPECT_EQ(range("t[i + 1 - 1]", boxes, "t[i] >= 0 and t[i] < 7"), (ValueRange{0, 6}));
  EXPECT_EQ(range("if t[i] < 0 then 0 else if t[i] > 9 then 9 else t[i]", boxes),
            (ValueRange{0, 9}));
  EXPECT_EQ(range("t[i else 3]", boxes), ValueRange{});
  EXPECT_EQ(range("label[i else 30]", boxes), (ValueRange{0, 30}));
}

TEST(RangeAnalysis, ContradictionsAreUnreachable) {
  const std::vector<Box> boxes = {{"q", 0, 28}, {"k", 0, 1}};
  EXPECT_TRUE(analysis(boxes, "q < 0").unreachable());
  EXPECT_TRUE(analysis(boxes, "k > 0 and q < 5").unreachable());
  EXPECT_TRUE(analysis(boxes, "false").unreachable());
  EXPECT_TRUE(analysis(boxes, "q > 5 and q < 3").unreachable());
  EXPECT_TRUE(analysis(boxes, "k != 0").unreachable());
  EXPECT_TRUE(analysis({{"q", 1, 1}}).unreachable());
  EXPECT_TRUE(analysis({{"q", 1, 1}}).proves_within(parse("q + 100"), 1));
  EXPECT_FALSE(analysis(boxes, "q < 1").unreachable());
}

TEST(RangeAnalysis, HugeNumbersAreUnknownAndNotWrong) {
  const std::vector<Box> boxes = {{"i", 0, INT64_C(1) << 40}};
  const ValueRange product = range("i * i * i", boxes);
  EXPECT_EQ(product.min, 0);
  EXPECT_GE(product.max, ValueRange::unbounded);
  EXPECT_FALSE(analysis(boxes).proves_within(parse("i * 9223372036854775807 + i"), INT64_MAX));
  EXPECT_FALSE(analysis(boxes).proves_within(parse("i * 9223372036854775807 * 3 - 1"), INT64_MAX));
  EXPECT_FALSE(analysis(boxes).proves_within(parse("step"), INT64_C(1) << 50));
}

TEST(RangeAnalysis, WalkKnowsTheConditionsOnTheWay) {
  const ExprRef e = parse("if q < 3 then t[q] else if q >= 10 then t[q - 10] else t[q + 100]");
  std::map<std::string, ValueRange> seen;
  walk_with_ranges(e, analysis({{"q", 0, 28}}), [&](const Expr& node, const RangeAnalysis& known) {
    if (node.op == Op::read) {
      seen[print_expression(node.operands[0], {})] = known.range(node.operands[0]);
    }
  });
  EXPECT_EQ(seen["q"], (ValueRange{0, 2}));
  EXPECT_EQ(seen["q - 10"], (ValueRange{0, 17}));
  EXPECT_EQ(seen["q + 100"], (ValueRange{103, 109}));
}

// ---- Soundness: random expressions and conditions over a small box, every point.

using Point = std::map<std::string, int64_t>;

int64_t value_of(const ExprRef& e, const Point& point) {
  auto at = [&](size_t operand) { return value_of(e->operands[operand], point); };
  if (e->op == Op::constant) return e->integer;
  if (e->op == Op::index) return point.at(e->name);
  if (e->op == Op::negate) return -at(0);
  if (e->op == Op::add) return at(0) + at(1);
  if (e->op == Op::subtract) return at(0) - at(1);
  if (e->op == Op::multiply) return at(0) * at(1);
  if (e->op == Op::floor_divide) return floor_divide(at(0), at(1));
  if (e->op == Op::modulo) return floor_modulo(at(0), at(1));
  if (e->op == Op::minimum) return std::min(at(0), at(1));
  if (e->op == Op::maximum) return std::max(at(0), at(1));
  if (e->op == Op::abs) return std::abs(at(0));
  if (e->op == Op::select) return at(0) != 0 ? at(1) : at(2);
  if (e->op == Op::less) return at(0) < at(1);
  if (e->op == Op::less_equal) return at(0) <= at(1);
  if (e->op == Op::greater) return at(0) > at(1);
  if (e->op == Op::greater_equal) return at(0) >= at(1);
  if (e->op == Op::equal) return at(0) == at(1);
  if (e->op == Op::not_equal) return at(0) != at(1);
  if (e->op == Op::logical_and) return at(0) != 0 && at(1) != 0;
  if (e->op == Op::logical_or) return at(0) != 0 || at(1) != 0;
  if (e->op == Op::logical_not) return at(0) == 0;
  ADD_FAILURE() << "no value for " << spelling(e->op);
  return 0;
}

class Generator {
 public:
  explicit Generator(uint32_t seed) : random_(seed) {}

  int below(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }

  ExprRef integer(int depth) {
    if (depth == 0 || below(5) == 0) {
      if (below(3) == 0) return make_integer(below(13) - 4);
      return make_index(std::vector<std::string>{"i", "j", "k"}[static_cast<size_t>(below(3))]);
    }
    switch (below(10)) {
      case 0:
      case 1:
        return make_binary(Op::add, integer(depth - 1), integer(depth - 1));
      case 2:
      case 3:
        return make_binary(Op::subtract, integer(depth - 1), integer(depth - 1));
      case 4:
        return make_binary(Op::multiply, integer(depth - 1),
                           below(2) != 0 ? make_integer(below(7) - 3) : integer(depth - 1));
      case 5:
        return make_binary(Op::floor_divide, integer(depth - 1), make_integer(1 + below(5)));
      case 6:
        return make_binary(Op::modulo, integer(depth - 1), make_integer(1 + below(5)));
      case 7:
        return make_binary(below(2) != 0 ? Op::minimum : Op::maximum, integer(depth - 1),
                           integer(depth - 1));
      case 8:
        return make_unary(below(2) != 0 ? Op::negate : Op::abs, integer(depth - 1));
      default:
        return make_select(condition(1), integer(depth - 1), integer(depth - 1));
    }
  }

  ExprRef condition(int depth) {
    if (depth == 0 || below(3) == 0) {
      constexpr Op comparisons[] = {Op::less,          Op::less_equal, Op::greater,
                                    Op::greater_equal, Op::equal,      Op::not_equal};
      return make_binary(comparisons[below(6)], integer(2), integer(1));
    }
    if (below(4) == 0) return make_unary(Op::logical_not, condition(depth - 1));
    return make_binary(below(3) != 0 ? Op::logical_and : Op::logical_or, condition(depth - 1),
                       condition(depth - 1));
  }

 private:
  std::mt19937 random_;
};

TEST(RangeAnalysis, IsNeverWrong) {
  int bounded = 0;
  for (uint32_t seed = 0; seed < 3000; ++seed) {
    Generator generator(seed);
    const std::vector<Box> boxes = {
        {"i", 0, 1 + generator.below(5)}, {"j", -2, 3}, {"k", 0, 1 + generator.below(4)}};
    const ExprRef condition = generator.condition(2);
    const ExprRef e = generator.integer(3);
    RangeAnalysis known = analysis(boxes);
    known.assume(condition);
    const ValueRange values = known.range(e);
    bounded += values.max < ValueRange::unbounded;
    const std::string text = print_expression(e, {}) + " where " + print_expression(condition, {});
    Point point;
    for (point["i"] = 0; point["i"] < boxes[0].end; ++point["i"]) {
      for (point["j"] = -2; point["j"] < 3; ++point["j"]) {
        for (point["k"] = 0; point["k"] < boxes[2].end; ++point["k"]) {
          if (value_of(condition, point) == 0) continue;
          const int64_t value = value_of(e, point);
          ASSERT_FALSE(known.unreachable()) << seed << ": " << text;
          ASSERT_LE(values.min, value) << seed << ": " << text;
          ASSERT_GE(values.max, value) << seed << ": " << text;
        }
      }
    }
  }
  EXPECT_EQ(bounded, 3000);
}

}  // namespace
}  // namespace fusegrad::ir
