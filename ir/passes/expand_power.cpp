// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// x ^ y.
//
// A constant integer exponent n with |n| <= 16: products by squaring, in the order of the bits of
// n from the highest (x^5 = (x^2)^2 x), and 1 / x^|n| for negative n. Anything else: 2^(y log2 |x|)
// with the special cases of IEEE 754's pow; for f32 in f64, for f64 with a logarithm in two parts.
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "ir/passes/lane_math.h"

namespace fusegrad::ir {
namespace {

constexpr int64_t largest_multiplied = 16;

/// The exponent if it is a constant integer.
std::optional<int64_t> constant_integer(const Lanes& exponent) {
  const Expr* node = exponent.e.get();
  if (node->op == Op::splat || node->op == Op::convert) node = node->operands[0].get();
  if (node->op == Op::splat) node = node->operands[0].get();
  if (node->op != Op::constant) return std::nullopt;
  if (is_integer(node->type.scalar)) return node->integer;
  if (std::fabs(node->real) > largest_multiplied || std::floor(node->real) != node->real) {
    return std::nullopt;
  }
  return static_cast<int64_t>(node->real);
}

Lanes multiplied(LaneWriter& writer, const Lanes& x, int64_t exponent) {
  const int64_t n = std::abs(exponent);
  if (n == 0) return real(1.0, x);
  Lanes product = x;
  int64_t bit = 1;
  while (bit * 2 <= n) bit *= 2;
  for (bit /= 2; bit > 0; bit /= 2) {
    product = writer.name("power", product * product);
    if (n & bit) product = writer.name("power", product * x);
  }
  return exponent < 0 ? real(1.0, x) / product : product;
}

/// (2 artanh(s) - 2 s) / s^3 in s^2, |s| <= 0.2: relative error of the logarithm 2^-42 and 2^-62.
constexpr std::array log_for_f32 = {0.6666666671086937, 0.3999998447386166, 0.2857319656151372,
                                    0.22134715175770964, 0.2012701248581392};
constexpr std::array log_for_f64 = {0.666666666666666,   0.40000000000056957, 0.2857142855576742,
                                    0.2222222430289271,  0.18181665510182343, 0.15391123424664904,
                                    0.13173412188925954, 0.13844275545157067};
/// 2^f on |f| <= 1/2: 2^-34.
constexpr std::array exp2_for_f32 = {
    0.9999999999616236,  0.693147180728726,     0.2402265119875035,     0.05550410352829983,
    0.00961802717293627, 0.0013333922857696114, 0.00015469317313730765, 1.5201900123057952e-05};

constexpr double ln2_high = 0x1.62e42feep-1;
constexpr double ln2_low = 0x1.a39ef35793c76p-33;

/// A number as high + low, |low| far below |high|.
struct Pair {
  Lanes high;
  Lanes low;
};

/// Exponent k and s = (m - 1) / (m + 1) of a = 2^k m, 2/3 <= m < 4/3, a > 0 and finite, f64.
struct Parts {
  Lanes k;
  Lanes numerator;
  Lanes denominator;
};

/// `subnormals`: whether `a` may be a subnormal f64.
Parts take_apart(LaneWriter& writer, const Lanes& a, bool subnormals) {
  const Lanes subnormal = less(a, real(0x1p-1022, a));
  const Lanes normal = subnormals ? choose(subnormal, a * real(0x1p54, a), a) : a;
  const Lanes bits = writer.name("power_bits", bits_of(normal));
  const Lanes exponent = writer.name(
      "power_exponent",
      bit_and(bits - integer(0x3fe5555555555556, bits), integer(-(int64_t{1} << 52), bits)));
  const Lanes m = writer.name("power_m", real_of_bits(bits - exponent, ScalarType::f64));
  const Lanes zero = real(0.0, a);
  const Lanes scaled = subnormals ? choose(subnormal, real(-54.0, a), zero) : zero;
  const Lanes k =
      writer.name("power_k", fma(convert_to(ScalarType::f64, exponent), real(0x1p-52, a), scaled));
  return {k, writer.name("power_f", m - real(1.0, a)), m + real(1.0, a)};
}

/// 2^(y log2 a) in f64, to the accuracy of f32; a >= 0, y of type f64.
Lanes power_for_f32(LaneWriter& writer, const Lanes& a, const Lanes& y) {
  const auto [k, numerator, denominator] = take_apart(writer, a, false);
  const Lanes s = writer.name("power_s", numerator / denominator);
  const Lanes z = writer.name("power_z", s * s);
  const Lanes log_m = fma(s * z, polynomial(z, log_for_f32), s + s);
  const Lanes log2_finite = fma(log_m, real(0x1.71547652b82fep0, a), k);
  const double infinity = std::numeric_limits<double>::infinity();
  const Lanes log2_above = choose(equal(a, real(infinity, a)), a, log2_finite);
  const Lanes log2 = choose(equal(a, real(0.0, a)), real(-infinity, a), log2_above);
  // Beyond these the f32 result is 0 or infinite.
  const Lanes product =
      writer.name("power_log", minimum(maximum(y * log2, real(-160.0, a)), real(130.0, a)));
  const Lanes rounded = writer.name("power_round", product + real(0x1.8p52, a));
  const Lanes f = writer.name("power_rest", product - (rounded - real(0x1.8p52, a)));
  const Lanes mantissa = polynomial(f, exp2_for_f32);
  return real_of_bits(bits_of(mantissa) + shift_left(bits_of(rounded), 52), ScalarType::f64);
}

/// a^y in f64; a >= 0.
Lanes power_for_f64(LaneWriter& writer, const Lanes& a, const Lanes& y) {
  const auto [k, numerator, denominator] = take_apart(writer, a, true);
  // log a = k ln 2 + 2 s + s^3 P, the first two with the rests of their roundings.
  const Lanes d = writer.name("power_d", denominator);
  const Lanes s = writer.name("power_s", numerator / d);
  // m + 1 is rounded; its rest is m + 1 - d = (f - (d - 2)).
  const Lanes d_rest = numerator - (d - real(2.0, a));
  const Lanes s_rest = writer.name("power_s_rest", (fma(-s, d, numerator) - s * d_rest) / d);
  const Lanes z = writer.name("power_z", s * s);
  const Lanes small = fma(s * z, polynomial(z, log_for_f64), s_rest + s_rest);
  const Lanes big = writer.name("power_big", k * real(ln2_high, a));
  const Lanes twice = writer.name("power_twice", s + s);
  const Lanes sum = writer.name("power_sum", big + twice);
  // Where k is 0, `big` is 0 and the rest is 0; otherwise |big| > |twice|.
  const Lanes sum_rest = twice - (sum - big);
  const Lanes low = writer.name("power_low", small + fma(k, real(ln2_low, a), sum_rest));
  const Lanes high = writer.name("power_high", sum + low);
  const Lanes rest = low - (high - sum);
  const double infinity = std::numeric_limits<double>::infinity();
  const Lanes is_zero = writer.name("power_zero", equal(a, real(0.0, a)));
  const Lanes is_infinite = writer.name("power_infinite", equal(a, real(infinity, a)));
  const Lanes log_high =
      writer.name("power_log", choose(is_zero, real(-infinity, a), choose(is_infinite, a, high)));
  const Lanes product = writer.name("power_product", y * log_high);
  const Lanes product_rest =
      writer.name("power_product_rest", fma(y, log_high, -product) + y * rest);
  const Lanes power = writer.name("power_main", expand_exp(writer, product));
  // e^(p + q) = e^p + q e^p; not where the result is 0 or infinite already, which q does not
  // change.
  const Lanes moderate =
      both(less(absolute(product), real(1000.0, a)), less(power, real(infinity, a)));
  return choose(moderate, fma(product_rest, power, power), power);
}

}  // namespace

Lanes expand_power(LaneWriter& writer, const Lanes& base, const Lanes& exponent) {
  const std::optional<int64_t> constant = constant_integer(exponent);
  if (constant && *constant >= -largest_multiplied && *constant <= largest_multiplied) {
    return multiplied(writer, base, *constant);
  }
  const ScalarType type = base.type().scalar;
  const bool f32 = base.is_f32();
  const Lanes x = f32 ? writer.name("power_base", convert_to(ScalarType::f64, base)) : base;
  const Lanes y = exponent.type().scalar == ScalarType::f64
                      ? exponent
                      : writer.name("power_exponent", convert_to(ScalarType::f64, exponent));
  const Lanes zero = real(0.0, x);
  const Lanes one = real(1.0, x);
  const Lanes infinity = real(std::numeric_limits<double>::infinity(), x);
  const Lanes a = writer.name("power_abs", absolute(x));
  const Lanes general = writer.name(
      "power_magnitude", f32 ? power_for_f32(writer, a, y) : power_for_f64(writer, a, y));
  // |x| = 1: log2 is 0, but the exponent may be infinite (then 1) or NaN (then 1 only for x = 1).
  const Lanes magnitude = choose(equal(a, one), one, general);
  const Lanes whole = writer.name("power_whole", equal(floor_of(y), y));
  const Lanes half = writer.name("power_half", floor_of(y * real(0.5, y)));
  const Lanes odd = both(whole, opposite(equal(half + half, y)));
  const Lanes x_bits = bits_of(x);
  const Lanes sign = choose(odd, bit_and(x_bits, integer(INT64_MIN, x_bits)), integer(0, x_bits));
  const Lanes with_sign = real_of_bits(bit_xor(bits_of(magnitude), sign), ScalarType::f64);
  // A negative number has only integer powers; -infinity has them all.
  const Lanes no_power = both(both(less(x, zero), less(a, infinity)), opposite(whole));
  const Lanes numbers = both(equal(x, x), equal(y, y));
  const Lanes defined = writer.name("power_defined", both(numbers, opposite(no_power)));
  const Lanes value = choose(defined, with_sign, real(std::numeric_limits<double>::quiet_NaN(), x));
  // Even of NaN: y = 0 and x = 1 give 1.
  const Lanes result = choose(equal(y, zero), one, choose(equal(x, one), one, value));
  return f32 ? convert_to(type, result) : result;
}

}  // namespace fusegrad::ir
