// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A job whose kernels are written by hand: linear regression with momentum, and the same in plain
// loops.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/core/dataset.h"
#include "runtime/core/job_table.h"
#include "runtime/core/session.h"

namespace fusegrad::runtime {

constexpr int64_t linear_features = 5;
constexpr int64_t linear_log_length = 4096;

/// w[5] in blocks of 4: element f lies at f, the buffer has 8 elements.
inline Layout linear_weight_layout() {
  Layout layout;
  layout.shape = {linear_features};
  layout.blocked_dimension = 0;
  layout.block = 4;
  return layout;
}

inline Layout natural_layout(std::vector<int64_t> shape) {
  Layout layout;
  layout.shape = std::move(shape);
  return layout;
}

namespace linear_kernels {

constexpr float learning_rate = 0.05F;

// Positions in the buffers of programs train and eval (see linear_job).
enum Buffer { x, y, rows, w, b, v, error, loss, near, visits, log };

template <typename T>
T* as(void* const* buffers, Buffer buffer) {
  return static_cast<T*>(buffers[buffer]);
}

constexpr int64_t row_tile = 3;

inline void errors(void* const* buffers, const Uniforms* uniforms, int64_t begin, int64_t end) {
  const int64_t last = std::min(end * row_tile, uniforms->rows);
  for (int64_t i = begin * row_tile; i < last; ++i) {
    const int64_t row = as<int32_t>(buffers, rows)[i];
    float sum = *as<float>(buffers, b);
    for (int64_t f = 0; f < linear_features; ++f) {
      sum += as<float>(buffers, w)[f] * as<float>(buffers, x)[row * linear_features + f];
    }
    as<float>(buffers, error)[i] = sum - as<float>(buffers, y)[row];
  }
}

inline void measure_loss(void* const* buffers, const Uniforms* uniforms, int64_t, int64_t) {
  float sum = 0;
  for (int64_t i = 0; i < uniforms->rows; ++i) {
    sum += as<float>(buffers, error)[i] * as<float>(buffers, error)[i];
  }
  *as<float>(buffers, loss) = sum / static_cast<float>(uniforms->rows);
}

inline void measure_near(void* const* buffers, const Uniforms* uniforms, int64_t, int64_t) {
  double count = 0;
  for (int64_t i = 0; i < uniforms->rows; ++i) {
    count += std::abs(as<float>(buffers, error)[i]) < 0.5F ? 1 : 0;
  }
  *as<double>(buffers, near) = count / static_cast<double>(uniforms->rows);
}

inline void update_w(void* const* buffers, const Uniforms* uniforms, int64_t begin, int64_t end) {
  for (int64_t f = begin; f < end; ++f) {
    float gradient = 0;
    for (int64_t i = 0; i < uniforms->rows; ++i) {
      const int64_t row = as<int32_t>(buffers, rows)[i];
      gradient += as<float>(buffers, error)[i] * as<float>(buffers, x)[row * linear_features + f];
    }
    float& momentum = as<float>(buffers, v)[f];
    momentum = 0.5F * momentum + gradient * 2 / static_cast<float>(uniforms->rows);
    as<float>(buffers, w)[f] -= learning_rate * momentum;
  }
}

inline void update_b(void* const* buffers, const Uniforms* uniforms, int64_t, int64_t) {
  float gradient = 0;
  for (int64_t i = 0; i < uniforms->rows; ++i) gradient += as<float>(buffers, error)[i];
  *as<float>(buffers, b) -= learning_rate * (gradient * 2 / static_cast<float>(uniforms->rows));
}

/// Counts how often each sample is used.
inline void count_visits(void* const* buffers, const Uniforms*, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    ++as<int32_t>(buffers, visits)[as<int32_t>(buffers, rows)[i]];
  }
}

/// One line of 6 numbers a step: the uniforms, and whether the row list is aligned and padded with
/// zeros.
inline void write_log(void* const* buffers, const Uniforms* uniforms, int64_t, int64_t) {
  const int32_t* list = as<int32_t>(buffers, rows);
  bool padded = reinterpret_cast<uintptr_t>(list) % 64 == 0;
  for (int64_t i = uniforms->rows; i < (uniforms->rows + 15) / 16 * 16; ++i) {
    padded = padded && list[i] == 0;
  }
  int32_t* line = as<int32_t>(buffers, log) + uniforms->step % (linear_log_length / 6) * 6;
  line[0] = static_cast<int32_t>(uniforms->rows);
  line[1] = static_cast<int32_t>(uniforms->step);
  line[2] = static_cast<int32_t>(uniforms->epoch);
  line[3] = static_cast<int32_t>(uniforms->steps);
  line[4] = static_cast<int32_t>(uniforms->seed);
  line[5] = padded ? 1 : 0;
}

/// Program init has buffers w, b, log.
inline void initialise(void* const* buffers, const Uniforms* uniforms, int64_t begin, int64_t end) {
  for (int64_t f = begin; f < end; ++f) {
    static_cast<float*>(buffers[0])[f] =
        0.1F * static_cast<float>(f) + 0.01F * static_cast<float>(uniforms->seed);
  }
}

inline void initialise_b(void* const* buffers, const Uniforms* uniforms, int64_t, int64_t) {
  *static_cast<float*>(buffers[1]) = 0.5F;
  static_cast<int32_t*>(buffers[2])[0] =
      uniforms->rows == 0 && uniforms->step == 0 && uniforms->epoch == 0 ? 77 : -1;
}

}  // namespace linear_kernels

