// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Predictions as files for NumPy and for spreadsheets.
#pragma once

#include <string>
#include <vector>

#include "runtime/core/error.h"
#include "runtime/core/session.h"

namespace fusegrad::runtime {

/// Whether a file of this name could take these outputs: `.npy` one, `.npz` and `.csv` several.
/// Fails with ExitCode::usage.
Expected<Unit> check_output_name(const std::string& path, size_t outputs);

/// Writes the outputs, all or nothing (replace_file.h). CSV: a line of names (`logits.0,logits.1`),
/// then a line for each row; numbers in the shortest form that reads back as the same. Fails with
/// ExitCode::usage when the file cannot be written, or a CSV's outputs have different numbers of
/// rows.
Expected<Unit> write_outputs(const std::string& path, const std::vector<OutputValues>& outputs);

/// The same as texts, for tests and for standard output.
std::string npy_bytes(const OutputValues& output);
Expected<std::string> npz_bytes(const std::vector<OutputValues>& outputs);
Expected<std::string> csv_text(const std::vector<OutputValues>& outputs);

}  // namespace fusegrad::runtime
