// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every pass: what it needs and what is true afterwards. One pass a file. None of them knows a
// layer, a loss or an optimizer by name.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/kernel/program.h"
#include "ir/loop/program.h"
#include "ir/simplify_rules.h"
#include "ir/support/result.h"
#include "ir/tensor/program.h"
#include "ir/update_rule.h"

namespace fusegrad::ir {

/// Reverse-mode differentiation of `program` with respect to its parameters. Needs: a verified
/// program with a loss result of rank 0. Afterwards: statements for all adjoints are appended, no
/// stop_gradient and no custom is left anywhere, and a result `gradient PARAMETER = TENSOR` exists
/// for every parameter that the loss depends on (in declaration order). Fails for a construct
/// without a derivative (message names it, origin is that of its statement).
struct DifferentiationError {
  std::string message;
  Span origin;
};
Result<TensorProgram, DifferentiationError> differentiate(const TensorProgram& program);

/// Appends gradient transforms, in their order, and the optimizer to a differentiated `train`
/// program: state declarations and updates `p <- p'`; adds the states' initial values to `init`.
/// Settings of the rules become states that `train` only reads. Removes the gradient results.
/// `rules` is keyed by parameter.
TensorModule apply_update_rules(const TensorModule& module,
                                const std::map<std::string, UpdateRule>& rules,
                                const std::vector<GradientTransform>& transforms = {});

/// Removes stop_gradient and custom nodes (their value stays): for programs that are not
/// differentiated.
TensorProgram strip_gradient_marks(const TensorProgram& program);

/// Metrics that are no plain means over the batch (a root, a ratio of counts, a maximum) are taken
/// apart: `train` and `eval` keep the sums, maxima and minima over the batch as results, and a
/// program `train.metrics` or `eval.metrics`, which runs once after a pass with `rows` as the
/// number of all samples, computes the metrics from what was accumulated, in f64. A metric that
/// needs one sum over the batch inside another cannot be taken apart and stays as it is: a mean
/// over batches.
TensorModule split_metrics(const TensorModule& module);

/// T to T, meaning kept up to the rounding changes listed in docs/ir.md: constants folded, views,
/// constants, copies and rank-0 scalars inlined, cheap maps over inputs inlined (move 1), invariant
/// factors pulled out of sums, index arithmetic normalised, common statements shared, dead
/// statements removed. Idempotent. `counts`, if given, gets the applications of rules.
TensorProgram simplify(const TensorProgram& program, RuleCounts* counts = nullptr);

/// What became of a forward tensor that backward reads.
struct SaveRemark {
  std::string tensor;
  bool stored = false;
  std::string reason;
  Span origin;
};
struct RecomputeResult {
  TensorProgram program;
  std::vector<SaveRemark> remarks;  ///< in the order of the statements
};

/// T to T, for a simplified program with loss and updates (others come back as they are): chooses
/// which forward tensors are stored for backward, by a minimum cut over bytes and instructions, and
/// writes the expressions of the others into backward's statements. Where an output's comparison
/// answers for its input (the sign of a ReLU), the input is not kept. Sums are never repeated.
/// Afterwards every value has the same bits, and no step has more memory traffic, more bytes of
/// temporaries in use or more launches than without the pass: `group` and `schedule` are asked, and
/// a choice that would break this is not made. `simplify` would undo part of it (it shares equal
/// statements and may round merged expressions otherwise), so it comes before.
RecomputeResult recompute(const TensorProgram& program);

/// T to K: statements grouped by row space (move 2), groups put into launches (move 3). Nothing is
/// scheduled yet, no memory is planned. `remarks` says for each producer-consumer pair why it was
/// fused or not.
KernelProgram group(const TensorProgram& program);

/// What the schedule is told.
struct ScheduleOptions {
  /// A sum over the places where an input has the value v compares every place with v while there
  /// are no more values than this; otherwise it runs along the sorted places.
  int64_t most_compared_values = 32;
};

/// K to K: schedule attributes on every kernel, packed layouts on parameters and states, the same
/// for all programs of the module (they share these buffers), derived buffers for sums in segment
/// form. Index names become unique within each kernel.
KernelModule schedule(const KernelModule& module, const ScheduleOptions& options = {});

/// K to K: offsets for temporaries so that buffers with overlapping lives do not overlap; arena
/// size.
KernelProgram plan_memory(const KernelProgram& program);

/// K to L: one function a kernel. Needs a scheduled program with planned memory.
LoopProgram lower_to_loops(const KernelProgram& program);

/// L to L: exp, log, tanh, powers, random numbers ... become arithmetic (docs/ir.md has the errors
/// in ulp).
LoopProgram expand_functions(const LoopProgram& program);

}  // namespace fusegrad::ir
