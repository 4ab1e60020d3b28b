// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// L, loops: scalars, vectors, addresses. Bits are fully defined here: an emitter only writes it
// down.
//
// Numbers. Real arithmetic is IEEE 754, round to nearest even, every operation rounded to its type,
// nothing contracted; fma rounds once. Integer arithmetic wraps at its width; `//` and `%` round
// toward minus infinity and have a positive constant divisor. `max(a, b)` is `if a >= b or a != a
// then a else b`, `min` likewise with `<=`. `vector_sum(v)` halves: while lanes > 1: v = low half +
// high half; so 8 lanes give
// ((v0+v4)+(v2+v6)) + ((v1+v5)+(v3+v7)).
// Both branches of `if ... then ... else` are evaluated; loads in them have addresses that are
// always in bounds. Conversions: real to integer rounds toward zero and saturates, NaN gives 0;
// integer to real rounds to nearest; integer to narrower integer wraps; bool converts to 0 or 1.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "ir/expr.h"
#include "ir/kernel/program.h"
#include "ir/types.h"

namespace fusegrad::ir {

struct LoopStatement;
using LoopBlock = std::vector<LoopStatement>;

/// `let NAME = value`: a name for a value; never assigned again.
struct LoopLet {
  std::string name;
  ExprRef value;
};

/// `var NAME: TYPE = value`: a scalar or vector that `assign` changes (an accumulator).
struct LoopVar {
  std::string name;
  ExprRef value;
};

/// `NAME = value`.
struct LoopAssign {
  std::string name;
  ExprRef value;
};

/// `stack NAME: f32[80]`: uninitialised scratch memory of this function call, 64-byte aligned;
/// written before read.
struct LoopStack {
  std::string name;
  ScalarType type = ScalarType::f32;
  int64_t elements = 0;
};

/// `store NAME[address] = value`. A vector value with a scalar address is stored contiguously; with
/// a vector address lane by lane, in lane order.
struct LoopStore {
  std::string buffer;
  ExprRef address;
  ExprRef value;
};

/// `for NAME = begin to end step S { ... }`: NAME counts from begin while NAME < end.
struct LoopFor {
  std::string name;
  ExprRef begin;
  ExprRef end;
  int64_t step = 1;
  LoopBlock body;
};

/// `if condition { ... } else { ... }` (scalar condition).
struct LoopIf {
  ExprRef condition;
  LoopBlock then_block;
  LoopBlock else_block;
};

struct LoopStatement {
  std::variant<LoopLet, LoopVar, LoopAssign, LoopStack, LoopStore, LoopFor, LoopIf> node;
};

/// A pointer parameter. `elements` is what the pointer may be used for: [0, elements); -1 for an
/// input, whose resident column is as long as the data set (addresses start from the row list
/// there).
struct LoopParameter {
  std::string name;
  ScalarType type = ScalarType::f32;
  int64_t elements = 0;
  bool written = false;
};

/// The tasks of a function: a box with ceil(extent / tile) points per dimension, the last dimension
/// fastest.
struct TaskDimension {
  Extent extent;
  int64_t tile = 1;
};

/// Name under which the row numbers of the current batch are a buffer (i32, `rows` of them).
inline constexpr const char* row_list_name = "row_list";

/// Runs tasks [begin, end): the i64 variables `begin` and `end` are in scope, and the uniforms
/// rows, step, epoch, steps, seed. Element (b, rest...) of an input lies at load row_list[b] *
/// (elements of a row) + position of rest.
struct LoopFunction {
  std::string name;
  std::vector<LoopParameter> parameters;
  std::vector<TaskDimension> tasks;
  LoopBlock body;
};

struct LoopLaunch {
  std::vector<std::string> functions;
};

struct LoopProgram {
  std::string name;
  int64_t batch = 1;
  ScalarType real = ScalarType::f32;
  std::vector<Buffer> buffers;  ///< memory planned
  int64_t arena_bytes = 0;
  std::vector<LoopFunction> functions;
  std::vector<LoopLaunch> launches;
  std::vector<KernelResult> results;

  const LoopFunction* find_function(std::string_view name) const;
  const Buffer* find_buffer(std::string_view name) const;
};

struct LoopModule {
  std::vector<LoopProgram> programs;
  LoopProgram* find(std::string_view name);
  const LoopProgram* find(std::string_view name) const;
};

// Makers for expressions that exist only on L.

/// A name bound by let, var or for.
ExprRef make_variable(std::string_view name, Type type);
/// load NAME[address] of elements of `stored`: with a scalar address, `lanes` consecutive elements;
/// with a vector address, one element per lane.
ExprRef make_load(std::string_view buffer, ScalarType stored, ExprRef address, int lanes = 1);
ExprRef make_splat(ExprRef scalar, int lanes);
ExprRef make_iota(int lanes);
ExprRef make_fma(ExprRef a, ExprRef b, ExprRef c);
ExprRef make_lane(ExprRef vector, int lane);
ExprRef make_vector_sum(ExprRef vector);
ExprRef make_bit_cast(Type type, ExprRef value);

}  // namespace fusegrad::ir
