// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The loop that every trainer spends its life in. What a step costs besides its kernels is one
// barrier per launch: nothing is allocated, copied or decided between two steps that could have
// been before.
#include "runtime/core/session.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "runtime/core/session_parts.h"
#include "runtime/core/shuffle.h"

namespace fusegrad::runtime {

namespace {
constexpr std::chrono::milliseconds progress_interval(100);

}  // namespace

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
                                const PassControls& controls, PassSums* sums) {
  const TrainSettings& settings = job_.settings;
  const Program* program = find("train");
  RUNTIME_CHECK(program != nullptr, "no program train");
  RUNTIME_CHECK(settings.batch == program->table->batch, "batch {}, compiled for {}",
                settings.batch, program->table->batch);
  const int64_t steps = steps_per_epoch(settings, split.samples);
  if (epoch_order_ == nullptr || epoch_of_order_ != epoch ||
      epoch_order_->records != split.samples || epoch_order_->shuffled != settings.shuffle) {
    epoch_order_ =
        std::make_unique<RowOrder>(RowOrder::create(split.samples, settings.batch, steps));
    epoch_of_order_ = epoch;
    epoch_order_->shuffled = settings.shuffle;
    std::vector<int32_t> rows(static_cast<size_t>(split.samples));
    if (settings.shuffle) {
      shuffled_rows(settings.seed, epoch, rows);
    } else {
      for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(i);
    }
    for (int64_t step = 0; step < steps; ++step) {
      std::copy_n(rows.data() + step * epoch_order_->batch, epoch_order_->rows(step),
                  epoch_order_->list(step));
    }
  }
  PassSums own;
  PassSums& all = sums == nullptr ? own : *sums;
  RUNTIME_CHECK(all.steps >= 0 && all.steps <= steps, "{} steps of {}", all.steps, steps);
  Uniforms uniforms;
  uniforms.step = steps_done_ + 1;
  uniforms.epoch = epoch;
  steps_of_run_ = epochs * steps;
  uniforms.steps = steps_of_run_;
  uniforms.seed = settings.seed;
  PassResult result = run_pass(*program, split, *epoch_order_, uniforms, true, controls, all);
  steps_done_ += result.steps;
  return result;
}

bool Session::accepts(const PassSums& sums) const {
  const Program* program = find("train");
  if (program == nullptr || sums.steps == 0) return program != nullptr;
  PassSums fresh;
  begin_sums(*program, fresh);
  return sums.metrics.size() == fresh.metrics.size() &&
         std::equal(
             sums.parts.begin(), sums.parts.end(), fresh.parts.begin(), fresh.parts.end(),
             [](const auto& left, const auto& right) { return left.size() == right.size(); });
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
  PassSums sums;
  return run_pass(*program, split, order, uniforms, false, controls, sums);
}

