// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// LLVM code of one program, seen from outside: nobody else includes an LLVM header.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fusegrad::codegen {

/// How hard LLVM's instruction selection, register allocation and scheduling try. Never changes a
/// result.
enum class CodegenLevel : uint8_t { none, less, normal, aggressive };

/// The machine that code is made for. Every feature is named, on or off, from what the processor
/// reports about itself: a name such as "znver3" also implies features that a virtual machine may
/// have masked.
struct CpuTarget {
  std::string triple;    ///< "x86_64-pc-linux-gnu"
  std::string features;  ///< "+avx,+avx2,-avx512f,...", sorted by name
  CodegenLevel level = CodegenLevel::less;
};

/// The machine that this process runs on.
CpuTarget host_target();
/// The same machine without fused multiply-add and everything wider or newer: the oldest x86-64.
/// For tests that the bits do not depend on the instruction set.
CpuTarget baseline_target();
/// A machine of this kind with exactly the features named ("avx2", LLVM's names) and those that all
/// such machines have. For code that runs elsewhere.
CpuTarget target_with_features(const std::vector<std::string>& names);

/// One LLVM module with its context and target machine. Movable; used by one thread at a time.
class LlvmModule {
 public:
  struct State;  // in llvm_state.h, for those who see LLVM

  explicit LlvmModule(std::unique_ptr<State> state);
  LlvmModule(LlvmModule&&) noexcept;
  LlvmModule& operator=(LlvmModule&&) noexcept;
  ~LlvmModule();

  /// The module in LLVM's assembly language. Equal programs give equal text.
  std::string text() const;

  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace fusegrad::codegen
