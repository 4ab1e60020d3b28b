// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// log, log1p, rsqrt.
//
// x = 2^k m with 2/3 <= m < 4/3, taken apart by its bits; log x = k ln 2 + log(1 + f), f = m - 1.
// f32: a polynomial in f. f64: s = f / (2 + f), log(1 + f) = f - (f^2/2 - s (f^2/2 + R(s^2))),
// the arrangement of fdlibm's e_log.c (Sun Microsystems, 1993); coefficients are our own minimax
// fits.
#include <array>
#include <cmath>
#include <limits>

#include "ir/passes/lane_math.h"

namespace fusegrad::ir {
namespace {

/// (log(1 + f) - f) / f^2 on |f| <= 1/3: relative error of the logarithm 2^-27.7.
constexpr std::array log_f32 = {-0x1.fffffep-2, 0x1.555508p-2,  -0x1.fffecp-3,
                                0x1.99d1e6p-3,  -0x1.55a78ep-3, 0x1.1ebca2p-3,
                                -0x1.f25f9ep-4, 0x1.1ed144p-3,  -0x1.0931ecp-3};
/// (2 artanh(s) - 2 s) / s^3 in s^2, |s| <= 0.2: 2^-62.
constexpr std::array log_f64 = {0.666666666666666,   0.40000000000056957, 0.2857142855576742,
                                0.2222222430289271,  0.18181665510182343, 0.15391123424664904,
                                0.13173412188925954, 0.13844275545157067};

/// Bits of 2/3, rounded up: from there an exponent counts upwards.
constexpr int64_t two_thirds_f32 = 0x3f2aaaab;
constexpr int64_t two_thirds_f64 = 0x3fe5555555555556;

int mantissa_of(const Lanes& x) { return x.is_f32() ? 23 : 52; }

/// The exponent k of `x`, in the place where the exponent stands in its bits.
Lanes exponent_bits(const Lanes& bits, bool f32) {
  const int64_t mask = f32 ? -(int64_t{1} << 23) : -(int64_t{1} << 52);
  return bit_and(bits - integer(f32 ? two_thirds_f32 : two_thirds_f64, bits), integer(mask, bits));
}

/// k ln 2 + log(1 + f).
Lanes assemble(LaneWriter& writer, const Lanes& k, const Lanes& f) {
  if (f.is_f32()) {
    const Lanes log_m = fma(f * f, polynomial(f, log_f32), f);
    return fma(k, real(0x1.62e430p-1, f), log_m);
  }
  const Lanes s = writer.name("log_s", f / (real(2.0, f) + f));
  const Lanes z = writer.name("log_z", s * s);
  const Lanes half_square = writer.name("log_half", real(0.5, f) * f * f);
  const Lanes rest = z * polynomial(z, log_f64);
  const Lanes low = fma(k, real(0x1.a39ef35793c76p-33, f), s * (half_square + rest));
  // The high part of ln 2 has 32 bits: its product with k is exact.
  return k * real(0x1.62e42feep-1, f) - ((half_square - low) - f);
}

/// What holds outside of (smallest, infinity): -inf at `pole`, NaN below it and for NaN, x at
/// infinity.
Lanes with_edges(const Lanes& x, double pole, const Lanes& inside) {
  const double infinity = std::numeric_limits<double>::infinity();
  const Lanes edge = choose(equal(x, real(pole, x)), real(-infinity, x),
                            real(std::numeric_limits<double>::quiet_NaN(), x));
  const Lanes finite = choose(less(real(pole, x), x), inside, edge);
  return choose(equal(x, real(infinity, x)), x, finite);
}

}  // namespace

Lanes expand_log(LaneWriter& writer, const Lanes& x) {
  const bool f32 = x.is_f32();
  const int mantissa = mantissa_of(x);
  // Subnormal numbers have no leading one: they are scaled first.
  const double smallest_normal = f32 ? 0x1p-126 : 0x1p-1022;
  const double up = f32 ? 24 : 54;
  const Lanes subnormal = writer.name("log_subnormal", less(x, real(smallest_normal, x)));
  const Lanes normal = writer.name(
      "log_normal", choose(subnormal, x * real(std::ldexp(1.0, static_cast<int>(up)), x), x));
  const Lanes bits = writer.name("log_bits", bits_of(normal));
  const Lanes exponent = writer.name("log_exponent", exponent_bits(bits, f32));
  const Lanes f =
      writer.name("log_f", real_of_bits(bits - exponent, x.type().scalar) - real(1.0, x));
  const Lanes k = writer.name(
      "log_k", fma(convert_to(x.type().scalar, exponent), real(std::ldexp(1.0, -mantissa), x),
                   choose(subnormal, real(-up, x), real(0.0, x))));
  return with_edges(x, 0.0, writer.name("log_inside", assemble(writer, k, f)));
}

Lanes expand_log1p(LaneWriter& writer, const Lanes& x) {
  const bool f32 = x.is_f32();
  const Lanes one = real(1.0, x);
  // log(1 + x) = k ln 2 + log(1 + f), f = 2^-k (1 + x) - 1 = 2^-k x + (2^-k - 1), where k is the
  // exponent of 1 + x after rounding. 2^-k is made as 2^(2 - k) / 4: k can be 128.
  const Lanes bits = bits_of(one + x);
  const Lanes exponent = writer.name("log_exponent", exponent_bits(bits, f32));
  const int64_t bits_of_four = f32 ? 0x40800000 : 0x4010000000000000;
  const Lanes scale = writer.name(
      "log_scale",
      real_of_bits(integer(bits_of_four, exponent) - exponent, x.type().scalar) * real(0.25, x));
  const Lanes f = writer.name("log_f", fma(x, scale, scale - one));
  const Lanes k = writer.name(
      "log_k", convert_to(x.type().scalar, exponent) * real(std::ldexp(1.0, -mantissa_of(x)), x));
  const Lanes inside = writer.name("log_inside", assemble(writer, k, f));
  // The sign of zero gets lost on the way.
  return choose(equal(x, real(0.0, x)), x, with_edges(x, -1.0, inside));
}

Lanes expand_rsqrt(LaneWriter&, const Lanes& x) { return real(1.0, x) / root(x); }

}  // namespace fusegrad::ir
