// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// rand() and normal() as tensors of awkward sizes see them: are the numbers spread as they should,
// and do neighbours, steps, streams and seeds know nothing of one another?
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <string>
#include <vector>

#include "ir/tensor/evaluate.h"
#include "tests/support/tensor_text.h"

namespace fusegrad::ir {
namespace {

using Shape = std::vector<int64_t>;
using Numbers = std::vector<double>;

/// Primes, powers of two and their neighbours, ones: in front, behind, between.
const std::vector<Shape> shapes = {{1},          {2},         {1009},      {1024},
                                   {1025},       {1, 997},    {997, 1},    {31, 33},
                                   {64, 64},     {3, 1, 331}, {7, 11, 13}, {2, 2, 2, 2, 2, 2, 2, 2},
                                   {5, 17, 3, 4}};

/// The elements of `function.STREAM` in a tensor of that shape, in steps 1, 2, ... until there are
/// at least `least` of them.
Numbers draw(const std::string& function, const Shape& shape, int64_t stream, int64_t seed,
             size_t least) {
  std::string indices;
  std::string position = "0";
  for (size_t d = 0; d < shape.size(); ++d) {
    const std::string index = "i" + std::to_string(d);
    indices += (d == 0 ? "" : ", ") + index + " in 0.." + std::to_string(shape[d]);
    position = d == 0 ? index : "(" + position + ") * " + std::to_string(shape[d]) + " + " + index;
  }
  const TensorProgram program =
      test::tensor_program("program init batch 1 {\n  r[" + indices + "]: f32 = " + function + "." +
                           std::to_string(stream) + "(" + position + ")\n  result output r = r\n}");
  Numbers numbers;
  Uniforms uniforms;
  uniforms.seed = seed;
  while (numbers.size() < least) {
    ++uniforms.step;
    const TensorValues values = evaluate(program, {}, uniforms, Precision::as_typed);
    const Numbers& drawn = values.find("r")->second.reals;
    numbers.insert(numbers.end(), drawn.begin(), drawn.end());
  }
  return numbers;
}

/// How many standard deviations the statistic of `cells` (which should be equally full) is away
/// from its mean. Chi-square with k degrees of freedom has mean k and variance 2k.
double deviation_of_chi_square(const std::vector<int64_t>& cells) {
  const auto total = static_cast<double>(std::accumulate(cells.begin(), cells.end(), int64_t{0}));
  const double expected = total / static_cast<double>(cells.size());
  double statistic = 0;
  for (const int64_t count : cells) {
    const double distance = static_cast<double>(count) - expected;
    statistic += distance * distance / expected;
  }
  const auto freedom = static_cast<double>(cells.size() - 1);
  return (statistic - freedom) / std::sqrt(2 * freedom);
}

/// Too even is as wrong as too uneven. Six standard deviations: the statistic has a long tail
/// above.
constexpr double most_deviation = 6;

size_t cell_of(double uniform, size_t cells) {
  return std::min(cells - 1, static_cast<size_t>(uniform * static_cast<double>(cells)));
}

/// A standard normal number as a uniform one.
double uniform_of(double normal) { return 0.5 * std::erfc(-normal / std::numbers::sqrt2); }

double correlation(const Numbers& a, const Numbers& b) {
  const auto n = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return ab / std::sqrt(aa * bb);
}

/// Neither a linear dependence nor one of cells.
void expect_independent(const Numbers& a, const Numbers& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size());
  EXPECT_LT(std::fabs(correlation(a, b)), 5 / std::sqrt(static_cast<double>(a.size()))) << what;
  std::vector<int64_t> cells(64, 0);
  for (size_t i = 0; i < a.size(); ++i) ++cells[8 * cell_of(a[i], 8) + cell_of(b[i], 8)];
  EXPECT_LT(std::fabs(deviation_of_chi_square(cells)), most_deviation) << what;
}

Numbers as_uniform(const std::string& function, Numbers numbers) {
  if (function == "normal") {
    for (double& number : numbers) number = uniform_of(number);
  }
  return numbers;
}

std::string text(const Shape& shape) {
  std::string result;
  for (const int64_t size : shape) result += std::to_string(size) + " ";
  return result;
}

class RandomNumbers : public ::testing::TestWithParam<const char*> {};

TEST_P(RandomNumbers, AreSpreadEvenly) {
  for (const Shape& shape : shapes) {
    std::vector<int64_t> cells(100, 0);
    for (double u : as_uniform(GetParam(), draw(GetParam(), shape, 77, 3, 20000))) {
      ASSERT_TRUE(u >= 0 && u <= 1);
      ++cells[cell_of(u, cells.size())];
    }
    EXPECT_LT(std::fabs(deviation_of_chi_square(cells)), most_deviation) << text(shape);
  }
}

TEST_P(RandomNumbers, NeighboursKnowNothingOfOneAnother) {
  for (const Shape& shape : shapes) {
    const Numbers numbers = as_uniform(GetParam(), draw(GetParam(), shape, 78, 4, 20000));
    int64_t elements = 1;
    for (const int64_t size : shape) elements *= size;
    // The next element, the one below, the same one in the next step; and what lanes, tiles and
    // blocks of four words would show.
    for (const int64_t distance :
         {int64_t{1}, int64_t{2}, int64_t{4}, int64_t{8}, int64_t{16}, shape.back(), elements}) {
      const auto away = static_cast<std::ptrdiff_t>(distance);
      expect_independent(Numbers(numbers.begin(), numbers.end() - away),
                         Numbers(numbers.begin() + away, numbers.end()),
                         text(shape) + " at distance " + std::to_string(distance));
    }
  }
}

TEST_P(RandomNumbers, StreamsAndSeedsKnowNothingOfOneAnother) {
  for (const Shape& shape : {Shape{1}, Shape{31, 33}, Shape{7, 11, 13}}) {
    const Numbers base = as_uniform(GetParam(), draw(GetParam(), shape, 79, 5, 20000));
    for (const int64_t stream : {INT64_C(78), INT64_C(80), INT64_C(335), INT64_C(0xfffffff0)}) {
      expect_independent(base, as_uniform(GetParam(), draw(GetParam(), shape, stream, 5, 20000)),
                         text(shape) + " and stream " + std::to_string(stream));
    }
    for (const int64_t seed : {INT64_C(0), INT64_C(4), INT64_C(6), INT64_C(1) << 32}) {
      expect_independent(base, as_uniform(GetParam(), draw(GetParam(), shape, 79, seed, 20000)),
                         text(shape) + " and seed " + std::to_string(seed));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Both, RandomNumbers, ::testing::Values("rand", "normal"),
                         [](const auto& param) { return std::string(param.param); });

}  // namespace
}  // namespace fusegrad::ir
