// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// L to functions that can be called, in this process.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/cpu/llvm_module.h"
#include "ir/loop/program.h"
#include "ir/support/result.h"
#include "runtime/core/job_table.h"

namespace fusegrad::runtime {

struct JitOptions {
  /// The machine to make code for; nothing: this one, as it reports itself. Anything else must be a
  /// subset of this one, or calling the code ends the process.
  std::optional<codegen::CpuTarget> target;
  /// LLVM passes instead of the default list; "" runs none.
  std::optional<std::string> passes;
  /// Keep LLVM's text before and after optimisation (costs time; the code is the same).
  bool keep_text = false;
};

/// Wall-clock time of each stage of one compilation.
struct CompileSeconds {
  double emit = 0;
  double optimize = 0;
  double codegen = 0;
  double link = 0;
  double total() const { return emit + optimize + codegen + link; }
};

/// Functions of one program, loaded. The functions live as long as this object.
class CompiledProgram {
 public:
  struct State;

  explicit CompiledProgram(std::unique_ptr<State> state);
  CompiledProgram(CompiledProgram&&) noexcept;
  CompiledProgram& operator=(CompiledProgram&&) noexcept;
  ~CompiledProgram();

  /// By the name of the LoopFunction; null if there is none. Callable from any thread.
  KernelFunction function(std::string_view name) const;
  /// Order of the pointer table that the functions expect.
  const std::vector<std::string>& buffer_names() const;
  const CompileSeconds& seconds() const;

  /// LLVM's text as emitted and as optimised; "" unless JitOptions::keep_text.
  const std::string& llvm_text() const;
  const std::string& optimized_llvm_text() const;
  /// The object file that was linked, and the assembly text of exactly these bytes.
  const std::vector<char>& object() const;
  std::string assembly() const;

 private:
  std::unique_ptr<State> state_;
};

/// Needs a verified program with expanded functions. Fails when the operating system gives no
/// executable memory; everything else that goes wrong is our bug.
Result<CompiledProgram> compile(const ir::LoopProgram& program, const JitOptions& options = {});

}  // namespace fusegrad::runtime
