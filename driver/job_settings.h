// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the model file says besides its programs, as the runtime wants it.
#pragma once

#include <string>
#include <string_view>

#include "frontend/elaborate.h"
#include "runtime/jit/job_builder.h"

namespace fusegrad::driver {

/// Name, data and train settings of the job; `model_path` as given on the command line, and what
/// that file says.
runtime::JobSettings job_settings(const frontend::Job& job, const std::string& model_path,
                                  std::string_view model_text);

/// The inputs that the outputs of a program depend on.
std::vector<std::string> inputs_of_outputs(const ir::TensorProgram& program);

}  // namespace fusegrad::driver
