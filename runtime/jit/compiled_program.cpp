// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Access to finished code, whoever made it.
#include <utility>

#include "runtime/jit/jit.h"

namespace fusegrad::runtime {

CompiledProgram::State::~State() = default;
CompiledProgram::CompiledProgram(std::unique_ptr<State> state) : state_(std::move(state)) {}
CompiledProgram::CompiledProgram(CompiledProgram&&) noexcept = default;
CompiledProgram& CompiledProgram::operator=(CompiledProgram&&) noexcept = default;
CompiledProgram::~CompiledProgram() = default;

KernelFunction CompiledProgram::function(std::string_view name) const {
  auto found = state_->functions.find(name);
  return found == state_->functions.end() ? nullptr : found->second;
}
const std::vector<std::string>& CompiledProgram::buffer_names() const {
  return state_->buffer_names;
}
const CompileSeconds& CompiledProgram::seconds() const { return state_->seconds; }
const std::string& CompiledProgram::llvm_text() const { return state_->llvm_text; }
const std::string& CompiledProgram::optimized_llvm_text() const {
  return state_->optimized_llvm_text;
}
const std::vector<char>& CompiledProgram::object() const { return state_->object; }
std::string CompiledProgram::assembly() const { return state_->assembly(); }

}  // namespace fusegrad::runtime
