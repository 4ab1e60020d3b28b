// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Memory of a job and the loop that runs its programs over data.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/core/aligned_bytes.h"
#include "runtime/core/dataset.h"
#include "runtime/core/error.h"
#include "runtime/core/job_table.h"
#include "runtime/core/thread_team.h"

namespace fusegrad::runtime {

/// False for NaN and the infinities: an integer test of the exponent bits, so no compiler flag can
/// undo it.
bool is_finite(float value);
bool is_finite(double value);
/// All elements are; true for types that are no floats.
bool all_finite(std::span<const std::byte> bytes, ElementType element);

/// How far a pass is. `loss` is the running mean.
struct PassProgress {
  int64_t steps_done = 0;
  int64_t steps = 0;
  double loss = 0;
};

/// What the caller wants from a pass besides its result.
struct PassControls {
  /// Polled before each step; not 0: the pass ends at a step's end.
  const StopSignal* stop = nullptr;
  /// Looked at after each step; when it has passed, the pass ends at a step's end.
  std::optional<std::chrono::steady_clock::time_point> deadline;
  /// Called by thread 0 about ten times a second, between steps. Must not take long.
  std::function<void(const PassProgress&)> progress;
};

/// The value of a metric, under the label that the model gives it.
struct Metric {
  std::string label;
  double value = 0;
};

/// A loss that is NaN or infinite, and the step that measured it.
struct NonFiniteLoss {
  int64_t epoch = 0;
  int64_t step =
      0;  ///< counted from 1 over the whole run; in a validation pass the last training step
  double value = 0;
};

/// Means over all samples of a pass, each batch weighted with its rows, summed in f64 in batch
/// order; metrics that are no means are computed from what was accumulated over the pass.
struct PassResult {
  double loss = 0;
  /// Those of the program itself, then those of its finishing program, in the order of results.
  std::vector<Metric> metrics;
  int64_t samples = 0;
  int64_t steps = 0;
  bool interrupted = false;                 ///< the stop signal ended it before its last step
  bool timed_out = false;                   ///< the deadline passed
  std::optional<NonFiniteLoss> non_finite;  ///< it ended for this reason
};

/// A parameter or state of the session, where it lies.
struct NamedBuffer {
  std::string name;
  BufferKind kind = BufferKind::parameter;
  ElementType element = ElementType::f32;
  Layout layout;
  std::byte* data = nullptr;
};

/// Parameters, states, arena, results and row lists of one job, and its programs ready to run on a
/// team.
///
/// The steps of a pass run in one region of the team: each thread keeps its own uniforms and buffer
/// pointers, so a step costs one barrier per launch and nothing else. Thread 0 reads a step's
/// results while the next step runs; the results of two steps lie in two copies that take turns.
class Session {
 public:
  /// Allocates everything, zero-initialised. `job` and `team` must outlive the session. Fails with
  /// ExitCode::memory and the name of what did not fit. A table that contradicts itself is our bug.
  static Expected<std::unique_ptr<Session>> create(const JobTable& job, ThreadTeam& team);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Runs program `init` once, if there is one: uniforms are the seed and otherwise zero (`steps`
  /// too).
  void initialise();

  /// One pass of program `train` over the split: rows in the epoch's order (settings.shuffle,
  /// seed), batches of settings.batch, the last short one dropped or kept. `steps` counts on from
  /// the previous epoch. Ends early at a non-finite loss: with T > 1 threads at most one more step
  /// has begun by then.
  PassResult train_epoch(const Split& split, int64_t epoch, int64_t epochs,
                         const PassControls& controls = {});

  /// One pass of program `eval` in file order; the short batch is kept. Needs that program.
  /// `step` and `steps` are those of the training so far.
  PassResult evaluate(const Split& split, int64_t epoch, const PassControls& controls = {});

  bool has_program(const std::string& name) const;
  /// Batches that one epoch has: samples / batch, rounded down (drop) or up (keep).
  static int64_t steps_per_epoch(const TrainSettings& settings, int64_t samples);
  int64_t steps_done() const { return steps_done_; }

  /// Parameters and states, sorted by name.
  std::vector<NamedBuffer> buffers(BufferKind kind) const;
  /// What makes the model: the parameters, and the states that program `eval` reads (running means
  /// of layers, but nothing of optimizers). Sorted by name.
  std::vector<NamedBuffer> weights() const;
  /// The name of the first parameter with an element that is not finite, if any.
  std::optional<std::string> non_finite_parameter() const;

 private:
  struct Program;
  struct RowOrder;
  struct Plan;
  Session(const JobTable& job, ThreadTeam& team);
  const Program* find(const std::string& name) const;
  PassResult run_pass(const Program& program, const Split& split, const RowOrder& order,
                      Uniforms uniforms, bool counts_steps, const PassControls& controls);
  void run_launches(const Plan& plan, void* const* buffers, const Uniforms& uniforms);
  /// Runs a program without inputs once, on the whole team.
  void run_once(const Program& program, const Uniforms& uniforms);
  class Accumulators;

  struct Persistent {
    const BufferEntry* entry = nullptr;
    AlignedBytes bytes;
  };

  const JobTable& job_;
  ThreadTeam& team_;
  std::map<std::string, Persistent> persistent_;
  AlignedBytes
      arena_;  ///< one for all programs: they run one after the other and keep nothing in it
  std::vector<Program> programs_;
  int64_t steps_done_ = 0;
  int64_t steps_of_run_ = 0;
};

/// A buffer's elements in row-major order, padding left out.
std::vector<std::byte> natural_elements(const NamedBuffer& buffer);
/// The reverse; `elements` holds exactly the natural elements. Padding keeps its content.
void store_natural_elements(const NamedBuffer& buffer, const std::vector<std::byte>& elements);

}  // namespace fusegrad::runtime
