// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Short words for writing L by hand, and the comparison of generated code with L's evaluator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ir/loop/evaluate.h"
#include "ir/loop/program.h"
#include "runtime/jit/llvm/compile.h"

namespace fusegrad::test {

// ---- Words.

inline ir::ExprRef number(int64_t value) { return ir::make_integer(value); }
inline ir::ExprRef real(double value, int lanes = 1) {
  return ir::make_splat(ir::make_real(value, ir::ScalarType::f32), lanes);
}
inline ir::ExprRef index(std::string_view name) {
  return ir::make_variable(name, {ir::ScalarType::i64});
}
inline ir::ExprRef value(std::string_view name, ir::ScalarType type, int lanes = 1) {
  return ir::make_variable(name, {type, lanes});
}
ir::ExprRef operator+(ir::ExprRef a, ir::ExprRef b);
ir::ExprRef operator-(ir::ExprRef a, ir::ExprRef b);
ir::ExprRef operator*(ir::ExprRef a, ir::ExprRef b);

ir::LoopStatement let(std::string name, ir::ExprRef value);
ir::LoopStatement var(std::string name, ir::ExprRef value);
ir::LoopStatement assign(std::string name, ir::ExprRef value);
ir::LoopStatement stack(std::string name, ir::ScalarType type, int64_t elements);
ir::LoopStatement store(std::string buffer, ir::ExprRef address, ir::ExprRef value);
ir::LoopStatement loop(std::string name, ir::ExprRef begin, ir::ExprRef end, int64_t step,
                       ir::LoopBlock body);
ir::LoopStatement branch(ir::ExprRef condition, ir::LoopBlock then_block,
                         ir::LoopBlock else_block = {});

/// A buffer of that many elements, row-major, in memory of its own.
ir::Buffer buffer(std::string name, ir::ScalarType type, int64_t elements,
                  ir::BufferKind kind = ir::BufferKind::parameter);
/// A parameter for a buffer of the program; elements as the buffer has, -1 for an input.
ir::LoopParameter parameter(const ir::LoopProgram& program, std::string_view buffer, bool written);

// ---- Memory.

/// Memory for one run: every buffer at a multiple of 64 bytes, temporaries in one arena, guard
/// bytes behind each, which no run may change.
class AlignedMemory {
 public:
  AlignedMemory(const ir::LoopProgram& program, int64_t samples);
  /// The same content in new places.
  AlignedMemory(const AlignedMemory& other);
  AlignedMemory& operator=(AlignedMemory&&) = default;

  ir::LoopMemory& view() { return view_; }
  std::byte* data(std::string_view buffer);
  template <typename T>
  T* elements(std::string_view name) {
    return reinterpret_cast<T*>(data(name));
  }
  std::vector<int32_t>& row_list() { return row_list_; }
  /// In the order of `names`, for generated code.
  std::vector<void*> pointers(const std::vector<std::string>& names);
  bool guards_hold() const;

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  struct Block {
    std::unique_ptr<std::byte, Free> memory;
    size_t bytes = 0;
  };
  static Block allocate(size_t bytes);
  void lay_out();

  const ir::LoopProgram* program_;
  std::vector<Block> blocks_;  ///< of the buffers in order (empty for temporaries), then the arena
  std::vector<int32_t> row_list_;
  ir::LoopMemory view_;
};

/// Where two memories differ, at most a few places, one a line; "" if nowhere. Compared bit for
/// bit, except that any NaN equals any NaN: IEEE 754 leaves sign and payload of a computed NaN
/// open.
std::string difference(const ir::LoopProgram& program, AlignedMemory& expected,
                       AlignedMemory& found);

/// Runs every function of the program, in order, by the evaluator and by code generated with
/// `options`, each on its own copy of `memory`, and compares. "" if all agrees, else what is wrong,
/// with the L text of a function that differs.
std::string run_and_compare(const ir::LoopProgram& program, const AlignedMemory& memory,
                            const ir::LoopUniforms& uniforms,
                            const runtime::JitOptions& options = {});

}  // namespace fusegrad::test
