// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The whole compiler: model text in, every stage and the runnable job out.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "driver/stages.h"
#include "frontend/ast.h"
#include "frontend/elaborate.h"
#include "ir/kernel/program.h"
#include "ir/loop/program.h"
#include "ir/passes/passes.h"
#include "ir/support/diagnostics.h"
#include "ir/tensor/program.h"
#include "runtime/jit/job_builder.h"

namespace fusegrad::driver {

/// What a command wants from the compiler.
struct CompileRequest {
  std::string model_path;
  frontend::ElaborateOptions elaborate;
  /// `--from FILE`: programs are taken from this text of tensor.opt, kernels or loops; everything
  /// before that stage is still made from the model (it has the settings and the data). "" for
  /// none.
  std::string from_path;
  Stage until = Stage::assembly;
  /// Only these programs become machine code; empty: all.
  std::vector<std::string> code_for;
  bool keep_llvm_text = false;
  /// FUSEGRAD_VERIFY=each: verify after every pass, not only once before code generation.
  bool verify_each = false;
};

/// Every stage as a value. What was not asked for is empty.
struct Compilation {
  uint32_t model_file = 0;  ///< its number among the sources of the messages
  frontend::ast::File ast;
  frontend::Job job;
  ir::TensorModule tensor;
  ir::TensorModule tensor_grad;
  ir::TensorModule tensor_opt;
  /// What backward reads of forward, and how it gets it; by program.
  std::vector<std::pair<std::string, std::vector<ir::SaveRemark>>> save_remarks;
  ir::KernelModule kernels;
  ir::LoopModule loops;
  runtime::CompiledJob code;
  /// Seconds of each step, in order; steps that work on all programs at once.
  std::vector<std::pair<std::string, double>> seconds;
};

/// Messages go here; `sources` holds every text that they may show.
struct Messages {
  SourceManager sources;
  Diagnostics diagnostics;
  /// What failed beside the model file, with the exit code for it (a stage file, the tool chain).
  std::string failure;
  int exit_code = 0;
};

/// Runs the compiler up to `request.until`. Nothing is returned if there was an error: `messages`
/// has the diagnostics of the model file (exit code 3) or the failure and its code.
std::optional<Compilation> compile(const CompileRequest& request, Messages& messages);

/// Text of a stage; `program` empty means all programs. Stages up to loops parse back.
std::string stage_text(const Compilation& compilation, Stage stage, const std::string& program);

/// Why each producer and its reader share a kernel or not, one line each.
std::string fusion_remarks(const Compilation& compilation, const SourceManager& sources,
                           const std::string& program);

/// Writes all stages into the folder, with names that sort in order. Empty on success, otherwise
/// what failed.
std::string dump_stages(const Compilation& compilation, const Messages& messages,
                        const std::string& folder);

}  // namespace fusegrad::driver
