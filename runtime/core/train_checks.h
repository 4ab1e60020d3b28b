// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What is wrong with a run is found before hours are spent. Private to train*.cpp.
#pragma once

#include <optional>

#include "runtime/core/train.h"

namespace fusegrad::runtime {

/// Of the options alone: what cannot be written, and files that would be written over.
std::optional<Failure> check_options(const JobTable& job, const TrainOptions& options);

/// Prints what was loaded, and finds what only the sizes of the data tell.
std::optional<Failure> check_data(const JobTable& job, const Dataset& dataset,
                                  const TrainOptions& options, Report& report);

}  // namespace fusegrad::runtime
