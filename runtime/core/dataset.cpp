// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the kernels may rely on without looking: shapes, types, equal counts and ranges are checked
// here, once, on the host, before the first step.
#include "runtime/core/dataset.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <span>

#include "runtime/core/readers.h"
#include "runtime/core/standardise.h"
#include "runtime/core/thread_team.h"

namespace fusegrad::runtime {

namespace {

/// A number without a fraction prints as an integer, whatever its size.
std::string number_text(double value) {
  return value >= -9e15 && value <= 9e15 &&
                 value == static_cast<double>(static_cast<int64_t>(value))
             ? fmt::format("{}", static_cast<int64_t>(value))
             : fmt::format("{}", value);
}

template <typename T>
std::optional<RangeProblem> range_problem(const InputEntry& input, const Column& column) {
  const int64_t values = column.bytes.size() / static_cast<int64_t>(sizeof(T));
  const std::span<const T> elements(reinterpret_cast<const T*>(column.bytes.data()),
                                    static_cast<size_t>(values));
  const auto begin = static_cast<double>(input.range_begin);
  const auto end = static_cast<double>(input.range_end);
  int64_t outside = 0;
  for (const T element : elements) {
    const auto value = static_cast<double>(element);
    outside += value >= begin && value < end ? 0 : 1;  // NaN is outside
  }
  if (outside == 0) return std::nullopt;

  RangeProblem problem;
  problem.outside = outside;
  problem.values = values;
  const auto first = std::find_if(elements.begin(), elements.end(), [&](T element) {
    const auto value = static_cast<double>(element);
    return !(value >= begin && value < end);
  });
  problem.value = static_cast<double>(*first);
  problem.record = (first - elements.begin()) / (values / column.records());
  problem.smallest = problem.value;
  problem.largest = problem.value;
  for (const T element : elements) {
    const auto value = static_cast<double>(element);
    // Written so that a NaN in the first place is replaced and one further on is passed over.
    if (!(problem.smallest <= value) && value == value) problem.smallest = value;
    if (!(problem.largest >= value) && value == value) problem.largest = value;
  }
  return problem;
}

std::optional<RangeProblem> range_problem(const InputEntry& input, const Column& column) {
  switch (column.element) {
    case ElementType::boolean:
    case ElementType::u8:
      // Images are by far the largest columns and commonly declared so.
      if (input.range_begin <= 0 && input.range_end >= 256) return std::nullopt;
      return range_problem<uint8_t>(input, column);
    case ElementType::i32:
      return range_problem<int32_t>(input, column);
    case ElementType::f32:
      return range_problem<float>(input, column);
    case ElementType::f64:
      return range_problem<double>(input, column);
  }
  return std::nullopt;
}

DataFailure located(DataFailureKind kind, const std::string& split, const std::string& input,
                    const std::string& path) {
  DataFailure failure;
  failure.kind = kind;
  failure.split = split;
  failure.input = input;
  failure.path = path;
  return failure;
}

/// One file to be read, and what came of it.
struct Load {
  const InputEntry* input = nullptr;
  const DataEntry* entry = nullptr;
  std::optional<Column> column;
  std::optional<DataFailure> failure;
  std::string file;
};

bool is_standardised(const Load& work) {
  return argument_or<bool>(work.entry->arguments, "standardise", false);
}

void load(Load& work, const DataSearch& search, const ReadLimits& limits) {
  const auto fail = [&](DataFailure failure) {
    failure.split = work.entry->split;
    failure.input = work.input->name;
    work.failure = std::move(failure);
  };
  const Reader* reader = find_reader(work.entry->reader);
  if (reader == nullptr) {
    DataFailure failure = located(DataFailureKind::not_provided, "", "", work.entry->path);
    failure.message = fmt::format("there is no reader {}", quoted(work.entry->reader));
    fail(std::move(failure));
    return;
  }
  Expected<InputFile, DataFailure> file = find_data(work.entry->path, search);
  if (!file) {
    fail(file.error());
    return;
  }
  work.file = file->path;
  Expected<Column, DataFailure> column =
      reader->read({*file, *work.input, work.entry->arguments, limits});
  if (!column) {
    fail(column.error());
    return;
  }
  // The range holds for the values that training sees.
  InputEntry wanted = *work.input;
  if (is_standardised(work)) wanted.has_range = false;
  work.failure = check_column(wanted, *column, work.entry->split, work.file);
  work.column = std::move(*column);
}

const Load* find_load(const std::vector<Load>& loads, const std::string& split,
                      const InputEntry* input) {
  const auto found = std::find_if(loads.begin(), loads.end(), [&](const Load& work) {
    return work.entry->split == split && work.input == input;
  });
  return found == loads.end() ? nullptr : &*found;
}

/// Brings columns to the scale of split `train`. A failure stays with its load.
void standardise_columns(std::vector<Load>& loads) {
  // All are measured before any is changed.
  std::vector<std::optional<Statistics>> statistics(loads.size());
  for (size_t i = 0; i < loads.size(); ++i) {
    Load& work = loads[i];
    if (!is_standardised(work) || work.failure) continue;
    const auto fail = [&](DataFailureKind kind, std::string message) {
      work.failure = located(kind, work.entry->split, work.input->name, work.file);
      work.failure->message = std::move(message);
    };
    if (work.column->element != ElementType::f32 && work.column->element != ElementType::f64) {
      fail(
          DataFailureKind::does_not_fit,
          fmt::format("{}: `standardise` makes real numbers; the input {} is {}", quoted(work.file),
                      quoted(work.input->name), element_name(work.column->element)));
      continue;
    }
    const Load* measured = find_load(loads, "train", work.input);
    if (measured == nullptr || measured->failure) continue;
    statistics[i] = measure(*measured->column);
    if (!statistics[i]) {
      fail(DataFailureKind::out_of_range,
           fmt::format("{}: its numbers are too large to be standardised", quoted(measured->file)));
    } else if (measured->column->records() == 0) {
      statistics[i].reset();  // reported as a split without records
    }
  }
  for (size_t i = 0; i < loads.size(); ++i) {
    Load& work = loads[i];
    if (!statistics[i] || work.failure) continue;
    standardise(*work.column, *statistics[i]);
    work.failure = check_column(*work.input, *work.column, work.entry->split, work.file);
  }
}

}  // namespace

const Split* Dataset::find(const std::string& name) const {
  const auto found = std::find_if(splits.begin(), splits.end(),
                                  [&](const Split& split) { return split.name == name; });
  return found == splits.end() ? nullptr : &*found;
}

std::string validation_split(const std::vector<DataEntry>& data) {
  for (const char* name : {"valid", "test"}) {
    if (std::any_of(data.begin(), data.end(),
                    [&](const DataEntry& entry) { return entry.split == name; })) {
      return name;
    }
  }
  return "";
}

std::optional<DataFailure> check_column(const InputEntry& input, const Column& column,
                                        const std::string& split, const std::string& path) {
  const std::vector<int64_t> row_shape(column.shape.begin() + 1, column.shape.end());
  if (column.element != input.element || row_shape != input.row_shape) {
    DataFailure failure = located(DataFailureKind::does_not_fit, split, input.name, path);
    const std::string found = type_text(column.element, column.shape);
    failure.message = fmt::format(
        "the data do not fit input {}: {} holds {}, which is {} a record; the input wants {}",
        quoted(input.name), quoted(path), found, type_text(column.element, row_shape),
        type_text(input.element, input.row_shape));
    failure.label = "the file holds " + found;
    return failure;
  }
  if (!input.has_range || column.bytes.size() == 0) return std::nullopt;
  std::optional<RangeProblem> problem = range_problem(input, column);
  if (!problem) return std::nullopt;
  DataFailure failure = located(DataFailureKind::out_of_range, split, input.name, path);
  failure.label =
      fmt::format("record {} of {} is {}", problem->record, path, number_text(problem->value));
  failure.message = fmt::format("{} holds a value outside {}..{}: record {} of {} is {}",
                                quoted(input.name), input.range_begin, input.range_end,
                                problem->record, quoted(path), number_text(problem->value));
  failure.notes.push_back(
      fmt::format("{} of {} {} are outside; the largest is {}, the smallest {}", problem->outside,
                  problem->values, problem->values == column.records() ? "records" : "values",
                  number_text(problem->largest), number_text(problem->smallest)));
  failure.range = problem;
  return failure;
}

Expected<Dataset, DataFailure> load_dataset(const std::vector<InputEntry>& inputs,
                                            const std::vector<DataEntry>& data,
                                            const std::vector<std::string>& splits,
                                            const DataSearch& search, int threads,
                                            const ReadLimits& limits) {
  std::vector<Load> loads;
  const auto add_load = [&](const std::string& split,
                            const InputEntry& input) -> std::optional<DataFailure> {
    const auto entry = std::find_if(data.begin(), data.end(), [&](const DataEntry& candidate) {
      return candidate.split == split && candidate.input == input.name;
    });
    if (entry == data.end()) {
      DataFailure failure = located(DataFailureKind::not_provided, split, input.name, "");
      failure.message =
          fmt::format("split {} has no data for input {}", quoted(split), quoted(input.name));
      return failure;
    }
    loads.push_back({&input, &*entry, {}, {}, {}});
    return std::nullopt;
  };
  for (const std::string& split : splits) {
    for (const InputEntry& input : inputs) {
      if (std::optional<DataFailure> failure = add_load(split, input)) return *failure;
    }
  }
  // Behind those that are wanted: what is read for its statistics only.
  const size_t wanted_loads = loads.size();
  for (size_t i = 0; i < wanted_loads; ++i) {
    const InputEntry* input = loads[i].input;
    if (!is_standardised(loads[i]) || find_load(loads, "train", input) != nullptr) continue;
    if (std::optional<DataFailure> failure = add_load("train", *input)) return *failure;
  }

  std::atomic<size_t> next = 0;
  const auto take_all = [&] {
    for (size_t i = next.fetch_add(1); i < loads.size(); i = next.fetch_add(1)) {
      load(loads[i], search, limits);
    }
  };
  const int helpers = std::min(threads, static_cast<int>(loads.size()));
  Expected<std::unique_ptr<ThreadTeam>> team = ThreadTeam::start(std::max(1, helpers));
  if (team) {
    (*team)->run([&](int, int) { take_all(); });
  } else {
    take_all();  // no thread to be had: slower, not worse
  }
  standardise_columns(loads);

  for (size_t i = wanted_loads; i < loads.size(); ++i) {
    if (loads[i].failure) return *loads[i].failure;
  }

  Dataset dataset;
  size_t index = 0;
  for (const std::string& name : splits) {
    Split split;
    split.name = name;
    for (size_t i = 0; i < inputs.size(); ++i, ++index) {
      Load& work = loads[index];
      if (work.failure) return *work.failure;
      if (i != 0 && work.column->records() != split.samples) {
        DataFailure failure =
            located(DataFailureKind::count_mismatch, name, inputs[i].name, work.file);
        failure.message =
            fmt::format("split {}: {} holds {} records of {}, but {} holds {} of {}", quoted(name),
                        quoted(split.files[0]), split.samples, quoted(inputs[0].name),
                        quoted(work.file), work.column->records(), quoted(inputs[i].name));
        failure.label = fmt::format("{} records here, {} in {}", work.column->records(),
                                    split.samples, split.files[0]);
        return failure;
      }
      split.samples = work.column->records();
      split.columns.push_back(std::move(*work.column));
      split.files.push_back(work.file);
    }
    if (split.samples == 0 || split.samples > 0x7fffffff) {
      const bool none = split.samples == 0;
      DataFailure failure =
          located(none ? DataFailureKind::no_records : DataFailureKind::too_large, name,
                  inputs.empty() ? "" : inputs[0].name, split.files.empty() ? "" : split.files[0]);
      failure.message =
          none ? fmt::format("split {} holds no records", quoted(name))
               : fmt::format("split {} holds {} records; at most 2147483647 are possible",
                             quoted(name), split.samples);
      return failure;
    }
    dataset.splits.push_back(std::move(split));
  }
  return dataset;
}

}  // namespace fusegrad::runtime