/// Programs init, train, eval; parameters model.w and model.b, states model.w.momentum, visits and
/// log.
inline JobTable linear_job(const TrainSettings& settings, int64_t samples, int64_t eval_batch = 7) {
  using namespace linear_kernels;
  const TaskDimension features = {{linear_features, 0}, 1};
  const auto kernel = [](std::string name, KernelFunction function,
                         std::vector<TaskDimension> tasks = {}) {
    return KernelEntry{std::move(name), function, std::move(tasks)};
  };
  const BufferEntry weight = {"model.w", BufferKind::parameter, ElementType::f32,
                              linear_weight_layout(), 0};
  const BufferEntry bias = {"model.b", BufferKind::parameter, ElementType::f32, natural_layout({}),
                            0};
  const BufferEntry log_buffer = {"log", BufferKind::state, ElementType::i32,
                                  natural_layout({linear_log_length}), 0};

  ProgramTable init;
  init.name = "init";
  init.buffers = {weight, bias, log_buffer};
  init.launches = {{{kernel("w", initialise, {features}), kernel("b", initialise_b)}}};

  const auto measuring = [&](const std::string& name, int64_t batch) {
    ProgramTable program;
    program.name = name;
    program.batch = batch;
    program.buffers = {
        {"x", BufferKind::input, ElementType::f32, natural_layout({linear_features}), 0},
        {"y", BufferKind::input, ElementType::f32, natural_layout({}), 0},
        {"rows", BufferKind::row_list, ElementType::i32, natural_layout({batch}), 0},
        weight,
        bias,
        {"model.w.momentum", BufferKind::state, ElementType::f32, linear_weight_layout(), 0},
        {"error", BufferKind::temporary, ElementType::f32, natural_layout({batch}), 64},
        {"loss", BufferKind::result, ElementType::f32, natural_layout({}), 0},
        {"near", BufferKind::result, ElementType::f64, natural_layout({}), 0},
        {"visits", BufferKind::state, ElementType::i32, natural_layout({samples}), 0},
        log_buffer};
    program.arena_bytes = 64 + (batch * 4 + 63) / 64 * 64;
    program.results = {{ResultKind::loss, "loss", loss}, {ResultKind::metric, "near", near}};
    const TaskDimension tiles = {{batch, 1}, row_tile};
    program.launches = {
        {{kernel("errors", errors, {tiles})}},
        {{kernel("loss", measure_loss), kernel("near", measure_near)}},
    };
    return program;
  };
  ProgramTable train = measuring("train", settings.batch);
  for (const KernelEntry& update :
       {kernel("w", update_w, {features}), kernel("b", update_b),
        kernel("visits", count_visits, {{{settings.batch, 1}, 1}}), kernel("log", write_log)}) {
    train.launches[1].kernels.push_back(update);
  }

  JobTable job;
  job.model_name = "linear";
  job.model_file = "linear.fg";
  job.programs = {init, train, measuring("eval", eval_batch)};
  job.inputs = {{"x", ElementType::f32, {linear_features}, false, 0, 0},
                {"y", ElementType::f32, {}, false, 0, 0}};
  job.data = {{"train", "x", "idx", "x"}, {"train", "y", "idx", "y"}};
  job.settings = settings;
  return job;
}

