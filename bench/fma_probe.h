// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What one core can do at most: the roof that every other figure is a share of.
#pragma once

namespace fusegrad::bench {

/// f32 operations per second (a multiply-add counts as two) that the calling thread reaches right
/// now with the widest vectors of this CPU, in GFLOP/s. Takes a few milliseconds. 0 if the CPU has
/// no FMA instructions.
double measure_fma_peak();

/// "AVX-512", "AVX2" or "no FMA".
const char* fma_instructions();

}  // namespace fusegrad::bench
