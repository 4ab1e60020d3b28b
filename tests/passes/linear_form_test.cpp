// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The normal form of integers: every identity it uses, and random expressions against arithmetic.
#include "ir/linear_form.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/support/repeats.h"

namespace fusegrad::ir {
namespace {

ExprRef number(int64_t value) { return make_integer(value); }
ExprRef operator+(ExprRef a, ExprRef b) { return make_binary(Op::add, a, b); }
ExprRef operator-(ExprRef a, ExprRef b) { return make_binary(Op::subtract, a, b); }
ExprRef operator*(ExprRef a, ExprRef b) { return make_binary(Op::multiply, a, b); }
ExprRef operator*(ExprRef a, int64_t b) { return a * number(b); }
ExprRef operator+(ExprRef a, int64_t b) { return a + number(b); }
ExprRef operator-(ExprRef a, int64_t b) { return a - number(b); }
ExprRef over(ExprRef a, int64_t b) { return make_binary(Op::floor_divide, a, number(b)); }
ExprRef mod(ExprRef a, int64_t b) { return make_binary(Op::modulo, a, number(b)); }

/// A small printer of its own: the tests shall not depend on the one of the levels.
std::string text(const ExprRef& e) {
  switch (e->op) {
    case Op::constant:
      return std::to_string(e->integer);
    case Op::index:
    case Op::uniform:
    case Op::variable:
      return e->name;
    case Op::negate:
      return "-" + text(e->operands[0]);
    case Op::read:
      return e->name + "[" + text(e->operands[0]) + "]";
    case Op::logical_not:
      return "not " + text(e->operands[0]);
    default: {
      if (e->operands.size() != 2) return std::string(spelling(e->op));
      auto side = [&](const ExprRef& operand) {
        bool tight = operand->operands.empty() || operand->op == Op::read;
        bool product = e->op != Op::add && e->op != Op::subtract;
        bool sum = operand->op == Op::add || operand->op == Op::subtract;
        return tight || !product || (is_comparison(e->op)) || (!sum && e->op == Op::multiply)
                   ? text(operand)
                   : "(" + text(operand) + ")";
      };
      return side(e->operands[0]) + " " + std::string(spelling(e->op)) + " " + side(e->operands[1]);
    }
  }
}

struct Fixture : testing::Test {
  IndexRanges ranges;
  ExprRef b = make_index("b"), i = make_index("i"), j = make_index("j"), x = make_index("x");
  ExprRef rows = make_uniform("rows");
  Fixture() {
    ranges.add_rows(128);
    ranges.add("b", 0, Extent::of_rows(128));
    ranges.add("i", 0, Extent::number(28));
    ranges.add("j", 0, Extent::number(784));
  }
  std::string simple(const ExprRef& e) { return text(simplify_integer(e, ranges)); }
  std::string condition(const ExprRef& e) { return text(simplify_indices(e, ranges)); }
};
using LinearFormTest = Fixture;

TEST_F(LinearFormTest, SumsAreCollectedLargestFirst) {
  EXPECT_EQ(simple(i + b * 784 + 3 - i + i), "b * 784 + i + 3");
  EXPECT_EQ(simple(number(5) - i), "5 - i");
  EXPECT_EQ(simple(make_unary(Op::negate, i)), "-i");
  EXPECT_EQ(simple(i - i), "0");
  EXPECT_EQ(simple((i + 1) * (b + 2)), "(b + 2) * (i + 1)");
}

TEST_F(LinearFormTest, DivisiblePartsLeaveTheDivision) {
  EXPECT_EQ(simple(over(b * 784 + j, 784)), "b");
  EXPECT_EQ(simple(mod(b * 784 + j, 784)), "j");
  EXPECT_EQ(simple(over(x - 1, 2)), "(x + 1) // 2 - 1");
  EXPECT_EQ(simple(over(b * 8 + x * 4 + 5, 4)), "b * 2 + x + 1");
}

TEST_F(LinearFormTest, CommonFactorsWithASmallRest) {
  EXPECT_EQ(simple(over(b * 28 + i, 56)), "b // 2");
  EXPECT_EQ(simple(mod(b * 28 + i, 56)), "b % 2 * 28 + i");
  EXPECT_EQ(simple(over(x * 4 + 3, 8)), "x // 2");
  EXPECT_EQ(simple(mod(x * 4 + 3, 8)), "x % 2 * 4 + 3");
}

TEST_F(LinearFormTest, DigitsJoin) {
  EXPECT_EQ(simple(over(x, 28) * 28 + mod(x, 28)), "x");
  EXPECT_EQ(simple(over(x, 784) * 784 + mod(over(x, 28), 28) * 28 + mod(x, 28)), "x");
  EXPECT_EQ(simple(mod(over(x, 28), 28) * 28 + mod(x, 28)), "x % 784");
  EXPECT_EQ(simple(over(over(x, 4), 7)), "x // 28");
  EXPECT_EQ(simple(over(mod(x, 28), 4)), "(x // 4) % 7");
  EXPECT_EQ(simple(mod(mod(x, 28), 4)), "x % 4");
  EXPECT_EQ(simple(over(over(x, 4) + 3, 7)), "(x + 12) // 28");
}

TEST_F(LinearFormTest, RangesFold) {
  EXPECT_EQ(simple(over(j, 784)), "0");
  EXPECT_EQ(simple(mod(over(j, 28), 28)), "j // 28");
  EXPECT_EQ(simple(mod(j + 784, 784)), "j");
  EXPECT_EQ(simple(make_binary(Op::minimum, i, number(30))), "i");
  EXPECT_EQ(simple(make_binary(Op::maximum, i, number(30))), "30");
}

TEST_F(LinearFormTest, RowsCancel) {
  EXPECT_EQ(condition(make_binary(Op::less, b, rows)), "1");
  EXPECT_EQ(condition(make_binary(Op::greater_equal, rows - 1 - b, number(0))), "1");
  EXPECT_EQ(condition(make_binary(Op::less, rows - 1 - b, rows)), "1");
  EXPECT_EQ(condition(make_binary(Op::less, i, rows)), "i < rows");
  ranges.add("v", 0, Extent::of_rows(128, 28));
  ExprRef v = make_index("v");
  EXPECT_EQ(condition(make_binary(Op::less, over(v, 28), rows)), "1");
  EXPECT_EQ(condition(make_binary(Op::less, over(v, 27), rows)), "v // 27 < rows");
  EXPECT_EQ(interval(over(v, 28), ranges), (Interval{0, 127}));
}

TEST_F(LinearFormTest, ConditionsFold) {
  ExprRef inside = make_binary(Op::less, i, number(28));
  ExprRef open = make_binary(Op::less, x, number(28));
  EXPECT_EQ(condition(make_binary(Op::logical_and, inside, open)), "x < 28");
  EXPECT_EQ(condition(make_binary(Op::logical_or, inside, open)), "1");
  EXPECT_EQ(condition(make_unary(Op::logical_not, inside)), "0");
  EXPECT_EQ(condition(make_binary(Op::equal, x * 2, i * 2 + 1)), "0");
  EXPECT_EQ(condition(make_binary(Op::not_equal, x + 1, x)), "1");
  EXPECT_EQ(simple(make_select(inside, x + 1 - 1, i)), "x");
}

TEST_F(LinearFormTest, OverflowStaysWritten) {
  ExprRef huge = number(INT64_MAX);
  EXPECT_EQ(simple(huge + 1), std::to_string(INT64_MAX) + " + 1");
  EXPECT_EQ(simple(over(x * INT64_MAX + huge, 2)),
            "(x * 9223372036854775807 + 1) // 2 + 4611686018427387903");
  EXPECT_EQ(interval(i * (INT64_MAX / 4), ranges), std::nullopt);
  simplify_integer(number(INT64_MIN) * x - number(INT64_MIN), ranges);
  simplify_integer(over(number(INT64_MIN) - x * INT64_MAX - x, INT64_MAX), ranges);
}

TEST_F(LinearFormTest, ReadsAskTheCallback) {
  ExprRef label = make_read("label", ScalarType::u8, {b + 0});
  EXPECT_EQ(interval(label, ranges), std::nullopt);
  ranges.other = [](const Expr& e) -> std::optional<Interval> {
    if (e.op == Op::read && e.name == "label") return Interval{0, 9};
    return std::nullopt;
  };
  EXPECT_EQ(interval(label + 1, ranges), (Interval{1, 10}));
  EXPECT_EQ(simple(over(label, 10)), "0");
  EXPECT_EQ(coefficient_of(linear_form(label * 3 + i * 2, ranges), "i"), 2);
  EXPECT_EQ(coefficient_of(linear_form(label * 3 + i * 2, ranges), "b"), 0);
  EXPECT_TRUE(mentions_index(linear_form(label * 3 + i * 2, ranges), "b"));
}

// ---- Random expressions.

struct Values {
  std::map<std::string, int64_t> by_name;
};

int64_t evaluate(const ExprRef& e, const Values& values) {
  auto at = [&](size_t k) { return evaluate(e->operands[k], values); };
  switch (e->op) {
    case Op::constant:
      return e->integer;
    case Op::index:
    case Op::uniform:
      return values.by_name.at(e->name);
    case Op::read: {
      int64_t k = at(0);  // an arbitrary function with values 0..9
      return floor_modulo(k * 7 + 3 * floor_modulo(k, 4), 10);
    }
    case Op::negate:
      return -at(0);
    case Op::add:
      return at(0) + at(1);
    case Op::subtract:
      return at(0) - at(1);
    case Op::multiply:
      return at(0) * at(1);
    case Op::floor_divide:
      return floor_divide(at(0), at(1));
    case Op::modulo:
      return floor_modulo(at(0), at(1));
    case Op::minimum:
      return std::min(at(0), at(1));
    case Op::maximum:
      return std::max(at(0), at(1));
    case Op::select:
      return at(0) != 0 ? at(1) : at(2);
    case Op::less:
      return at(0) < at(1);
    case Op::less_equal:
      return at(0) <= at(1);
    case Op::greater:
      return at(0) > at(1);
    case Op::greater_equal:
      return at(0) >= at(1);
    case Op::equal:
      return at(0) == at(1);
    case Op::not_equal:
      return at(0) != at(1);
    case Op::logical_and:
      return at(0) != 0 && at(1) != 0;
    case Op::logical_or:
      return at(0) != 0 || at(1) != 0;
    case Op::logical_not:
      return at(0) == 0;
    default:
      ADD_FAILURE() << "operator " << spelling(e->op);
      return 0;
  }
}

class RandomIntegers {
 public:
  explicit RandomIntegers(uint64_t seed) : engine_(seed) {}
  int64_t below(int64_t n) { return static_cast<int64_t>(engine_() % static_cast<uint64_t>(n)); }

