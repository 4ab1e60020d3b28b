// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The loop that every trainer spends its life in. What a step costs besides its kernels is one
// barrier per launch: nothing is allocated, copied or decided between two steps that could have
// been before.
#include "runtime/core/session.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <set>

#include "runtime/core/exit_codes.h"
#include "runtime/core/shuffle.h"

namespace fusegrad::runtime {

namespace {

/// A row list starts at a multiple of 64 bytes and its last 16 numbers are made up with zeros.
constexpr int64_t row_list_granule =
    AlignedBytes::alignment / static_cast<int64_t>(sizeof(int32_t));
constexpr std::chrono::milliseconds progress_interval(100);

int64_t buffer_bytes(const BufferEntry& buffer) {
  int64_t bytes = 0;
  RUNTIME_CHECK(!__builtin_mul_overflow(buffer.layout.physical_elements(),
                                        element_size(buffer.element), &bytes),
                "buffer {}", buffer.name);
  return bytes;
}

bool same_layout(const Layout& left, const Layout& right) {
  return left.shape == right.shape && left.block == right.block &&
         (left.block == 0 || left.blocked_dimension == right.blocked_dimension);
}

Failure no_memory(std::string_view what, int64_t bytes) {
  return {ExitCode::memory, fmt::format("no memory for {}: {} bytes", what, bytes), {}};
}

template <typename T>
double read_as(const std::byte* memory) {
  T value = 0;
  std::memcpy(&value, memory, sizeof value);
  return static_cast<double>(value);
}

double read_number(const std::byte* memory, ElementType element) {
  switch (element) {
    case ElementType::boolean:
    case ElementType::u8:
      return read_as<uint8_t>(memory);
    case ElementType::i32:
      return read_as<int32_t>(memory);
    case ElementType::f32:
      return read_as<float>(memory);
    case ElementType::f64:
      return read_as<double>(memory);
  }
  return 0;
}

/// The larger (or smaller) one; NaN stays.
double extreme(double kept, double value, bool largest) {
  if (std::isnan(kept) || std::isnan(value)) return std::isnan(kept) ? kept : value;
  return (largest ? value > kept : value < kept) ? value : kept;
}

/// The one number that a loss or metric buffer holds.
double read_scalar(const std::byte* memory, ElementType element) {
  if (element == ElementType::f64) {
    double value = 0;
    std::memcpy(&value, memory, sizeof value);
    return value;
  }
  float value = 0;
  std::memcpy(&value, memory, sizeof value);
  return static_cast<double>(value);
}

}  // namespace

bool is_finite(float value) {
  return (std::bit_cast<uint32_t>(value) & 0x7f800000U) != 0x7f800000U;
}

bool is_finite(double value) {
  constexpr uint64_t exponent = uint64_t{0x7ff} << 52;
  return (std::bit_cast<uint64_t>(value) & exponent) != exponent;
}

bool all_finite(std::span<const std::byte> bytes, ElementType element) {
  const size_t size = static_cast<size_t>(element_size(element));
  if (element == ElementType::f32) {
    for (size_t offset = 0; offset < bytes.size(); offset += size) {
      float value = 0;
      std::memcpy(&value, bytes.data() + offset, sizeof value);
      if (!is_finite(value)) return false;
    }
  } else if (element == ElementType::f64) {
    for (size_t offset = 0; offset < bytes.size(); offset += size) {
      double value = 0;
      std::memcpy(&value, bytes.data() + offset, sizeof value);
      if (!is_finite(value)) return false;
    }
  }
  return true;
}

/// A program with its buffers in memory.
struct Session::Program {
  const ProgramTable* table = nullptr;
  /// Two sets of pointers that differ in the results; inputs and row lists are filled in per pass
  /// and step.
  std::array<std::vector<void*>, 2> pointers;
  std::array<std::vector<AlignedBytes>, 2> results;
  struct InputPointer {
    int buffer = 0;
    size_t input = 0;  ///< index into JobTable::inputs and Split::columns
  };
  std::vector<InputPointer> inputs;
  std::vector<int> row_lists;
  int loss = -1;             ///< buffer index, -1 when the program measures none
  std::vector<int> metrics;  ///< indices into ProgramTable::results
  std::vector<int> parts;    ///< of metrics: indices into ProgramTable::results
};

/// What a pass accumulates for metrics that are no means.
class Session::Accumulators {
 public:
  explicit Accumulators(const Program& program) : table_(*program.table) {
    for (const int index : program.parts) {
      const ResultEntry& result = table_.results[index];
      const auto elements =
          static_cast<size_t>(table_.buffers[result.buffer].layout.natural_elements());
      parts_.push_back({&result, std::vector<double>(elements)});
    }
  }

