// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// sin, cos.
//
// x = n (pi / 2) + r with |r| <= pi / 4 (a little more after rounding); the two low bits of n say
// which of sin r, cos r, -sin r, -cos r is wanted. Coefficients are minimax fits.
#include <array>
#include <cmath>
#include <limits>

#include "ir/passes/lane_math.h"

namespace fusegrad::ir {
namespace {

/// (sin(r) / r - 1) / r^2 and (cos(r) - 1) / r^2, in r^2.
constexpr std::array sin_f32 = {-0.16666654536624376, 0.008332156053589327,
                                -0.00019514631872723648};
constexpr std::array cos_f32 = {-0.49999999691959014, 0.04166662007281006, -0.0013886672663917144,
                                0.00002438272172919580};
constexpr std::array sin_f64 = {-0.1666666666666663,     0.008333333333322108,
                                -0.00019841269829580003, 2.755731361797104e-06,
                                -2.5050747211955754e-08, 1.5896197315732087e-10};
constexpr std::array cos_f64 = {-0.5,
                                0.04166666666666647,
                                -0.0013888888888861973,
                                2.480158728408043e-05,
                                -2.7557313113575514e-07,
                                2.087558165090968e-09,
                                -1.135325749754224e-11};

/// pi / 2 in three parts, for products without rounding (Cody and Waite, 1980, with fused
/// multiply-adds).
constexpr std::array half_pi_f32 = {0x1.921fb6p+0, -0x1.777a5cp-25, -0x1.ee59dap-50};
constexpr std::array half_pi_f64 = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54,
                                    -0x1.f1976b7ed8fbcp-110};
constexpr double two_over_pi = 0x1.45f306dc9c883p-1;

/// 2 / pi in pieces of 24 bits: piece k counts 2^(-24 (k + 1)). Enough for the largest f32.
constexpr std::array<int64_t, 9> two_over_pi_pieces = {
    0xa2f983, 0x6e4e44, 0x1529fc, 0x2757d1, 0xf534dd, 0xc0db62, 0x95993c, 0x439041, 0xfe5163};

/// Up to here the three parts are enough for f32: n has 16 bits.
constexpr double largest_direct_f32 = 65536.0;
/// Beyond, the result in f64 is NaN rather than wrong.
constexpr double largest_f64 = 0x1p40;

/// The angle's rest, and the number of its quarter as an integer (only the two low bits count).
struct Quarter {
  Lanes r;
  Lanes n;
};

Quarter reduce_directly(LaneWriter& writer, const Lanes& x) {
  const bool f32 = x.is_f32();
  const double rounder = f32 ? 0x1.8p23 : 0x1.8p52;
  const double scale = f32 ? static_cast<float>(two_over_pi) : two_over_pi;
  const std::span<const double> parts =
      f32 ? std::span<const double>(half_pi_f32) : std::span<const double>(half_pi_f64);
  const Lanes rounded = writer.name("turn_round", fma(x, real(scale, x), real(rounder, x)));
  const Lanes n = writer.name("turn_n", rounded - real(rounder, x));
  Lanes r = x;
  for (double part : parts) r = fma(n, real(-part, x), r);
  return {writer.name("turn_r", r), writer.name("turn_bits", bits_of(rounded))};
}

/// For every finite f32, in f64. x times a piece of 2 / pi is exact, and so is taking multiples of
/// 4 away, which only count full turns. What is left of the first pieces has bits down to 2^-46
/// only and is summed exactly around the integer that is taken out, so that the small pieces count
/// in full even where x is closest to a multiple of pi / 2 (after Payne and Hanek, 1983).
Quarter reduce_exactly(LaneWriter& writer, const Lanes& x) {
  const Lanes wide = writer.name("turn_wide", convert_to(ScalarType::f64, x));
  std::array<Lanes, two_over_pi_pieces.size()> pieces;
  Lanes total;
  for (size_t k = 0; k < pieces.size(); ++k) {
    const double piece =
        std::ldexp(static_cast<double>(two_over_pi_pieces[k]), -24 * (static_cast<int>(k) + 1));
    const Lanes product = writer.name("turn_product", wide * real(piece, wide));
    pieces[k] = writer.name("turn_piece",
                            fma(floor_of(product * real(0.25, wide)), real(-4.0, wide), product));
    total = k == 0 ? pieces[0] : total + pieces[k];
  }
  const Lanes n = writer.name("turn_whole", floor_of(total + real(0.5, wide)));
  Lanes fraction = pieces[0] - n;
  for (size_t k = 1; k < pieces.size(); ++k) fraction = fraction + pieces[k];
  const Lanes r = fraction * real(half_pi_f64[0], wide);
  return {writer.name("turn_exact_r", convert_to(ScalarType::f32, r)),
          writer.name("turn_exact_n", convert_to(ScalarType::i32, n))};
}

Quarter reduce_angle(LaneWriter& writer, const Lanes& x) {
  const Quarter direct = reduce_directly(writer, x);
  if (!x.is_f32()) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const Lanes inside = less(absolute(x), real(largest_f64, x));
    return {writer.name("turn_r", choose(inside, direct.r, real(nan, x))), direct.n};
  }
  const Lanes large = writer.name("turn_large", less(real(largest_direct_f32, x), absolute(x)));
  const int lanes = x.type().lanes;
  if ((lanes & (lanes - 1)) != 0) {
    const Quarter exact = reduce_exactly(writer, x);
    return {writer.name("turn_r", choose(large, exact.r, direct.r)),
            writer.name("turn_n", choose(large, exact.n, direct.n))};
  }
  // The exact way is long and nearly never needed; a lane's bits do not depend on its neighbours.
  const Lanes r = writer.variable("turn_r", direct.r);
  const Lanes n = writer.variable("turn_n", direct.n);
  const Lanes any = writer.name("turn_any", writer.any(large));
  writer.open_block();
  const Quarter exact = reduce_exactly(writer, x);
  writer.assign(r, choose(large, exact.r, r));
  writer.assign(n, choose(large, exact.n, n));
  LoopBlock block = writer.close_block();
  writer.add({LoopIf{any.e, std::move(block), {}}});
  return {writer.name("turn_r", r), writer.name("turn_n", n)};
}