  ExprRef integer(int depth) {
    if (depth == 0 || below(8) == 0) {
      if (below(4) == 0) return number(below(13) - 4);
      static const char* const names[] = {"a", "b", "c", "v", "rows"};
      const char* name = names[below(5)];
      return name == names[4] ? make_uniform(name) : make_index(name);
    }
    static const int64_t divisors[] = {1, 2, 3, 4, 5, 6, 8, 12, 28};
    switch (below(14)) {
      case 0:
      case 1:
      case 2:
        return integer(depth - 1) + integer(depth - 1);
      case 3:
        return integer(depth - 1) - integer(depth - 1);
      case 4:
      case 5:
        return integer(depth - 1) * divisors[below(9)];
      case 6:
      case 7:
        return over(integer(depth - 1), divisors[below(9)]);
      case 8:
      case 9:
        return mod(integer(depth - 1), divisors[below(9)]);
      case 10: {  // digits of one number, so that joining is met often
        ExprRef whole = integer(depth - 1);
        int64_t low = divisors[1 + below(7)];
        int64_t high = divisors[1 + below(7)];
        return below(2) == 0 ? over(whole, low) * low + mod(whole, low)
                             : mod(over(whole, low), high) * low + mod(whole, low);
      }
      case 11:
        return make_read("t", ScalarType::i32, {integer(depth - 1)});
      case 12:
        return make_binary(below(2) == 0 ? Op::minimum : Op::maximum, integer(depth - 1),
                           integer(depth - 1));
      default:
        return below(3) == 0
                   ? integer(depth - 1) * integer(depth - 1)
                   : make_select(boolean(depth - 1), integer(depth - 1), integer(depth - 1));
    }
  }