/// Samples of y = 1 + x . (1, 2, 3, 4, 5) / 4 with x from a small fixed sequence.
struct LinearData {
  std::vector<float> x;
  std::vector<float> y;

  explicit LinearData(int64_t samples) {
    uint32_t state = 12345;
    for (int64_t i = 0; i < samples; ++i) {
      float target = 1;
      for (int64_t f = 0; f < linear_features; ++f) {
        state = state * 1664525 + 1013904223;
        x.push_back(static_cast<float>(state >> 16 & 0xff) / 128 - 1);
        target += x.back() * static_cast<float>(f + 1) / 4;
      }
      y.push_back(target);
    }
  }

  Split split(const std::string& name = "train") const {
    const auto column = [](const std::vector<float>& values, std::vector<int64_t> shape) {
      Column result;
      result.element = ElementType::f32;
      result.shape = std::move(shape);
      const auto bytes = static_cast<int64_t>(values.size() * sizeof(float));
      result.bytes = std::move(*AlignedBytes::unwritten(bytes));
      std::memcpy(result.bytes.data(), values.data(), static_cast<size_t>(bytes));
      return result;
    };
    Split result;
    result.name = name;
    result.samples = static_cast<int64_t>(y.size());
    result.columns.push_back(column(x, {result.samples, linear_features}));
    result.columns.push_back(column(y, {result.samples}));
    result.files = {"x", "y"};
    return result;
  }
};

/// The same training without tables, teams or batches of kernels: the oracle.
struct LinearModel {
  std::vector<float> w;
  std::vector<float> v = std::vector<float>(linear_features, 0.0F);
  float b = 0.5F;

  explicit LinearModel(int64_t seed) {
    for (int64_t f = 0; f < linear_features; ++f) {
      w.push_back(0.1F * static_cast<float>(f) + 0.01F * static_cast<float>(seed));
    }
  }

  std::vector<float> errors(const LinearData& data, const std::vector<int32_t>& rows) const {
    std::vector<float> result;
    for (const int32_t row : rows) {
      float sum = b;
      for (int64_t f = 0; f < linear_features; ++f) {
        sum += w[f] * data.x[row * linear_features + f];
      }
      result.push_back(sum - data.y[row]);
    }
    return result;
  }

  static float loss(const std::vector<float>& error) {
    float sum = 0;
    for (const float value : error) sum += value * value;
    return sum / static_cast<float>(error.size());
  }

  static double near(const std::vector<float>& error) {
    double count = 0;
    for (const float value : error) count += std::abs(value) < 0.5F ? 1 : 0;
    return count / static_cast<double>(error.size());
  }

  void step(const LinearData& data, const std::vector<int32_t>& rows) {
    const std::vector<float> error = errors(data, rows);
    const auto count = static_cast<float>(rows.size());
    for (int64_t f = 0; f < linear_features; ++f) {
      float gradient = 0;
      for (size_t i = 0; i < rows.size(); ++i) {
        gradient += error[i] * data.x[rows[i] * linear_features + f];
      }
      v[f] = 0.5F * v[f] + gradient * 2 / count;
      w[f] -= linear_kernels::learning_rate * v[f];
    }
    float gradient = 0;
    for (const float value : error) gradient += value;
    b -= linear_kernels::learning_rate * (gradient * 2 / count);
  }
};

}  // namespace fusegrad::runtime