  void add(const std::vector<void*>& pointers) {
    for (Part& part : parts_) {
      const BufferEntry& buffer = table_.buffers[part.result->buffer];
      const auto* memory = static_cast<const std::byte*>(pointers[part.result->buffer]);
      const int64_t size = element_size(buffer.element);
      for (size_t i = 0; i < part.values.size(); ++i) {
        const double value = read_number(memory + static_cast<int64_t>(i) * size, buffer.element);
        double& kept = part.values[i];
        if (part.result->kind == ResultKind::total) {
          kept += value;
        } else {
          kept = is_first_ ? value : extreme(kept, value, part.result->kind == ResultKind::largest);
        }
      }
    }
    is_first_ = false;
  }

  /// Puts them into the states that the finishing program reads.
  void store(const std::vector<NamedBuffer>& states) const {
    for (const Part& part : parts_) {
      const auto state = std::find_if(states.begin(), states.end(), [&](const NamedBuffer& buffer) {
        return buffer.name == part.result->label;
      });
      RUNTIME_CHECK(state != states.end() && state->element == ElementType::f64,
                    "nothing receives {}", part.result->label);
      std::vector<std::byte> bytes(part.values.size() * sizeof(double));
      std::memcpy(bytes.data(), part.values.data(), bytes.size());
      store_natural_elements(*state, bytes);
    }
  }

 private:
  struct Part {
    const ResultEntry* result = nullptr;
    std::vector<double> values;
  };
  const ProgramTable& table_;
  std::vector<Part> parts_;
  bool is_first_ = true;
};

/// One thread's share of every launch at a certain number of rows.
struct Session::Plan {
  struct Call {
    KernelFunction function = nullptr;
    TaskRange tasks;
  };
  std::vector<Call> calls;
  std::vector<size_t> launch_ends;  ///< positions in `calls`; a barrier follows each
  int64_t rows = -1;

  void prepare(const ProgramTable& program, int64_t new_rows, int thread, int thread_count) {
    if (rows == new_rows) return;
    rows = new_rows;
    calls.clear();
    launch_ends.clear();
    for (const LaunchEntry& launch : program.launches) {
      for (size_t index = 0; index < launch.kernels.size(); ++index) {
        const KernelEntry& kernel = launch.kernels[index];
        const int64_t tasks = kernel.task_count(rows);
        TaskRange part = part_of_tasks(tasks, thread, thread_count);
        if (tasks == 1) {
          // Small kernels of a launch run side by side.
          const bool mine =
              index % static_cast<size_t>(thread_count) == static_cast<size_t>(thread);
          part = {0, mine ? 1 : 0};
        }
        if (part.begin < part.end) calls.push_back({kernel.function, part});
      }
      launch_ends.push_back(calls.size());
    }
  }
};

/// The rows of every batch of a pass, each batch's list aligned and padded.
struct Session::RowOrder {
  AlignedBytes lists;
  int64_t batch = 0;
  int64_t stride = 0;  ///< numbers from one list to the next
  int64_t steps = 0;
  int64_t samples = 0;  ///< those that are visited

  int32_t* list(int64_t step) { return reinterpret_cast<int32_t*>(lists.data()) + step * stride; }
  const int32_t* list(int64_t step) const { return const_cast<RowOrder*>(this)->list(step); }
  int64_t rows(int64_t step) const { return std::min(batch, samples - step * batch); }

