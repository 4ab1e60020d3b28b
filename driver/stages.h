// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The stages of the compiler by name, as --stage, --dump-dir, --from and `opt` use them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace fusegrad::driver {

/// In the order in which they are made.
enum class Stage : uint8_t {
  ast,
  tensor,       ///< T as written
  tensor_grad,  ///< with backward and updates
  tensor_opt,   ///< simplified
  kernels,      ///< K, scheduled, memory planned
  loops,        ///< L, functions expanded
  llvm,
  llvm_opt,
  assembly,  ///< disassembled from the object that runs
};

struct StageName {
  Stage stage;
  std::string_view name;
  std::string_view dump_file;  ///< without the extension; sorts in the order of the stages
};

inline constexpr std::array<StageName, 9> stage_names = {{
    {Stage::ast, "ast", "10-ast"},
    {Stage::tensor, "tensor", "20-tensor"},
    {Stage::tensor_grad, "tensor.grad", "21-tensor.grad"},
    {Stage::tensor_opt, "tensor.opt", "22-tensor.opt"},
    {Stage::kernels, "kernels", "30-kernels"},
    {Stage::loops, "loops", "40-loops"},
    {Stage::llvm, "llvm", "50-llvm"},
    {Stage::llvm_opt, "llvm.opt", "51-llvm.opt"},
    {Stage::assembly, "asm", "52-asm"},
}};

inline const StageName& name_of(Stage stage) { return stage_names[static_cast<size_t>(stage)]; }

inline std::optional<Stage> parse_stage(std::string_view text) {
  for (const StageName& candidate : stage_names) {
    if (candidate.name == text) return candidate.stage;
  }
  return std::nullopt;
}

}  // namespace fusegrad::driver
