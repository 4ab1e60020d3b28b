// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sums over the places where an integer input has a certain value: the gradient of a gather.
//   sum(b in 0..rows, t in 0..64 where text[b, t] == v: g[b, t])
// In segment form they run along the sorted places of the input, which lie in derived buffers. The
// terms and their order are the same, so the bits are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/kernel/program.h"

namespace fusegrad::ir {

/// How a sum runs in segment form.
struct SegmentSum {
  std::string input;
  std::string index;        ///< of the kernel: the value that the input is compared with
  size_t first_binder = 0;  ///< these binders are the place in the input
  size_t binders = 0;
  ExprRef condition;  ///< the other conditions; null: none
};

/// The segment form of the statement over `input` by `index`. Nothing unless it is a sum, its
/// condition has the part `input[binders] == index` with neighbouring binders of the sum in their
/// order, each over its whole dimension, and no read of the rest has an address with `index` (it
/// might be in bounds only where the input has that value).
std::optional<SegmentSum> segment_form(const KernelStatement& statement, const Buffer& input,
                                       std::string_view index);

/// All forms that the statement can have, whatever the kernel's attributes are, in the order of its
/// conditions.
std::vector<SegmentSum> segment_forms(const std::vector<Buffer>& buffers,
                                      const KernelStatement& statement);

/// The form that the kernel's attributes give the statement: the first that fits.
std::optional<SegmentSum> segment_of(const std::vector<Buffer>& buffers, const Kernel& kernel,
                                     const KernelStatement& statement);

/// The buffer derived from `source` in this way; null: there is none.
const Buffer* find_derived(const std::vector<Buffer>& buffers, Derivation derivation,
                           std::string_view source);

/// The values that an input of integers is declared to have (u8 without a range: 0..256).
std::optional<IntegerRange> declared_values(const Buffer& input);

/// Rules of a buffer's derivation: only derived buffers have one; the source is an input of i32 or
/// u8 with declared values from 0 on, which `starts` covers; sizes and types fit. In words.
std::vector<std::string> derivation_mistakes(const std::vector<Buffer>& buffers,
                                             const Buffer& buffer);

/// The values that its elements can have: 0 to the number of values (starts), below it (positions).
IntegerRange values_of_derived(const std::vector<Buffer>& buffers, const Buffer& buffer);

/// Its elements, from the values of the source over the rows of the batch in row-major order. What
/// the evaluators use; the runtime counts.
std::vector<int64_t> derived_elements(const Buffer& buffer, const std::vector<int64_t>& values);

}  // namespace fusegrad::ir
