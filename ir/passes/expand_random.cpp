// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// rand, normal: Philox4x32-10 in integer arithmetic of L (Salmon, Moraes, Dror, Shaw: Parallel
// Random Numbers: As Easy as 1, 2, 3; SC 2011). A pure function of seed, step, stream and position,
// so no schedule can change a number.
#include <array>
#include <cstdint>

#include "ir/passes/lane_math.h"

namespace fusegrad::ir {
namespace {

constexpr int64_t low_word = 0xffffffff;

/// 32-bit words, each in an i64 between 0 and 2^32 - 1, so that products of two are exact.
Lanes low(const Lanes& a) { return bit_and(a, integer(low_word, a)); }
Lanes high(const Lanes& a) { return shift_right(a, 32); }

struct Words {
  Lanes first;
  Lanes second;
};

/// Words 0 and 1 of the block with counter (position low, position high, step, stream) and key
/// (seed low, seed high).
Words philox(LaneWriter& writer, int64_t stream, const Lanes& position) {
  constexpr std::array<int64_t, 2> multipliers = {0xD2511F53, 0xCD9E8D57};
  constexpr std::array<int64_t, 2> key_steps = {0x9E3779B9, 0xBB67AE85};
  const int lanes = position.type().lanes;
  const Lanes step{make_uniform("step")};
  const Lanes seed{make_uniform("seed")};
  const auto spread = [lanes](const Lanes& scalar) { return Lanes{make_splat(scalar.e, lanes)}; };
  std::array<Lanes, 4> counter = {
      writer.name("random_word", low(position)), writer.name("random_word", high(position)),
      writer.name("random_word", spread(writer.name("random_step", low(step)))),
      integer(stream & low_word, position)};
  std::array<Lanes, 2> key = {writer.name("random_key", low(seed)),
                              writer.name("random_key", high(seed))};
  for (int round = 0; round < 10; ++round) {
    const Lanes product_0 =
        writer.name("random_product", counter[0] * integer(multipliers[0], position));
    const Lanes product_1 =
        writer.name("random_product", counter[2] * integer(multipliers[1], position));
    const std::array<Lanes, 2> round_key = {writer.name("random_key", spread(key[0])),
                                            writer.name("random_key", spread(key[1]))};
    counter = {
        writer.name("random_word", bit_xor(bit_xor(high(product_1), counter[1]), round_key[0])),
        writer.name("random_word", low(product_1)),
        writer.name("random_word", bit_xor(bit_xor(high(product_0), counter[3]), round_key[1])),
        writer.name("random_word", low(product_0))};
    for (size_t i = 0; i < key.size(); ++i) {
      key[i] = writer.name("random_key", low(key[i] + integer(key_steps[i], key[i])));
    }
  }
  return {counter[0], counter[1]};
}

/// The upper 24 bits of a word as an integer in a real type.
Lanes upper_bits(const Lanes& word, ScalarType real_type) {
  return convert_to(real_type, convert_to(ScalarType::i32, shift_right(word, 8)));
}

}  // namespace

Lanes expand_rand(LaneWriter& writer, int64_t stream, const Lanes& position, ScalarType real_type) {
  const Lanes bits = upper_bits(philox(writer, stream, position).first, real_type);
  return bits * real(0x1p-24, bits);
}

Lanes expand_normal(LaneWriter& writer, int64_t stream, const Lanes& position,
                    ScalarType real_type) {
  // Box and Muller (1958): sqrt(-2 log u) cos(2 pi v), u in (0, 1], v in [0, 1).
  const auto [first, second] = philox(writer, stream, position);
  const Lanes bits = upper_bits(first, real_type);
  const Lanes u = writer.name("normal_u", fma(bits, real(0x1p-24, bits), real(0x1p-24, bits)));
  const Lanes v = writer.name("normal_v", upper_bits(second, real_type) * real(0x1p-24, bits));
  const Lanes log_u = writer.name("normal_log", expand_log(writer, u));
  const Lanes radius = writer.name("normal_radius", root(log_u * real(-2.0, u)));
  return radius * expand_cos_of_turns(writer, v);
}

}  // namespace fusegrad::ir
