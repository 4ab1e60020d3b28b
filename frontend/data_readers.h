// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The readers of data blocks: what each is called with.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/ast.h"
#include "frontend/elaborate.h"
#include "frontend/elaborate_definitions.h"
#include "frontend/elaborator.h"

namespace fusegrad::frontend {

/// What an argument of a reader may be.
enum class ReaderForm : uint8_t {
  text,       ///< "words"
  switched,   ///< true or false
  count,      ///< an integer that is not negative
  fraction,   ///< a number from 0 to 1
  column,     ///< a number or the name of a column
  columns,    ///< [begin, end] or names of columns
  range,      ///< [begin, end], half open
  sizes,      ///< [60000, 28, 28]
  texts,      ///< ["a", "b"]
  separator,  ///< a string of one sign, or "tab"
  element,    ///< u8, i32, f32, f64 or bool
};

struct ReaderParameter {
  std::string_view name;
  ReaderForm form;
};

/// A reader as a data block calls it. The first argument is a path; `shift` has the name of an
/// input in its place, and its second argument must be given.
struct ReaderSignature {
  std::string_view name;
  std::string_view text;  ///< for messages and lists
  std::vector<ReaderParameter> parameters;
};
std::span<const ReaderSignature> reader_signatures();

/// A call of a reader, its arguments checked. For `shift`: `binding.path` is the name of the input
/// whose text is meant.
struct ReaderCall {
  const ReaderSignature* signature = nullptr;
  DataBinding binding;
};

/// Reads what stands behind `=` in a split. Nothing after a report: E0708 for unknown readers,
/// E0107 for arguments that do not fit, E0707 for their values. `input` is the model's, null when
/// it was in error; `elaborator` evaluates constants outside of models.
std::optional<ReaderCall> read_reader_call(const ast::Entry& entry, const ModelInput* input,
                                           Elaborator& elaborator, Reporter& reporter);

}  // namespace fusegrad::frontend
