// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// std::shuffle differs between standard libraries and depends on a generator's history; a resumed
// run has neither. Here an epoch's order is a function of (seed, epoch).
#include "runtime/core/shuffle.h"

#include <utility>

#include "runtime/core/check.h"
#include "runtime/core/philox.h"

namespace fusegrad::runtime {

namespace {

/// Keeps these words apart from all other uses of the job's seed: "shuf" in ASCII.
constexpr uint32_t stream_of_shuffle = 0x73687566;

/// The words of the counters (0, 1, 2, ...) one after the other.
class Words {
 public:
  Words(int64_t seed, int64_t epoch)
      : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(static_cast<uint64_t>(seed) >> 32)},
        epoch_(static_cast<uint64_t>(epoch)) {}

  uint32_t next() {
    if (used_ == 4) {
      words_ = philox4x32_10({block_++, static_cast<uint32_t>(epoch_),
                              static_cast<uint32_t>(epoch_ >> 32), stream_of_shuffle},
                             key_);
      used_ = 0;
    }
    return words_[used_++];
  }

  /// Uniform in [0, bound), bound > 0.
  uint32_t below(uint32_t bound) {
    uint64_t product = uint64_t{next()} * bound;
    if (static_cast<uint32_t>(product) < bound) {
      // The lowest 2^32 mod bound fractions would make some results likelier than others.
      const uint32_t rejected = (0U - bound) % bound;
      while (static_cast<uint32_t>(product) < rejected) product = uint64_t{next()} * bound;
    }
    return static_cast<uint32_t>(product >> 32);
  }

 private:
  PhiloxKey key_;
  uint64_t epoch_;
  // 2^31 draws take fewer than 2^32 blocks of 4, rejections included (each has a chance below 1/2).
  uint32_t block_ = 0;
  PhiloxCounter words_ = {};
  unsigned used_ = 4;
};

}  // namespace

void shuffled_rows(int64_t seed, int64_t epoch, std::span<int32_t> rows) {
  RUNTIME_CHECK(rows.size() <= 0x7fffffff, "{} rows", rows.size());
  const auto size = static_cast<uint32_t>(rows.size());
  for (uint32_t i = 0; i < size; ++i) rows[i] = static_cast<int32_t>(i);
  Words words(seed, epoch);
  for (uint32_t i = size; i > 1; --i) std::swap(rows[i - 1], rows[words.below(i)]);
}

}  // namespace fusegrad::runtime