PassResult Session::run_pass(const Program& program, const Split& split, const RowOrder& order,
                             Uniforms uniforms, bool counts_steps, const PassControls& controls,
                             PassSums& sums) {
  RUNTIME_CHECK(!program.table->launches.empty(), "program {} has no launches",
                program.table->name);
  RUNTIME_CHECK(split.columns.size() == job_.inputs.size(), "split {}", split.name);

  PassResult result;
  if (sums.steps == 0) begin_sums(program, sums);
  const int64_t first = sums.steps;
  const int64_t last = controls.pause_after == 0
                           ? order.steps
                           : std::clamp(controls.pause_after, first, order.steps);
  // The step before which all threads end. Thread 0 writes it when it has read the results of step
  // s, while others may be in step s + 1 but none beyond: they would have to meet thread 0 at its
  // barrier first. So s + 2 is a step that none has begun and of which all will know. On a cache
  // line of its own, because every thread reads it in each step.
  struct alignas(AlignedBytes::alignment) End {
    std::atomic<int64_t> step;
  };
  End end_before{last};

  // Thread 0, when all launches of a step are done. The other threads may be in the next step.
  auto last_progress = std::chrono::steady_clock::now();
  const auto after_step = [&](int64_t step, const std::vector<void*>& pointers, int thread_count) {
    const int64_t first_that_can_be_stopped = step + (thread_count == 1 ? 1 : 2);
    const auto stop = [&] {
      end_before.step.store(
          std::min(end_before.step.load(std::memory_order_relaxed), first_that_can_be_stopped),
          std::memory_order_relaxed);
    };
    result.steps = step + 1 - first;
    sums.steps = step + 1;
    if (result.non_finite) return;  // the step that had begun meanwhile
    const int64_t rows = order.rows(step);
    const auto weight = static_cast<double>(rows);
    if (controls.outputs != nullptr) add_outputs(program, pointers, rows, *controls.outputs);
    if (program.loss >= 0 && controls.outputs == nullptr) {
      const double loss = read_scalar(static_cast<const std::byte*>(pointers[program.loss]),
                                      program.table->buffers[program.loss].element);
      if (!is_finite(loss)) {
        result.non_finite =
            NonFiniteLoss{uniforms.epoch, uniforms.step + (counts_steps ? step - first : 0), loss};
        stop();
      }
      sums.loss += loss * weight;
    }
    for (size_t i = 0; i < program.metrics.size(); ++i) {
      const int buffer = program.table->results[program.metrics[i]].buffer;
      sums.metrics[i] += weight * read_scalar(static_cast<const std::byte*>(pointers[buffer]),
                                              program.table->buffers[buffer].element);
    }
    add_parts(program, pointers, step == 0, sums);
    result.samples += rows;
    sums.samples += rows;
    if (controls.deadline && std::chrono::steady_clock::now() >= *controls.deadline) {
      result.timed_out = true;
      stop();
    }
    if (controls.stop != nullptr && controls.stop->load(std::memory_order_relaxed) != 0) stop();
    if (controls.progress) {
      const auto now = std::chrono::steady_clock::now();
      if (now - last_progress >= progress_interval) {
        last_progress = now;
        controls.progress({step + 1, order.steps, sums.loss / static_cast<double>(sums.samples)});
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
    // One thread sorts the next step's places before it begins this step's launches: their barriers
    // lie between the sorting and its readers, and those of the step before between the last
    // readers of these buffers and the sorting. Thread 0 has the results to read, so it is another.
    const bool sorts = thread == thread_count - 1 && !program.sorted.empty();
    if (sorts && first < last) program.sort_inputs(split, order, first);
    if (!program.sorted.empty()) team_.barrier();
    for (int64_t step = first; step < end_before.step.load(std::memory_order_relaxed); ++step) {
      std::vector<void*>& set = pointers[step % 2];
      for (const int index : program.row_lists) set[index] = const_cast<int32_t*>(order.list(step));
      own.rows = order.rows(step);
      own.step = uniforms.step + (counts_steps ? step - first : 0);
      plan.prepare(*program.table, own.rows, thread, thread_count);
      if (sorts && step + 1 < last) program.sort_inputs(split, order, step + 1);
      run_launches(plan, set.data(), own);
      if (thread == 0) after_step(step, set, thread_count);
    }
  });

  const int64_t done = sums.steps;
  result.interrupted = !result.non_finite && !result.timed_out && done < last;
  result.paused = !result.non_finite && !result.timed_out && done == last && last < order.steps;
  const auto samples = static_cast<double>(sums.samples);
  result.loss = sums.samples == 0 ? 0 : sums.loss / samples;
  for (size_t i = 0; i < program.metrics.size(); ++i) {
    result.metrics.push_back({program.table->results[program.metrics[i]].label,
                              sums.samples == 0 ? 0 : sums.metrics[i] / samples});
  }
  if (result.paused) return result;
  if (const Program* finish = find(program.table->name + ".metrics")) {
    store_parts(program, sums, buffers(BufferKind::state));
    uniforms.rows = sums.samples;
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

}  // namespace fusegrad::runtime
