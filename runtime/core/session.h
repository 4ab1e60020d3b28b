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

/// What a pass has added up over its steps so far. With it a pass can pause between two steps and
/// go on later, in another process too, with the same bits.
struct PassSums {
  int64_t steps = 0;
  int64_t samples = 0;
  double loss = 0;                         ///< each batch weighted with its rows
  std::vector<double> metrics;             ///< the same, in the order of results
  std::vector<std::vector<double>> parts;  ///< of metrics that are no means; one list a result
  bool operator==(const PassSums&) const = default;
};

/// An output of the model for all rows of a pass, one batch after the other, row-major.
struct OutputValues {
  std::string label;
  ElementType element = ElementType::f32;
  std::vector<int64_t> shape;  ///< the first extent grows with the rows
  std::vector<std::byte> bytes;
};

/// What the caller wants from a pass besides its result.
struct PassControls {
  /// Polled before each step; not 0: the pass ends at a step's end.
  const StopSignal* stop = nullptr;
  /// Looked at after each step; when it has passed, the pass ends at a step's end.
  std::optional<std::chrono::steady_clock::time_point> deadline;
  /// Steps of the pass, counted from its begin, after which it pauses; 0: it does not.
  int64_t pause_after = 0;
  /// Not null: gets the outputs of program `eval`, in the order of its results; the loss is not
  /// looked at then. Only those with ResultEntry::per_row.
  std::vector<OutputValues>* outputs = nullptr;
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
  int64_t samples = 0;                      ///< of this call
  int64_t steps = 0;                        ///< of this call
  bool interrupted = false;                 ///< the stop signal ended it before its last step
  bool paused = false;                      ///< as asked for; metrics that are no means are missing
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
  /// With `sums` the pass begins after sums->steps steps, which were done before, and leaves what
  /// it added up; empty sums are the begin of an epoch.
  PassResult train_epoch(const Split& split, int64_t epoch, int64_t epochs,
                         const PassControls& controls = {}, PassSums* sums = nullptr);

  /// One pass of program `eval` in file order; the short batch is kept. Needs that program.
  /// `step` and `steps` are those of the training so far.
  PassResult evaluate(const Split& split, int64_t epoch, const PassControls& controls = {});

  bool has_program(const std::string& name) const;
  /// Batches that one epoch has: samples / batch, rounded down (drop) or up (keep).
  static int64_t steps_per_epoch(const TrainSettings& settings, int64_t samples);
  int64_t steps_done() const { return steps_done_; }
  /// For a run that goes on.
  void set_steps_done(int64_t steps) { steps_done_ = steps; }
  /// Whether program `train` can go on from these sums: they have as many numbers as its metrics.
  bool accepts(const PassSums& sums) const;

  /// Writes a learning rate over the one that is in force; false if no program reads one.
  bool set_learning_rate(double rate);

  /// Parameters and states, sorted by name.
  std::vector<NamedBuffer> buffers(BufferKind kind) const;
  /// What makes the model: the parameters, and the states that program `eval` reads (running means
  /// of layers, but nothing of optimizers). Sorted by name.
  std::vector<NamedBuffer> weights() const;
  /// What a run has to keep: parameters and states, but not those that hold the sums of a pass.
  /// Sorted by name, as run_buffer_entries().
  std::vector<NamedBuffer> run_buffers() const;
  /// The name of the first parameter with an element that is not finite, if any.
  std::optional<std::string> non_finite_parameter() const;

 private:
  struct Program;
  struct RowOrder;
  struct Plan;
  Session(const JobTable& job, ThreadTeam& team);
  const Program* find(const std::string& name) const;
  PassResult run_pass(const Program& program, const Split& split, const RowOrder& order,
                      Uniforms uniforms, bool counts_steps, const PassControls& controls,
                      PassSums& sums);
  void run_launches(const Plan& plan, void* const* buffers, const Uniforms& uniforms);
  /// Runs a program without inputs once, on the whole team.
  void run_once(const Program& program, const Uniforms& uniforms);
  /// Appends a step's outputs, where `rows` is its number of rows.
  static void add_outputs(const Program& program, const std::vector<void*>& pointers, int64_t rows,
                          std::vector<OutputValues>& outputs);
  /// Zeros for everything that a pass of the program adds up.
  static void begin_sums(const Program& program, PassSums& sums);
  /// Adds a step's parts of metrics; `pointers` are the program's buffers.
  static void add_parts(const Program& program, const std::vector<void*>& pointers, bool is_first,
                        PassSums& sums);
  /// Puts the parts into the states that the finishing program reads.
  static void store_parts(const Program& program, const PassSums& sums,
                          const std::vector<NamedBuffer>& states);

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
  /// The batches of the epoch in progress: a pass that pauses often does not shuffle again.
  std::unique_ptr<RowOrder> epoch_order_;
  int64_t epoch_of_order_ = 0;
};

/// A session and the team that it runs on.
struct OpenSession {
  std::unique_ptr<ThreadTeam> team;
  std::unique_ptr<Session> session;
};
/// A team of chosen_threads(threads), and the session. Fails as the parts do.
Expected<OpenSession> open_session(const JobTable& job, int threads);

/// Bytes of a buffer in memory, padding included.
int64_t memory_bytes(const NamedBuffer& buffer);
/// The buffers that Session::run_buffers is about, each once.
std::vector<const BufferEntry*> run_buffer_entries(const JobTable& job);

/// A buffer's elements in row-major order, padding left out.
std::vector<std::byte> natural_elements(const NamedBuffer& buffer);
/// The reverse; `elements` holds exactly the natural elements. Padding keeps its content.
void store_natural_elements(const NamedBuffer& buffer, const std::vector<std::byte>& elements);

}  // namespace fusegrad::runtime