struct SineCosine {
  Lanes sine;
  Lanes cosine;
};

/// Of the rest of an angle.
SineCosine of_rest(LaneWriter& writer, const Lanes& r) {
  const bool f32 = r.is_f32();
  const Lanes z = writer.name("turn_square", r * r);
  const std::span<const double> sine =
      f32 ? std::span<const double>(sin_f32) : std::span<const double>(sin_f64);
  const std::span<const double> cosine =
      f32 ? std::span<const double>(cos_f32) : std::span<const double>(cos_f64);
  return {writer.name("turn_sin", fma(r * z, polynomial(z, sine), r)),
          writer.name("turn_cos", fma(z, polynomial(z, cosine), real(1.0, r)))};
}

/// sin of the angle that is `quarters` further.
Lanes turned_sine(LaneWriter& writer, const Quarter& angle, int64_t quarters) {
  const auto [sine, cosine] = of_rest(writer, angle.r);
  const Lanes n =
      quarters == 0 ? angle.n : writer.name("turn_next", angle.n + integer(quarters, angle.n));
  const Lanes odd = less(integer(0, n), bit_and(n, integer(1, n)));
  const Lanes value = choose(odd, cosine, sine);
  // Bit 1 of n, moved to the place of the sign.
  const int to_sign = value.is_f32() ? 30 : 62;
  const Lanes sign = shift_left(bit_and(n, integer(2, n)), to_sign);
  return real_of_bits(bit_xor(bits_of(value), sign), value.type().scalar);
}

}  // namespace

Lanes expand_sin(LaneWriter& writer, const Lanes& x) {
  const Lanes value = turned_sine(writer, reduce_angle(writer, x), 0);
  return choose(equal(x, real(0.0, x)), x, value);  // keeps the sign of zero
}

Lanes expand_cos(LaneWriter& writer, const Lanes& x) {
  return turned_sine(writer, reduce_angle(writer, x), 1);
}

Lanes expand_cos_of_turns(LaneWriter& writer, const Lanes& turns) {
  const double rounder = turns.is_f32() ? 0x1.8p23 : 0x1.8p52;
  const Lanes rounded =
      writer.name("turn_round", fma(turns, real(4.0, turns), real(rounder, turns)));
  const Lanes n = rounded - real(rounder, turns);
  // Exact: what is taken away is a quarter next to `turns`.
  const Lanes rest = fma(n, real(-0.25, turns), turns);
  const double two_pi = turns.is_f32() ? 4 * half_pi_f32[0] : 4 * half_pi_f64[0];
  return turned_sine(writer,
                     {writer.name("turn_r", rest * real(two_pi, turns)),
                      writer.name("turn_bits", bits_of(rounded))},
                     1);
}

}  // namespace fusegrad::ir
