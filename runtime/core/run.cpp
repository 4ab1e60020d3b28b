// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From the options of a command line to those of the library.
#include "runtime/core/run.h"

#include <cstdlib>

#include "runtime/core/train.h"

namespace fusegrad::runtime {

namespace {

DataSearch data_search(const JobTable& job, const RunOptions& options) {
  DataSearch search;
  search.data_dir = options.data_dir;
  if (const char* path = std::getenv("FUSEGRAD_DATA_PATH")) search.data_path = path;
  search.model_file = job.model_file;
  return search;
}

}  // namespace

Expected<std::optional<JsonLog>> open_log(const RunOptions& options, const std::string& program) {
  if (options.log_path.empty()) return std::optional<JsonLog>();
  Expected<JsonLog> opened = JsonLog::open(options.log_path, {program});
  if (!opened) return opened.error();
  return std::optional<JsonLog>(std::move(*opened));
}

Expected<int> run_training(const JobTable& job, const RunOptions& options, JsonLog* log) {
  TrainOptions train_options;
  train_options.search = data_search(job, options);
  train_options.threads = options.threads;
  train_options.log = log;
  train_options.save_path = options.save_path;
  train_options.learning_rate = options.learning_rate;
  train_options.display.quiet = options.quiet;
  Expected<TrainOutcome> outcome = train(job, train_options);
  if (!outcome) return outcome.error();
  return outcome->exit_code;
}

}  // namespace fusegrad::runtime
