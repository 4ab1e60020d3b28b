// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Machine code of a program, in this process: what was asked for and what came of it. Sees no LLVM.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/cpu/llvm_module.h"
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
  /// What whoever made the code keeps of it; the code goes when this does.
  struct State {
    std::vector<std::string> buffer_names;
    std::map<std::string, KernelFunction, std::less<>> functions;
    CompileSeconds seconds;
    std::string llvm_text;
    std::string optimized_llvm_text;
    std::vector<char> object;

    State() = default;
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    virtual ~State();
    virtual std::string assembly() const = 0;
  };

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

}  // namespace fusegrad::runtime
