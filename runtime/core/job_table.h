// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The plain table that the compiler hands to the runtime: functions, buffers, results and data. No
// IR, no LLVM.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace fusegrad::runtime {

enum class ElementType : uint8_t { boolean, u8, i32, f32, f64 };

/// Bytes of one element (boolean and u8: 1).
int64_t element_size(ElementType type);
/// As the language writes it: "u8", "f32", ...
const char* element_name(ElementType type);

/// An extent that may grow with the batch: `constant` elements, or `rows * per_row` when per_row !=
/// 0 (then `constant` is the value at the full batch, the size that memory is reserved for).
struct Extent {
  int64_t constant = 1;
  int64_t per_row = 0;
  int64_t at(int64_t rows) const { return per_row == 0 ? constant : per_row * rows; }
};

/// How a buffer's elements lie in memory. Natural: row-major over `shape`. Packed (`block` > 0):
/// dimension `blocked_dimension` (called d) is split into d / block and d % block, and d % block
/// becomes the innermost index; the other dimensions keep their order, d / block standing where d
/// stood. The last block is padded.
struct Layout {
  std::vector<int64_t> shape;
  int blocked_dimension = -1;
  int64_t block = 0;

  /// The product of the shape; 1 for a scalar.
  int64_t natural_elements() const;
  /// Elements in memory, padding included.
  int64_t physical_elements() const;
  /// Position in memory of the element with this row-major position in `shape`.
  int64_t physical_position(int64_t natural_position) const;
};

/// Every buffer starts at a multiple of 64 bytes and can be read (not written) for 64 bytes beyond
/// its end. The row list's last 16 numbers are made up with zeros, so a vector load of it stays
/// inside.
enum class BufferKind : uint8_t {
  input,      ///< the whole resident data set column; kernels reach row b through the row list
  row_list,   ///< i32 row numbers of the current batch, `rows` of them
  parameter,  ///< lives for the whole job, shared by name between programs, saved
  state,      ///< like a parameter, but an optimizer's or layer's state
  result,     ///< written by the program, read by the host after the step; two copies take turns
  temporary,  ///< lies in the arena at `arena_offset`
  starts,     ///< i32[N + 1]: element v is the number of the batch's values of `source` below v
  positions,  ///< i32, the places of these values, sorted by value, equal ones in their order
};

struct BufferEntry {
  std::string name;  ///< of a parameter: its instance path, "dense.w"
  BufferKind kind = BufferKind::temporary;
  ElementType element = ElementType::f32;
  Layout layout;             ///< of an input: the shape of ONE row
  int64_t arena_offset = 0;  ///< bytes, a multiple of 64
  std::string source = {};   ///< of starts and positions: the input, whose values lie in 0..N
};

/// Values that every kernel can see; the order is part of the calling convention.
struct Uniforms {
  int64_t rows = 0;   ///< samples in this batch
  int64_t step = 0;   ///< optimizer steps from 1; 0 while initialising
  int64_t epoch = 0;  ///< from 1
  int64_t steps = 0;  ///< steps of the whole run
  int64_t seed = 0;
};

/// Runs tasks [begin, end) of one kernel. `buffers` is in the order of ProgramTable::buffers.
using KernelFunction = void (*)(void* const* buffers, const Uniforms* uniforms, int64_t begin,
                                int64_t end);

/// A kernel's tasks are the points of a box, one dimension per row dimension of the kernel:
/// ceil(extent / tile) each. Tasks are independent; any partition over threads gives the same bits.
struct TaskDimension {
  Extent extent;
  int64_t tile = 1;
};

struct KernelEntry {
  std::string name;
  KernelFunction function = nullptr;
  std::vector<TaskDimension> tasks;  ///< empty: one task
  int64_t task_count(int64_t rows) const;
};

/// Kernels of one launch are independent of each other; launches run one after the other.
struct LaunchEntry {
  std::vector<KernelEntry> kernels;
};