  ExprRef boolean(int depth) {
    static const Op comparisons[] = {Op::less,          Op::less_equal, Op::greater,
                                     Op::greater_equal, Op::equal,      Op::not_equal};
    if (depth > 0 && below(4) == 0) {
      return make_binary(below(2) == 0 ? Op::logical_and : Op::logical_or, boolean(depth - 1),
                         boolean(depth - 1));
    }
    if (depth > 0 && below(8) == 0) return make_unary(Op::logical_not, boolean(depth - 1));
    return make_binary(comparisons[below(6)], integer(depth), integer(depth));
  }

 private:
  std::mt19937_64 engine_;
};

TEST(LinearFormFuzz, SimplifiedEqualsOriginalAndIsStable) {
  constexpr int64_t batch = 6;
  IndexRanges ranges;
  ranges.add_rows(batch);
  ranges.add("a", 0, Extent::number(4));
  ranges.add("b", -2, Extent::number(28));
  ranges.add("c", 0, Extent::of_rows(batch));
  ranges.add("v", 1, Extent::of_rows(batch, 28));
  ranges.other = [](const Expr& e) -> std::optional<Interval> {
    if (e.op == Op::read) return Interval{0, 9};
    return std::nullopt;
  };
  RandomIntegers random(20240601);
  int64_t folded = 0;
  for (int round = 0; round < test::repeats(200'000); ++round) {
    const bool is_condition = round % 4 == 3;
    const int depth = 1 + static_cast<int>(random.below(4));
    ExprRef e = is_condition ? random.boolean(depth) : random.integer(depth);
    ExprRef simple = simplify_indices(e, ranges);
    ExprRef twice = simplify_indices(simple, ranges);
    ASSERT_TRUE(same(simple, twice)) << text(e) << "\n" << text(simple) << "\n" << text(twice);
    std::optional<Interval> bounds;
    if (!is_condition) bounds = interval(simple, ranges);
    folded += is_constant(simple) ? 1 : 0;
    for (int point = 0; point < 6; ++point) {
      Values values;
      int64_t rows = point == 0 ? batch : 1 + random.below(batch);
      values.by_name = {{"rows", rows},
                        {"a", random.below(4)},
                        {"b", random.below(30) - 2},
                        {"c", random.below(rows)},
                        {"v", 1 + random.below(rows * 28 - 1)}};
      if (point == 0) values.by_name["v"] = rows * 28 - 1;
      int64_t expected = evaluate(e, values);
      int64_t actual = evaluate(simple, values);
      ASSERT_EQ(actual, expected) << text(e) << "\n" << text(simple);
      ASSERT_TRUE(!bounds || bounds->contains(actual)) << text(simple) << " = " << actual;
    }
  }
  EXPECT_GT(folded, test::repeats(5000));  // the generator does reach what folds
}

TEST(LinearFormFuzz, LongSumsTakeLittleTime) {
  IndexRanges ranges;
  ExprRef e = make_index("x0");
  for (int k = 1; k < 1500; ++k) e = e + make_index("x" + std::to_string(k % 300)) * k;
  LinearForm form = linear_form(e, ranges);
  EXPECT_EQ(form.terms.size(), 300U);
}

}  // namespace
}  // namespace fusegrad::ir
