// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading T from text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ir/support/diagnostics.h"
#include "ir/support/source.h"
#include "ir/tensor/program.h"

namespace fusegrad::ir {

struct TensorStage {
  std::string stage;  ///< tensor, tensor.grad or tensor.opt
  TensorModule module;
};

/// Parses file `file` of `sources`, the text that print() of a module gives. Names are resolved and
/// types checked, so a tensor must be defined before it is read; all other rules are the
/// verifier's. The origin of a statement is its place in this file. On an error: one diagnostic
/// E0901, nothing is returned.
std::optional<TensorStage> parse_tensor_module(const SourceManager& sources, uint32_t file,
                                               Diagnostics& diagnostics);

}  // namespace fusegrad::ir