/// total, largest, smallest: parts of metrics. Their elements are added up over the batches of a
/// pass, or the largest or smallest is kept; the program PROGRAM.metrics has an f64 state of that
/// label and shape, and computes the metrics from it.
enum class ResultKind : uint8_t { loss, metric, output, total, largest, smallest };

struct ResultEntry {
  ResultKind kind = ResultKind::loss;
  std::string label;  ///< "loss", or the metric's or output's name
  int buffer = 0;     ///< index into ProgramTable::buffers; loss and metrics have one element
  /// Of an output: its first extent is so many times the rows of the batch; 0: it has none like
  /// that.
  int64_t per_row = 0;

  /// An output with rows for each row of the batch: what predicting gives.
  bool is_for_rows() const { return kind == ResultKind::output && per_row != 0; }
};

struct ProgramTable {
  std::string name;   ///< "init", "train", "eval"
  int64_t batch = 1;  ///< the compiled maximum of Uniforms::rows
  std::vector<BufferEntry> buffers;
  std::vector<LaunchEntry> launches;
  std::vector<ResultEntry> results;
  int64_t arena_bytes = 0;
};

/// A model input as the data set must provide it.
struct InputEntry {
  std::string name;
  ElementType element = ElementType::u8;
  std::vector<int64_t> row_shape;  ///< without the batch dimension
  bool has_range = false;          ///< values must lie in [range_begin, range_end)
  int64_t range_begin = 0;
  int64_t range_end = 0;
  bool is_for_outputs = true;  ///< some output of the model depends on it
};

/// What a reader is told besides the path: `standardise = true`, `rows = [0, 8000]`.
using ReaderValue = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>,
                                 std::vector<std::string>>;
struct ReaderArgument {
  std::string name;
  ReaderValue value;
};
using ReaderArguments = std::vector<ReaderArgument>;

/// Where one input of one split comes from: the reader ("idx"), the path as written in the model
/// file, and the reader's arguments, checked by the front end (runtime/core/readers.h has them).
struct DataEntry {
  std::string split;  ///< "train", "test", "valid"
  std::string input;
  std::string reader;
  std::string path;
  ReaderArguments arguments = {};
};

enum class LastBatch : uint8_t { drop, keep };

/// Training ends when the value after an epoch is on the right side of the threshold.
struct Target {
  enum class Comparison : uint8_t { less, less_equal, greater, greater_equal };
  std::string metric;  ///< a metric's label, or "loss"; of validation where there is such a split
  Comparison comparison = Comparison::greater_equal;
  double threshold = 0;

  /// NaN is on neither side.
  bool holds(double value) const;
};

/// The optimizer's argument `lr`, which a run may set.
struct LearningRate {
  std::string state;  ///< an f64 of rank 0, written by init, read by train
  double value = 0;   ///< the model's; infinite where it follows the step or the parameter
};

struct TrainSettings {
  int64_t batch = 0;
  int64_t epochs = 0;
  int64_t seed = 0;
  bool shuffle = true;
  LastBatch last = LastBatch::drop;
  std::optional<Target> target;
  double time_limit = 0;   ///< seconds of training after which it ends; 0: none
  int64_t patience = 0;    ///< epochs without a lower loss after which it ends; 0: none
  int64_t eval_every = 1;  ///< epochs from one validation to the next
  std::optional<LearningRate> learning_rate;  ///< nothing: the optimizer has no such argument
};

/// Everything the epoch loop needs. Programs: init (writes parameters and states), train, eval.
struct JobTable {
  std::string model_name;
  std::string model_file;  ///< as given on the command line
  std::string model_text;  ///< what the model file says; for checkpoints, nothing follows from it
  std::vector<ProgramTable> programs;
  std::vector<InputEntry> inputs;
  std::vector<DataEntry> data;
  TrainSettings settings;

  /// Null if there is none.
  const ProgramTable* find_program(std::string_view name) const;
};

}  // namespace fusegrad::runtime
