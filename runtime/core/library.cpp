// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Everything behind the C functions fails as a value; what the standard library throws (no memory)
// ends here too.
#include "runtime/core/library.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <string>

#include "runtime/core/apply.h"
#include "runtime/core/exit_codes.h"
#include "runtime/core/file.h"
#include "runtime/core/safetensors.h"
#include "runtime/core/shipped_job.h"
#include "runtime/core/trainer.h"

struct fusegrad_library {
  fusegrad::runtime::JobTable job;
  fusegrad::runtime::OpenSession open;
  int64_t epoch = 1;
  int64_t total_steps = 0;  ///< 0: as many as the model's epochs have
  std::string error;
};

// Functions with C linkage are those of the header in whatever namespace they stand.
namespace fusegrad::runtime {
namespace {

std::string& create_error() {
  thread_local std::string error;
  return error;
}

int fail(std::string& place, const Failure& failure) {
  place = render(failure);
  while (!place.empty() && place.back() == '\n') place.pop_back();
  return failure.exit_code;
}

Failure wrong_call(std::string message) { return {ExitCode::usage, std::move(message), {}}; }

/// Runs `work`, which returns nothing or a failure, and keeps the failure's text.
template <typename Work>
int guarded(fusegrad_library* library, Work work) noexcept {
  if (library == nullptr) return ExitCode::usage;
  try {
    library->error.clear();
    const std::optional<Failure> failure = work(*library);
    return failure ? fail(library->error, *failure) : ExitCode::done;
  } catch (const std::bad_alloc&) {
    return ExitCode::memory;
  } catch (...) {
    return ExitCode::internal_error;
  }
}

/// The caller's memory as columns of ours: kernels want alignment and room behind the end.
Expected<Split> split_of(const fusegrad_library& library, const void* const* inputs, int64_t rows,
                         bool only_for_outputs) {
  if (inputs == nullptr) return wrong_call("the inputs are null");
  if (rows < 1 || rows > std::numeric_limits<int32_t>::max()) {
    return wrong_call(fmt::format("{} rows", rows));
  }
  Split split;
  split.name = "train";
  split.samples = rows;
  for (size_t i = 0; i < library.job.inputs.size(); ++i) {
    const InputEntry& input = library.job.inputs[i];
    split.files.emplace_back();
    if (inputs[i] == nullptr && (!only_for_outputs || input.is_for_outputs)) {
      return wrong_call(fmt::format("input {} is null", quoted(input.name)));
    }
    if (inputs[i] == nullptr) {
      Expected<Column> made_up = made_up_column(input, rows);
      if (!made_up) return made_up.error();
      split.columns.push_back(std::move(*made_up));
      continue;
    }
    Expected<Column> column = unwritten_column(input, rows);
    if (!column) return column.error();
    std::memcpy(column->bytes.data(), inputs[i], static_cast<size_t>(column->bytes.size()));
    if (auto failure = check_column(input, *column, "", "memory of " + input.name)) {
      return to_failure(std::move(*failure));
    }
    split.columns.push_back(std::move(*column));
  }
  return split;
}

std::optional<Failure> not_finite(const PassResult& result) {
  if (!result.non_finite) return std::nullopt;
  return Failure{ExitCode::numbers, fmt::format("the loss is {}", result.non_finite->value), {}};
}

void store_values(const PassResult& result, double* values) {
  if (values == nullptr) return;
  *values++ = result.loss;
  for (const Metric& metric : result.metrics) *values++ = metric.value;
}

/// Optimizer and layer states of a checkpoint, and its step.
void restore_states(const WeightsFile& file, Session& session) {
  for (const NamedBuffer& buffer : session.run_buffers()) {
    const NamedTensor* tensor = file.find(buffer.name);
    if (tensor == nullptr || tensor->element != buffer.element ||
        tensor->shape != buffer.layout.shape) {
      continue;
    }
    store_natural_elements(buffer, tensor->bytes);
  }
}

}  // namespace

extern "C" {

fusegrad_library* fusegrad_library_create(const char* job, int64_t job_size,
                                          const KernelFunction* functions, int64_t function_count,
                                          int threads, int64_t seed) {
  try {
    create_error().clear();
    const auto refuse = [](const Failure& failure) -> fusegrad_library* {
      fail(create_error(), failure);
      return nullptr;
    };
    Expected<ShippedJob> shipped = read_shipped_job({job, static_cast<size_t>(job_size)});
    if (!shipped) return refuse(shipped.error());
    if (threads < 0 || threads > ThreadTeam::largest_thread_count) {
      return refuse(wrong_call(fmt::format("{} threads; 0 to {} are possible", threads,
                                           ThreadTeam::largest_thread_count)));
    }
    if (seed < 0) return refuse(wrong_call("the seed is negative"));
    const CodeVariant* variant = choose_variant(shipped->variants, this_cpu());
    if (variant == nullptr) {
      return refuse({ExitCode::device, "this processor cannot run the library's code", {}});
    }
    auto library = std::make_unique<fusegrad_library>();
    library->job = std::move(shipped->table);
    const size_t kernels = kernel_count(library->job);
    RUNTIME_CHECK(static_cast<size_t>(function_count) == kernels * shipped->variants.size(),
                  "{} functions", function_count);
    const auto index = static_cast<size_t>(variant - shipped->variants.data());
    set_functions(library->job, {functions + index * kernels, kernels});
    library->job.settings.seed = seed;
    Expected<OpenSession> open = open_session(library->job, threads);
    if (!open) return refuse(open.error());
    library->open = std::move(*open);
    library->open.session->initialise();
    return library.release();
  } catch (...) {
    return nullptr;
  }
}

void fusegrad_library_destroy(fusegrad_library* library) { delete library; }

const char* fusegrad_library_last_error(const fusegrad_library* library) {
  return library == nullptr ? create_error().c_str() : library->error.c_str();
}

int fusegrad_library_load(fusegrad_library* library, const char* path) {
  return guarded(library, [&](fusegrad_library& model) -> std::optional<Failure> {
    if (path == nullptr) return wrong_call("the path is null");
    Expected<WeightsFile> file = read_safetensors(path);
    if (!file) return file.error();
    Expected<Unit> restored = restore_parameters(*file, *model.open.session);
    if (!restored) return restored.error();
    if (file->metadata.contains(checkpoint_key)) restore_states(*file, *model.open.session);
    if (const std::optional<int64_t> step = step_of(*file))
      model.open.session->set_steps_done(*step);
    return std::nullopt;
  });
}

int fusegrad_library_save(fusegrad_library* library, const char* path) {
  return guarded(library, [&](fusegrad_library& model) -> std::optional<Failure> {
    if (path == nullptr) return wrong_call("the path is null");
    const IgnoredSignal no_size_signal(SIGXFSZ);
    const Metadata metadata = {{"step", fmt::format("{}", model.open.session->steps_done())}};
    Expected<Unit> saved = write_safetensors(path, parameters_of(*model.open.session), metadata);
    if (!saved) return saved.error();
    return std::nullopt;
  });
}

int fusegrad_library_set_learning_rate(fusegrad_library* library, double rate) {
  return guarded(library, [&](fusegrad_library& model) -> std::optional<Failure> {
    if (!(std::abs(rate) <= static_cast<double>(std::numeric_limits<float>::max()))) {
      return wrong_call("the learning rate is no finite number");
    }
    if (model.open.session->set_learning_rate(rate)) return std::nullopt;
    return wrong_call("the optimizer has no argument `lr`");
  });
}

int fusegrad_library_set_total_steps(fusegrad_library* library, int64_t steps) {
  return guarded(library, [&](fusegrad_library& model) -> std::optional<Failure> {
    if (steps < 1) return wrong_call(fmt::format("{} steps", steps));
    model.total_steps = steps;
    return std::nullopt;
  });
}

int fusegrad_library_train_step(fusegrad_library* library, const void* const* inputs, int64_t rows,
                                double* loss) {
  return guarded(library, [&](fusegrad_library& model) -> std::optional<Failure> {
    if (rows > model.job.settings.batch) {
      return wrong_call(fmt::format("{} rows; a step takes at most the batch of {}", rows,
                                    model.job.settings.batch));
    }
    Expected<Split> split = split_of(model, inputs, rows, false);
    if (!split) return split.error();
    // An epoch of one batch, in the caller's order.
    const TrainSettings before = model.job.settings;
    model.job.settings.shuffle = false;
    model.job.settings.last = LastBatch::keep;
    const int64_t steps = model.total_steps == 0 ? before.epochs : model.total_steps;
    const PassResult result = model.open.session->train_epoch(*split, model.epoch, steps);
    model.job.settings = before;
    if (loss != nullptr) *loss = result.loss;
    return not_finite(result);
  });
}

int fusegrad_library_train_epoch(fusegrad_library* library, const void* const* inputs, int64_t rows,
                                 double* values) {
  return guarded(library, [&](fusegrad_library& model) -> std::optional<Failure> {
    Expected<Split> split = split_of(model, inputs, rows, false);
    if (!split) return split.error();
    const int64_t steps = Session::steps_per_epoch(model.job.settings, rows);
    if (steps == 0) {
      return wrong_call(
          fmt::format("{} rows are fewer than one batch of {}", rows, model.job.settings.batch));
    }
    const int64_t epochs = model.total_steps == 0 ? model.job.settings.epochs
                                                  : (model.total_steps + steps - 1) / steps;
    const PassResult result = model.open.session->train_epoch(*split, model.epoch, epochs);
    ++model.epoch;
    store_values(result, values);
    return not_finite(result);
  });
}

int fusegrad_library_evaluate(fusegrad_library* library, const void* const* inputs, int64_t rows,
                              double* values) {
  return guarded(library, [&](fusegrad_library& model) -> std::optional<Failure> {
    Expected<Split> split = split_of(model, inputs, rows, false);
    if (!split) return split.error();
    const PassResult result = model.open.session->evaluate(*split, model.epoch);
    store_values(result, values);
    return not_finite(result);
  });
}

int fusegrad_library_predict(fusegrad_library* library, const void* const* inputs, int64_t rows,
                             void* const* outputs) {
  return guarded(library, [&](fusegrad_library& model) -> std::optional<Failure> {
    if (outputs == nullptr) return wrong_call("the outputs are null");
    for (size_t i = 0; i < predicted_outputs(model.job); ++i) {
      if (outputs[i] == nullptr) return wrong_call(fmt::format("output {} is null", i));
    }
    Expected<Split> split = split_of(model, inputs, rows, true);
    if (!split) return split.error();
    std::vector<OutputValues> values;
    PassControls controls;
    controls.outputs = &values;
    (void)model.open.session->evaluate(*split, model.epoch, controls);
    for (size_t i = 0; i < values.size(); ++i) {
      std::memcpy(outputs[i], values[i].bytes.data(), values[i].bytes.size());
    }
    return std::nullopt;
  });
}
}

}  // namespace fusegrad::runtime
