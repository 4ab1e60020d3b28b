// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the model file says besides its programs, as the runtime wants it.
#pragma once

#include <string>

#include "frontend/elaborate.h"
#include "runtime/jit/job_builder.h"

namespace fusegrad::driver {

/// Name, data and train settings of the job; `model_path` as given on the command line.
runtime::JobSettings job_settings(const frontend::Job& job, const std::string& model_path);

}  // namespace fusegrad::driver
