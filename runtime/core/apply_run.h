// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// `eval` and `predict` from words to their end, for the tool and for shipped trainers.
#pragma once

#include <map>
#include <string>

#include "runtime/core/data_path.h"
#include "runtime/core/error.h"
#include "runtime/core/job_table.h"

namespace fusegrad::runtime {

/// Options that the tool and every trainer have in common.
struct ApplyRun {
  std::string weights;                        ///< --weights
  std::string data_dir;                       ///< --data
  std::string split;                          ///< --split
  std::map<std::string, std::string> inputs;  ///< --input NAME=FILE
  std::string output;                         ///< where predictions go
  int threads = 0;                            ///< --threads
  bool json = false;                          ///< --json
};

/// Adds "NAME=FILE". Fails with ExitCode::usage.
Expected<Unit> add_input(std::string_view assignment, std::map<std::string, std::string>& inputs);

/// Where data are looked for: `data_dir`, FUSEGRAD_DATA_PATH, the folder of the job's file, the
/// system's folder.
DataSearch search_for(const JobTable& job, const std::string& data_dir);

/// Prints the metrics of a split, as a line or as JSON, on standard output. Fails as
/// evaluate_weights() does; SIGINT and SIGTERM end it.
Expected<int> run_evaluation(const JobTable& job, const ApplyRun& run);

/// Writes the model's outputs into a file. Fails as predict() and write_outputs() do; with
/// ExitCode::usage too when the file would be written over one that is read.
Expected<int> run_prediction(const JobTable& job, const ApplyRun& run);

}  // namespace fusegrad::runtime
