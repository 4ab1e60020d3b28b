// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a trained model is for: metrics on a split, and its outputs for new inputs. The tool's
// `eval` and `predict`, and `--eval-only` and `--predict` of shipped trainers.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/core/dataset.h"
#include "runtime/core/error.h"
#include "runtime/core/job_table.h"
#include "runtime/core/safetensors.h"
#include "runtime/core/session.h"

namespace fusegrad::runtime {

/// Which weights, on how many threads.
struct ApplyOptions {
  std::string weights;  ///< a file of --save, or a checkpoint
  int threads = 0;      ///< 0: every core that the process may use
  ReadLimits limits;    ///< `limits.stop` ends the pass
};

/// One pass of program `eval` over a split, which is `split` or, if that is "", the one that
/// training validates on, or else `train`. The job needs no code but that of `eval` and
/// `eval.metrics`. Fails with
///   ExitCode::checkpoint  the weights cannot be read or do not fit (with a table)
///   ExitCode::usage       there is no such split
///   ExitCode::data, memory, device as the parts say
///   ExitCode::numbers     the loss is not finite
///   128 + signal          it was asked to stop
struct Evaluated {
  std::string split;
  PassResult result;
};
Expected<Evaluated> evaluate_weights(const JobTable& job, const std::string& split,
                                     const DataSearch& search, const ApplyOptions& options);

/// {"loss":0.5,"metrics":{"accuracy":0.9},"samples":10000}
std::string evaluation_json(const Evaluated& evaluated);
/// "test  loss 0.5000  accuracy 0.9000  10000 examples"
std::string evaluation_line(const Evaluated& evaluated);

/// The outputs for files of inputs: `inputs` has a path for each name. `.npy`, `.npz` (with an
/// array of the input's name) and `.csv` (a line of names, then all columns) go by their names,
/// also before `.gz`; every other file is IDX. Inputs that no output depends on may be left out.
/// Any number of records; outputs without a row for each are left out. Fails with
///   ExitCode::usage       an input is missing or not known, or the model has no outputs
///   ExitCode::data        a file cannot be read, has another type or shape, values out of range,
///   or
///                         files have different numbers of records
///   and as evaluate_weights(), except for the loss, which is not looked at
Expected<std::vector<OutputValues>> predict(const JobTable& job,
                                            const std::map<std::string, std::string>& inputs,
                                            const ApplyOptions& options);

/// How many outputs predict() would give.
size_t predicted_outputs(const JobTable& job);

/// Memory for records of an input. Fails with ExitCode::memory.
Expected<Column> unwritten_column(const InputEntry& input, int64_t records);

/// A column for an input that nothing of interest reads: one value of its range. Fails with
/// ExitCode::memory.
Expected<Column> made_up_column(const InputEntry& input, int64_t records);

/// The steps after which a file of weights was written, if it says so.
std::optional<int64_t> step_of(const WeightsFile& file);

}  // namespace fusegrad::runtime
