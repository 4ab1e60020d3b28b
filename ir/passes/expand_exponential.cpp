// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// exp, expm1, tanh, erf: everything that stands on e^x.
//
// x = n ln 2 + r with |r| <= (ln 2) / 2; n by adding and subtracting 1.5 * 2^23 (2^52), which
// rounds to the nearest integer and leaves n in the low bits. e^r is a polynomial, 2^n is made of
// bits. The coefficients are minimax fits (Remez, weighted by the relative error of the result), in
// f32 then moved by single units in the last place to the smallest measured error.
#include <array>

#include "ir/passes/lane_math.h"

namespace fusegrad::ir {
namespace {

/// (e^r - 1 - r) / r^2 on |r| <= 0.3468: relative error of e^r 2^-28.2 and 2^-64.
constexpr std::array exp_f32 = {0x1.fffffcp-2, 0x1.555492p-3, 0x1.5558dcp-5, 0x1.123a52p-7,
                                0x1.6a23bap-10};
constexpr std::array exp_f64 = {
    0.5,
    0.16666666666666682,
    0.041666666666666095,
    0.008333333333316983,
    0.0013888888889116273,
    0.00019841269896514455,
    2.4801586925877398e-05,
    2.7557234728367213e-06,
    2.7557582154779756e-07,
    2.5112084349135166e-08,
    2.082661990447978e-09,
};

/// (tanh(x) / x - 1) / x^2 in x^2, |x| <= 0.625.
constexpr std::array tanh_f32 = {-0x1.555532p-2, 0x1.110726p-3, -0x1.b83c5ap-5, 0x1.52269ap-6,
                                 -0x1.75e1ccp-8};
constexpr std::array tanh_f64 = {
    -0.33333333333333315,  0.13333333333329742,   -0.05396825396605886,    0.021869488468714438,
    -0.00886323431256421,  0.0035921139997344047, -0.0014557259471503704,  0.000589451795027905,
    -0.000237011719149822, 9.155839222162515e-05, -3.0187200571518037e-05, 6.042459443871159e-06,
};
constexpr double tanh_small = 0.625;

/// erf(x) / x - 1 in x^2, |x| <= 0.875.
constexpr std::array erf_f32 = {0x1.06eba6p-3,  -0x1.81270ep-2, 0x1.ce215ep-4,
                                -0x1.b6f5d6p-6, 0x1.49d5d8p-8,  -0x1.45676ap-11};
constexpr std::array erf_f64 = {
    0.1283791670955126,      -0.37612638903183737,    0.11283791670954318,
    -0.026866170644934954,   0.005223977622976346,    -0.000854832684051181,
    0.00012055324362294194,  -1.4925382294503561e-05, 1.6456530253046226e-06,
    -1.6288487066105262e-07, 1.4118611970071223e-08,  -8.656366951023001e-10,
};
constexpr double erf_small = 0.875;

/// log(1 - erf(x)) for 0.875 <= x <= 4, weighted by 1 - erf(x).
constexpr std::array erfc_f32 = {-0x1.2e6accp-13, -0x1.20bd5cp+0, -0x1.460d5cp-1, -0x1.ab024p-4,
                                 0x1.6eb0ep-6,    -0x1.93f694p-9, 0x1.a33904p-13};
/// The same for 0.875 <= x <= 6: 2^-63.
constexpr std::array erfc_f64 = {
    2.7033040311554118e-08, -1.128379515017218,      -0.6366176582441168,    -0.10278067310039013,
    0.01915016415918609,    0.00016536226440863922,  -0.0016273161319741178, 0.00050375423479379,
    6.184079001147048e-05,  -0.00013727207715399264, 7.913822521054929e-05,  -3.066425835263927e-05,
    9.101146131524648e-06,  -2.1541666473922003e-06, 4.1142082926324133e-07, -6.326091523073761e-08,
    7.735458447115017e-09,  -7.353898477238433e-10,  5.238785579623088e-11,  -2.629763959710048e-12,
    8.28880275326221e-14,   -1.2328928363683553e-15,
};

/// What differs between f32 and f64.
struct Format {
  double rounder;        ///< 1.5 * 2^(mantissa bits): adding it rounds to an integer
  int64_t rounder_bits;  ///< its bits
  int mantissa;
  int64_t bias;
  double ln2_high;
  double ln2_low;
};
constexpr Format format_f32 = {0x1.8p23, 0x4b400000, 23, 127, 0x1.62e430p-1, -0x1.05c610p-29};
constexpr Format format_f64 = {0x1.8p52, 0x4338000000000000,   52,
                               1023,     0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56};
constexpr double log2_of_e = 0x1.71547652b82fep0;

const Format& format_of(const Lanes& x) { return x.is_f32() ? format_f32 : format_f64; }

std::span<const double> pick(const Lanes& x, std::span<const double> f32,
                             std::span<const double> f64) {
  return x.is_f32() ? f32 : f64;
}

/// v = n ln 2 + r. `n` are bits of an integer type: rounder_bits + n.
struct Reduced {
  Lanes n;
  Lanes r;
};

Reduced reduce_exponent(LaneWriter& writer, const Lanes& v) {
  const Format& format = format_of(v);
  const double inverse_ln2 = v.is_f32() ? static_cast<float>(log2_of_e) : log2_of_e;
  const Lanes rounded =
      writer.name("exp_round", fma(v, real(inverse_ln2, v), real(format.rounder, v)));
  const Lanes n = writer.name("exp_n", rounded - real(format.rounder, v));
  const Lanes high = fma(n, real(-format.ln2_high, v), v);
  const Lanes r = writer.name("exp_r", fma(n, real(-format.ln2_low, v), high));
  return {writer.name("exp_bits", bits_of(rounded)), r};
}

/// (e^r - 1 - r) / r^2.
Lanes tail(const Lanes& r) { return polynomial(r, pick(r, exp_f32, exp_f64)); }

/// e^r.
Lanes exp_of_rest(const Lanes& r) {
  const Lanes one = real(1.0, r);
  return fma(fma(tail(r), r, one), r, one);
}

}  // namespace

Lanes moderate_exp(LaneWriter& writer, const Lanes& v) {
  const Format& format = format_of(v);
  const auto [n, r] = reduce_exponent(writer, v);
  // The shift leaves n alone: the rounder's own bits are multiples of 2^(width - mantissa).
  return real_of_bits(bits_of(exp_of_rest(r)) + shift_left(n, format.mantissa), v.type().scalar);
}

Lanes expand_exp(LaneWriter& writer, const Lanes& x) {
  const Format& format = format_of(x);
  // Beyond these the result is 0 or infinite; NaN passes both.
  const double low = x.is_f32() ? -104.0 : -746.0;
  const double high = x.is_f32() ? 89.0 : 710.0;
  const Lanes v = writer.name("exp_in", minimum(maximum(x, real(low, x)), real(high, x)));
  const auto [n, r] = reduce_exponent(writer, v);
  // 2^n = 2^(n1 - 1) * 2^(n - n1 + 1): both factors are normal numbers, and only the last product
  // rounds when the result is subnormal.
  const int64_t smallest = x.is_f32() ? -120 : -1000;
  const Lanes n1 = writer.name("exp_n1", maximum(n, integer(format.rounder_bits + smallest, n)));
  const auto power_of_two = [&](const Lanes& exponent, int64_t shift_by) {
    const int64_t one_bits = (format.bias + shift_by) << format.mantissa;
    return real_of_bits(shift_left(exponent, format.mantissa) + integer(one_bits, exponent),
                        x.type().scalar);
  };
  return exp_of_rest(r) * power_of_two(n1, -1) * power_of_two(n - n1, 1);
}

Lanes expand_expm1(LaneWriter& writer, const Lanes& x) {
  const Format& format = format_of(x);
  // Below, the result is -1 after rounding.
  const double low = x.is_f32() ? -18.0 : -40.0;
  const double high = x.is_f32() ? 89.0 : 710.0;
  const Lanes v = writer.name("exp_in", minimum(maximum(x, real(low, x)), real(high, x)));
  const auto [n, r] = reduce_exponent(writer, v);
  // Half of the result, so that 2^128 needs no number of its own:
  // s (e^r - 1) + (s - 1/2) with s = 2^(n - 1), the large parts first.
  const Lanes s =
      writer.name("exp_scale", real_of_bits(shift_left(n, format.mantissa) +
                                                integer((format.bias - 1) << format.mantissa, n),
                                            x.type().scalar));
  const Lanes linear = fma(s, r, s - real(0.5, x));
  const Lanes half = writer.name("expm1_half", fma(s * (r * r), tail(r), linear));
  // x itself where x^2/2 does not count: keeps subnormals and the sign of zero.
  const double tiny = x.is_f32() ? 0x1p-25 : 0x1p-54;
  return choose(less(absolute(x), real(tiny, x)), x, half + half);
}

Lanes expand_tanh(LaneWriter& writer, const Lanes& x) {
  const Lanes one = real(1.0, x);
  const Lanes a = writer.name("tanh_abs", absolute(x));
  const Lanes square = writer.name("tanh_square", a * a);
  const Lanes small = fma(a * square, polynomial(square, pick(x, tanh_f32, tanh_f64)), a);
  // 1 - 2 / (e^(2a) + 1); from there on the result is 1 after rounding.
  const Lanes bounded = minimum(a, real(x.is_f32() ? 10.0 : 20.0, x));
  const Lanes e = moderate_exp(writer, writer.name("tanh_twice", bounded + bounded));
  const Lanes large = one - real(2.0, x) / (e + one);
  // A NaN is not greater, and comes out of `small`.
  const Lanes magnitude = choose(less(real(tanh_small, x), a), large, small);
  return with_sign_of(magnitude, x);
}

Lanes expand_erf(LaneWriter& writer, const Lanes& x) {
  const Lanes a = writer.name("erf_abs", absolute(x));
  const Lanes square = writer.name("erf_square", a * a);
  const Lanes small = fma(a, polynomial(square, pick(x, erf_f32, erf_f64)), a);
  // 1 - e^(log(1 - erf)); from there on the result is 1 after rounding.
  const Lanes bounded = writer.name("erf_in", minimum(a, real(x.is_f32() ? 4.0 : 6.0, x)));
  const Lanes logarithm = writer.name("erf_log", polynomial(bounded, pick(x, erfc_f32, erfc_f64)));
  const Lanes large = real(1.0, x) - moderate_exp(writer, logarithm);
  const Lanes magnitude = choose(less(real(erf_small, x), a), large, small);
  return with_sign_of(magnitude, x);
}

}  // namespace fusegrad::ir
