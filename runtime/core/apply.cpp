// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Program `eval` serves both: predicting runs it over inputs from files, with made-up values for
// those that no output reads.
#include "runtime/core/apply.h"

#include <algorithm>
#include <cstring>

#include "runtime/core/exit_codes.h"
#include "runtime/core/file.h"
#include "runtime/core/json_text.h"
#include "runtime/core/nearest.h"
#include "runtime/core/readers.h"
#include "runtime/core/report.h"
#include "runtime/core/safetensors.h"
#include "runtime/core/text_values.h"

namespace fusegrad::runtime {

namespace {

/// A session with a file's weights.
Expected<OpenSession> load_weights(const JobTable& job, const ApplyOptions& options) {
  // The file first: it is where most mistakes are.
  Expected<WeightsFile> weights = read_safetensors(options.weights);
  if (!weights) return weights.error();
  Expected<OpenSession> trained = open_session(job, options.threads);
  if (!trained) return trained.error();
  Expected<Unit> restored = restore_parameters(*weights, *trained->session);
  if (!restored) return restored.error();
  // Random numbers of an evaluation follow from the step after which it takes place.
  if (const std::optional<int64_t> step = step_of(*weights)) {
    trained->session->set_steps_done(*step);
  }
  return trained;
}

std::string reader_for(std::string path) {
  if (path.ends_with(".gz")) path.resize(path.size() - 3);
  for (const char* name : {"npy", "npz", "csv"}) {
    if (path.ends_with(std::string(".") + name)) return name;
  }
  return "idx";
}

Expected<Column> read_input(const InputEntry& input, const std::string& path,
                            const ApplyOptions& options) {
  Expected<InputFile, DataFailure> file = open_input(path);
  if (!file) return to_failure(file.error(), options.limits);
  const Reader* reader = find_reader(reader_for(path));
  RUNTIME_CHECK(reader != nullptr, "no reader for {}", path);
  Expected<Column, DataFailure> column = reader->read({*file, input, {}, options.limits});
  if (!column) return to_failure(column.error(), options.limits);
  if (auto failure = check_column(input, *column, "", path))
    return to_failure(*failure, options.limits);
  return std::move(*column);
}

std::optional<Failure> check_names(const JobTable& job,
                                   const std::map<std::string, std::string>& inputs) {
  std::vector<std::string> names;
  for (const InputEntry& input : job.inputs) names.push_back(input.name);
  for (const auto& [name, path] : inputs) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    std::string message = fmt::format("the model has no input {}", quoted(name));
    if (const auto near = nearest_name(name, names, 3)) {
      message += fmt::format(", did you mean `{}`?", *near);
    }
    return Failure{ExitCode::usage, std::move(message), {}};
  }
  for (const InputEntry& input : job.inputs) {
    if (!input.is_for_outputs || inputs.contains(input.name)) continue;
    return Failure{
        ExitCode::usage,
        fmt::format("input {}, {} a record, is missing: --input {}=FILE", quoted(input.name),
                    type_text(input.element, input.row_shape), input.name),
        {}};
  }
  return std::nullopt;
}

/// The inputs as a split, in the job's order.
Expected<Split> read_inputs(const JobTable& job, const std::map<std::string, std::string>& inputs,
                            const ApplyOptions& options) {
  Split split;
  split.name = "inputs";
  std::string counted;
  std::map<std::string, Column> columns;
  for (const InputEntry& input : job.inputs) {
    const auto given = inputs.find(input.name);
    if (given == inputs.end()) continue;
    Expected<Column> column = read_input(input, given->second, options);
    if (!column) return column.error();
    if (!counted.empty() && column->records() != split.samples) {
      return Failure{ExitCode::data,
                     fmt::format("{} holds {} records, {} holds {}", quoted(inputs.at(counted)),
                                 split.samples, quoted(given->second), column->records()),
                     {}};
    }
    counted = input.name;
    split.samples = column->records();
    columns.emplace(input.name, std::move(*column));
  }
  if (counted.empty()) {
    return Failure{ExitCode::usage, "no inputs are given: --input NAME=FILE", {}};
  }
  if (split.samples == 0 || split.samples > 0x7fffffff) {
    return Failure{ExitCode::data,
                   fmt::format("{} holds {} records", quoted(inputs.at(counted)), split.samples),
                   {}};
  }
  for (const InputEntry& input : job.inputs) {
    const auto found = columns.find(input.name);
    split.files.push_back(found == columns.end() ? "" : inputs.at(input.name));
    if (found != columns.end()) {
      split.columns.push_back(std::move(found->second));
      continue;
    }
    Expected<Column> made_up = made_up_column(input, split.samples);
    if (!made_up) return made_up.error();
    split.columns.push_back(std::move(*made_up));
  }
  return split;
}

}  // namespace

Expected<Column> unwritten_column(const InputEntry& input, int64_t records) {
  Column column;
  column.element = input.element;
  column.shape = input.row_shape;
  column.shape.insert(column.shape.begin(), records);
  const std::optional<int64_t> bytes = tensor_bytes(column.element, column.shape);
  std::optional<AlignedBytes> memory = bytes ? AlignedBytes::unwritten(*bytes) : std::nullopt;
  if (!memory) {
    return Failure{ExitCode::memory,
                   fmt::format("no memory for {} records of input {}", records, quoted(input.name)),
                   {}};
  }
  column.bytes = std::move(*memory);
  return column;
}

