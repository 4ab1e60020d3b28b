// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Functions of L that are equal up to names: layers of the same widths make the same kernels, and
// code for them is made once.
#pragma once

#include <cstddef>
#include <vector>

#include "ir/loop/program.h"

namespace fusegrad::ir {

/// Whether two different buffers have common bytes: only temporaries with overlapping places in the
/// arena do. Null stands for what is no buffer, the row list, which has memory of its own.
bool may_share_memory(const Buffer* a, const Buffer* b);

/// What a function has in common with an earlier one.
struct EqualFunction {
  /// The first function of the program that it is equal to; its own number if there is none before.
  size_t first = 0;
  /// For each parameter of `first`, in order: the position of the own parameter that takes its
  /// place.
  std::vector<size_t> parameters;
};

/// One entry a function. Equal are functions with the same body, whatever their parameters and
/// local names are called and however many tasks they have, where parameters in the same place have
/// the same type, size, kind (an input or not) and use, and the same pairs of them may share
/// memory. So one compilation serves all of them, given the right pointers.
std::vector<EqualFunction> equal_functions(const LoopProgram& program);

}  // namespace fusegrad::ir
