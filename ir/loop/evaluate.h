// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The meaning of L, executed: what generated code must equal bit for bit.
//
// Beyond ir/loop/program.h: both bounds of a `for` are evaluated once, before its first round; a
// bool in memory is a byte that is 0 or 1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "ir/loop/program.h"
#include "ir/scalar_evaluate.h"
#include "ir/support/result.h"

namespace fusegrad::ir {

/// L has the uniforms of every level.
using LoopUniforms = Uniforms;

/// What a program works on: for each of its buffers, in its order, bytes that the caller owns.
/// Temporaries whose offsets overlap share bytes; derived buffers are filled by run(). `row_list`
/// holds the rows of the batch: element (b, ...) of an input belongs to sample row_list[b].
struct LoopMemory {
  std::vector<std::span<std::byte>> buffers;
  std::span<int32_t> row_list;
};

/// Memory for tests and for the evaluator's users: zero-filled, temporaries in one arena.
class OwnedLoopMemory {
 public:
  /// `samples` is the length of the resident data set: the room in every input (at least the
  /// batch). The row list is 0, 1, 2, ...
  OwnedLoopMemory(const LoopProgram& program, int64_t samples);
  explicit OwnedLoopMemory(const LoopProgram& program) : OwnedLoopMemory(program, program.batch) {}
  OwnedLoopMemory(OwnedLoopMemory&&) = default;

  LoopMemory& view() { return view_; }
  /// The bytes of the buffer with that name; it must exist.
  std::span<std::byte> bytes(std::string_view buffer);
  /// The same as elements; T must have the element's size.
  template <typename T>
  std::span<T> elements(std::string_view buffer) {
    const std::span<std::byte> all = bytes(buffer);
    return {reinterpret_cast<T*>(all.data()), all.size() / sizeof(T)};
  }
  std::span<int32_t> row_list() { return row_list_; }

 private:
  std::vector<std::string> names_;
  std::vector<std::vector<std::byte>> owned_;
  std::vector<std::byte> arena_;
  std::vector<int32_t> row_list_;
  LoopMemory view_;
};

/// How the tasks of a launch are run. The result must not depend on it.
struct LoopOrder {
  /// Tasks of a function are cut into that many runs of nearly equal length, as threads would.
  int64_t pieces = 1;
  /// Last function first, last piece first.
  bool reverse = false;
};

/// Number of tasks of a function: the product over its dimensions of ceil(extent / tile).
int64_t task_count(const LoopFunction& function, int64_t rows);

struct MachineCode;

/// A program made ready to run many times. Needs a verified program in which no function is left
/// that expand_functions expands (our bug otherwise), and keeps a pointer to it.
class LoopEvaluator {
 public:
  explicit LoopEvaluator(const LoopProgram& program);
  ~LoopEvaluator();
  LoopEvaluator(LoopEvaluator&&) noexcept;

  /// Runs all launches. Fails if memory is too small for a buffer, or if an address is outside of
  /// its buffer, or a stack element is read before it is written; the message names the function,
  /// the statement and the address. After a failure memory holds what was stored until then.
  Status run(LoopMemory& memory, const Uniforms& uniforms, const LoopOrder& order = {});

  /// Runs tasks [begin, end) of one function (it must exist), on derived buffers as they are.
  Status run_function(std::string_view function, LoopMemory& memory, const Uniforms& uniforms,
                      int64_t begin, int64_t end);

 private:
  struct Compiled;
  Compiled& find(std::string_view function);
  Status run_tasks(Compiled& compiled, LoopMemory& memory, const Uniforms& uniforms, int64_t begin,
                   int64_t end);

  const LoopProgram* program_;
  std::vector<Compiled> functions_;
};

/// Compiles and runs all launches once.
Status evaluate(const LoopProgram& program, LoopMemory& memory, const Uniforms& uniforms,
                const LoopOrder& order = {});

}  // namespace fusegrad::ir
