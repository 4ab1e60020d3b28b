// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The order in which an epoch visits the samples.
#pragma once

#include <cstdint>
#include <span>

namespace fusegrad::runtime {

/// Fills `rows` with a permutation of 0 .. rows.size() - 1 that depends on size, seed and epoch
/// alone: the same on every machine, whatever ran before. Every permutation is equally likely (as
/// far as the random words are uniform): Fisher-Yates from the end (Durstenfeld 1964), each
/// position drawn by Lemire's method (ACM TOMACS 29, 2019) with rejection. rows.size() is at most
/// 2^31 - 1.
void shuffled_rows(int64_t seed, int64_t epoch, std::span<int32_t> rows);

}  // namespace fusegrad::runtime