  static RowOrder create(int64_t samples, int64_t batch, int64_t steps) {
    RowOrder order;
    order.batch = batch;
    order.steps = steps;
    order.samples = std::min(samples, steps * batch);
    order.stride = (batch + row_list_granule - 1) / row_list_granule * row_list_granule;
    const int64_t bytes = steps * order.stride * static_cast<int64_t>(sizeof(int32_t));
    std::optional<AlignedBytes> memory = AlignedBytes::zeroed(bytes);
    if (!memory) end_without_memory("row lists", bytes);
    order.lists = std::move(*memory);
    return order;
  }
};

Session::Session(const JobTable& job, ThreadTeam& team) : job_(job), team_(team) {}
Session::~Session() = default;

Expected<std::unique_ptr<Session>> Session::create(const JobTable& job, ThreadTeam& team) {
  std::unique_ptr<Session> session(new Session(job, team));
  int64_t arena_bytes = 0;
  for (const ProgramTable& table : job.programs) {
    arena_bytes = std::max(arena_bytes, table.arena_bytes);
  }
  std::optional<AlignedBytes> arena = AlignedBytes::zeroed(arena_bytes);
  if (!arena) return no_memory("temporaries", arena_bytes);
#ifndef NDEBUG
  // NaN in every float: what is read before it is written shows.
  std::memset(arena->data(), 0xff, static_cast<size_t>(arena_bytes));
#endif
  session->arena_ = std::move(*arena);

  for (const ProgramTable& table : job.programs) {
    RUNTIME_CHECK(session->find(table.name) == nullptr, "two programs {}", table.name);
    Program program;
    program.table = &table;
    for (std::vector<void*>& pointers : program.pointers) {
      pointers.assign(table.buffers.size(), nullptr);
    }
    const auto set = [&](size_t index, std::byte* memory) {
      for (std::vector<void*>& pointers : program.pointers) pointers[index] = memory;
    };
    for (size_t index = 0; index < table.buffers.size(); ++index) {
      const BufferEntry& buffer = table.buffers[index];
      switch (buffer.kind) {
        case BufferKind::input: {
          const auto input =
              std::find_if(job.inputs.begin(), job.inputs.end(),
                           [&](const InputEntry& entry) { return entry.name == buffer.name; });
          RUNTIME_CHECK(input != job.inputs.end() && input->element == buffer.element &&
                            input->row_shape == buffer.layout.shape && buffer.layout.block == 0,
                        "buffer {} of program {} is no input of the job", buffer.name, table.name);
          program.inputs.push_back(
              {static_cast<int>(index), static_cast<size_t>(input - job.inputs.begin())});
          break;
        }
        case BufferKind::row_list:
          RUNTIME_CHECK(buffer.element == ElementType::i32, "row list {}", buffer.name);
          program.row_lists.push_back(static_cast<int>(index));
          break;
        case BufferKind::parameter:
        case BufferKind::state: {
          Persistent& persistent = session->persistent_[buffer.name];
          if (persistent.entry == nullptr) {
            const int64_t bytes = buffer_bytes(buffer);
            std::optional<AlignedBytes> memory = AlignedBytes::zeroed(bytes);
            if (!memory) {
              return no_memory(
                  quoted(buffer.name) + ", " + type_text(buffer.element, buffer.layout.shape),
                  bytes);
            }
            persistent.entry = &buffer;
            persistent.bytes = std::move(*memory);
          }
          RUNTIME_CHECK(persistent.entry->kind == buffer.kind &&
                            persistent.entry->element == buffer.element &&
                            same_layout(persistent.entry->layout, buffer.layout),
                        "programs disagree about {}", buffer.name);
          set(index, persistent.bytes.data());
          break;
        }
        case BufferKind::result:
          for (size_t copy = 0; copy < 2; ++copy) {
            const int64_t bytes = buffer_bytes(buffer);
            std::optional<AlignedBytes> memory = AlignedBytes::zeroed(bytes);
            if (!memory) return no_memory(quoted(buffer.name), bytes);
            program.pointers[copy][index] = memory->data();
            program.results[copy].push_back(std::move(*memory));
          }
          break;
        case BufferKind::temporary:
          RUNTIME_CHECK(
              buffer.arena_offset >= 0 && buffer.arena_offset % AlignedBytes::alignment == 0 &&
                  buffer.arena_offset <= table.arena_bytes - buffer_bytes(buffer),
              "temporary {} at {} of {}", buffer.name, buffer.arena_offset, table.arena_bytes);
          set(index, session->arena_.data() + buffer.arena_offset);
          break;
      }
    }
    for (size_t i = 0; i < table.results.size(); ++i) {
      const ResultEntry& result = table.results[i];
      RUNTIME_CHECK(result.buffer >= 0 && result.buffer < static_cast<int>(table.buffers.size()) &&
                        table.buffers[result.buffer].kind == BufferKind::result,
                    "result {} of program {}", result.label, table.name);
      if (result.kind == ResultKind::output) continue;
      const BufferEntry& buffer = table.buffers[result.buffer];
      if (result.kind != ResultKind::loss && result.kind != ResultKind::metric) {
        RUNTIME_CHECK(buffer.layout.block == 0, "part {} is packed", result.label);
        program.parts.push_back(static_cast<int>(i));
        continue;
      }
      RUNTIME_CHECK((buffer.element == ElementType::f32 || buffer.element == ElementType::f64) &&
                        buffer.layout.natural_elements() == 1,
                    "result {} of program {} is not one f32 or f64", result.label, table.name);
      if (result.kind == ResultKind::metric) {
        program.metrics.push_back(static_cast<int>(i));
      } else {
        RUNTIME_CHECK(program.loss < 0, "two losses in program {}", table.name);
        program.loss = result.buffer;
      }
    }
    for (const LaunchEntry& launch : table.launches) {
      for (const KernelEntry& kernel : launch.kernels) {
        RUNTIME_CHECK(kernel.function != nullptr, "kernel {} has no code", kernel.name);
      }
    }
    session->programs_.push_back(std::move(program));
  }
  return session;
}

const Session::Program* Session::find(const std::string& name) const {
  const auto found = std::find_if(programs_.begin(), programs_.end(), [&](const Program& program) {
    return program.table->name == name;
  });
  return found == programs_.end() ? nullptr : &*found;
}

bool Session::has_program(const std::string& name) const { return find(name) != nullptr; }

int64_t Session::steps_per_epoch(const TrainSettings& settings, int64_t samples) {
  const int64_t whole = samples / settings.batch;
  const bool short_batch = samples % settings.batch != 0 && settings.last == LastBatch::keep;
  return whole + (short_batch ? 1 : 0);
}

void Session::run_launches(const Plan& plan, void* const* buffers, const Uniforms& uniforms) {
  size_t next = 0;
  for (const size_t end : plan.launch_ends) {
    for (; next < end; ++next) {
      const Plan::Call& call = plan.calls[next];
      call.function(buffers, &uniforms, call.tasks.begin, call.tasks.end);
    }
    team_.barrier();
  }
}

void Session::initialise() {
  const Program* program = find("init");
  if (program == nullptr) return;
  RUNTIME_CHECK(program->inputs.empty() && program->row_lists.empty(), "program init reads data");
  Uniforms uniforms;
  uniforms.seed = job_.settings.seed;
  run_once(*program, uniforms);
}

void Session::run_once(const Program& program, const Uniforms& uniforms) {
  team_.run([&](int thread, int thread_count) {
    Plan plan;
    plan.prepare(*program.table, uniforms.rows, thread, thread_count);
    run_launches(plan, program.pointers[0].data(), uniforms);
  });
}

PassResult Session::train_epoch(const Split& split, int64_t epoch, int64_t epochs,
                                const PassControls& controls) {
  const TrainSettings& settings = job_.settings;
  const Program* program = find("train");
  RUNTIME_CHECK(program != nullptr, "no program train");
  RUNTIME_CHECK(settings.batch == program->table->batch, "batch {}, compiled for {}",
                settings.batch, program->table->batch);
  const int64_t steps = steps_per_epoch(settings, split.samples);
  RowOrder order = RowOrder::create(split.samples, settings.batch, steps);
  std::vector<int32_t> rows(static_cast<size_t>(split.samples));
  if (settings.shuffle) {
    shuffled_rows(settings.seed, epoch, rows);
  } else {
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(i);
  }
  for (int64_t step = 0; step < steps; ++step) {
    std::copy_n(rows.data() + step * order.batch, order.rows(step), order.list(step));
  }
  Uniforms uniforms;
  uniforms.step = steps_done_ + 1;
  uniforms.epoch = epoch;
  steps_of_run_ = epochs * steps;
  uniforms.steps = steps_of_run_;
  uniforms.seed = settings.seed;
  PassResult result = run_pass(*program, split, order, uniforms, true, controls);
  steps_done_ += result.steps;
  return result;
}

PassResult Session::evaluate(const Split& split, int64_t epoch, const PassControls& controls) {
  const Program* program = find("eval");
  RUNTIME_CHECK(program != nullptr, "no program eval");
  const int64_t batch = program->table->batch;
  const int64_t steps = (split.samples + batch - 1) / batch;
  RowOrder order = RowOrder::create(split.samples, batch, steps);
  for (int64_t step = 0; step < steps; ++step) {
    for (int64_t i = 0; i < order.rows(step); ++i) {
      order.list(step)[i] = static_cast<int32_t>(step * batch + i);
    }
  }
  Uniforms uniforms;
  uniforms.step = steps_done_;
  uniforms.epoch = epoch;
  uniforms.steps = steps_of_run_;
  uniforms.seed = job_.settings.seed;
  return run_pass(*program, split, order, uniforms, false, controls);
}

PassResult Session::run_pass(const Program& program, const Split& split, const RowOrder& order,
                             Uniforms uniforms, bool counts_steps, const PassControls& controls) {
  RUNTIME_CHECK(!program.table->launches.empty(), "program {} has no launches",
                program.table->name);
  RUNTIME_CHECK(split.columns.size() == job_.inputs.size(), "split {}", split.name);

  PassResult result;
  std::vector<double> metric_sums(program.metrics.size(), 0.0);
  double loss_sum = 0;
  Accumulators accumulators(program);
  // The step before which all threads end. Thread 0 writes it when it has read the results of step
  // s, while others may be in step s + 1 but none beyond: they would have to meet thread 0 at its
  // barrier first. So s + 2 is a step that none has begun and of which all will know. On a cache
  // line of its own, because every thread reads it in each step.
  struct alignas(AlignedBytes::alignment) End {
    std::atomic<int64_t> step;
  };
  End end_before{order.steps};

  // Thread 0, when all launches of a step are done. The other threads may be in the next step.
  auto last_progress = std::chrono::steady_clock::now();
  const auto after_step = [&](int64_t step, const std::vector<void*>& pointers, int thread_count) {
    const int64_t first_that_can_be_stopped = step + (thread_count == 1 ? 1 : 2);
    const auto stop = [&] {
      end_before.step.store(
          std::min(end_before.step.load(std::memory_order_relaxed), first_that_can_be_stopped),
          std::memory_order_relaxed);
    };
    result.steps = step + 1;
    if (result.non_finite) return;  // the step that had begun meanwhile
    const int64_t rows = order.rows(step);
    const auto weight = static_cast<double>(rows);
    if (program.loss >= 0) {
      const double loss = read_scalar(static_cast<const std::byte*>(pointers[program.loss]),
                                      program.table->buffers[program.loss].element);
      if (!is_finite(loss)) {
        result.non_finite =
            NonFiniteLoss{uniforms.epoch, uniforms.step + (counts_steps ? step : 0), loss};
        stop();
      }
      loss_sum += loss * weight;
    }
    for (size_t i = 0; i < program.metrics.size(); ++i) {
      const int buffer = program.table->results[program.metrics[i]].buffer;
      metric_sums[i] += weight * read_scalar(static_cast<const std::byte*>(pointers[buffer]),
                                             program.table->buffers[buffer].element);
    }
    accumulators.add(pointers);
    result.samples += rows;
    if (controls.deadline && std::chrono::steady_clock::now() >= *controls.deadline) {
      result.timed_out = true;
      stop();
    }
    if (controls.stop != nullptr && controls.stop->load(std::memory_order_relaxed) != 0) stop();
    if (controls.progress) {
      const auto now = std::chrono::steady_clock::now();
      if (now - last_progress >= progress_interval) {
        last_progress = now;
        controls.progress({step + 1, order.steps, loss_sum / static_cast<double>(result.samples)});
      }
    }
  };

  team_.run([&](int thread, int thread_count) {
    // Own copies: a thread may set the next step's pointers while another still works on the last
    // one.
    std::array<std::vector<void*>, 2> pointers = program.pointers;
    for (std::vector<void*>& set : pointers) {
      for (const Program::InputPointer& input : program.inputs) {
        // Kernels only read it; the calling convention has one kind of pointer.
        set[input.buffer] = const_cast<std::byte*>(split.columns[input.input].bytes.data());
      }
    }
    Uniforms own = uniforms;
    Plan plan;
    for (int64_t step = 0; step < end_before.step.load(std::memory_order_relaxed); ++step) {
      std::vector<void*>& set = pointers[step % 2];
      for (const int index : program.row_lists) set[index] = const_cast<int32_t*>(order.list(step));
      own.rows = order.rows(step);
      own.step = uniforms.step + (counts_steps ? step : 0);
      plan.prepare(*program.table, own.rows, thread, thread_count);
      run_launches(plan, set.data(), own);
      if (thread == 0) after_step(step, set, thread_count);
    }
  });

  result.interrupted = !result.non_finite && !result.timed_out && result.steps < order.steps;
  const auto samples = static_cast<double>(result.samples);
  result.loss = result.samples == 0 ? 0 : loss_sum / samples;
  for (size_t i = 0; i < program.metrics.size(); ++i) {
    result.metrics.push_back({program.table->results[program.metrics[i]].label,
                              result.samples == 0 ? 0 : metric_sums[i] / samples});
  }
  if (const Program* finish = find(program.table->name + ".metrics")) {
    accumulators.store(buffers(BufferKind::state));
    uniforms.rows = result.samples;
    run_once(*finish, uniforms);
    for (const int index : finish->metrics) {
      const ResultEntry& metric = finish->table->results[index];
      const auto* memory = static_cast<const std::byte*>(finish->pointers[0][metric.buffer]);
      result.metrics.push_back(
          {metric.label, read_scalar(memory, finish->table->buffers[metric.buffer].element)});
    }
  }
  return result;
}

std::vector<NamedBuffer> Session::buffers(BufferKind kind) const {
  std::vector<NamedBuffer> result;
  for (const auto& [name, persistent] : persistent_) {
    if (persistent.entry->kind != kind) continue;
    result.push_back({name, kind, persistent.entry->element, persistent.entry->layout,
                      const_cast<std::byte*>(persistent.bytes.data())});
  }
  return result;
}

std::vector<NamedBuffer> Session::weights() const {
  std::vector<NamedBuffer> result = buffers(BufferKind::parameter);
  const Program* eval = find("eval");
  if (eval == nullptr) return result;
  std::set<std::string_view> read;
  for (const BufferEntry& buffer : eval->table->buffers) {
    if (buffer.kind == BufferKind::state) read.insert(buffer.name);
  }
  for (NamedBuffer& state : buffers(BufferKind::state)) {
    if (read.contains(state.name)) result.push_back(std::move(state));
  }
  std::sort(result.begin(), result.end(),
            [](const NamedBuffer& a, const NamedBuffer& b) { return a.name < b.name; });
  return result;
}

std::optional<std::string> Session::non_finite_parameter() const {
  for (const NamedBuffer& buffer : buffers(BufferKind::parameter)) {
    // All bytes in memory first, which is quick; only where that finds something the padding is
    // told apart.
    const auto bytes =
        static_cast<size_t>(buffer.layout.physical_elements() * element_size(buffer.element));
    if (all_finite({buffer.data, bytes}, buffer.element)) continue;
    if (buffer.layout.block == 0 || !all_finite(natural_elements(buffer), buffer.element)) {
      return buffer.name;
    }
  }
  return std::nullopt;
}

std::vector<std::byte> natural_elements(const NamedBuffer& buffer) {
  const int64_t size = element_size(buffer.element);
  const int64_t elements = buffer.layout.natural_elements();
  std::vector<std::byte> result(static_cast<size_t>(elements * size));
  if (buffer.layout.block == 0) {
    std::copy_n(buffer.data, result.size(), result.data());
    return result;
  }
  for (int64_t i = 0; i < elements; ++i) {
    std::copy_n(buffer.data + buffer.layout.physical_position(i) * size, size,
                result.data() + i * size);
  }
  return result;
}

void store_natural_elements(const NamedBuffer& buffer, const std::vector<std::byte>& elements) {
  const int64_t size = element_size(buffer.element);
  const int64_t count = buffer.layout.natural_elements();
  RUNTIME_CHECK(static_cast<int64_t>(elements.size()) == count * size,
                "{}: {} bytes for {} elements", buffer.name, elements.size(), count);
  for (int64_t i = 0; i < count; ++i) {
    std::copy_n(elements.data() + i * size, size,
                buffer.data + buffer.layout.physical_position(i) * size);
  }
}

}  // namespace fusegrad::runtime