Expected<Column> made_up_column(const InputEntry& input, int64_t records) {
  Expected<Column> column = unwritten_column(input, records);
  if (!column) return column.error();
  std::memset(column->bytes.data(), 0, static_cast<size_t>(column->bytes.size()));
  if (!input.has_range || input.range_begin == 0) return column;
  const int64_t elements = column->bytes.size() / element_size(input.element);
  for (int64_t i = 0; i < elements; ++i) {
    std::byte* place = column->bytes.data() + i * element_size(input.element);
    if (input.element == ElementType::i32) {
      const auto value = static_cast<int32_t>(input.range_begin);
      std::memcpy(place, &value, sizeof value);
    } else if (input.element == ElementType::u8) {
      *place = static_cast<std::byte>(input.range_begin);
    }
  }
  return column;
}

std::optional<int64_t> step_of(const WeightsFile& file) {
  const auto found = file.metadata.find("step");
  if (found == file.metadata.end()) return std::nullopt;
  const std::optional<int64_t> step = whole_number(found->second);
  return step && *step >= 0 ? step : std::nullopt;
}

Expected<Evaluated> evaluate_weights(const JobTable& job, const std::string& split,
                                     const DataSearch& search, const ApplyOptions& options) {
  Evaluated evaluated;
  evaluated.split = split.empty() ? validation_split(job.data) : split;
  if (evaluated.split.empty()) evaluated.split = "train";
  std::vector<std::string> splits;
  for (const DataEntry& entry : job.data) splits.push_back(entry.split);
  if (std::find(splits.begin(), splits.end(), evaluated.split) == splits.end()) {
    std::sort(splits.begin(), splits.end());
    splits.erase(std::unique(splits.begin(), splits.end()), splits.end());
    return Failure{ExitCode::usage,
                   fmt::format("there is no split {}; the data have {}", quoted(evaluated.split),
                               fmt::join(splits, ", ")),
                   {}};
  }
  Expected<OpenSession> trained = load_weights(job, options);
  if (!trained) return trained.error();
  Expected<Dataset, DataFailure> dataset =
      load_dataset(job.inputs, job.data, {evaluated.split}, search, chosen_threads(options.threads),
                   options.limits);
  if (!dataset) return to_failure(dataset.error(), options.limits);
  PassControls controls;
  controls.stop = options.limits.stop;
  evaluated.result = trained->session->evaluate(*dataset->find(evaluated.split), 1, controls);
  if (evaluated.result.interrupted) return interrupted_failure(options.limits);
  if (const auto& bad = evaluated.result.non_finite) {
    return Failure{ExitCode::numbers,
                   fmt::format("the loss on split {} is {}", quoted(evaluated.split), bad->value),
                   {}};
  }
  return evaluated;
}

std::string evaluation_json(const Evaluated& evaluated) {
  std::string metrics;
  for (const Metric& metric : evaluated.result.metrics) {
    if (!metrics.empty()) metrics += ',';
    metrics += json_string(metric.label) + ":" + json_number(metric.value);
  }
  return fmt::format(R"({{"loss":{},"metrics":{{{}}},"samples":{}}})",
                     json_number(evaluated.result.loss), metrics, evaluated.result.samples);
}

std::string evaluation_line(const Evaluated& evaluated) {
  std::string line =
      fmt::format("{}  loss {}", evaluated.split, short_number(evaluated.result.loss));
  for (const Metric& metric : evaluated.result.metrics) {
    line += fmt::format("  {} {}", metric.label, short_number(metric.value));
  }
  return line + fmt::format("  {} examples", evaluated.result.samples);
}

size_t predicted_outputs(const JobTable& job) {
  const ProgramTable* eval = job.find_program("eval");
  if (eval == nullptr) return 0;
  return static_cast<size_t>(
      std::count_if(eval->results.begin(), eval->results.end(),
                    [](const ResultEntry& result) { return result.is_for_rows(); }));
}

Expected<std::vector<OutputValues>> predict(const JobTable& job,
                                            const std::map<std::string, std::string>& inputs,
                                            const ApplyOptions& options) {
  if (predicted_outputs(job) == 0) {
    return Failure{ExitCode::usage, "the model has no `output` with a row for each example", {}};
  }
  if (auto failure = check_names(job, inputs)) return *failure;
  Expected<OpenSession> trained = load_weights(job, options);
  if (!trained) return trained.error();
  Expected<Split> split = read_inputs(job, inputs, options);
  if (!split) return split.error();
  std::vector<OutputValues> outputs;
  PassControls controls;
  controls.stop = options.limits.stop;
  controls.outputs = &outputs;
  const PassResult result = trained->session->evaluate(*split, 1, controls);
  if (result.interrupted) return interrupted_failure(options.limits);
  return outputs;
}

}  // namespace fusegrad::runtime
