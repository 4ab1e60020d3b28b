// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The steps of the pass `recompute`: what is known of a training step, and the two changes that
// make backward read fewer tensors. Internal to the pass.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "ir/passes/passes.h"
#include "ir/passes/row_groups.h"

namespace fusegrad::ir {

/// What a grouped program costs: the things that saving less must not make worse.
struct StepCost {
  int64_t traffic_bytes = 0;  ///< of all buffers, once for each kernel that touches them
  int64_t peak_bytes = 0;     ///< temporaries in use in one launch
  size_t launches = 0;
  /// For every sum by name: the binders whose elements run in lanes, by position, with the amount.
  /// They decide the order of the sum and with it its bits.
  std::map<std::string, std::vector<std::pair<size_t, int64_t>>> sum_orders;
};

/// One statement reads a tensor that another kernel makes.
struct CrossRead {
  size_t reader;
  ExprRef read;
};

/// A training step with its boundary and its kernels. Statements are numbers into
/// `program.statements`.
struct StepStudy {
  TensorProgram program;
  GroupedProgram grouped;
  std::map<std::string, size_t, std::less<>> number;
  /// Does it run after the loss is known, in the sense of the graph? The loss does not depend on
  /// it, and an update of a parameter or a gradient does, or it depends on such a statement.
  std::vector<bool> late;
  /// By forward statement: the reads of late statements of other kernels, one for each occurrence.
  std::vector<std::vector<CrossRead>> demands;
  /// By forward statement: late statements of its own kernel read it too, or only they.
  std::vector<bool> read_within;
  /// By forward statement: memory has it anyway, for the host or for a forward kernel.
  std::vector<bool> written_anyway;
  StepCost cost;

  bool same_kernel(size_t a, size_t b) const {
    return grouped.grouping.group_of[a] == grouped.grouping.group_of[b];
  }
};

/// Groups and schedules the program to see what it stores. Work of one `group` and one `schedule`.
StepStudy study_step(const TensorProgram& program);

/// Whether the program has a loss and statements that run after it.
bool has_backward(const TensorProgram& program);

/// Points that the statement's expressions are evaluated at, at the full batch; saturating.
int64_t evaluation_points(const TensorStatement& statement);

// ---- Change 1: comparisons of an output instead of its input (output_comparisons.cpp)

/// Late statements only compare `input`, which nobody else needs in memory; comparing `output`,
/// which memory has anyway, gives every one of them the same value.
struct OutputComparison {
  size_t input;
  size_t output;
};
std::vector<OutputComparison> find_output_comparisons(const StepStudy& step);
TensorProgram compare_outputs(const StepStudy& step, const std::vector<OutputComparison>& changes);

// ---- Change 2: the minimum cut (recompute_cut.cpp)

/// Why a tensor that other kernels' late statements read is stored, or not.
enum class SaveReason : uint8_t {
  recomputed,
  reduction,       ///< it sums or compares many elements
  reader,          ///< a late statement would evaluate it again in a long sum or under an `else`
  large,           ///< its expression would bloat its readers
  cheaper_stored,  ///< the cut goes through it
  no_gain,         ///< tried: the step as a whole would not become cheaper
};

struct SaveChoice {
  SaveReason reason = SaveReason::cheaper_stored;
  int64_t bytes = 0;         ///< that storing costs: written, unless that happens anyway, and read
  int64_t instructions = 0;  ///< in all evaluations that its readers would make
  std::string reader;        ///< for SaveReason::reader
};

struct SavePlan {
  /// By statement: the forward statements whose expressions stand in late readers.
  std::vector<bool> recomputed;
  /// By forward statement that late statements of other kernels read.
  std::map<size_t, SaveChoice> choices;
};

/// The minimum cut, with the tensors of that name stored whatever it costs.
SavePlan plan_saves(const StepStudy& step, const std::set<std::string>& stored);
TensorProgram apply_saves(const StepStudy& step, const SavePlan& plan);

}  // namespace fusegrad::ir
