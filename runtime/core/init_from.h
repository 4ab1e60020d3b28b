// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Fine-tuning: a new run that begins with weights of another one.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "runtime/core/error.h"
#include "runtime/core/session.h"

namespace fusegrad::runtime {

/// Names in the file, and what they are called in the model: of a tensor ("dense.w"), or of a layer
/// ("dense"), which renames all tensors below it.
using Renames = std::map<std::string, std::string>;

/// Adds "OLD=NEW". Fails with ExitCode::usage.
Expected<Unit> add_rename(std::string_view assignment, Renames& renames);

/// Puts the tensors of a file of weights, or of a checkpoint, into those of the session's weights
/// that have their (new) names; the others keep their initial values. States of optimizers are not
/// taken. Returns a line that says what was taken, what is new, and what was left out. Fails, with
/// nothing changed,
///   ExitCode::checkpoint  the file cannot be read, no name is the same, or a tensor has another
///                         type (with a table)
///   ExitCode::usage       a rename names nothing in the file, or makes two tensors one
Expected<std::string> init_from(const std::string& path, const Renames& renames,
                                const Session& session);

}  // namespace fusegrad::runtime
